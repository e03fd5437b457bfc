"""The pages in a real browser: their script, their policy, and how they fit a phone."""

from __future__ import annotations

from pathlib import Path

import requests
from playwright.sync_api import expect

from tests.browser.installation import Watch, chromium
from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

VIEW = "/_sandbox/view"


def test_pages_follow_what_happens_and_forms_work(sandbox: SandboxProcess, client: Client, tmp_path: Path) -> None:
    export = tmp_path / "org.zip"
    export.write_bytes(requests.get(f"{sandbox.http_url}/_sandbox/export", timeout=10).content)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        watch = Watch(page, sandbox.http_url)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(sandbox.http_url)
        expect(page.get_by_role("button", name="Copy").first).to_be_visible()
        expect(page.get_by_text("No records yet.")).to_be_visible()
        contact = client.create("Contact", LastName="Lovelace")
        expect(page.locator("a.figure", has_text="Contact")).to_be_visible(timeout=8000)
        page.get_by_role("link", name="Faults", exact=True).click()
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("button", name="Remove")).to_be_visible()
        assert [rule["action"] for rule in sandbox.fault_rules()] == ["status"]
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("everything works")).to_be_visible()
        page.get_by_role("link", name="Settings", exact=True).click()
        page.set_input_files("input[type=file]", export)
        page.get_by_role("button", name="Import").click()
        expect(page.locator("output")).to_contain_text("records were read in")
        assert client.call("GET", f"/sobjects/Contact/{contact}").status_code == 404
        for path in (
            "/",
            f"{VIEW}/objects",
            f"{VIEW}/objects/Contact?show=fields",
            f"{VIEW}/requests",
            f"{VIEW}/settings",
        ):
            page.goto(sandbox.http_url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    assert watch.complaints == []
