from __future__ import annotations

from typing import Any

from django.http import FileResponse, HttpResponseBase
from django_filters import rest_framework as filters
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from jobs import exchanges, files, history, plans, results, start
from jobs.api.serializers import (
    BatchSerializer,
    ErrorGroupSerializer,
    EventSerializer,
    ExchangesSerializer,
    HistoryQuery,
    HistorySerializer,
    JobSerializer,
    PlannedRowsSerializer,
    PlanQuery,
    RejectSerializer,
    RowErrorsQuery,
    RowErrorsSerializer,
    RowSerializer,
    TestSerializer,
    UndoSerializer,
)
from jobs.errors import JobRefused
from jobs.models import Batch, ErrorGroup, HistoryFile, Job, JobEvent, Status
from orgs.api.base import ID, Readable, TenantView
from orgs.api.errors import Conflict
from orgs.api.filters import IdFilter
from orgs.api.paging import OldestFirst
from orgs.models import Permission


class JobFilter(filters.FilterSet):
    sync = IdFilter(field_name="sync_id")
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Job
        fields: list[str] = []


class JobView(Readable):
    """Executions of syncs."""

    model = Job
    serializer_class = JobSerializer
    filterset_class = JobFilter
    needs = {
        "cancel": Permission.EXECUTE,
        "approve": Permission.APPROVE,
        "reject": Permission.APPROVE,
        "replay": Permission.EXECUTE,
        "test": Permission.EXECUTE,
        "undo": Permission.EXECUTE,
    }
    slow = frozenset(
        {"plan", "plan_csv", "replay", "test", "undo", "refused_csv", "row_errors", "row_error", "exchanges"}
    )
    answers = {JobRefused: Conflict}
    more_errors = dict.fromkeys(("plan", "plan_csv", "refused_csv", "row_errors", "row_error", "exchanges"), ("409",))

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop the job: nothing new is sent, what was sent is read back."""
        job = self.get_object()
        start.cancel_job(job, by=self.actor)
        return Response(JobSerializer(job).data)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def approve(self, request: Request, pk: str) -> Response:
        """Let a job go on that waits for approval, or behind its canary; exactly what it planned is sent."""
        job = self.get_object()
        start.approve_job(job, by=self.actor)
        return Response(JobSerializer(job).data)

    @extend_schema(request=RejectSerializer, responses=JobSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def reject(self, request: Request, pk: str) -> Response:
        """End a job that waits for approval; nothing is sent, or nothing behind its canary."""
        job = self.get_object()
        start.reject_job(job, by=self.actor, reason=self.input(RejectSerializer)["reason"])
        return Response(JobSerializer(job).data)

    @extend_schema(request=None, responses={201: OpenApiResponse(JobSerializer, "The job that was started.")})
    @action(detail=True, methods=["post"], filterset_class=None)
    def replay(self, request: Request, pk: str) -> Response:
        """Start a job of the same sync that reads nothing but the rows that were refused in this one."""
        job: Any = self.get_object()
        again = start.start_job(job.sync, by=self.actor, replay_of=job)
        return Response(JobSerializer(again).data, status=201)

    @extend_schema(request=TestSerializer, responses={201: OpenApiResponse(JobSerializer, "The job that was started.")})
    @action(detail=True, methods=["post"], filterset_class=None)
    def test(self, request: Request, pk: str) -> Response:
        """Start a job of the same sync that sends one row of what this one read, and keeps the requests and answers."""
        job: Any = self.get_object()
        row = self.input(TestSerializer)["row"]
        test = start.start_job(job.sync, by=self.actor, replay_of=job, test_row=row)
        return Response(JobSerializer(test).data, status=201)

    @extend_schema(responses=ExchangesSerializer)
    @action(detail=True, filterset_class=None, pagination_class=None)
    def exchanges(self, request: Request, pk: str) -> Response:
        """What the test of one row sent, and what Salesforce answered, in order. Of any other job: a conflict."""
        job: Any = self.get_object()
        return Response(ExchangesSerializer({"results": exchanges.exchanges_of(job)}).data)

    @extend_schema(request=UndoSerializer, responses={201: OpenApiResponse(JobSerializer, "The job that was started.")})
    @action(detail=True, methods=["post"], filterset_class=None)
    def undo(self, request: Request, pk: str) -> Response:
        """Start a job that takes back what this one did, as far as nobody changed it since. It waits for approval."""
        job: Any = self.get_object()
        undo = start.start_undo(job, by=self.actor, preview=self.input(UndoSerializer)["preview"])
        return Response(JobSerializer(undo).data, status=201)

    @extend_schema(responses=EventSerializer(many=True))
    @action(detail=True, filterset_class=None, pagination_class=OldestFirst)
    def events(self, request: Request, pk: str) -> Response:
        """What happened to the job, oldest first."""
        return self.page_of(JobEvent.all_objects.filter(job=self.get_object()), EventSerializer, OldestFirst)

    @extend_schema(responses=BatchSerializer(many=True))
    @action(detail=True, filterset_class=None, pagination_class=OldestFirst)
    def batches(self, request: Request, pk: str) -> Response:
        """What is sent together, in order."""
        return self.page_of(Batch.all_objects.filter(job=self.get_object()), BatchSerializer, OldestFirst)

    @extend_schema(responses=ErrorGroupSerializer(many=True))
    @action(detail=True, url_path="error-groups", filterset_class=None, pagination_class=OldestFirst)
    def error_groups(self, request: Request, pk: str) -> Response:
        """Its row errors, those that are alike together."""
        return self.page_of(ErrorGroup.all_objects.filter(job=self.get_object()), ErrorGroupSerializer, OldestFirst)

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True, filterset_class=None, pagination_class=None)
    def log(self, request: Request, pk: str) -> HttpResponseBase:
        """The log of the job as text."""
        path = files.log_path(self.get_object())
        try:
            return FileResponse(path.open("rb"), content_type="text/plain; charset=utf-8")
        except FileNotFoundError:
            raise NotFound("This job has no log, or none any more.") from None

    @extend_schema(operation_id="jobs_plan_list", responses=PlannedRowsSerializer, parameters=[PlanQuery])
    @action(detail=True, filterset_class=None, pagination_class=None)
    def plan(self, request: Request, pk: str) -> Response:
        """What the job is going to do, or was, row by row: each field with what is there and what is sent."""
        job: Any = self.get_object()
        query = PlanQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        limit = asked.pop("page_size")
        page = plans.page(job, **asked, limit=limit)
        here = request.build_absolute_uri()
        following = None if page.following is None else replace_query_param(here, "after", page.following)
        return Response(PlannedRowsSerializer({"next": following, "previous": None, "results": page.rows}).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "What is sent, and what is there.")})
    def plan_csv(self, request: Request, pk: str) -> HttpResponseBase:
        """All that the plan changes, as CSV."""
        job: Any = self.get_object()
        file = plans.open_plan_csv(job)
        return FileResponse(file, content_type="text/csv; charset=utf-8", filename=f"job-{job.pk}-plan.csv")

    @extend_schema(responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "The source's columns, and why.")})
    def refused_csv(self, request: Request, pk: str) -> HttpResponseBase:
        """The refused rows as CSV, to be corrected and loaded again."""
        job: Any = self.get_object()
        file = results.open_refused_rows_csv(job)
        return FileResponse(file, content_type="text/csv; charset=utf-8", filename=f"job-{job.pk}-refused.csv")

    @extend_schema(operation_id="jobs_row_errors_list", responses=RowErrorsSerializer, parameters=[RowErrorsQuery])
    @action(detail=True, url_path="row-errors", filterset_class=None, pagination_class=None)
    def row_errors(self, request: Request, pk: str) -> Response:
        """Its row errors by row of the source, a page of rows at a time; of a job that goes on, those of its plan."""
        job: Any = self.get_object()
        query = RowErrorsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        limit = asked.pop("page_size")
        page = results.row_errors(job, **asked, limit=limit)
        here = request.build_absolute_uri()
        following = None if page.following is None else replace_query_param(here, "after", page.following)
        return Response(RowErrorsSerializer({"next": following, "previous": None, "results": page.errors}).data)

    @extend_schema(responses=RowSerializer, parameters=[OpenApiParameter("row", OpenApiTypes.INT, "path")])
    @action(
        detail=True,
        url_path=f"row-errors/(?P<row>{ID})",
        url_name="row-error",
        filterset_class=None,
        pagination_class=None,
    )
    def row_error(self, request: Request, pk: str, row: str) -> Response:
        """All errors of one row of the source, and the row itself."""
        job: Any = self.get_object()
        errors, cells = results.row_error(job, int(row))
        return Response(RowSerializer({"row": int(row), "errors": errors, "cells": cells}).data)


class HistoryView(TenantView):
    """What jobs did to one record."""

    model = HistoryFile
    serializer_class = HistorySerializer
    filter_backends = []
    pagination_class = None  # type: ignore[assignment]  # its pages are its own
    slow = frozenset({"list"})
    answers = {JobRefused: Conflict}
    more_errors = {"list": ("409",)}

    @extend_schema(
        operation_id="history_list",
        responses=forced_singular_serializer(HistorySerializer),
        parameters=[HistoryQuery],
    )
    def list(self, request: Request) -> Response:
        """The changes of a record, newest first: by its key or its id, of all syncs that may be read."""
        query = HistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        page = history.story(self.actor, limit=asked.pop("page_size"), **asked)
        here = request.build_absolute_uri()
        following = replace_query_param(here, "after", page.following) if page.following else None
        return Response(HistorySerializer({"next": following, "previous": None, "results": page.changes}).data)
