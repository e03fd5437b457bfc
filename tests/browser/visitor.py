"""Somebody who walks about in the demo with a browser. Each step is what such a person does and looks for."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.installation import Installation, Watch

Photograph = Callable[[Page, str], None]


class Visitor:
    """One visit. photograph: called with the page and a name wherever there is something to look at."""

    def __init__(self, browser: Browser, demo: Installation, photograph: Photograph = lambda page, name: None) -> None:
        self._demo = demo
        self._photograph = photograph
        self.page = browser.new_page(viewport={"width": 1280, "height": 860})
        self.page.set_default_timeout(20_000)
        self.watch = Watch(self.page, demo.address)

    def go(self, path: str) -> None:
        self.page.goto(f"{self._demo.address}{path}")

    def log_in(self) -> None:
        self.go("/admin/")
        self._photograph(self.page, "login")
        self.page.fill("#id_username", self._demo.user)
        self.page.fill("#id_password", self._demo.password)
        self.page.click("[type=submit]")
        expect(self.page.get_by_role("heading", name="Last jobs")).to_be_visible()
        self._photograph(self.page, "overview")

    def test_the_connection(self) -> None:
        self.go("/admin/connections/connection/")
        self._photograph(self.page, "connections")
        self.page.get_by_role("link", name="Sandbox", exact=True).click()
        self.page.get_by_role("button", name="Test connection").click()
        expect(self.page.get_by_role("heading", name="Connection successful")).to_be_visible()
        self._photograph(self.page, "connection")
        self.page.get_by_role("link", name="Log of this test").click()
        expect(self.page.locator("#content")).to_contain_text("login")

    def look_at_objects(self) -> None:
        self.go("/admin/connections/connection/")
        self.page.get_by_role("link", name="Sandbox", exact=True).click()
        self.page.get_by_role("link", name="Objects and fields").click()
        self._photograph(self.page, "objects")
        self.page.get_by_role("link", name="Contact", exact=True).first.click()
        expect(self.page.locator("#content")).to_contain_text("External_Id__c")

    def map_the_second_file(self) -> None:
        """Make a sync of the file that lies there unmapped."""
        self.go("/admin/syncs/sync/")
        self._photograph(self.page, "syncs")
        self.page.get_by_role("link", name="Add sync").click()
        self.page.select_option("#id_source", label="Files (Delimited file)")
        self.page.select_option("#id_destination", label="Sandbox")
        self.page.get_by_role("button", name="Go on").click()
        self.page.fill("#id_name", "Newsletter")
        self.page.select_option("#id_source_path", "newsletter.csv")
        self.page.select_option("#id_object", "Contact")
        self.page.get_by_role("button", name="Show its columns and fields").click()
        # Columns whose names fit a field are mapped already.
        expect(self.page.locator("select[name$=-target]").first).to_be_visible()
        chosen = self.page.locator("select[name$=-target]").evaluate_all("all => all.map(each => each.value)")
        assert {"External_Id__c", "FirstName", "LastName", "Email"} <= set(chosen), chosen
        self.page.select_option("#id_key_fields", "External_Id__c")
        self.page.evaluate("document.querySelector('#mappings-group').scrollIntoView()")
        self._photograph(self.page, "mapping")
        self.page.press("#id_name", "Enter")
        expect(self.page.locator(".messagelist")).to_contain_text("was added successfully")
        self.page.get_by_role("link", name="Newsletter", exact=True).first.click()
        expect(self.page.get_by_text("This sync cannot run yet")).to_have_count(0)

    def run_it(self) -> None:
        """Run it from its page, and watch the job end without touching anything."""
        self.page.get_by_role("button", name="Run now").click()
        self.page.wait_for_url(re.compile(r"/admin/jobs/job/\d+/change/"))
        expect(self.page.locator("#progress h2 .badge")).to_have_text("Finished with row errors", timeout=60_000)
        expect(self.page.get_by_role("heading", name="Refused rows")).to_be_visible()
        self._photograph(self.page, "job")

    def open_a_refused_row(self) -> None:
        self.page.get_by_role("link", name="Look at the rows").click()
        self.page.fill("#q", "nobody at example")
        self.page.get_by_role("button", name="Show").click()
        # The page before it has such rows too: what follows must not click on one of those.
        self.page.wait_for_url(re.compile(r"[?&]q=nobody"))
        self._photograph(self.page, "rows")
        self.page.locator("#content table a").first.click()
        expect(self.page.get_by_role("heading", name="The row as the source gave it")).to_be_visible()
        expect(self.page.locator("#content")).to_contain_text("Invalid Email")
        self._photograph(self.page, "row")

    def download_the_refused_rows(self) -> list[dict[str, str]]:
        self.page.get_by_role("link", name="Row errors").click()
        with self.page.expect_download() as download:
            self.page.get_by_role("link", name="Download all as CSV").click()
        with open(download.value.path(), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def approve_the_deletes(self) -> None:
        """One job of the demo waits for approval."""
        self.go("/admin/jobs/job/?status__exact=waiting_approval")
        self._photograph(self.page, "jobs")
        self.page.locator("#result_list tbody th a").first.click()
        expect(self.page.get_by_role("heading", name="What it would do")).to_be_visible()
        self._photograph(self.page, "approval")
        key = self.page.locator("table.plan tbody td:nth-child(3)").first.inner_text()
        self.page.get_by_role("link", name="Look at the whole plan").click()
        expect(self.page.locator("table.plan tbody")).to_contain_text(key)
        self._photograph(self.page, "plan")
        self.page.go_back()
        self.page.get_by_role("button", name="Approve").click()
        expect(self.page.locator("#progress h2 .badge")).to_have_text("Succeeded", timeout=60_000)
        self.look_up_the_history(key)

    def look_up_the_history(self, key: str) -> None:
        """Of a record that was deleted just now."""
        self.go("/admin/jobs/job/history/")
        self.page.fill("#key", key)
        self.page.get_by_role("button", name="Show").click()
        expect(self.page.locator("#content tbody")).to_contain_text("delete")
        self._photograph(self.page, "history")

    def preview_an_undo(self) -> None:
        """Of the job that deleted: its records would come back from the recycle bin."""
        self.page.get_by_role("link", name=re.compile(r"^Job \d+$")).first.click()
        self.page.get_by_role("button", name="Preview the undo").click()
        expect(self.page.locator("#progress h2 .badge")).to_have_text("Planned", timeout=60_000)
        expect(self.page.locator("table.plan tbody")).to_contain_text("undelete")
        self._photograph(self.page, "undo")

    def preview_a_sync(self) -> None:
        """What it would do now."""
        self.go("/admin/syncs/sync/2/change/")
        self.page.get_by_role("button", name="Preview").click()
        self.page.wait_for_url(re.compile(r"/admin/jobs/job/\d+/change/"))
        expect(self.page.locator("#progress h2 .badge")).to_have_text("Planned", timeout=60_000)
        self._photograph(self.page, "preview")

    def every_page(self) -> set[str]:
        """Follow every link of the admin that only shows something, each sort of page once or twice."""
        waiting, seen = ["/admin/"], set()
        sorts: dict[str, int] = {}
        while waiting:
            path = waiting.pop(0)
            sort = re.sub(r"\d+", "N", path.partition("?")[0])
            if path in seen or sorts.get(sort, 0) >= 2:
                continue
            seen.add(path)
            sorts[sort] = sorts.get(sort, 0) + 1
            self.go(path)
            found = self.page.locator("a[href]").evaluate_all("all => all.map(a => a.getAttribute('href') && a.href)")
            for link in found:
                inside = link.startswith(self._demo.address)
                if inside and not re.search(r"\.csv$|\.log$|/logout|#|/files/", link):
                    waiting.append(link.removeprefix(self._demo.address))
        return {re.sub(r"\d+", "N", path.partition("?")[0]) for path in seen}
