"""The sandbox's own addresses about records and their rules."""

from __future__ import annotations

from sandbox.route import open_route
from sandbox.rows import control

ROUTES = [
    open_route("GET", "/_sandbox/rules", control.show),
    open_route("POST", "/_sandbox/rules", control.switch),
    open_route("POST", "/_sandbox/lock", control.lock),
    open_route("POST", "/_sandbox/hold", control.hold),
    open_route("DELETE", "/_sandbox/hold", control.let_go),
    open_route("POST", "/_sandbox/undelete", control.undelete),
    open_route("POST", "/_sandbox/empty-recycle-bin", control.empty_bin),
    open_route("POST", "/_sandbox/merge", control.merge),
    open_route("POST", "/_sandbox/convert", control.convert),
]
