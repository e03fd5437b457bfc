"""A sync of made-up people into the sandbox, to run jobs with."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings

from connections.models import Connection
from jobs.foreground import work_on
from jobs.models import Job
from jobs.start import start_job
from orgs.models import Organization
from syncs.models import Sync
from tests.factories import anybody, make_connection, make_organization, make_sync
from tests.sandbox_process import SandboxProcess

KEYED = {"External_Id__c": "id", "LastName": "last", "FirstName": "first", "Title": "title"}
KEYLESS = {"LastName": "last", "FirstName": "first", "Title": "title"}


def sandbox_values(sandbox: SandboxProcess) -> dict[str, Any]:
    """The settings of a connection to the sandbox."""
    return {
        "auth_url": sandbox.http_url,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "username": sandbox.username,
        "password": sandbox.password,
        "security_token": sandbox.security_token,
    }


def make_destination(organization: Organization, sandbox: SandboxProcess, **changes: Any) -> Connection:
    return make_connection(organization, "salesforce", values=sandbox_values(sandbox), **changes)


def file_of(organization: Organization, name: str) -> Path:
    folder: Path = settings.SFSYNC_FILES / organization.slug
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def write_csv(organization: Organization, name: str, rows: Iterable[Iterable[Any]]) -> Path:
    """Write a source file. The first row is the header."""
    path = file_of(organization, name)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def people(count: int, *, title: str = "Buyer", identical_every: int = 0) -> list[list[str]]:
    """A header and rows; every `identical_every`-th row is the same as the first of its kind."""
    rows = [["id", "last", "first", "title"]]
    for number in range(1, count + 1):
        twin = identical_every and number % identical_every == 0
        last = "Twin" if twin else f"Person {number}"
        rows.append([f"P{number:07}", last, "Ana" if twin else f"First {number % 97}", title])
    return rows


def make_people_sync(sandbox: SandboxProcess, *, organization: Organization | None = None, **changes: Any) -> Sync:
    """A sync of people.csv into Contact; keyed by External_Id__c unless `key_fields` is empty."""
    organization = organization or make_organization()
    values = {
        "name": "People",
        "object": "Contact",
        "source_path": "people.csv",
        "destination": make_destination(organization, sandbox),
        "mappings": KEYED if changes.get("key_fields", ["External_Id__c"]) else KEYLESS,
        **changes,
    }
    return make_sync(organization, **values)


def run(sync: Sync, **options: Any) -> Job:
    """Run a job of the sync in this process, to its end or to the approval it waits for."""
    sync.refresh_from_db()
    return work_on(start_job(sync, by=anybody(sync), wake=False, **options), tell=lambda job: None)


def go_on(job: Job) -> Job:
    """Work on a job that stands still, to its end."""
    job.refresh_from_db()
    return work_on(job, tell=lambda job: None)
