"""The style, the script and the icon of the pages."""

from __future__ import annotations

from pathlib import Path

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web.layout import HEADERS
from sandbox.wire import not_found

FOLDER = Path(__file__).parent / "static"
TYPES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def static_file(org: Org, call: Call) -> Answer:
    """GET /_sandbox/static/{file}."""
    kind = TYPES.get(call.arguments["file"])
    if kind is None:
        raise not_found()
    content = (FOLDER / call.arguments["file"]).read_text(encoding="utf-8")
    return Answer(200, content, {**HEADERS, "Cache-Control": "no-cache"}, content_type=kind)
