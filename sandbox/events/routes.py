"""The addresses of events: the Streaming API, schemas, and what tests set."""

from __future__ import annotations

from sandbox.events import calls, cometd
from sandbox.route import DATA, Route, open_route

# The Streaming API checks the session of each message by itself.
ROUTES = [
    Route("POST", "/cometd/{version}", cometd.handle, needs_session=False, streams=True),
    Route("POST", "/cometd/{version}/{verb}", cometd.handle, needs_session=False, streams=True),
    Route("GET", f"{DATA}/sobjects/{{object}}/eventSchema", calls.schema_of_object),
    Route("GET", f"{DATA}/event/eventSchema/{{id}}", calls.schema_by_id),
    open_route("GET", "/_sandbox/change-data", calls.show_changes),
    open_route("POST", "/_sandbox/change-data", calls.set_changes),
    open_route("POST", "/_sandbox/managed-subscriptions", calls.add_managed),
]
