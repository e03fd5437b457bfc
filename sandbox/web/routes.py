"""The sandbox's own addresses: its page, and what tests set and read."""

from __future__ import annotations

from sandbox.route import open_route
from sandbox.web import control, page, time_control

ROUTES = [
    open_route("GET", "/", page.home),
    open_route("GET", "/_sandbox/faults", control.list_faults, in_loop=True),
    open_route("POST", "/_sandbox/faults", control.add_fault, in_loop=True),
    open_route("DELETE", "/_sandbox/faults", control.clear_faults, in_loop=True),
    open_route("DELETE", "/_sandbox/faults/{id}", control.remove_fault, in_loop=True),
    open_route("POST", "/_sandbox/release", control.release, in_loop=True),
    open_route("GET", "/_sandbox/requests", control.requests, in_loop=True),
    open_route("GET", "/_sandbox/state", control.state),
    open_route("POST", "/_sandbox/reset", control.reset),
    open_route("GET", "/_sandbox/clock", time_control.show_clock),
    open_route("POST", "/_sandbox/clock", time_control.set_clock),
]
