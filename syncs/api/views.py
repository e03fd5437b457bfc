from __future__ import annotations

import re
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from connections.secrets import SecretsUnreadable
from jobs import remove, start
from jobs.api.serializers import JobSerializer
from jobs.errors import JobRefused
from jobs.models import Job
from jobs.parked import parked_count, parked_rows, release_parked
from orgs import access, audit
from orgs.api.base import Editable
from orgs.api.errors import Conflict, Unprocessable
from orgs.api.filters import IdFilter
from orgs.models import Permission
from syncs.api.serializers import (
    ParkedRowsQuery,
    ParkedRowsSerializer,
    ProblemsSerializer,
    ReleasedSerializer,
    ReleaseSerializer,
    RunSerializer,
    SyncSerializer,
    with_parts,
)
from syncs.models import Sync
from syncs.offers import Offers
from syncs.problems import problems_of
from syncs.selections import selection_to_look_at

_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Any text of 1 to 200 visible ASCII characters that is new for each start you mean, such as a UUID. "
    "The same key again answers with the same job, with the header `Idempotent-Replayed: true`, and starts nothing.",
)
_EXAMPLE: dict[str, Any] = {
    "name": "Accounts",
    "source": 1,
    "source_path": "accounts.csv",
    "destination": 2,
    "object": "Account",
    "key_fields": ["External_Id__c"],
    "mode": "upsert",
    "mappings": [
        {"target": "External_Id__c", "source_column": "id"},
        {"target": "Name", "source_column": "name", "when_blank": "clear"},
        {"target": "Industry", "constant": "Energy", "write_on": "insert"},
        {"target": "OwnerId", "source_column": "mail", "lookup": {"object": "User", "field": "Email"}},
    ],
    "parameters": [{"name": "country", "default": "DE"}],
    "source_filter": "country = @country",
    "schedule": {"cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin"},
    "for_team": 1,
}


class SyncFilter(filters.FilterSet):
    name = filters.CharFilter(lookup_expr="icontains")
    object = filters.CharFilter(lookup_expr="iexact")
    source = IdFilter(field_name="source_id")
    destination = IdFilter(field_name="destination_id")
    paused = filters.BooleanFilter()

    class Meta:
        model = Sync
        fields: list[str] = []


@extend_schema_view(
    create=extend_schema(examples=[OpenApiExample("A file into accounts", _EXAMPLE, request_only=True)]),
    destroy=extend_schema(
        description="Delete a sync, its jobs and what is known of Salesforce. Not while a job is live."
    ),
)
class SyncView(Editable):
    """What goes where, how rows match, and what to do with them."""

    model = Sync
    serializer_class = SyncSerializer
    filterset_class = SyncFilter
    needs = {
        **Editable.needs,
        "run": Permission.EXECUTE,
        "pause": Permission.WRITE,
        "resume": Permission.WRITE,
        "release": Permission.EXECUTE,
    }
    slow = frozenset({"run", "problems", "parked", "release"})
    answers = {JobRefused: Conflict, SecretsUnreadable: Conflict}
    more_errors = {"run": ("422",), "parked": ("409",)}

    def get_queryset(self) -> QuerySet[Sync]:
        return with_parts(super().get_queryset())

    def perform_destroy(self, instance: Sync) -> None:
        remove.delete_sync(instance, by=self.actor)

    @extend_schema(
        request=RunSerializer,
        parameters=[_KEY],
        responses={
            201: OpenApiResponse(JobSerializer, "The job that was started."),
            200: OpenApiResponse(JobSerializer, "The job that an earlier call with this key started."),
        },
    )
    @action(detail=True, methods=["post"], filterset_class=None)
    def run(self, request: Request, pk: str) -> Response:
        """Start a job of the sync."""
        sync, options = self.get_object(), self.input(RunSerializer)
        key = _key_of(request)
        earlier = self._earlier(key, sync, options)
        if earlier is not None:
            return earlier
        try:
            job = start.start_job(sync, by=self.actor, idempotency_key=key, **options)
        except (IntegrityError, JobRefused):
            # The same call may have been faster on another way.
            earlier = self._earlier(key, sync, options)
            if earlier is None:
                raise
            return earlier
        return Response(JobSerializer(job).data, status=201)

    def _earlier(self, key: str | None, sync: Sync, options: dict[str, Any]) -> Response | None:
        """The answer when a job was started by this key already."""
        known = Job.all_objects.filter(organization=self.actor.organization, idempotency_key=key)
        job = None if key is None else known.first()
        if job is None:
            return None
        names = ("full_resync", "baseline", "preview")
        same = job.sync_id == sync.pk and all(getattr(job, name) == options[name] for name in names)
        if not same or not options["parameters"].items() <= job.parameters.items():
            raise Unprocessable("This Idempotency-Key was used for another start. Take a new one for each.")
        return Response(JobSerializer(job).data, headers={"Idempotent-Replayed": "true"})

    @extend_schema(request=None, responses=SyncSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def pause(self, request: Request, pk: str) -> Response:
        """Let no job start any more, by schedule or by hand. A job that is under way goes on."""
        return self._paused(True)

    @extend_schema(request=None, responses=SyncSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def resume(self, request: Request, pk: str) -> Response:
        """Let jobs start again."""
        return self._paused(False)

    def _paused(self, paused: bool) -> Response:
        sync = self.get_object()
        with transaction.atomic():
            if Sync.all_objects.filter(pk=sync.pk, paused=not paused).update(paused=paused):
                audit.record(self.actor, "paused" if paused else "went on", sync, {"paused": [not paused, paused]})
        sync.paused = paused
        if not access.may(self.actor, Permission.READ, sync):
            return Response(status=204)
        return Response(self.get_serializer(sync).data)

    @extend_schema(operation_id="syncs_parked_list", responses=ParkedRowsSerializer, parameters=[ParkedRowsQuery])
    @action(detail=True, filterset_class=None, pagination_class=None)
    def parked(self, request: Request, pk: str) -> Response:
        """Rows that are left out because Salesforce refused them for good in several jobs in a row, by key."""
        query = ParkedRowsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        page = parked_rows(self.get_object(), search=asked["search"], after=asked["after"], limit=asked["page_size"])
        here = request.build_absolute_uri()
        following = None if page.following is None else replace_query_param(here, "after", page.following)
        return Response(ParkedRowsSerializer({"next": following, "previous": None, "results": page.rows}).data)

    @extend_schema(request=ReleaseSerializer, responses=ReleasedSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def release(self, request: Request, pk: str) -> Response:
        """Let the next job send parked rows again: all, or those with certain keys. Not while a job is live."""
        sync = self.get_object()
        released = release_parked(sync, by=self.actor, keys=self.input(ReleaseSerializer)["keys"])
        sync.refresh_from_db(fields=["snapshot"])
        return Response(ReleasedSerializer({"released": released, "parked": parked_count(sync)}).data)

    @extend_schema(responses=ProblemsSerializer)
    @action(detail=True, filterset_class=None, pagination_class=None)
    def problems(self, request: Request, pk: str) -> Response:
        """What keeps the sync from running, as far as its source and its object tell; empty when nothing does."""
        sync = self.get_object()
        for connection in (sync.source, sync.destination):
            access.require(self.actor, Permission.EXECUTE, connection)
        found = problems_of(sync, Offers(sync.source, sync.destination, selection_to_look_at(sync), sync.object))
        return Response(ProblemsSerializer({"results": found}).data)


def _key_of(request: Request) -> str | None:
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        raise ValidationError({"Idempotency-Key": "Give 1 to 200 visible ASCII characters."})
    return key
