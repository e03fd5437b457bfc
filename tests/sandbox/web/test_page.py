from __future__ import annotations

import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


def _page(sandbox: SandboxProcess, query: str = "") -> str:
    answer = requests.get(sandbox.http_url + "/" + query, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html;charset=UTF-8"
    return answer.text


def test_an_empty_org_has_a_page(sandbox: SandboxProcess) -> None:
    page = _page(sandbox)
    assert "None yet." in page
    assert "Airport__c" in page


def test_the_page_shows_records_jobs_with_reasons_and_calls(sandbox: SandboxProcess, client: Client) -> None:
    client.create("Account", Name="Quiet Account")
    client.load("insert", "LastName,Email\nVisible,a@b.io\nx,bad\n")
    client.query("SELECT Id FROM Lead WHERE LastName = 'needle'")
    page = _page(sandbox, "?object=contact")
    for text in ("Visible", "JobComplete", "INVALID_EMAIL_ADDRESS", "/services/data/v60.0/jobs/ingest", "needle"):
        assert text in page
    assert "Quiet Account" in _page(sandbox, "?object=Account")


def test_what_arrives_cannot_change_the_page(sandbox: SandboxProcess, client: Client) -> None:
    client.create("Contact", LastName="<script>alert(1)</script>", Title='"><img src=x>')
    client.call("GET", "/<b>bold</b>")
    client.load("insert", "LastName,Email\na,<i>x</i>\n")
    page = _page(sandbox)
    for text in ("<script>", "<img", "<b>bold", "<i>x"):
        assert text not in page


def test_the_page_needs_nothing_from_elsewhere(sandbox: SandboxProcess) -> None:
    page = _page(sandbox)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
