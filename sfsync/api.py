"""The addresses of the REST API, its description, and the page that shows it."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from connections.api.views import ConnectionView
from jobs.api.views import HistoryView, JobView
from orgs.api.base import ID, AlwaysTheSame
from orgs.api.views import GrantView, MemberView, OrganizationView, TeamView
from syncs.api.views import SyncView

router = SimpleRouter()
for _prefix, _view in (
    ("organizations", OrganizationView),
    ("members", MemberView),
    ("teams", TeamView),
    ("grants", GrantView),
    ("connections", ConnectionView),
    ("syncs", SyncView),
    ("jobs", JobView),
    ("history", HistoryView),
):
    router.register(_prefix, _view, basename=f"api-{_prefix}")


class DocsView(SpectacularSwaggerSplitView):
    """The page on which the API can be read and tried, from files of our own."""

    template_name = "api/docs.html"
    url_name = "api-schema"


@extend_schema(exclude=True)
class NothingHere(APIView):
    """Whatever stands below /api/ and is no address of it."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    content_negotiation_class = AlwaysTheSame

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is nothing at this address. Addresses of the API end with a slash.")


urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("v1/docs/", DocsView.as_view(), name="api-docs"),
    re_path(
        rf"^v1/jobs/(?P<pk>{ID})/refused\.csv$",
        JobView.as_view({"get": "refused_csv"}, detail=True),
        name="api-jobs-refused-csv",
    ),
    re_path(
        rf"^v1/jobs/(?P<pk>{ID})/plan\.csv$",
        JobView.as_view({"get": "plan_csv"}, detail=True),
        name="api-jobs-plan-csv",
    ),
    path("v1/", include(router.urls)),
    re_path("^", NothingHere.as_view()),
]
