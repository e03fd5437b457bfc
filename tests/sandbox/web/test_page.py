"""The sandbox's pages, as a browser without scripts gets them."""

from __future__ import annotations

import re

import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess
from tests.workers import wait_for

VIEW = "/_sandbox/view"


def _get(sandbox: SandboxProcess, path: str, **query: str) -> requests.Response:
    answer = requests.get(sandbox.http_url + path, params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer


def _page(sandbox: SandboxProcess, path: str = "/", **query: str) -> str:
    answer = _get(sandbox, path, **query)
    assert answer.headers["Content-Type"] == "text/html;charset=UTF-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    return answer.text


def _post(sandbox: SandboxProcess, page: str, headers: dict[str, str] | None = None, **form: str) -> requests.Response:
    address = f"{sandbox.http_url}{VIEW}/{page}"
    return requests.post(address, data=form, headers=headers, timeout=10, allow_redirects=False)


def _crawl(sandbox: SandboxProcess) -> dict[str, str]:
    """Every page that can be reached from the first, each sort of address at most three times."""
    found: dict[str, str] = {}
    sorts: dict[str, int] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop(0)
        sort = re.sub(r"\w*\d\w*|[A-Z]\w+", "N", path)
        if path in found or sorts.get(sort, 0) >= 3:
            continue
        sorts[sort] = sorts.get(sort, 0) + 1
        answer = requests.get(sandbox.http_url + path, timeout=10)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        found[path] = answer.text if "html" in answer.headers["Content-Type"] else ""
        waiting += [each.replace("&amp;", "&") for each in re.findall(r' href="(/[^"]*)"', found[path])]
    return found


def test_an_empty_org_has_pages_that_say_so(sandbox: SandboxProcess) -> None:
    home = _page(sandbox)
    assert "No records yet." in home
    for text in ("client_credentials", "simple_salesforce", "jsforce", "admin@sandbox.example", str(sandbox.https_url)):
        assert text in home
    for page, text in (
        ("jobs", "No bulk jobs"),
        ("requests", "No requests"),
        ("events", "No events"),
        ("faults", "No rules"),
    ):
        assert text in _page(sandbox, f"{VIEW}/{page}")
    assert "Airport__c" in _page(sandbox, f"{VIEW}/objects")
    assert "Airport__c" not in _page(sandbox, f"{VIEW}/objects", q="contact")


def test_records_are_searched_sorted_and_filtered_and_lead_to_parents_and_children(
    sandbox: SandboxProcess, client: Client
) -> None:
    account = client.create("Account", Name="Quiet & Sons")
    names = [f"Person {number:02}" for number in range(60)]
    client.load("insert", "LastName,AccountId,Title\n" + "".join(f"{name},{account},t\n" for name in names))
    gone = client.create("Contact", LastName="Gone")
    client.call("DELETE", f"/sobjects/Contact/{gone}")
    contacts = f"{VIEW}/objects/Contact"

    def listed(**query: str) -> list[str]:
        """The names on the page, in order; a contact has two."""
        return list(dict.fromkeys(re.findall(r">(Person \d\d|Gone)<", _page(sandbox, contacts, **query))))

    assert listed(sort="LastName") == names[:50]
    assert listed(sort="LastName", dir="desc", page="2") == names[:10][::-1]
    assert listed(q="person 07") == ["Person 07"]
    assert listed(deleted="1") == ["Gone"]
    assert listed(field="AccountId", value="001000000000000AAA") == []
    assert len(listed(field="AccountId", value=account)) == 50
    assert "External_Id__c" in _page(sandbox, contacts, show="fields")
    parent = _page(sandbox, f"{VIEW}/records/Account/{account}")
    assert "Quiet &amp; Sons" in parent
    assert f"{contacts}?field=AccountId&amp;value={account}" in parent
    child = client.query("SELECT Id FROM Contact LIMIT 1")[0]["Id"]
    assert f'href="{VIEW}/records/Account/{account}">Quiet &amp; Sons' in _page(
        sandbox, f"{VIEW}/records/Contact/{child}"
    )
    assert "recycle bin" in _page(sandbox, f"{VIEW}/records/Contact/{gone}")
    assert requests.get(f"{sandbox.http_url}{VIEW}/records/Contact/{account}", timeout=10).status_code == 404


def test_a_job_shows_its_batches_reasons_rows_and_files(sandbox: SandboxProcess, client: Client) -> None:
    ended = client.load("insert", "LastName,Email\nVisible,a@b.io\nx,bad\n")
    job = f"{VIEW}/jobs/{ended.info['id']}"
    assert ended.info["id"] in _page(sandbox, f"{VIEW}/jobs")
    page = _page(sandbox, job)
    for text in ("JobComplete", "INVALID_EMAIL_ADDRESS", "Refused rows", "Batches"):
        assert text in page
    assert _get(sandbox, f"{job}/files/unprocessed.csv").text == "LastName,Email\n"
    failed = client.call("GET", f"/jobs/ingest/{ended.info['id']}/failedResults").text
    assert _get(sandbox, f"{job}/files/failed.csv").text == failed
    assert requests.get(f"{sandbox.http_url}{job}/files/..%2Ftoken", timeout=10).status_code == 404


def test_a_job_of_bulk_1_shows_each_batch(sandbox: SandboxProcess, client: Client) -> None:
    base = f"{sandbox.http_url}/services/async/60.0/job"
    headers = {"X-SFDC-Session": sandbox.login(), "Content-Type": "application/json"}
    facts = {"operation": "insert", "object": "Lead", "contentType": "CSV"}
    job = requests.post(base, json=facts, headers=headers, timeout=10).json()["id"]
    rows = "LastName,Company,Email\nA,B,a@b.io\nB,C,wrong\n"
    headers["Content-Type"] = "text/csv"
    requests.post(f"{base}/{job}/batch", data=rows, headers=headers, timeout=10)
    batches = f"{base}/{job}/batch"
    headers["Content-Type"] = "application/json"
    while requests.get(batches, headers=headers, timeout=10).json()["batchInfo"][0]["state"] != "Completed":
        pass
    requests.post(f"{base}/{job}", json={"state": "Closed"}, headers=headers, timeout=10)
    wait_for(lambda: not list(sandbox.folder.rglob("rows.csv")), "the batch to be put away")
    page = _page(sandbox, f"{VIEW}/jobs/{job}")
    for text in ("INVALID_EMAIL_ADDRESS", "Refused rows", "wrong"):
        assert text in page
    files = re.findall(rf"{VIEW}/jobs/{job}/files/[\w.-]+", page)
    assert _get(sandbox, files[0]).text == rows
    assert _get(sandbox, files[1]).text.startswith('"Id","Success","Created","Error"\n"00Q')


def test_the_request_log_shows_bodies_and_hides_what_lets_in(sandbox: SandboxProcess, client: Client) -> None:
    token = client.http.headers["Authorization"].split()[1]
    form = {"grant_type": "password", "username": "u", "password": "hush+hush", "client_id": "sandbox-client"}
    requests.post(f"{sandbox.http_url}/services/oauth2/token", data=form, timeout=10)
    sandbox.login()
    client.call("POST", "/sobjects/Contact", json={"LastName": "Bodied", "Description": "x" * 70_000})
    pages = [
        _page(sandbox, each) for each in set(re.findall(rf"{VIEW}/requests/\d+", _page(sandbox, f"{VIEW}/requests")))
    ]
    assert len(pages) == 4
    assert not [each for each in pages if token in each or "hush" in each or "sandbox-secret" in each]
    assert [each for each in pages if "Bodied" in each and "The first 65,536 bytes are shown." in each]
    assert [each for each in pages if "Bearer ••••••" in each]
    assert [each for each in pages if "access_token" in each and "instance_url" in each]
    assert "Contact" not in _page(sandbox, f"{VIEW}/requests", q="oauth2", part="live")


def test_the_request_log_hides_secrets_of_soap_and_of_addresses(sandbox: SandboxProcess) -> None:
    body = (
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:u="urn:partner.soap.sforce.com">'
        "<env:Body><u:login><u:username>admin@sandbox.example</u:username><u:password>practiceTOKEN</u:password></u:login>"
        "</env:Body></env:Envelope>"
    )
    headers = {"Content-Type": "text/xml", "SOAPAction": '""'}
    told = requests.post(f"{sandbox.http_url}/services/Soap/u/60.0", data=body, headers=headers, timeout=10).text
    session = re.findall("<sessionId>([^<]+)<", told)[0]
    requests.get(f"{sandbox.http_url}/services/oauth2/userinfo?x=1&oauth_token={session}", timeout=10)
    numbers = re.findall(rf"{VIEW}/requests/\d+", _page(sandbox, f"{VIEW}/requests"))
    pages = [_page(sandbox, each) for each in numbers[:2]]
    assert not [each for each in pages if session in each or "practiceTOKEN" in each]
    assert len([each for each in pages if "••••••" in each]) == 2


def test_events_show_as_they_come(sandbox: SandboxProcess, client: Client) -> None:
    requests.post(f"{sandbox.http_url}/_sandbox/change-data", json={"objects": ["Contact", "Lead"]}, timeout=10)
    client.create("Contact", LastName="Changed & Told")
    client.create("Lead", LastName="Leading", Company="C")
    page = _page(sandbox, f"{VIEW}/events")
    for text in ("ContactChangeEvent", "LeadChangeEvent", "Changed &amp; Told", "Leading"):
        assert text in page
    chosen = _page(sandbox, f"{VIEW}/events", topic="LeadChangeEvent", part="live")
    assert "Leading" in chosen
    assert "Changed" not in chosen


def test_faults_are_added_released_and_removed_by_forms(sandbox: SandboxProcess, client: Client) -> None:
    assert _post(sandbox, "faults", do="preset", preset="The next call is answered 503").status_code == 303
    assert client.call("GET", "/limits").status_code == 503
    answer = _post(
        sandbox, "faults", do="add", action="status", status="418", path="/limits", times="2", code="TEA", id="tea"
    )
    assert answer.status_code == 303
    assert client.call("GET", "/limits").status_code == 418
    page = _page(sandbox, f"{VIEW}/faults")
    assert 'value="tea"' in page
    assert "TEA" in page
    refused = _post(sandbox, "faults", do="add", action="status", path="(")
    assert refused.status_code == 200
    assert "action status needs" in refused.text
    _post(sandbox, "faults", do="remove", id="tea")
    assert [rule["action"] for rule in sandbox.fault_rules()] == ["status"]


def test_settings_move_the_clock_set_limits_and_empty_the_org(sandbox: SandboxProcess, client: Client) -> None:
    client.create("Contact", LastName="A")
    _post(sandbox, "settings", do="time", time="2031-02-03T04:05:06")
    _post(sandbox, "settings", do="limits", DailyApiRequests="77", used="5", DataStorageMB="3.5")
    page = _page(sandbox, f"{VIEW}/settings")
    assert "2031-02-03 04:05:" in page
    assert "5 used of 77" in page
    limits = requests.get(f"{sandbox.http_url}/_sandbox/limits", timeout=10).json()
    assert limits == {"daily_api_requests": 77, "used_api_requests": 5}
    assert requests.get(f"{sandbox.http_url}/_sandbox/rules", timeout=10).json()["storage_mb"] == 3.5
    assert "whole numbers" in _post(sandbox, "settings", do="limits", DailyApiRequests="1.5").text
    assert "is no number" in _post(sandbox, "settings", do="speed", speed="fast").text
    assert _post(sandbox, "settings", do="reset").status_code == 303
    assert client.query("SELECT Id FROM Contact") == []


def test_other_sites_cannot_drive_the_sandbox(sandbox: SandboxProcess) -> None:
    elsewhere = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    )
    for headers in elsewhere:
        assert _post(sandbox, "settings", headers, do="reset").status_code == 403
        address = f"{sandbox.http_url}/_sandbox/reset"
        assert requests.post(address, headers=headers, timeout=10).status_code == 403
        assert requests.delete(f"{sandbox.http_url}/_sandbox/faults", headers=headers, timeout=10).status_code == 403
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": sandbox.http_url}):
        assert _post(sandbox, "settings", headers, do="advance", advance="60").status_code == 303


def test_what_arrives_cannot_change_a_page(sandbox: SandboxProcess, client: Client) -> None:
    client.create("Contact", LastName="<script>alert(1)</script>", Title='"><img src=x>')
    client.call("GET", "/<b>bold</b>")
    client.load("insert", "LastName,Email,Title\na,<i>x</i>,<u>y</u>\n")
    client.query("SELECT Id FROM Contact WHERE LastName = '<script>'")
    sandbox.faults({"action": "status", "status": 503, "path": "<b>never</b>", "id": "<i>x"})
    pages = _crawl(sandbox)
    assert len(pages) > 30
    for path, page in pages.items():
        for text in ("<script>", "<img", "<b>bold", "<b>never", "<i>x", "<u>y"):
            assert text not in page, path


def test_the_live_part_is_served_alone(sandbox: SandboxProcess) -> None:
    part = _page(sandbox, f"{VIEW}/jobs", part="live")
    assert part.startswith("<nav")
    assert "<html" not in part
