import getpass
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from jobs import history
from jobs.history import ToldChange
from jobs.management.base import JobCommand
from jobs.management.commands._lookup import find_organization, find_sync
from orgs.access import operator
from syncs.engine.story import FieldChange

_CHANGES_A_PAGE = 200


class Command(JobCommand):
    help = "Shows what jobs did to one record, newest first: when, which fields, from what to what, and the answer."

    def add_arguments(self, parser: CommandParser) -> None:
        wanted = parser.add_mutually_exclusive_group(required=True)
        wanted.add_argument("--key", default="", help="Key of the record, as it reads, in whatever case.")
        wanted.add_argument("--record-id", default="", help="Id of the record, 15 or 18 characters.")
        parser.add_argument("--sync", help="Only changes by the sync of this name.")
        parser.add_argument("--organization", help="Slug of the organization; needed when there are several.")

    def handle(self, *args: Any, **options: Any) -> None:
        sync = find_sync(options["sync"], options["organization"]) if options["sync"] else None
        organization = sync.organization if sync else find_organization(options["organization"])
        asked = {"key": options["key"], "record_id": options["record_id"], "sync": sync.pk if sync else None}
        actor = operator(organization, getpass.getuser())
        after, console, shown = "", Console(soft_wrap=True), 0
        while shown == 0 or after:
            page = history.story(actor, **asked, after=after, limit=_CHANGES_A_PAGE)
            for change in page.changes:
                _show(console, change)
            shown, after = shown + len(page.changes), page.following
            if not shown:
                console.print("No job has sent anything for this record, or none whose history is still kept.")
                return


def _show(console: Console, change: ToldChange) -> None:
    where = f"row {change.row}" if change.row is not None else "left the source"
    line = f"{change.at:%Y-%m-%d %H:%M:%S} UTC, job {change.job} of '{change.sync_name}', {where}: {change.action}, "
    line += f"{change.answer.lower()}. Key {change.key or '-'}, record {change.record_id or '-'}."
    console.print(line, markup=False, highlight=False)
    if change.error:
        console.print(f"    {change.error}", markup=False, highlight=False)
    for field in change.changed_fields:
        console.print(f"    {_field(field)}", markup=False, highlight=False)
    if change.same_fields:
        names = ", ".join(field.name for field in change.same_fields)
        console.print(f"    Sent as it was: {names}", markup=False, highlight=False)


def _field(field: FieldChange) -> str:
    before = "not known" if field.basis == "unknown" else _value(field.before)
    told = " (from as last sent)" if field.basis == "sent" else ""
    return f"{field.name}: {before} -> {_value(field.after)}{told}"


def _value(value: str | None) -> str:
    return "nothing" if value is None else repr(value)
