"""Random jobs, checked against a model: whatever was set, edited and refused before, the org is what it should be.

SFSYNC_SOAK is the number of jobs, and makes them new ones.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from jobs.load import advance_batch
from jobs.models import Job, Status
from jobs.run import run_job
from jobs.start import approve_job, reject_job, start_job, start_undo
from jobs.undoable import why_not
from syncs.engine import lanes
from syncs.engine.plan import Plan
from syncs.models import FieldMapping, Sync
from tests.factories import anybody, make_connection, make_organization, make_sync
from tests.jobs.model import BEHAVIOURS, Line, Model, Settings
from tests.jobs.scenario import make_destination, write_csv
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

JOBS = int(os.environ.get("SFSYNC_SOAK", "100"))
# The same jobs each time, unless somebody looks for new ones.
ALWAYS_THE_SAME = "SFSYNC_SOAK" not in os.environ
JOBS_OF_A_SYNC = 8
# So many of them by a worker that is killed.
KILLED = max(JOBS_OF_A_SYNC, JOBS // 50)
FIELDS = ("External_Id__c", "LastName", "FirstName", "Title", "Department", "Last_Seen__c")
COLUMNS = ("id", "last", "first", "title", "do")
STAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z"
NOBODY = "003000000000999AAA"

# --- what may happen ---

KEYS = (("External_Id__c",),) * 4 + (("LastName", "FirstName"),) * 3 + (("LastName",), ("Id",), ())
TITLES = st.sampled_from(["a", "b", "", "skip", "bad", "bad", "out"])


ODDITIES = st.sampled_from(["", "", "", "", "", "gone", "case", "twin", "no key", "no name", "same name"])


def usual_row(number: int) -> dict[str, str]:
    return {"id": f"k{number}", "last": f"n{number}", "first": "al", "title": "a", "do": "INSERT"}


@st.composite
def rows(draw: st.DrawFn) -> dict[int, dict[str, str] | None]:
    """Changes of the source: by place, the row that stands there now, or None."""
    changed: dict[int, dict[str, str] | None] = {}
    for place in draw(st.lists(st.integers(0, 5), unique=True, max_size=4)):
        odd = draw(ODDITIES)
        row = {
            **usual_row(0 if odd == "twin" else place),
            "first": draw(st.sampled_from(["al", "bo", "Bo", ""])),
            "title": draw(TITLES),
            "do": draw(st.sampled_from(["INSERT", "update", "Delete", "merge", ""] if odd else ["INSERT", "update"])),
        }
        odds = {
            "case": {"id": row["id"].upper(), "last": row["last"].upper()},
            "no key": {"id": ""},
            "no name": {"last": ""},
            "same name": {"last": "x"},
        }
        changed[place] = None if odd == "gone" else {**row, **odds.get(odd, {})}
    return changed


@st.composite
def hands(draw: st.DrawFn) -> list[tuple[str, int, dict[str, str | None]]]:
    """Edits in the org: what is done, to which record or with which key, and fields."""
    edits = []
    for _ in range(draw(st.integers(0, 3))):
        verb, number = draw(st.sampled_from(["update", "delete", "insert"])), draw(st.integers(0, 6))
        fields = {
            "Title": draw(st.sampled_from(["a", "hand", None])),
            "FirstName": draw(st.sampled_from(["al", "bo", None])),
        }
        edits.append((verb, number, fields))
    return edits


@st.composite
def lines(draw: st.DrawFn, key: tuple[str, ...]) -> tuple[Line, ...]:
    """A mapping that fits the key."""
    found = [Line(name, "id") for name in ("External_Id__c", "Id") if key == (name,)]
    plain = draw(st.booleans())
    for target, column in (("LastName", "last"), ("FirstName", "first"), ("Title", "title"), ("Department", "title")):
        if target in key or plain:
            found += [Line(target, column)] if target != "Department" else []
            continue
        if target != "LastName" and draw(st.integers(0, 4)) == 4:
            continue
        blank = draw(st.sampled_from(["leave", "clear", "default"]))
        writes = ["both", "both", "insert", "only_if_empty"] + (["update"] if target != "LastName" else [])
        default = "c" if blank == "default" else ""
        found.append(Line(target, column, blank, default, draw(st.sampled_from(writes))))
    return tuple(found)


@st.composite
def behaviours(draw: st.DrawFn, key: tuple[str, ...]) -> dict[str, Any]:
    """A mode, and what it compares with."""
    if not key:
        return {"mode": "insert", "compare": "nothing", "behaviour": BEHAVIOURS["insert"]}
    by_id = key == ("Id",)
    mode = draw(
        st.sampled_from(
            ["update", "delete", "custom"] if by_id else [*BEHAVIOURS, "upsert", "custom", "custom", "custom"]
        )
    )
    behaviour = BEHAVIOURS.get(mode) or draw(
        st.tuples(
            st.just("ignore") if by_id else st.sampled_from(["insert", "ignore"]),
            st.sampled_from(["update", "conditional", "ignore", "delete"]),
            st.sampled_from(["expire", "delete", "ignore"]),
        ).filter(lambda each: set(each) != {"ignore"})
    )
    compares = ["snapshot", "snapshot", "destination"] + (["nothing"] if behaviour[2] == "ignore" else [])
    compare = draw(st.sampled_from(compares))
    told: dict[str, Any] = {"mode": mode, "behaviour": behaviour, "compare": compare}
    if compare == "nothing" and not by_id:
        told["action_column"] = draw(st.booleans())
    if compare == "destination":
        told["filter"] = draw(st.sampled_from([None, ("Title", "a"), ("FirstName", "al")]))
    if behaviour[1] == "conditional":
        told["rule"] = draw(st.sampled_from([None, "Department", "Title"]))
    return told


@st.composite
def setups(draw: st.DrawFn, key: tuple[str, ...]) -> Settings:
    """Settings of a sync with this key."""
    return Settings(
        key=key,
        lines=draw(lines(key)),
        park_after=draw(st.sampled_from([10, 2, 1, 0])),
        guard_rows=draw(st.sampled_from([100, 100, 1, 0])),
        leaves_out=draw(st.sampled_from([None, "out"])),
        keep_before=draw(st.booleans()),
        **draw(behaviours(key)),
    )


# Most changes of a sync keep its key, so that what is known goes through many jobs.
CHANGES = st.sampled_from(["nothing", "nothing", "nothing", "behaviour", "behaviour", "behaviour", "lines", "all"])
STARTS = st.sampled_from([{}, {}, {}, {}, {}, {"full_resync": True}, {"baseline": True}])
# The calls at which a worker is killed, before or after they have their effect.
CALLS = st.sampled_from(["describe", "composite/sobjects", "/jobs/ingest", "/batches", "Results/?$", "/query", ""])
KILLS = st.tuples(CALLS, st.sampled_from(["hold_before", "hold_after"]), st.integers(1, 2))


# --- the two worlds ---


class Jobs(RuleBasedStateMachine):
    """One sync: each step edits, and runs a job in both worlds. The test gives it its surroundings."""

    sandbox: SandboxProcess
    world: Iterator[Sync]
    settings: Settings
    worker: Worker | None = None
    done = 0

    def __init__(self) -> None:
        super().__init__()
        self.sandbox.reset()
        self.sync = next(self.world)
        self.org, self.hand = OrgReader(self.sandbox), OrgHand(self.sandbox)
        self.model, self.source = Model(), {number: usual_row(number) for number in range(3)}

    @rule(
        data=st.data(),
        change=CHANGES,
        changed=rows(),
        edits=hands(),
        start=STARTS,
        refuses=st.sampled_from([True, True, False]),
        by_bulk=st.booleans(),
        approves=st.booleans(),
        previews=st.sampled_from([False, False, True]),
        kill=KILLS,
        undoes=st.booleans(),
        later=hands(),
    )
    def edit_and_run(
        self,
        data: st.DataObject,
        change: str,
        changed: dict[int, dict[str, str] | None],
        edits: list[Any],
        start: dict[str, bool],
        refuses: bool,
        by_bulk: bool,
        approves: bool,
        previews: bool,
        kill: tuple[str, str, int],
        undoes: bool,
        later: list[Any],
    ) -> None:
        self.change(data, change)
        for verb, number, fields in edits:
            self.edit_by_hand(verb, number, fields)
        self.edit_source(changed)
        self.refuse(refuses)
        if start.get("baseline") and (not self.settings.key or self.settings.compare == "nothing"):
            start = {}
        lanes.FEW_ROWS = 0 if by_bulk else 2_000
        self.sync.refresh_from_db()
        preview = None
        if previews and not self.worker:
            preview = drive(start_job(self.sync, by=anybody(self.sync), preview=True, wake=False, **start))
        job = start_job(self.sync, by=anybody(self.sync), wake=False, **start)
        job = self.drive_and_kill(job, *kill) if self.worker else drive(job)
        if preview is not None:
            assert plan_files(preview) == plan_files(job)
        type(self).done += 1
        self.check(job, approves, start, "bad" if refuses else None)
        # Of a call that was made twice, nobody can tell what the first one found.
        if undoes and not self.worker:
            self.undo(job, later)

    def undo(self, job: Job, edits: list[Any]) -> None:
        """Take the job back, after somebody has worked in the org."""
        self.refuse(False)
        job.refresh_from_db()
        changes = job.status != Status.CANCELLED and bool(self.model.did)
        asks = any(did.what == "updated" for did in self.model.did)
        kept = self.settings.keep_before or self.settings.compare == "destination"
        assert bool(why_not(job)) == (not changes or (asks and not kept)), why_not(job)
        if why_not(job):
            return
        for verb, number, fields in edits:
            self.edit_by_hand(verb, number, fields)
        undo = drive(start_undo(job, by=anybody(job), wake=False))
        if undo.status == Status.WAITING_APPROVAL:
            approve_job(undo, by=anybody(undo), wake=False)
            undo = drive(undo)
        counts, in_part = self.model.undo(remembers=bool((self.sync_now.snapshot or {}).get("path")))
        note("\n    ".join([f"{undo} {undo.status} {undo.reason}", *map(str, self.model.did)]))
        found = {name: count for name, count in undo.counts.items() if isinstance(count, int) and count}
        assert found.pop("violations", 0) == in_part
        assert found == dict(+counts)
        assert undo.status == (Status.PARTIAL if in_part or counts["rejected"] else Status.SUCCEEDED), undo.reason
        check_sums(undo)
        self.check_org()

    @property
    def sync_now(self) -> Sync:
        self.sync.refresh_from_db()
        return self.sync

    def drive_and_kill(self, job: Job, path: str, action: str, nth: int) -> Job:
        """The job by a worker, which is killed in the middle of a call, if the job makes that call.

        Nobody wakes the worker: it finds the job in the database, even where its broker is not up yet.
        """
        assert self.worker is not None
        [fault] = self.sandbox.faults({"action": action, "path": path, "nth": nth, "seconds": 60})[-1:]
        wait_for(lambda: self.holds(fault["id"]) or ended(job), "a held call, or the end")
        if not ended(job):
            self.worker.kill()
            self.sandbox.release(fault["id"])
            self.worker.start()
        return wait_for_end(job)

    def holds(self, fault: str) -> bool:
        return any(each["id"] == fault and each["held"] for each in self.sandbox.fault_rules())

    # --- edits ---

    def change(self, data: st.DataObject, what: str) -> None:
        """Change the sync; another key gives up what is known, as the form does."""
        before: Settings | None = getattr(self, "settings", None)
        if before is None or what == "all":
            settings = data.draw(st.sampled_from(KEYS).flatmap(setups))
        elif what == "behaviour":
            settings = dataclasses.replace(data.draw(setups(before.key)), lines=before.lines)
        elif what == "lines":
            settings = dataclasses.replace(before, lines=data.draw(lines(before.key)))
        else:
            return
        if before and before.key != settings.key:
            self.sync.give_up_snapshot()
            self.model.forget()
        self.settings = settings
        for name, value in columns_of(settings).items():
            setattr(self.sync, name, value)
        self.sync.clean()
        self.sync.save()
        self.sync.mappings.all().delete()
        for position, line in enumerate(settings.lines):
            columns = {"source_column": line.column, "when_blank": line.when_blank, "write_on": line.write_on}
            FieldMapping.all_objects.create(
                organization=self.sync.organization,
                sync=self.sync,
                position=position,
                target=line.target,
                default=line.default,
                **columns,
            )

    def edit_by_hand(self, verb: str, number: int, fields: dict[str, str | None]) -> None:
        ids = sorted(self.model.org)
        if verb == "insert":
            key = None if number > 4 else f"K{number}"
            taken = {(record.get("External_Id__c") or "").lower() for record in self.model.org.values()}
            if key and key.lower() in taken:
                return
            record = {**fields, "LastName": f"n{number % 5}", "External_Id__c": key}
            self.model.org[self.hand.insert("Contact", **record)] = record
        elif ids:
            chosen = ids[number % len(ids)]
            if verb == "delete":
                self.hand.delete("Contact", chosen)
                del self.model.org[chosen]
            else:
                self.hand.update("Contact", chosen, **fields)
                self.model.org[chosen].update(fields)

    def edit_source(self, changed: dict[int, dict[str, str] | None]) -> None:
        self.source.update(changed)  # type: ignore[arg-type]
        self.source = {place: row for place, row in sorted(self.source.items()) if row is not None}
        self.rows = [dict(row) for row in self.source.values()]
        if self.settings.key == ("Id",):
            ids = [*sorted(self.model.org), NOBODY]
            for place, row in zip(self.source, self.rows, strict=True):
                row["id"] = row["id"] and ids[place % len(ids)][: 15 if place % 2 else 18]
        write_csv(
            self.sync.organization, self.sync.source_path, [COLUMNS, *(map(row.get, COLUMNS) for row in self.rows)]
        )

    def refuse(self, refuses: bool) -> None:
        self.sandbox.clear_faults()
        if refuses:
            error = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "times": None}
            rule = {"action": "refuse_rows", "object": "Contact", "field": "Title", "matches": "^bad$"}
            self.sandbox.faults({**rule, **error})

    # --- checks ---

    def check(self, job: Job, approves: bool, start: dict[str, bool], refuses: str | None) -> None:
        assert job.started_at is not None
        waited = job.status == Status.WAITING_APPROVAL
        if waited and not approves:
            reject_job(job, by=anybody(job))
            self.check_org()
            return
        if waited:
            approve_job(job, by=anybody(job))
            job = drive(job)
        now = job.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        told = self.model.job(self.rows, self.settings, now=now, refuses=refuses, **start)
        counts, dropped, deletes = told
        check_sums(job)
        if self.worker:
            # A call that was made twice is told as what it did the second time.
            for each in (counts, job.counts):
                each["updated"] += each.pop("inserted", 0)
            for each in (dropped, job.counts["dropped"]):
                each["deleted"] += each.pop("already_gone", 0)
        note("\n    ".join([f"{job} {job.status} {job.reason} {start}", in_short(self.settings), *self.model.story]))
        found = {name: count for name, count in job.counts.items() if isinstance(count, int) and count}
        assert found == dict(+counts)
        assert {name: count for name, count in job.counts["dropped"].items() if count} == dict(+dropped)
        assert waited == (deletes > self.settings.guard_rows)
        rejected = counts["rejected"] + counts["failed"] + dropped["failed"]
        assert job.status == (Status.PARTIAL if rejected else Status.SUCCEEDED), job.reason
        self.check_org()

    def check_org(self) -> None:
        records = self.org.query(f"SELECT Id, {', '.join(FIELDS)} FROM Contact")
        held = {record.pop("Id"): record for record in records}
        for placeholder in [each for each in self.model.org if each.startswith("new-")]:
            wanted = spelled(self.model.org[placeholder])
            match = next(
                (each for each, record in held.items() if each not in self.model.org and record == wanted), None
            )
            assert match is not None, f"no new record is {wanted}: {held}"
            self.model.named(placeholder, match)
        assert held == {each: spelled(record) for each, record in self.model.org.items()}


def in_short(settings: Settings) -> str:
    """Settings without what is as usual, for people who look at a failure."""
    told = [f"{each.target}<-{each.column} {each.when_blank} {each.write_on}" for each in settings.lines]
    names = ("key", "mode", "compare", "behaviour", "action_column", "filter", "rule", "park_after", "leaves_out")
    return f"{', '.join(told)}; {', '.join(f'{name}={getattr(settings, name)}' for name in names)}"


def spelled(record: dict[str, str | None]) -> dict[str, str | None]:
    return {name: record.get(name) for name in FIELDS}


def columns_of(settings: Settings) -> dict[str, Any]:
    """Settings as the columns of a sync."""
    rule: dict[str, Any] | None = None
    if settings.behaviour[1] == "conditional":
        rule = {"all": [{"left": {"source": "title"}, "operator": "!=", "right": {"value": "skip"}}]}
        if settings.rule:
            rule["all"].append({"left": {"target": settings.rule}, "operator": "is null"})
    custom = settings.behaviour if settings.mode == "custom" else ("", "", "")
    return {
        "key_fields": list(settings.key),
        "mode": settings.mode,
        "compare": settings.compare,
        **dict(zip(("on_new", "on_changed", "on_dropped"), custom, strict=True)),
        "changed_rule": rule,
        "expire_field": "Last_Seen__c" if custom[2] == "expire" else "",
        "action_column": "do" if settings.action_column else "",
        "target_filter": "{} = '{}'".format(*settings.filter) if settings.filter else "",
        "park_after": settings.park_after,
        "guard_rows": settings.guard_rows,
        "keep_before": settings.keep_before,
        "source_filter": f"title IS DISTINCT FROM '{settings.leaves_out}'" if settings.leaves_out else "",
    }


def check_sums(job: Job) -> None:
    """Each row, and each record that left the source, has one outcome."""
    names = (
        "malformed filtered rejected parked unchanged ignored inserted updated deleted restored failed not_sent unknown"
    )
    assert job.counts["read"] == sum(job.counts[name] for name in names.split())
    dropped = dict(job.counts["dropped"])
    assert dropped.pop("dropped") == sum(dropped.values())


def drive(job: Job) -> Job:
    """Work on a job until it has ended or waits for a person; without a pause, so that many jobs fit into a minute."""
    for _ in range(500):
        run_job(job.pk)
        job.refresh_from_db()
        if not job.is_live or job.status == Status.WAITING_APPROVAL:
            return job
        for batch in job.unfinished_batches():
            advance_batch(batch.pk)
    raise AssertionError(f"{job} does not end: {job.status} {job.reason}")


def new_syncs(sandbox: SandboxProcess) -> Iterator[Sync]:
    """Syncs of one organization, each with a file of its own."""
    organization = make_organization()
    connections = {"source": make_connection(organization), "destination": make_destination(organization, sandbox)}
    number = 0
    while True:
        number += 1
        name = f"people-{number}"
        yield make_sync(
            organization, name=name, source_path=f"{name}.csv", object="Contact", mappings={}, **connections
        )


def plan_files(job: Job) -> dict[str, bytes]:
    """The files of a job's plan, by what they are; but for the moment of its start, which expiry stamps."""
    job.refresh_from_db()
    if "plan" not in job.manifests:
        return {}
    plan = Plan.from_json(job.manifests["plan"])
    found = {"rows": plan.rows_file, "errors": plan.errors_file}
    found |= {f"{batch.number} {batch.operation}": batch.file for batch in plan.batches}
    return {name: re.sub(STAMP, b"", path.read_bytes()) for name, path in found.items()}


def ended(job: Job) -> bool:
    """The job has come to its end, or to a person who has to approve it."""
    job.refresh_from_db()
    return not job.is_live or job.status == Status.WAITING_APPROVAL


def check_many(machine: type[Jobs], jobs: int) -> None:
    """Run so many jobs in both worlds."""
    how = settings(
        # Not every example makes use of all its jobs.
        max_examples=max(1, jobs * 9 // (8 * JOBS_OF_A_SYNC)),
        stateful_step_count=JOBS_OF_A_SYNC,
        derandomize=ALWAYS_THE_SAME,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # To shrink a failure takes hundreds of jobs: only where time does not matter.
        phases=[Phase.generate] if ALWAYS_THE_SAME else [Phase.generate, Phase.shrink],
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=how)
    assert machine.done >= 0.9 * jobs


def test_after_each_of_many_random_jobs_the_org_is_what_the_model_says(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FEW_ROWS", lanes.FEW_ROWS)
    check_many(type("Jobs", (Jobs,), {"sandbox": sandbox, "world": new_syncs(sandbox)}), JOBS - KILLED)


def test_jobs_whose_workers_are_killed_end_as_if_nothing_had_happened(sandbox: SandboxProcess) -> None:
    worker = Worker(concurrency=2, SFSYNC_LONGEST_CALL_SECONDS="1")
    try:
        check_many(type("Jobs", (Jobs,), {"sandbox": sandbox, "world": new_syncs(sandbox), "worker": worker}), KILLED)
    finally:
        worker.stop()
