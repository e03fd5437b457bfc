"""The sandbox's own addresses: its pages, and what tests set and read."""

from __future__ import annotations

from sandbox.route import Route, open_route
from sandbox.web import (
    archive_calls,
    bulk_jobs,
    control,
    event_log,
    faults_page,
    objects,
    overview,
    record,
    request_log,
    settings_page,
    static_files,
    time_control,
)
from sandbox.web.layout import STATIC, VIEW

ROUTES = [
    open_route("GET", "/", overview.home),
    open_route("GET", f"{STATIC}/{{file}}", static_files.static_file),
    open_route("GET", f"{VIEW}/objects", objects.index),
    open_route("GET", f"{VIEW}/objects/{{object}}", objects.show),
    open_route("GET", f"{VIEW}/records/{{object}}/{{id}}", record.show),
    open_route("GET", f"{VIEW}/jobs", bulk_jobs.index),
    open_route("GET", f"{VIEW}/jobs/{{id}}", bulk_jobs.show),
    open_route("GET", f"{VIEW}/jobs/{{id}}/files/{{file}}", bulk_jobs.download),
    open_route("GET", f"{VIEW}/requests", request_log.index),
    open_route("GET", f"{VIEW}/requests/{{number}}", request_log.show),
    open_route("GET", f"{VIEW}/events", event_log.index),
    open_route("GET", f"{VIEW}/faults", faults_page.show, in_loop=True),
    open_route("POST", f"{VIEW}/faults", faults_page.change, in_loop=True),
    open_route("GET", f"{VIEW}/settings", settings_page.show),
    open_route("POST", f"{VIEW}/settings", settings_page.change),
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
    open_route("GET", "/_sandbox/export", archive_calls.export_org),
    Route("POST", "/_sandbox/import", archive_calls.import_org, needs_session=False, streams=True),
]
