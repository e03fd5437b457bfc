"""Keeps other web sites that are open in the same browser from driving the sandbox."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbox.call import Call
from sandbox.wire import SalesforceError

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(call: Call) -> None:
    """Refuse a change below `/_sandbox` that a page of another site asks for.

    Browsers say where a request comes from in `Sec-Fetch-Site` or `Origin`; other clients send neither and may pass.

    Raises SalesforceError: 403.
    """
    if call.method in READING or not call.path.lower().startswith("/_sandbox"):
        return
    site, origin = call.headers.get("sec-fetch-site"), call.headers.get("origin")
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = origin is None or urlsplit(origin).netloc.lower() == urlsplit(call.base_url).netloc.lower()
    if not is_own:
        raise SalesforceError(403, "CROSS_SITE_REQUEST", "Pages of other sites may not change the sandbox")
