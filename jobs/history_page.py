"""The page of the admin that tells what happened to one record."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import urlencode

from jobs import history
from jobs.errors import JobRefused
from orgs import access
from orgs.tenant_admin import actor_of
from syncs.models import Sync

_CHANGES_A_PAGE = 50


def history_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Asks for a key or a record id, and shows the record's changes, newest first."""
    actor = actor_of(request)
    asked = {name: request.GET.get(name, "")[:500] for name in ("key", "record_id", "sync")}
    number = asked["sync"] if asked["sync"].isdecimal() and len(asked["sync"]) < 19 else ""
    context: dict[str, Any] = {"asked": asked, "after": request.GET.get("after", "")[:100]}
    if asked["key"].strip() or asked["record_id"].strip():
        try:
            context["story"] = history.story(
                actor,
                key=asked["key"],
                record_id=asked["record_id"],
                sync=int(number) if number else None,
                after=context["after"],
                limit=_CHANGES_A_PAGE,
            )
        except JobRefused as error:
            context["trouble"] = str(error)
    context["syncs"] = access.visible(actor, Sync.all_objects.all()).order_by("name").values_list("pk", "name")
    context["query"] = urlencode({name: value for name, value in asked.items() if value})
    context["chosen"] = int(number) if number else None
    context["kept_days"] = actor.organization.history_days
    title = "History of a record"
    return TemplateResponse(request, "jobs/history.html", {**site.each_context(request), "title": title, **context})
