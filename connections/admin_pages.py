"""The pages around a connection's form: tests of it, its objects and fields, tables and columns, and its files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.timesince import timesince
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from connections import discover, uploads
from connections.check import check_connection
from connections.discover import DiscoveryFailed
from connections.models import Connection, ConnectionCheck
from connections.uploads import UploadRefused
from orgs import access
from orgs.models import Permission
from orgs.tenant_admin import TenantAdmin, actor_of

CHANGE = "admin:connections_connection_change"
_MOST_LISTED = 300
_GET_OR_POST = require_http_methods(["GET", "POST"])

View = Callable[..., HttpResponse]


class ConnectionPages(TenantAdmin):
    """What the admin of connections has besides its list and form."""

    @property
    def upload_mb(self) -> str:
        return f"{settings.SFSYNC_UPLOAD_MB:,g}"

    def page_urls(self) -> list[URLPattern]:
        """To be put before Django's own, whose last pattern takes everything."""
        pages: list[tuple[str, str, View]] = [
            # First, since an object may have any name.
            ("fields", "objects/<str:name>/", _GET_OR_POST(self.fields_view)),
            ("check", "check/", require_POST(self.check_view)),
            ("check_log", "checks/<int:check_id>/", require_GET(self.check_log_view)),
            ("objects", "objects/", _GET_OR_POST(self.objects_view)),
            ("tables", "tables/", _GET_OR_POST(self.tables_view)),
            ("upload", "files/", require_POST(self.upload_view)),
            ("delete_file", "files/delete/", require_POST(self.delete_file_view)),
        ]
        site = self.admin_site
        return [
            path(f"<path:object_id>/{route}", site.admin_view(view), name=f"connections_connection_{name}")
            for name, route, view in pages
        ]

    def page_context(self, request: HttpRequest, title: str, obj: Connection | None) -> dict[str, Any]:
        each = self.admin_site.each_context(request)
        return {**each, "title": title, "opts": self.opts, "connection": obj, "media": self.media}

    def _missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """As Django answers an id that never existed; a foreign one is no different."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return answer

    # --- tests ---

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Test the connection; htmx gets the panel, anybody else the connection's page."""
        obj = self.get_object(request, object_id)
        if obj is None:
            return self._missing(request, object_id)
        check = check_connection(obj, by=actor_of(request))
        if request.htmx:  # type: ignore[attr-defined]
            context = {"check": check, "original": obj, "may_execute": True}
            return TemplateResponse(request, "connections/check_panel.html", context)
        return redirect(CHANGE, obj.pk)

    def check_log_view(self, request: HttpRequest, object_id: str, check_id: int) -> HttpResponse:
        obj = self.get_object(request, object_id)
        visible = access.visible(actor_of(request), ConnectionCheck.all_objects.all())
        check = visible.filter(connection=obj, pk=check_id).first() if obj else None
        if check is None:
            return self._missing(request, object_id)
        context = {**self.page_context(request, f"Test of {obj}", obj), "check": check}
        return TemplateResponse(request, "connections/check_log.html", context)

    # --- objects and fields, tables and columns ---

    def objects_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def rows(obj: Connection, refresh: bool) -> list[Any]:
            found = sorted(discover.objects(obj, refresh=refresh), key=lambda each: each.label.lower())
            if not request.GET.get("all"):
                found = [each for each in found if each.createable or each.updateable or each.deletable]
            return [each for each in found if _matches(request, each.label, each.name)]

        return self._listing(request, object_id, "objects", rows)

    def fields_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        def rows(obj: Connection, refresh: bool) -> list[Any]:
            found = discover.describe(obj, name, refresh=refresh).fields.values()
            return [each for each in found if _matches(request, each.label, each.name)]

        return self._listing(request, object_id, "fields", rows, name)

    def tables_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def rows(obj: Connection, refresh: bool) -> list[Any]:
            found = discover.tables(obj, refresh=refresh)
            return [each for each in found if _matches(request, each.name, *each.columns)]

        return self._listing(request, object_id, "tables", rows)

    def _listing(
        self,
        request: HttpRequest,
        object_id: str,
        what: str,
        rows: Callable[[Connection, bool], list[Any]],
        name: str = "",
    ) -> HttpResponse:
        """A searchable list of what a connection answered, with its age; a POST asks the connection anew."""
        obj = self.get_object(request, object_id)
        if obj is None or obj.is_salesforce == (what == "tables"):
            return self._missing(request, object_id)
        access.require(actor_of(request), Permission.EXECUTE, obj)
        title = {"objects": f"Objects of {obj}", "fields": f"Fields of {name}", "tables": f"What {obj} has"}[what]
        context = {**self.page_context(request, title, obj), "name": name, "q": request.GET.get("q", "")}
        try:
            found = rows(obj, request.method == "POST")
            if request.method == "POST":
                return redirect(request.get_full_path())
            context.update(rows=found[:_MOST_LISTED], total=len(found), all=request.GET.get("all", ""))
            context["age"] = _age(discover.fetched_at(obj, f"fields {name}" if name else what))
        except DiscoveryFailed as error:
            context["failed"] = str(error)
        return TemplateResponse(request, f"connections/{what}.html", context)

    # --- files ---

    def upload_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            return self._missing(request, object_id)
        file = request.FILES.get("file")
        if not isinstance(file, UploadedFile):
            messages.error(request, "No file was chosen. Choose one, then upload it.")
            return redirect(CHANGE, obj.pk)
        replace = bool(request.POST.get("replace"))
        try:
            stored = uploads.store_upload(obj, file.name or "", file.chunks(), by=actor_of(request), replace=replace)
            messages.success(request, f"The file '{stored}' was uploaded.")
        except UploadRefused as error:
            messages.error(request, str(error))
        return redirect(CHANGE, obj.pk)

    def delete_file_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks once; what is confirmed is deleted."""
        obj = self.get_object(request, object_id)
        if obj is None:
            return self._missing(request, object_id)
        access.require(actor_of(request), Permission.WRITE, obj)
        name = request.POST.get("path", "")
        if not request.POST.get("confirmed"):
            context = {**self.page_context(request, f"Delete the file '{name}'?", obj), "path": name}
            return TemplateResponse(request, "connections/delete_file.html", context)
        try:
            uploads.delete_file(obj, name, by=actor_of(request))
            messages.success(request, f"The file '{name}' was deleted.")
        except UploadRefused as error:
            messages.error(request, str(error))
        return redirect(CHANGE, obj.pk)


def _age(fetched_at: datetime | None) -> str:
    if fetched_at is None or timezone.now() - fetched_at < timedelta(minutes=1):
        return "just now"
    return f"{timesince(fetched_at)} ago"


def _matches(request: HttpRequest, *texts: str) -> bool:
    wanted = request.GET.get("q", "").strip().lower()
    return any(wanted in text.lower() for text in texts)
