import pytest

pytestmark = pytest.mark.django_db


def test_an_empty_form_is_answered_with_its_errors(admin_client):
    answer = admin_client.post(
        "/admin/syncs/sync/add/", {"mappings-TOTAL_FORMS": 0, "mappings-INITIAL_FORMS": 0, "name": "Accounts"}
    )
    assert answer.status_code == 200
    assert "This field is required" in answer.content.decode()


@pytest.mark.parametrize("page", ["connections/connection", "syncs/sync", "jobs/job", "orgs/organization"])
def test_every_list_opens(admin_client, page):
    assert admin_client.get(f"/admin/{page}/").status_code == 200
