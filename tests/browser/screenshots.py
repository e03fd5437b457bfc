"""Photographs each page of the demo, light and dark: `make screenshots`. Look at them before you commit them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import tests.environment  # noqa: F401  # the environment of tests, before Django reads it

os.environ["DJANGO_SETTINGS_MODULE"] = "sfsync.settings"

import django
from playwright.sync_api import Page

django.setup()

from tests.browser.installation import chromium, demo_installation  # noqa: E402
from tests.browser.visitor import Visitor  # noqa: E402

# These stand in the documentation; the others are only to look at.
IN_THE_DOCS = ("overview", "connection", "mapping", "job", "rows", "approval", "plan", "sandbox")
SANDBOX = {
    "sandbox": "/",
    "sandbox-contacts": "/_sandbox/view/objects/Contact",
    "sandbox-jobs": "/_sandbox/view/jobs",
    "sandbox-requests": "/_sandbox/view/requests",
    "sandbox-faults": "/_sandbox/view/faults",
    "sandbox-settings": "/_sandbox/view/settings",
}


def main(folder: Path) -> None:
    """Walk through the demo, and write NAME.png and NAME-dark.png for each page into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)

    def photograph(page: Page, name: str) -> None:
        whole = name not in IN_THE_DOCS
        for scheme, ending in (("dark", "-dark"), ("light", "")):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.wait_for_timeout(400)  # links change their colour slowly
            page.screenshot(path=folder / f"{name}{ending}.png", full_page=whole)

    with tempfile.TemporaryDirectory() as data, chromium() as browser, demo_installation(Path(data)) as demo:
        visitor = Visitor(browser, demo, photograph)
        visitor.log_in()
        visitor.test_the_connection()
        visitor.look_at_objects()
        visitor.map_the_second_file()
        visitor.run_it()
        visitor.open_a_refused_row()
        visitor.approve_the_deletes()
        visitor.preview_an_undo()
        visitor.preview_a_sync()
        for name, path in (("members", "/admin/orgs/membership/"), ("teams", "/admin/orgs/team/1/change/")):
            visitor.go(path)
            photograph(visitor.page, name)
        for name, path in (("audit", "/admin/orgs/auditevent/"), ("token", "/admin/orgs/apitoken/add/")):
            visitor.go(path)
            photograph(visitor.page, name)
        for name, path in (("sync", "/admin/syncs/sync/2/change/"),):
            visitor.go(path)
            photograph(visitor.page, name)
        visitor.go("/api/v1/docs/")
        visitor.page.wait_for_load_state("networkidle")
        photograph(visitor.page, "api")
        address = json.loads((demo.data / "sandbox.json").read_text(encoding="utf-8"))["http_url"]
        for name, path in SANDBOX.items():
            visitor.page.goto(f"{address}{path}")
            photograph(visitor.page, name)
    print(f"{len(list(folder.glob('*.png')))} photographs in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots"))
