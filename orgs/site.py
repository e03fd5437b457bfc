"""The admin site: who may enter it, and in which organization each page of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.http import require_POST
from structlog.contextvars import bound_contextvars

from orgs import current
from orgs.access import Denied
from orgs.login import LoginForm
from orgs.models import Via
from orgs.tenancy import organization_scope, scoped_to_the_end

View = Callable[..., HttpResponseBase]


class SfsyncAdminSite(admin.AdminSite):
    """Django's admin for members of organizations. Each page is shown within one organization."""

    site_header = "sfsync"
    site_title = "sfsync"
    index_title = "Overview"
    site_url = None
    login_form = LoginForm
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Members of an organization, and whoever runs the installation."""
        user: Any = request.user
        return user.is_active and (user.is_superuser or bool(current.organizations_of(user)))

    def admin_view(self, view: View, cacheable: bool = False) -> View:  # type: ignore[override]
        """Every page goes through here: it gets its actor, and the scope of its organization to its last byte."""

        @wraps(view)
        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            asked = [request.path, *(text for name, values in request.GET.lists() for text in (name, *values))]
            if any("\0" in text for text in asked):
                raise Http404  # PostgreSQL knows no such character, and nothing here has it in its name
            actor = current.actor_of(request, Via.ADMIN)
            request.actor = actor  # type: ignore[attr-defined]
            if actor is None:
                return view(request, *args, **kwargs)
            about = bound_contextvars(organization=actor.organization.pk, user=actor.name)
            with organization_scope(actor.organization), about:
                try:
                    elsewhere = self._opened_elsewhere(request)
                    response = elsewhere or view(request, *args, **kwargs)
                except Denied as denied:
                    messages.error(request, str(denied))
                    response = redirect("admin:index")
                return scoped_to_the_end(response, actor.organization)

        return super().admin_view(scoped, cacheable)  # type: ignore[type-var,return-value]

    def _opened_elsewhere(self, request: HttpRequest) -> TemplateResponse | None:
        """The answer to a form that was opened in another organization than the one the session is in now."""
        opened_in = request.POST.get("opened_in", "")
        if not opened_in or opened_in == str(request.actor.organization.pk):  # type: ignore[attr-defined]
            return None
        # Its name is for those only who may switch to it.
        mine = {str(each.pk): each.name for each in current.organizations_of(request.user)}  # type: ignore[arg-type]
        place = mine.get(opened_in, "another organization")
        context = {**self.each_context(request), "title": "Nothing was saved", "opened_in": place}
        return TemplateResponse(request, "orgs/opened_elsewhere.html", context, status=409)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        actor = getattr(request, "actor", None)
        organizations = current.organizations_of(request.user) if actor else []  # type: ignore[arg-type]
        return {**super().each_context(request), "actor": actor, "organizations": organizations}

    def get_urls(self) -> list[URLPattern | URLResolver]:
        choose = require_POST(self.choose_organization)
        # "View on site" would tell of any row whether it exists, and none of ours has a page outside the admin.
        django = [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]
        return [path("organization/", self.admin_view(choose), name="choose_organization"), *django]

    def choose_organization(self, request: HttpRequest) -> HttpResponse:
        """Act in another organization of one's own."""
        chosen = request.POST.get("organization", "")
        if not (chosen.isdecimal() and len(chosen) < 19 and current.choose(request, int(chosen))):
            messages.error(request, "You are not a member of that organization.")
        return redirect("admin:index")
