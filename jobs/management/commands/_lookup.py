"""How commands find what is named on their command line."""

from __future__ import annotations

import argparse
import getpass

from django.core.management.base import CommandError, CommandParser

from jobs.models import Job
from orgs.access import Actor, operator
from orgs.models import Organization
from orgs.tenancy import TenantModel
from syncs.models import Sync


def add_sync_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", help="Name of the sync.")
    parser.add_argument("--organization", help="Slug of its organization; needed when several have such a sync.")


def add_parameter_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--parameter",
        action="append",
        type=_name_and_value,
        default=[],
        metavar="NAME=VALUE",
        help="Value of a parameter of the sync; may be given several times.",
    )


def _name_and_value(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE.")
    return name.removeprefix("@"), value


def find_sync(name: str, organization: str | None) -> Sync:
    """The sync with this name. Raises CommandError when there is none, or more than one."""
    syncs = Sync.all_objects.select_related("organization").filter(name=name)
    if organization:
        syncs = syncs.filter(organization__slug=organization)
    found = list(syncs[:20])
    if len(found) == 1:
        return found[0]
    if found:
        slugs = ", ".join(sorted(sync.organization.slug for sync in found))
        raise CommandError(f"Several organizations have a sync '{name}': {slugs}. Say which: --organization SLUG.")
    where = f" in the organization '{organization}'" if organization else ""
    others = Sync.all_objects.order_by("name")
    if organization:
        others = others.filter(organization__slug=organization)
    names = ", ".join(dict.fromkeys(others.values_list("name", flat=True)[:20])) or "none yet"
    raise CommandError(f"There is no sync '{name}'{where}. Syncs: {names}.")


def find_organization(slug: str | None) -> Organization:
    """The organization with this slug; without one, the only one. Raises CommandError when that is not one."""
    found = list(Organization.objects.filter(**({"slug": slug} if slug else {}))[:2])
    if len(found) == 1:
        return found[0]
    slugs = ", ".join(Organization.objects.order_by("slug").values_list("slug", flat=True)[:20]) or "none yet"
    if slug:
        raise CommandError(f"There is no organization '{slug}'. Organizations: {slugs}.")
    raise CommandError(f"Say which organization: --organization SLUG. There are: {slugs}.")


def find_job(pk: int) -> Job:
    """The job with this number. Raises CommandError when there is none."""
    job = Job.all_objects.select_related("sync", "organization").filter(pk=pk).first()
    if job is None:
        raise CommandError(f"There is no job {pk}.")
    return job


def whoever_types(row: TenantModel) -> Actor:
    """Who has a shell here, acting in the organization of `row`."""
    return operator(row.organization, getpass.getuser())
