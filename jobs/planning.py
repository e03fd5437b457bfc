"""The planning of a job: source -> stage -> keys read from Salesforce -> plan and batches. Nothing is sent here."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.functional import cached_property

from connections import budget, kinds
from connections.models import Connection
from connections.salesforce.bind import bind
from connections.salesforce.describe import ObjectDescribe
from connections.salesforce.discover import describe_object
from connections.salesforce.tokens import parameters_in
from connections.sessions import salesforce_session
from jobs import exchanges, existing, files, guards
from jobs.before import BeforeImages
from jobs.errors import JobRefused, Misconfigured
from jobs.forecast import budget_guard, forecast
from jobs.leases import Lease
from jobs.lookups import Resolver
from jobs.models import Batch, Job, Status
from jobs.results import results_of
from jobs.states import StatusChanged, note
from syncs.engine import compare, destination, lookups, prepare, replay, snapshot, stage, validate
from syncs.engine.plan import Plan
from syncs.engine.reads import Columns, reads_everything
from syncs.engine.stage import Staged
from syncs.engine.transform import Transform
from syncs.selections import selection_of
from syncs.spec import SyncSpec

log = logging.getLogger("sfsync.jobs")


class Planner:
    """Plans one job, by the holder of its lease. Each stage stands in the job's manifests when it is done."""

    def __init__(self, job: Job, lease: Lease) -> None:
        self.job = job
        self.lease = lease
        self.spec = SyncSpec.from_json(job.spec)
        if job.replay_of_id is not None:
            self.spec = _without_drops(self.spec)
        self.workspace = files.workspace()
        lease.on_lost = self.workspace.interrupt

    def plan(self) -> str:
        """Run the stages that have not run yet. Returns why a person has to approve the plan, or "".

        Raises NotYet while Salesforce is still answering a query, and the errors of the source, of Salesforce and
        of the row engine.
        """
        self._stage("describe", self._describe)
        self._stage("staged", self._read_source)
        self._stage("prepared", self._prepare)
        if lookups.is_needed(self.spec, self.describe, self.read.columns):
            self._stage("lookup_values", lambda: self._resolver().values())
            self._stage("lookups", lambda: self._resolver().resolve())
        self._stage("snapshot", self._pick_snapshot)
        self._stage("keys", self._keys_to_read)
        if parameters_in(self.spec.target_filter):
            self._stage("target_filter", self._bind_target_filter)
        self._stage("existing", self._read_existing)
        if self.spec.compare == "destination":
            self._stage("destination", self._compare_with_destination)
            self._stage("outside_keys", self._keys_outside)
            self._stage("outside", self._read_outside)
        if "plan" not in self.job.manifests:
            self._make_plan()
        self._keep_before()
        plan = Plan.from_json(self.job.manifests["plan"])
        return self._decide(plan, guards.why_wait(self.job, self.spec, plan))

    def _decide(self, plan: Plan, reason: str) -> str:
        """Foresee what the plan costs, and seal it where it waits. Returns why it does.

        reason: a guard's, or "".
        """
        forecast(self.job, self.lease)
        reason = "\n".join(filter(None, [reason, budget_guard(self.job)]))
        if (reason or self.job.canary_rows is not None) and not self.job.preview:
            self._stage("sealed", lambda: guards.seal(plan))
        return reason

    def _stage(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        if name in self.job.manifests:
            return
        self._still_planning(phase=name)
        started = time.monotonic()
        manifest = make()
        self._save_manifest(name, manifest)
        log.info("%s: %s took %.1f s.", self.job, name, time.monotonic() - started)

    def _save_manifest(self, name: str, manifest: dict[str, Any]) -> None:
        self.job.manifests = {**self.job.manifests, name: manifest}
        # Whatever it waited for is over.
        self.job.reason = ""
        self.lease.save(manifests=self.job.manifests, failures=0, reason="")

    def _still_planning(self, **progress: Any) -> None:
        """Write how far it is, and stop here when the job was cancelled meanwhile."""
        self.lease.check()
        self.lease.save(progress=progress)
        if not Job.all_objects.filter(pk=self.job.pk, status=Status.PLANNING).exists():
            raise StatusChanged

    def _telling(self, phase: str) -> Callable[[int], None]:
        """A function that writes how many rows a stage has done, often enough for somebody who watches."""
        last_told = 0.0

        def tell(rows: int) -> None:
            nonlocal last_told
            if time.monotonic() - last_told >= 0.5:
                last_told = time.monotonic()
                self._still_planning(phase=phase, rows=rows)

        return tell

    # --- the stages ---

    def _describe(self) -> dict[str, Any]:
        session = salesforce_session(self.job.destination)
        org_id = session.identity.org_id
        budget.refresh(session)
        described = describe_object(session, self.spec.object)
        parents = {name: describe_object(session, name) for name in lookups.objects_of(self.spec, described)}
        described = dataclasses.replace(described, parents=parents)
        with files.attempt(self.job, "describe") as folder:
            path = folder / "object.json"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(described.to_json(), file)
                file.flush()
                os.fsync(file.fileno())
        Connection.all_objects.filter(pk=self.job.destination_id).update(
            salesforce_org_id=org_id, salesforce_org_key=session.identity.org_key
        )
        self.job.salesforce_org_id = org_id
        versions = [self.job.source.settings_version, self.job.destination.settings_version]
        self.lease.save(salesforce_org_id=org_id, connection_versions=versions)
        return {"path": str(path), "salesforce_org_id": org_id}

    def _bind_target_filter(self) -> dict[str, Any]:
        spec = self.spec
        described = cache(partial(describe_object, salesforce_session(self.job.destination)))
        return {"text": bind(spec.target_filter, spec.parameters, spec.object, described, spec.time_zone).text}

    @cached_property
    def describe(self) -> ObjectDescribe:
        text = Path(self.job.manifests["describe"]["path"]).read_text(encoding="utf-8")
        return ObjectDescribe.from_json(json.loads(text))

    def _read_source(self) -> dict[str, Any]:
        if self.job.replay_of is not None:
            return self._replay(self.job.replay_of)
        source = kinds.open_source(self.job.source)
        with source.read(selection_of(self.spec)) as reading:
            problems = validate.problems(self.spec, self.describe, reading.columns, reading.hint)
            if problems:
                raise Misconfigured(told(problems))
            with files.attempt(self.job, "staged") as folder:
                staged = stage.stage(self.workspace, reading, folder / "rows.parquet", progress=self._telling("staged"))
        log.info("%s: read %d rows from %s.", self.job, staged.rows, reading.name)
        return staged.to_json()

    def _replay(self, other: Job) -> dict[str, Any]:
        """Take the refused rows of another job, or one of its rows, for the source."""
        try:
            before, errors_file = results_of(other)
        except JobRefused as gone:
            raise Misconfigured(str(gone)) from None
        problems = validate.problems(self.spec, self.describe, before.columns, before.hint)
        if problems:
            raise Misconfigured(told(problems))
        with files.attempt(self.job, "staged") as folder:
            to = folder / "rows.parquet"
            if self.job.test_row is None:
                staged = replay.replay(self.workspace, before, errors_file, to)
            else:
                staged = replay.one_row(self.workspace, before, self.job.test_row, to)
        log.info("%s: took %d rows of job %d.", self.job, staged.rows, other.pk)
        return staged.to_json()

    @cached_property
    def read(self) -> Staged:
        """The source as it was read."""
        return Staged.from_json(self.job.manifests["staged"])

    def _prepare(self) -> dict[str, Any]:
        """Filter the rows, and work out what is more than a cell."""
        with files.attempt(self.job, "prepared") as folder:
            prepared = prepare.prepare(
                self.workspace,
                self.spec,
                self.read,
                folder / "rows.parquet",
                job_started_at=self.started_at,
                file_name=self.read.file_name,
                filter_here=not kinds.open_source(self.job.source).filters_itself,
                progress=self._telling("prepared"),
            )
        return prepared.of(self.read).to_json()

    @property
    def started_at(self) -> datetime:
        """When the job began; the same in each attempt."""
        return self.job.started_at or self.job.created_at

    def _resolver(self) -> Resolver:
        prepared = Staged.from_json(self.job.manifests["prepared"])
        return Resolver(self.job, self.lease, self.workspace, self.spec, self.describe, prepared)

    @cached_property
    def staged(self) -> Staged:
        """What the plan is made from: the source with what was worked out of it."""
        manifests = self.job.manifests
        return Staged.from_json(manifests.get("lookups") or manifests["prepared"])

    def _pick_snapshot(self) -> dict[str, Any]:
        """Which snapshot the plan compares with (path), and on which one the outcomes are written (base)."""
        known = self.job.sync.snapshot
        if not known or not self.spec.key_fields:
            return {"path": None, "base": None, "refusals": None}
        reasons = self._why_not(Path(known["path"])) if known.get("path") else ["There is none yet."]
        base = None if reasons else known["path"]
        refusals = known.get("refusals")
        if self.job.compares_with_nothing or self.job.baseline:
            return {"path": None, "base": None if self.job.baseline else base, "refusals": refusals}
        if reasons and known.get("path") and self.spec.compare == "snapshot":
            raise Misconfigured(
                "What Salesforce is known to hold cannot be used, so nothing was sent and nothing deleted: "
                + " ".join(reasons)
                + f" Set the connection right again, or start over with `run_sync '{self.job.sync.name}' --full-resync`"
                " (every row is sent again; nothing is deleted by that job)."
            )
        return {"path": base, "base": base, "refusals": refusals}

    def _why_not(self, path: Path) -> list[str]:
        if not path.exists():
            return ["Its file is gone."]
        return snapshot.check_header(path, self.snapshot_header)

    @property
    def snapshot_header(self) -> snapshot.SnapshotHeader:
        """What the snapshot that this job writes says of itself."""
        return snapshot.SnapshotHeader.of(self.job.salesforce_org_id, self.spec, self.describe)

    def _known_path(self) -> Path | None:
        path = self.job.manifests["snapshot"]["path"]
        return Path(path) if path else None

    @cached_property
    def columns(self) -> Columns:
        """The fields that are read of a record."""
        return Columns.of(self.spec, self.describe, self._transform)

    @property
    def _transform(self) -> Transform:
        return Transform.of(self.spec, self.describe, self.staged.columns)

    def _keys_to_read(self) -> dict[str, Any]:
        if reads_everything(self.spec, self.staged.rows, existing.FEW_KEYS):
            return {"path": None, "count": None}
        with files.attempt(self.job, "keys") as folder:
            path, known = folder / "keys.parquet", self._known_path()
            count = compare.keys_to_read(self.workspace, self.spec, self.describe, self.staged, known, path)
        return {"path": str(path), "count": count}

    def _read_existing(self) -> dict[str, Any]:
        keys, where = self.job.manifests["keys"], ""
        if self.spec.compare == "destination":
            where = self.job.manifests.get("target_filter", {}).get("text", self.spec.target_filter)
        if keys["count"] is None:
            return self._reader("existing").all(self.describe.name, self.columns.paths, where)
        return self._read_by_key("existing", keys, where)

    def _read_by_key(self, name: str, keys: dict[str, Any], where: str = "") -> dict[str, Any]:
        if not keys["count"] and self.spec.compare != "destination":
            return {"path": None}
        key_fields, paths = self.spec.key_fields, self.columns.paths
        return self._reader(name).by_key(self.describe, key_fields, paths, keys, where)

    def _reader(self, name: str) -> existing.Reader:
        return existing.Reader(self.job, self.lease, self.workspace, name)

    def _compare_with_destination(self) -> dict[str, Any]:
        decision = compare.decision_of(self.spec, self.describe, self.staged, None)
        records = Path(self.job.manifests["existing"]["path"])
        with files.attempt(self.job, "destination") as folder:
            found = destination.build(
                self.workspace, decision, self.describe, self.columns, records, self.snapshot_header, folder
            )
        if found.blank:
            note(self.job, f"{found.blank:,} records have no value in the sync key; they take no part.")
        return found.to_json()

    @property
    def _destination(self) -> destination.Destination | None:
        told = self.job.manifests.get("destination")
        return destination.Destination.from_json(told) if told else None

    def _keys_outside(self) -> dict[str, Any]:
        """Rows without a record under the target filter: before one becomes a new record, look outside of it, too."""
        if not self.spec.target_filter or self.spec.behaviour.new == "ignore":
            return {"path": None, "count": 0}
        assert self._destination is not None
        with files.attempt(self.job, "outside_keys") as folder:
            path, known = folder / "keys.parquet", self._destination.path
            count = compare.outside_keys(self.workspace, self.spec, self.describe, self.staged, known, path)
        return {"path": str(path), "count": count}

    def _read_outside(self) -> dict[str, Any]:
        keys = self.job.manifests["outside_keys"]
        return self._read_by_key("outside", keys) if keys["count"] else {"path": None}

    def _key_is_not_unique(self) -> bool:
        keys = [self.describe.field(name) for name in self.spec.key_fields]
        return len(keys) == 1 and keys[0] is not None and not keys[0].unique

    def _inputs(self) -> compare.Inputs:
        def path_of(name: str) -> Path | None:
            path = (self.job.manifests.get(name) or {}).get("path")
            return Path(path) if path else None

        # With compare = destination, what was read is what is known.
        records = None if self._destination else path_of("existing")
        known = None if self._destination else self._known_path()
        refusals = None if self.job.compares_with_nothing or not self.spec.park_after else self._refusals_path()
        # A full resync compares with nothing, but what was stamped before is cleared of rows that came back.
        compares = self._destination or not self.job.compares_with_nothing
        base = None if compares else self.job.manifests["snapshot"]["base"]
        stamped = Path(base) if base and self.spec.behaviour.dropped == "expire" else None
        return compare.Inputs(known, records, refusals, self._destination, path_of("outside"), stamped)

    def _refusals_path(self) -> Path | None:
        told = self.job.manifests["snapshot"].get("refusals")
        return Path(told["path"]) if told and Path(told["path"]).exists() else None

    def _asked(self) -> compare.Asked:
        return compare.Asked(
            baseline=self.job.baseline,
            some_rows=self.job.replay_of_id is not None,
            canary=self.job.canary_rows or 0,
            one_row=self.job.test_row is not None,
            started_at=self.started_at,
        )

    def _make_plan(self) -> None:
        self._still_planning(phase="plan", rows=self.staged.rows)
        with files.attempt(self.job, "plan") as folder:
            plan = compare.plan(
                self.workspace,
                self.spec,
                self.describe,
                self.staged,
                self._inputs(),
                folder,
                "plan",
                asked=self._asked(),
                progress=self._telling("plan"),
            )
        self._keep_plan(plan)
        if self.job.test_row is not None and plan.batches and plan.batches[0].lane == "bulk":
            note(self.job, _why_bulk(self.spec, plan.batches[0].operation))
        if self._key_is_not_unique():
            note(self.job, f"{self.spec.key_fields[0]} is not unique in Salesforce: one batch is sent at a time.")
        if plan.withheld_reason:
            note(self.job, plan.withheld_reason)

    def _keep_plan(self, plan: Plan) -> None:
        """Write the plan's manifest and its batches, in one transaction."""
        batches = [
            Batch(
                organization_id=self.job.organization_id,
                job=self.job,
                number=batch.number,
                lane=batch.lane,
                wave=batch.wave,
                operation=batch.operation,
                rows=batch.rows,
                payload={"path": str(batch.file), "rows": batch.rows, "bytes": batch.bytes},
                # Due at once; workers take it as soon as the job has its turn.
                next_poll_at=timezone.now(),
            )
            for batch in plan.batches
            if not self.job.preview
        ]
        if self.job.test_row is not None and batches:
            self._save_manifest("exchanges", exchanges.new_file(self.job))
        with transaction.atomic():
            Batch.all_objects.bulk_create(batches, batch_size=500)
            self._save_manifest("plan", plan.to_json())
            self.lease.save(serial=self._key_is_not_unique() or self.spec.bulk_serial)
        log.info("%s: planned %s in %d batches.", self.job, plan.counts, len(plan.batches))

    def _keep_before(self) -> None:
        images = BeforeImages(self.job, self.lease, self.workspace, self.spec, self.describe, self._transform)
        if not images.may_be_wanted:
            return
        if not images.were_read:
            self._stage("before_targets", images.targets)
            if not images.is_wanted():
                return
            self._stage("before_by_id", images.read_by_id)
            self._stage("before_by_key", images.read_by_key)
        self._stage("before", images.write)


def _without_drops(spec: SyncSpec) -> SyncSpec:
    """The same sync, for a part of its source: of what is not in that part, nobody knows whether it left."""
    behaviour = dataclasses.replace(spec.behaviour, dropped="ignore")
    return dataclasses.replace(
        spec, mode="upsert" if spec.mode == "mirror" else spec.mode, custom=behaviour if spec.custom else None
    )


def _why_bulk(spec: SyncSpec, operation: str) -> str:
    """Why a row that is tested does not go by a call."""
    if operation == "delete":
        return "The row goes by bulk, in several requests: only bulk deletes past the recycle bin."
    return (
        f"The row goes by bulk, in several requests: the sync has no sync key, so after the lost answer of a call "
        f"nobody could tell whether the {spec.object} was inserted."
    )


def told(problems: list[validate.Problem]) -> str:
    """The problems of a sync, a line each. A way out that several in a row share is told with the last of them."""
    lines = []
    for problem, following in zip_longest(problems, problems[1:]):
        shared = following is not None and following.way_out == problem.way_out
        lines.append(str(dataclasses.replace(problem, way_out="") if shared else problem).rstrip())
    return "\n".join(lines)
