"""What a request to a sync's page asks for: which connections, what they have to offer, and what is shown again."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.http import HttpRequest

from connections.models import Connection
from connections.sources.base import Selection
from orgs import access
from orgs.models import Permission
from orgs.tenant_admin import actor_of
from syncs.forms import SELECTIONS
from syncs.models import Sync
from syncs.offers import Offers
from syncs.selections import selection_to_look_at

FILES = "delimited_file"
BLANK_LINES = 3
_MOST_LINES = 1000
# Buttons that show the form again, as it is entered: with what is chosen, and asked anew; with what a filter finds.
_REFRESH = ("_refresh", "_renew")
_TRY = "_try"


def is_refresh(request: HttpRequest) -> bool:
    """Whether the form is to be shown again with what its connections offer now."""
    return request.method == "POST" and any(name in request.POST for name in _REFRESH)


def is_quiet(request: HttpRequest) -> bool:
    """Whether the form is only shown again, unchecked and unsaved."""
    return is_refresh(request) or (request.method == "POST" and _TRY in request.POST)


def chosen(request: HttpRequest, obj: Sync | None, name: str) -> Connection | None:
    """The connection that the form shows, where the person may execute on it."""
    before = request.GET.get(name, "") if obj is None else str(getattr(obj, f"{name}_id"))
    pk = request.POST.get(name) or before
    rows = access.visible(actor_of(request), Connection.all_objects.all(), Permission.EXECUTE)
    kind = {"kind": "salesforce"}
    rows = rows.filter(**kind) if name == "destination" else rows.exclude(**kind)
    found: Connection | None = rows.filter(pk=pk).first() if pk.isdecimal() and len(pk) < 19 else None
    return found


def offers_of(request: HttpRequest, obj: Sync | None) -> Offers:
    """What the form of this request has to offer; one for all its parts."""
    found: Offers | None = getattr(request, "sync_offers", None)
    if found is None:
        source, destination = (chosen(request, obj, name) for name in ("source", "destination"))
        given = [str(request.POST.get(name, getattr(obj, name, ""))).strip() for name in SELECTIONS]
        if source is not None:  # the other kinds' fields are not on the form
            given = ["", "", given[2]] if source.kind == FILES else [given[0], given[1], ""]
        stored = selection_to_look_at(obj) if obj is not None else Selection()
        table, query, path = given
        keys = request.POST.getlist("key_fields") or (obj.key_fields if obj is not None else [])
        found = Offers(
            source,
            destination,
            dataclasses.replace(stored, table=table, query=query, path=path),
            str(request.POST.get("object", getattr(obj, "object", ""))).strip(),
            keys=keys,
            lines=_lines(request, obj),
            refresh="_renew" in request.POST,
        )
        request.sync_offers = found  # type: ignore[attr-defined]
    return found


def _lines(request: HttpRequest, obj: Sync | None) -> list[tuple[str, str]]:
    """Target and parent object of each line of the mapping, as entered or as stored."""
    if request.method != "POST":
        return [] if obj is None else [*obj.mappings.values_list("target", "lookup_object")]
    rows = [f"mappings-{index}-" for index in range(_number_of_lines(request))]
    return [(request.POST.get(f"{row}target", ""), request.POST.get(f"{row}lookup_object", "")) for row in rows]


def _defaults(request: HttpRequest) -> dict[str, str]:
    """The parameters as entered, with their defaults; one that is asked for at the start is blank."""
    rows = [f"parameters-{index}-" for index in range(_number_of_lines(request, "parameters"))]
    return {request.POST.get(f"{row}name", "").strip(): request.POST.get(f"{row}default", "") for row in rows}


def _number_of_lines(request: HttpRequest, lines: str = "mappings") -> int:
    total = request.POST.get(f"{lines}-TOTAL_FORMS", "")
    return min(int(total), _MOST_LINES) if total.isdecimal() and len(total) < 5 else 0


def tried_filter(request: HttpRequest, obj: Sync | None) -> tuple[bool, str] | None:
    """What the entered target filter finds, as (worked, words), asked once; None when nobody wants to know."""
    if request.method != "POST" or _TRY not in request.POST:
        return None
    if not hasattr(request, "sync_tried"):
        where = request.POST.get("target_filter", "")
        zone = request.POST.get("time_zone", "UTC")
        tried = offers_of(request, obj).try_filter(where, _defaults(request), zone)
        request.sync_tried = tried  # type: ignore[attr-defined]
    found: tuple[bool, str] = request.sync_tried  # type: ignore[attr-defined]
    return found


def propose(request: HttpRequest, offers: Offers) -> None:
    """Fill the mapping, while nobody has entered a line, with columns and fields of the same name."""
    post: Any = request.POST.copy()
    names = ("source_column", "constant", "expression", "target")
    rows = range(_number_of_lines(request))
    if any(post.get(f"mappings-{index}-{name}") for index in rows for name in names):
        return
    pairs = offers.proposals()
    if not pairs:
        return
    for index in range(len(pairs) + BLANK_LINES):
        for name, value in _usual_line().items():
            post[f"mappings-{index}-{name}"] = value
    for index, (column, target) in enumerate(pairs):
        row = {"position": str(index + 1), "source_column": column, "target": target, "constant": ""}
        for name, value in row.items():
            post[f"mappings-{index}-{name}"] = value
    post["mappings-TOTAL_FORMS"] = str(len(pairs) + BLANK_LINES)
    request.POST = post


def _usual_line() -> dict[str, str]:
    """What a browser sends of a line whose options nobody touched."""
    usual = {
        "takes": "column",
        "when_blank": "leave",
        "write_on": "both",
        "missing_parent": "reject",
        "trim": "on",
        "validated": "on",
    }
    return {**usual, **dict.fromkeys(("too_long", "too_precise", "unknown_picklist"), "reject")}
