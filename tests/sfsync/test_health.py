import pytest
from django.conf import settings

pytestmark = pytest.mark.django_db


def test_a_process_that_answers_is_alive(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_without_a_broker_it_is_ready_but_degraded(client, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "SFSYNC_BROKER_URL", f"redis+socket://{tmp_path / 'none.sock'}")
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "degraded",
        "checks": {"database": "ok", "storage": "ok", "broker": "failed"},
    }


def test_without_its_storage_it_is_not_ready_and_tells_no_path(client, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "SFSYNC_STORAGE", tmp_path / "gone")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["storage"] == "failed"
    assert str(tmp_path) not in answer.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_looked_at_and_never_cached(client, path):
    assert client.post(path).status_code == 405
    assert "no-store" in client.get(path)["Cache-Control"]
