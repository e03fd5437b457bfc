from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from connections import budget, check, discover, kinds, uploads
from connections.api import serializers as shown
from connections.api.serializers import ConnectionSerializer, with_stored_secrets
from connections.models import Connection, ConnectionCheck
from connections.secrets import SecretsUnreadable
from connections.sources.base import Selection
from orgs.api.base import ID, Editable
from orgs.api.errors import Conflict, Unprocessable
from orgs.api.parsers import UploadParser
from orgs.models import Permission

_REFRESH = OpenApiParameter("refresh", OpenApiTypes.BOOL, description="Ask the other system, whatever is kept.")
_CHECK = OpenApiParameter("check", OpenApiTypes.INT, OpenApiParameter.PATH)


class ConnectionFilter(filters.FilterSet):
    name = filters.CharFilter(lookup_expr="icontains")
    kind = filters.ChoiceFilter(choices=kinds.choices())

    class Meta:
        model = Connection
        fields: list[str] = []


@extend_schema_view(
    create=extend_schema(
        examples=[
            OpenApiExample(
                "Semicolon-separated files",
                {"name": "Exports", "kind": "delimited_file", "settings": {"delimiter": ";"}, "for_team": 1},
                request_only=True,
            ),
            OpenApiExample(
                "As it is answered: of secrets, only the names",
                {
                    "id": 3,
                    "name": "Production org",
                    "description": "",
                    "kind": "salesforce",
                    "settings": {"auth_url": "https://login.salesforce.com", "client_id": "3MVG9"},
                    "secrets": ["client_secret"],
                    "settings_version": 2,
                    "salesforce_org_id": "",
                    "created_at": "2026-01-31T08:00:00Z",
                },
                response_only=True,
            ),
        ]
    )
)
class ConnectionView(Editable):
    """How to reach a source or a Salesforce org."""

    model = Connection
    serializer_class = ConnectionSerializer
    filterset_class = ConnectionFilter
    needs = {
        **Editable.needs,
        "check": Permission.EXECUTE,
        "objects": Permission.EXECUTE,
        "fields": Permission.EXECUTE,
        "tables": Permission.EXECUTE,
        "columns": Permission.EXECUTE,
        "count": Permission.EXECUTE,
        "upload": Permission.WRITE,
    }
    slow = frozenset({"check", "objects", "fields", "tables", "columns", "count"})
    answers = {discover.DiscoveryFailed: Unprocessable, SecretsUnreadable: Conflict}
    more_errors = dict.fromkeys(("objects", "fields", "tables", "columns", "count"), ("422",))

    def get_queryset(self) -> QuerySet[Connection]:
        return with_stored_secrets(super().get_queryset())

    @extend_schema(request=None, responses={201: shown.CheckWithLogSerializer})
    @action(detail=True, methods=["post"], filterset_class=None)
    def check(self, request: Request, pk: str) -> Response:
        """Test the connection as it is stored now. A test that fails is an answer too: see `ok`."""
        found = check.check_connection(self.get_object(), by=self.actor)
        return Response(shown.CheckWithLogSerializer(found).data, status=201)

    @extend_schema(responses=shown.CheckSerializer(many=True))
    @action(detail=True, filterset_class=None)
    def checks(self, request: Request, pk: str) -> Response:
        """Its last tests, newest first."""
        return self.page_of(ConnectionCheck.all_objects.filter(connection=self.get_object()), shown.CheckSerializer)

    @extend_schema(responses=shown.CheckWithLogSerializer, parameters=[_CHECK])
    @action(
        detail=True,
        url_path=rf"checks/(?P<check>{ID})",
        url_name="one-check",
        filterset_class=None,
        pagination_class=None,
    )
    def one_check(self, request: Request, pk: str, check: str) -> Response:
        """One test with its log."""
        found = get_object_or_404(ConnectionCheck.all_objects, connection=self.get_object(), pk=check)
        return Response(shown.CheckWithLogSerializer(found).data)

    @extend_schema(responses=shown.BudgetSerializer)
    @action(detail=True, filterset_class=None, pagination_class=None)
    def budget(self, request: Request, pk: str) -> Response:
        """What is used of the limits of its Salesforce org, over all that use it; empty before its first job."""
        return Response(shown.BudgetSerializer({"results": budget.standings(self.get_object())}).data)

    @extend_schema(responses=shown.ObjectsSerializer, parameters=[_REFRESH])
    @action(detail=True, filterset_class=None, pagination_class=None)
    def objects(self, request: Request, pk: str) -> Response:
        """The objects of a Salesforce org that the connected user may see."""
        connection = self.get_object()
        found = discover.objects(connection, refresh=_refresh(request))
        answer = {"fetched_at": discover.fetched_at(connection, "objects"), "results": found}
        return Response(shown.ObjectsSerializer(answer).data)

    @extend_schema(
        responses=shown.FieldsSerializer,
        parameters=[_REFRESH, OpenApiParameter("object", str, OpenApiParameter.PATH, description="Its API name.")],
    )
    @action(
        detail=True,
        url_path=r"objects/(?P<object>[A-Za-z0-9_]{1,100})/fields",
        filterset_class=None,
        pagination_class=None,
    )
    def fields(self, request: Request, pk: str, object: str) -> Response:
        """The fields of one object."""
        connection = self.get_object()
        found = discover.describe(connection, object, refresh=_refresh(request))
        answer = {
            "fetched_at": discover.fetched_at(connection, f"fields {object}"),
            "results": list(found.fields.values()),
        }
        return Response(shown.FieldsSerializer(answer).data)

    @extend_schema(responses=shown.TablesSerializer, parameters=[_REFRESH])
    @action(detail=True, filterset_class=None, pagination_class=None)
    def tables(self, request: Request, pk: str) -> Response:
        """The tables or files of a source, with their columns."""
        connection = self.get_object()
        found = discover.tables(connection, refresh=_refresh(request))
        answer = {"fetched_at": discover.fetched_at(connection, "tables"), "results": found}
        return Response(shown.TablesSerializer(answer).data)

    @extend_schema(responses=shown.ColumnsSerializer, parameters=[_REFRESH, shown.SelectionSerializer])
    @action(detail=True, filterset_class=None, pagination_class=None)
    def columns(self, request: Request, pk: str) -> Response:
        """The columns of what a sync would read."""
        connection = self.get_object()
        given = {
            name: request.query_params[name] for name in ("table", "query", "path") if name in request.query_params
        }
        selection = shown.SelectionSerializer(data=given)
        selection.is_valid(raise_exception=True)
        found = discover.columns(connection, Selection(**selection.validated_data), refresh=_refresh(request))
        return Response({"results": list(found)})

    @extend_schema(request=shown.FilterSerializer, responses=shown.CountSerializer)
    @action(detail=True, methods=["post"], filterset_class=None, pagination_class=None)
    def count(self, request: Request, pk: str) -> Response:
        """Try a target filter: how many records of a Salesforce object meet it. 422 says where it is wrong."""
        connection, asked = self.get_object(), self.input(shown.FilterSerializer)
        found = discover.count(connection, asked["object"], asked["filter"], asked["parameters"], asked["time_zone"])
        return Response({"records": found})

    @extend_schema(responses=shown.StoredFilesSerializer)
    @action(detail=True, filterset_class=None, pagination_class=None)
    def files(self, request: Request, pk: str) -> Response:
        """The files of the organization's folder, for a connection of the kind `delimited_file`."""
        return Response({"results": shown.StoredFileSerializer(self._stored(), many=True).data})

    def _stored(self) -> list[uploads.StoredFile]:
        connection = self.get_object()
        return uploads.stored_files(connection) if connection.kind == uploads.KIND else []

    @extend_schema(request=shown.UploadSerializer, responses={201: shown.UploadedSerializer})
    @files.mapping.post
    def upload(self, request: Request, pk: str) -> Response:
        """Put a file into the organization's folder, for connections of the kind `delimited_file` to read."""
        connection = self.get_object()
        entered = self.input(shown.UploadSerializer)
        file = entered["file"]
        try:
            path = uploads.store_upload(connection, file.name, file.chunks(), by=self.actor, replace=entered["replace"])
        except uploads.UploadRefused as error:
            raise ValidationError({"file": str(error)}) from None
        return Response({"path": path}, status=201)

    def get_parsers(self) -> list[Any]:
        """A file comes as a form, everything else as JSON."""
        # Parsers are chosen before DRF knows the action; while the API is described, only the action is known.
        method = (self.request.method or "").lower() if getattr(self, "request", None) is not None else ""
        action = getattr(self, "action", None) or self.action_map.get(method)
        return [UploadParser()] if action == "upload" else super().get_parsers()


def _refresh(request: Request) -> bool:
    text = request.query_params.get("refresh", "false").lower()
    if text not in ("true", "false"):
        raise ValidationError({"refresh": "Give true or false."})
    return text == "true"
