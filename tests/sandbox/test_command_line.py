from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from sandbox.__main__ import main
from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import pass_time
from tests.sandbox_process import ROOT, SandboxProcess


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20
    )


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_it_starts_says_where_and_ends_cleanly(tmp_path: Path) -> None:
    ready, ca_file = tmp_path / "ready.json", tmp_path / "ca.pem"
    started = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sandbox",
            "--port",
            "0",
            "--https-port",
            "0",
            "--proxy-port",
            "0",
            "--ready-file",
            ready,
            "--ca-file",
            ca_file,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() - started < 60
        time.sleep(0.01)
    addresses = json.loads(ready.read_text())
    assert addresses["pid"] == process.pid
    assert addresses["ca_file"] == str(ca_file)
    for url in (
        addresses["http_url"],
        addresses["https_url"],
        addresses["https_url"].replace("127.0.0.1", "localhost"),
    ):
        assert requests.get(url + "/services/data", verify=str(ca_file), timeout=5).status_code == 200
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    for text in (
        addresses["http_url"],
        addresses["https_url"],
        addresses["proxy_url"],
        str(ca_file),
        "admin@sandbox.example",
        "00D5s0000000001EAA",
    ):
        assert text in printed


def test_it_ends_when_its_parent_is_gone() -> None:
    code = (
        "import os, time; from tests.sandbox_process import SandboxProcess; s = SandboxProcess(https=False);"
        " s.start(); print(s.pid, s._folder, flush=True); os._exit(0)"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20).stdout
    pid, folder = int(printed.split()[0]), printed.split()[1]
    deadline = time.monotonic() + 10
    while not _gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a readable JSON file"),
        ('{"fields": []}', "every object needs a 'name'"),
        ('{"name": "X__c", "fields": [{"type": "double"}]}', "every field needs a 'name'"),
        ('{"name": "X__c", "fields": [{"name": "T__c"}]}', "X__c.T__c: a text field needs a 'length'"),
        ('{"name": "X__c", "fields": [{"name": "N__c", "type": "double", "precision": 3, "scale": 5}]}', "do not fit"),
        ('{"name": "X__c", "fields": [{"name": "N__c", "type": "number"}]}', "X__c.N__c: unknown type 'number'"),
    ],
)
def test_a_schema_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    assert main(["--port", "0", "--schema", str(path)]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("given", ["--port=-1", "--port=65536", "--https-port=-2", "--proxy-port=x"])
def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([given])
    assert ended.value.code == 2
    assert "is no port between 0 and 65535" in capsys.readouterr().err


def test_a_taken_port_and_a_wrong_org_id_are_told_in_one_line(sandbox: SandboxProcess) -> None:
    taken = _run("--port", sandbox.http_url.rpartition(":")[2])
    assert taken.returncode == 2
    assert "cannot listen on 127.0.0.1" in taken.stderr
    wrong = _run("--org-id", "001xx0000000001")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("flag", "content", "reason"),
    [
        ("users", "{", "not a readable JSON file"),
        ("users", '{"people": []}', "a list of users is expected"),
        ("users", '[{"username": "u@x.io"}]', "u@x.io: a new user needs a password"),
        ("users", '[{"username": "u@x.io", "password": "p", "permissions": {"objects": {"X": {}}}}]', "no object 'X'"),
        ("apps", '[{"client_id": "a", "flow": []}]', "unknown key 'flow'"),
        ("apps", "1", "a list of apps is expected"),
        ("app-certificate", "-----BEGIN CERTIFICATE-----", "neither an X.509 certificate nor a public key"),
    ],
)
def test_a_file_of_users_or_apps_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, content: str, reason: str
) -> None:
    path = tmp_path / "wrong"
    path.write_text(content)
    assert main(["--port", "0", f"--{flag}", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"--{flag}" in told
    assert reason in told


def test_a_schema_file_adds_objects_and_fields_beside_ours(tmp_path: Path) -> None:
    schema = tmp_path / "more.json"
    schema.write_text(
        json.dumps(
            {
                "objects": [
                    {
                        "name": "Plant__c",
                        "label": "Plant",
                        "fields": [
                            {"name": "Name", "length": 80, "nillable": False, "nameField": True},
                            {"name": "Code__c", "length": 20, "externalId": True, "unique": True},
                            {"name": "Account__c", "type": "reference", "referenceTo": ["Account"]},
                        ],
                    },
                    {"name": "Account", "fields": [{"name": "Tier__c", "type": "picklist", "length": 40}]},
                ]
            }
        )
    )
    with SandboxProcess(https=False, schema=schema, org_id="00D000000000062EAA") as sandbox:
        client = Client(sandbox)
        account = client.create("Account", Name="A", Tier__c="Top")
        content = f"Code__c,Name,Account__c\np1,Fern,{account}\n"
        ended = client.load("upsert", content, "Plant__c", externalIdFieldName="Code__c")
        assert ended.success[0]["sf__Id"][0] == "a"
        assert client.call("GET", "/sobjects/Plant__c/Code__c/P1").json()["Account__c"] == account
        described = client.call("GET", "/sobjects/Plant__c/describe").json()
        assert {"OwnerId", "CreatedDate", "SystemModstamp"} <= {each["name"] for each in described["fields"]}
        assert sandbox.state()["org_id"] == "00D000000000062EAA"


def test_credentials_are_taken_from_the_flags() -> None:
    flags = {"client_id": "me", "client_secret": "hush", "username": "u@x.io", "password": "pw", "security_token": "st"}
    with SandboxProcess(https=False, token_lifetime=60, **flags) as sandbox:
        form = {**flags, "grant_type": "password", "password": "pwst"}
        form.pop("security_token")
        url = sandbox.http_url + "/services/oauth2/token"
        assert requests.post(url, data=form, timeout=10).status_code == 200
        assert requests.post(url, data={**form, "client_secret": "no"}, timeout=10).status_code == 400
        client = Client(sandbox)
        assert client.query("SELECT Username FROM User") == [{"Username": "u@x.io"}]
        pass_time(sandbox, 61)
        assert client.call("GET", "/limits").status_code == 401


def test_faults_may_be_there_from_the_start() -> None:
    with SandboxProcess(https=False, fault='{"path": "/limits$", "action": "status", "status": 503}') as sandbox:
        client = Client(sandbox)
        assert [client.call("GET", "/limits").status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize(
    ("given", "reason"), [("{", "is not JSON"), ("[]", "is not a JSON object"), ('{"action": "x"}', "is none of")]
)
def test_a_fault_that_cannot_be_is_refused_at_the_start(
    capsys: pytest.CaptureFixture[str], given: str, reason: str
) -> None:
    assert main(["--port", "0", "--fault", given]) == 2
    assert reason in capsys.readouterr().err


def test_an_object_to_capture_that_is_none_is_refused_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", "--change-data", "Contact,Nope"]) == 2
    assert "there is no object 'Nope'" in capsys.readouterr().err
