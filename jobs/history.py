"""What happened to one record, over all jobs of all syncs that somebody may read."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import duckdb

from jobs import files
from jobs.errors import JobRefused
from jobs.history_files import kept_since
from jobs.models import HistoryFile, Job
from orgs import access
from orgs.access import Actor
from syncs.engine import story as engine
from syncs.engine.errors import EngineError
from syncs.engine.story import Change, FieldChange, Files
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")

RECORD_ID = re.compile("[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
# Whoever looks while files are merged looks again; each time there are other files.
_LOOKS = 5
_ANSWERS = {
    "inserted": "Inserted",
    "updated": "Updated",
    "deleted": "Deleted",
    "expired": "Expired",
    "restored": "Restored",
    "already_gone": "Already gone",
    "failed": "Refused",
    "unknown": "Unknown",
}


@dataclasses.dataclass(frozen=True)
class ToldChange(Change):
    """A change, with the name of its sync, and whether its job is still there."""

    sync_name: str
    has_job: bool

    @property
    def answer(self) -> str:
        """What Salesforce said, in a word."""
        return _ANSWERS.get(self.outcome, self.outcome)

    @property
    def changed_fields(self) -> tuple[FieldChange, ...]:
        """The fields whose value became another one, or may have."""
        return tuple(field for field in self.fields if field.changed is not False)

    @property
    def same_fields(self) -> tuple[FieldChange, ...]:
        """The fields that were sent as they were."""
        return tuple(field for field in self.fields if field.changed is False)


@dataclasses.dataclass(frozen=True)
class Story:
    """A page of changes, newest first. following: what to go on after, or "" at the end."""

    changes: tuple[ToldChange, ...]
    following: str


def story(
    actor: Actor, *, key: str = "", record_id: str = "", sync: int | None = None, after: str = "", limit: int = 50
) -> Story:
    """The changes of one record, by its key in whatever case or by its id, of the syncs that the actor may read.

    sync: only of this one. after: as the page before said. limit: changes of a page. Raises JobRefused for a question
    that makes no sense, and when the files cannot be read now.
    """
    key, record_id = key.strip(), record_id.strip()
    if bool(key) == bool(record_id):
        raise JobRefused("Ask for a key or for a record id, one of them.")
    if record_id and not RECORD_ID.fullmatch(record_id):
        raise JobRefused(f"'{record_id[:50]}' is no record id: those have 15 or 18 letters and digits.")
    workspace, since = files.workspace(threads=1), kept_since(actor.organization)

    def look(there: Files) -> engine.Story:
        if key:
            return engine.story_of_key(workspace, there, key, since=since, after=after, limit=limit)
        return engine.story_of_id(workspace, there, record_id, since=since, after=after, limit=limit)

    try:
        found = _looked(actor, sync, look)
    except engine.BadPlace as error:
        raise JobRefused(str(error)) from None
    except EngineError as error:  # a full disk, or too little memory: its message says so
        raise JobRefused(f"The history cannot be shown now. {error}") from None
    except (duckdb.Error, OSError) as error:
        log.exception("History of %s cannot be read: %s", actor.organization, error)
        raise JobRefused("The history cannot be shown: one of its files is damaged. The log says which.") from None
    return _told(found)


def _looked(actor: Actor, sync: int | None, look: Callable[[Files], engine.Story]) -> engine.Story:
    """Look into the files that there are. One that is gone although a row names it is left out at last."""
    for _ in range(_LOOKS):
        try:
            return look(_files(actor, sync))
        except (FileNotFoundError, duckdb.IOException):
            continue
    there = _files(actor, sync)
    gone = [path for paths in there.values() for path in paths if not path.exists()]
    if gone:
        log.error("Files of history are gone, so it is told without them: %s", ", ".join(map(str, gone)))
    return look({number: [path for path in paths if path not in gone] for number, paths in there.items()})


def _files(actor: Actor, sync: int | None) -> Files:
    rows = access.visible(actor, HistoryFile.all_objects.all())
    if sync is not None:
        rows = rows.filter(sync_id=sync)
    since = kept_since(actor.organization)
    if since is not None:
        rows = rows.filter(newest__gte=since)
    found: dict[int, list[Path]] = defaultdict(list)
    for number, path in rows.values_list("sync_id", "path"):
        found[number].append(Path(path))
    return found


def _told(found: engine.Story) -> Story:
    names = dict(Sync.all_objects.filter(pk__in={change.sync for change in found.changes}).values_list("pk", "name"))
    numbers = {change.job for change in found.changes}
    jobs = set(Job.all_objects.filter(pk__in=numbers).values_list("pk", flat=True))
    changes = (
        ToldChange(
            **{field.name: getattr(change, field.name) for field in dataclasses.fields(change)},
            sync_name=names.get(change.sync, f"sync {change.sync}"),
            has_job=change.job in jobs,
        )
        for change in found.changes
    )
    return Story(tuple(changes), found.following)
