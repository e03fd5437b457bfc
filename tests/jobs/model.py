"""What a job does to rows and records, in plain dictionaries: a second opinion, written from what settings mean.

It knows texts only, and one refusal at a time. Records have the ids that Salesforce gave them; one that a job inserts
has `new-<n>` until whoever asks has found out its id.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

Row = dict[str, str]
Key = tuple[str, ...]
Record = dict[str, str | None]
# What a line makes of a blank that is left alone.
ABSENT = "<absent>"
SENT = ("insert", "update", "upsert", "delete")
BEHAVIOURS = {
    "insert": ("insert", "ignore", "ignore"),
    "update": ("ignore", "update", "ignore"),
    "upsert": ("insert", "update", "ignore"),
    "mirror": ("insert", "update", "delete"),
    "delete": ("ignore", "delete", "ignore"),
}


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a mapping: a field, and the column that it takes."""

    target: str
    column: str
    when_blank: str = "leave"
    default: str = ""
    write_on: str = "both"

    def value(self, row: Row) -> str | None:
        """What the line makes of a row: a text, None to clear the field, or ABSENT."""
        text = row[self.column] or (self.default if self.when_blank == "default" else "")
        return text or (None if self.when_blank == "clear" else ABSENT)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a sync. behaviour: what becomes of new, changed and dropped. filter, rule: a field and a value.

    filter: only records that hold the value take part. rule: changed rows update where the row's title is not `skip`
    and, with a field, the record holds nothing there.
    """

    key: Key
    lines: tuple[Line, ...]
    mode: str = "upsert"
    compare: str = "snapshot"
    behaviour: tuple[str, str, str] = BEHAVIOURS["upsert"]
    action_column: bool = False
    filter: tuple[str, str] | None = None
    rule: str | None = None
    park_after: int = 10
    guard_rows: int = 100
    leaves_out: str | None = None
    keep_before: bool = False

    def key_of(self, fields: Record) -> Key | None:
        """A record's key as Salesforce compares it; None when a part of it is blank."""
        parts = [fields.get(name) for name in self.key]
        return tuple(part[:15] if "Id" in self.key else part.lower() for part in parts) if all(parts) else None  # type: ignore[index,union-attr]

    @property
    def compared(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.target not in self.key and line.write_on != "insert")

    @property
    def is_blind(self) -> bool:
        """Each row is a new record."""
        return self.mode == "insert" and self.compare == "nothing" and not self.action_column

    @property
    def upserts(self) -> bool:
        """Salesforce itself finds the records."""
        return (
            self.key == ("External_Id__c",)
            and self.behaviour[:2] == ("insert", "update")
            and not (self.action_column or self.filter)
            and all(line.write_on == "both" for line in self.lines)
        )

    @property
    def reads_values(self) -> bool:
        """It depends on what records hold, whatever is known of them."""
        ruled = self.behaviour[1] == "conditional" and self.rule
        return bool(ruled) or any(line.write_on == "only_if_empty" for line in self.lines)


@dataclasses.dataclass
class Known:
    """What Salesforce is known to hold under a key. A field that is not in `fields` is not known."""

    id: str | None
    state: str = "present"
    fields: Record = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Step:
    """What is to become of a row, or of a known record that left the source (then there is no row)."""

    action: str
    key: Key | None
    row: Row | None = None
    id: str | None = None


@dataclasses.dataclass
class Refused:
    """A row that was refused in its last jobs: in how many, and what it said."""

    jobs: int
    content: Any
    parked: bool


@dataclasses.dataclass
class Did:
    """What a job did to a record: inserted, updated or deleted; what it wrote, and what the record held before."""

    what: str
    id: str
    key: Key | None
    fields: Record
    before: Record


class Model:
    """An org, and what a sync knows of it."""

    def __init__(self) -> None:
        self.org: dict[str, Record] = {}
        self.known: dict[Key, Known] = {}
        self.refused: dict[Key, Refused] = {}
        self.inserted = 0
        self.did: list[Did] = []

    def forget(self) -> None:
        """The snapshot is given up."""
        self.known, self.refused = {}, {}

    # --- a job ---

    def job(
        self,
        source: list[Row],
        settings: Settings,
        *,
        now: str,
        refuses: str | None = None,
        baseline: bool = False,
        full_resync: bool = False,
    ) -> tuple[Counter[str], Counter[str], int]:
        """Do a job: its counts of rows, its counts of dropped records, and how many records it would delete.

        now: what expiry stamps. refuses: rows that would write this into Title are refused.
        """
        self.settings, self.now, self.refuses, self.baseline = settings, now, refuses, baseline
        self.resync, self.read, self.rows = (
            full_resync,
            len(source),
            [row for row in source if row["title"] != settings.leaves_out],
        )
        self.keys = [self._key(row) for row in self.rows]
        self.held = {key for key in self.keys if key is not None}
        self.ambiguous: set[Key] = set()
        self.before = self._known_before()
        self.did = []
        # For people who look at a failure.
        self.story = [f"known before: {self.before}"]
        steps = [self._planned(row, key) for row, key in zip(self.rows, self.keys, strict=True)]
        self._reject_shared(steps)
        steps += self._dropped()
        deletes = sum(step.action == "delete" and step.id is not None for step in steps)
        counts, dropped, outcomes = Counter({"read": len(source)}), Counter[str](), []
        counts["filtered"] = len(source) - len(self.rows)
        for step in steps:
            outcome, fields = self._done(step)
            outcomes.append((step, outcome, fields))
            self.story.append(f"{step.row or 'dropped'} {step.key}: {step.action} {step.id}, {outcome} {fields}")
            if step.row is None:
                dropped.update([{"deleted": "deleted", "updated": "expired", "lost": "failed"}.get(outcome, outcome)])
            else:
                counts.update(
                    [{"already_gone": "deleted", "lost": "failed", "baseline": "unchanged"}.get(outcome, outcome)]
                )
        dropped["dropped"] = sum(dropped.values())
        if settings.key:
            self._remember(outcomes)
            self._count_refusals(outcomes)
        return counts, dropped, deletes

    def _key(self, row: Row) -> Key | None:
        values = {line.target: line.value(row) for line in self.settings.lines if line.target in self.settings.key}
        return self.settings.key_of({name: None if value == ABSENT else value for name, value in values.items()})

    def _known_before(self) -> dict[Key, Known]:
        """What the job compares with, or takes ids from."""
        settings = self.settings
        if not settings.key or settings.is_blind or (settings.compare == "nothing" and settings.upserts):
            return {}
        if settings.compare != "destination":
            return {} if self.baseline or self.resync else self.known
        found: dict[Key, Known] = {}
        for record_id, record in self.org.items():
            key = settings.key_of({**record, "Id": record_id})
            if key is None or not self._takes_part(record):
                continue
            if key in found:
                self.ambiguous.add(key)
            expired = settings.behaviour[2] == "expire" and record.get("Last_Seen__c")
            fields = {line.target: record.get(line.target) for line in settings.compared}
            found[key] = Known(record_id, "expired" if expired else "present", fields)
        return {key: Known(None, "maybe") if key in self.ambiguous else known for key, known in found.items()}

    def _takes_part(self, record: Record) -> bool:
        return self.settings.filter is None or record.get(self.settings.filter[0]) == self.settings.filter[1]

    def _with_key(self, key: Key) -> list[str]:
        settings = self.settings
        return [each for each, record in self.org.items() if settings.key_of({**record, "Id": each}) == key]

    # --- what is to become of a row ---

    def _planned(self, row: Row, key: Key | None) -> Step:
        settings, known = self.settings, self.before.get(key) if key else None
        step = Step("rejected", key, row)
        if settings.key and (key is None or self.keys.count(key) > 1):
            return step
        if any(line.target == "LastName" and line.value(row) is None for line in settings.lines):
            return step
        if settings.action_column and row["do"].lower() not in ("insert", "update", "delete"):
            return step
        found = self._found(row, key, known)
        if len(found) > 1:
            return step
        step.id = found[0] if found else None
        if self.baseline:
            return dataclasses.replace(step, action="baseline")
        wish = self._wish(row, key, known, step.id)
        refused = self.refused.get(key) if key and not self.resync and settings.park_after else None
        confirmed = known is not None and known.state != "maybe"
        if wish in SENT and refused and refused.parked and refused.content == self._content(row):
            wish = "parked"
        elif wish == "insert" or (wish == "upsert" and not confirmed):
            lacks = any(line.target == "LastName" and line.value(row) == ABSENT for line in settings.lines)
            wish = "rejected" if lacks else wish
        return dataclasses.replace(step, action=wish)

    def _found(self, row: Row, key: Key | None, known: Known | None) -> list[str]:
        """The records that a row may be, as far as the job asks."""
        settings = self.settings
        if key is None or settings.is_blind or settings.upserts:
            return []
        told = [known.id] if known and known.id else []
        if settings.compare == "destination":
            return self._with_key(key)[:2] if key in self.ambiguous else told
        if known and known.state != "maybe" and (told or settings.behaviour[1] == "ignore"):
            asks = settings.reads_values and (settings.compare == "nothing" or self._differs(row, known))
            if not asks or settings.action_column and not settings.reads_values:
                return told
        return self._with_key(key) or told

    def _differs(self, row: Row, known: Known, record: Record | None = None) -> bool:
        """Whether the row would write what is not known to be there. record: what is held where only blanks are
        written; None to take such fields for blank."""
        if known.state == "maybe" or (known.state == "expired" and self.settings.behaviour[2] == "expire"):
            return True
        for line in self.settings.compared:
            value = line.value(row)
            writes = record is None or line.write_on != "only_if_empty" or record.get(line.target) is None
            if writes and value != ABSENT and known.fields.get(line.target, ABSENT) != value:
                return True
        return False

    def _wish(self, row: Row, key: Key | None, known: Known | None, record_id: str | None) -> str:
        settings = self.settings
        new, changed, _ = settings.behaviour
        if settings.is_blind:
            return "insert"
        record = self.org.get(record_id or "", {})
        differs = settings.compare == "nothing" or known is None or self._differs(row, known, record)
        if settings.upserts:
            return "upsert" if differs else "unchanged"
        exists = record_id is not None
        if settings.action_column:
            told = row["do"].lower()
            return "ignored" if exists == (told == "insert") else told
        compares = changed in ("update", "conditional")
        if known and known.state != "maybe" and (changed == "ignore" or (compares and not differs)):
            # What was confirmed, or put on record by a baseline, is not asked for again.
            exists = True
        if not exists:
            outside = settings.compare == "destination" and key is not None and self._with_key(key)
            if new == "insert" and outside and len(outside) > 1:
                return "rejected"
            return "ignored" if outside or new == "ignore" else "insert"
        if changed in ("ignore", "delete"):
            return {"ignore": "ignored", "delete": "delete"}[changed]
        if not differs:
            return "unchanged"
        if changed == "conditional":
            held = settings.rule and record.get(settings.rule)
            return "ignored" if held or row["title"] == "skip" else "update"
        return "update"

    def _content(self, row: Row) -> Any:
        lines = (line for line in self.settings.lines if line.target not in self.settings.key)
        return sorted((line.target, str(line.value(row))) for line in lines)

    def _reject_shared(self, steps: list[Step]) -> None:
        """Rows of different keys that lead to one record."""
        if self.baseline:
            return
        leads = Counter(step.id for step in steps if step.id)
        for step in steps:
            if step.id and leads[step.id] > 1:
                step.action = "rejected"

    def _dropped(self) -> list[Step]:
        """What becomes of known records whose key left the source."""
        settings, wish = self.settings, self.settings.behaviour[2]
        gone = [key for key in self.before if key not in self.held]
        if settings.compare == "nothing" or self.baseline or (settings.compare == "destination" and wish == "ignore"):
            return []
        if wish == "ignore":
            return [Step("ignored", key) for key in gone]
        if not self.read or None in self.keys:
            return [Step("withheld", key) for key in gone]
        return [self._leaving(key, self.before[key], wish) for key in gone]

    def _leaving(self, key: Key, known: Known, wish: str) -> Step:
        found, record_id = self._with_key(key), known.id
        if self.settings.compare == "destination" or self.held <= set(self.before):
            found = [] if known.id else found
        elif len(found) == 1 or known.id not in found:
            # A new key beside one that left may be a record that was renamed, so the record is read again.
            record_id = None
        if len(found) > 1 and record_id is None:
            return Step("withheld", key)
        if wish == "expire" and known.state == "expired":
            return Step("ignored", key)
        return Step(wish, key, None, record_id or (found[0] if found else None))

    # --- what becomes of it ---

    def _done(self, step: Step) -> tuple[str, Record]:
        """Send a step; its outcome, and what was written."""
        if step.action not in (*SENT, "expire"):
            return step.action, {}
        if step.action in ("delete", "expire") and step.id is None:
            return "already_gone", {}
        if step.action == "delete":
            held = self.org.pop(step.id or "", None)
            self.did += [Did("deleted", step.id or "", step.key, {}, held)] if held is not None else []
            return "already_gone" if held is None else "deleted", {}
        fields = {"Last_Seen__c": self.now} if step.row is None else self._sent(step.action, step.row, step.id)
        before = self.known.get(step.key) if step.key and self.resync else self.before.get(step.key or ())
        if step.row and step.action != "insert" and before and before.state == "expired":
            fields |= {"Last_Seen__c": None} if self.settings.behaviour[2] == "expire" else {}
        if self.refuses and fields.get("Title") == self.refuses:
            return "failed", fields
        if step.action == "upsert":
            assert step.key is not None
            [step.id] = self._with_key(step.key) or [None]
        if step.action == "insert" or (step.action == "upsert" and step.id is None):
            return self._inserted(step, fields)
        if step.id not in self.org:
            return "lost", fields
        self.did.append(Did("updated", step.id, step.key, fields, dict(self.org[step.id])))
        self.org[step.id].update(fields)
        return "updated", fields

    def _inserted(self, step: Step, fields: Record) -> tuple[str, Record]:
        taken = {(record.get("External_Id__c") or "").lower() for record in self.org.values()} - {""}
        if not fields.get("LastName") or (fields.get("External_Id__c") or "").lower() in taken:
            return "failed", fields
        self.inserted += 1
        step.id = f"new-{self.inserted}"
        self.org[step.id] = fields
        self.did.append(Did("inserted", step.id, step.key, dict(fields), {}))
        return "inserted", fields

    def _sent(self, action: str, row: Row, record_id: str | None) -> Record:
        record, fields = self.org.get(record_id or "", {}), {}
        for line in self.settings.lines:
            skipped = {"insert": ("update",), "update": ("insert",), "upsert": ()}[action]
            is_key = action == "update" and line.target in self.settings.key
            kept = action == "update" and line.write_on == "only_if_empty" and record.get(line.target) is not None
            if line.write_on not in skipped and not is_key and not kept and line.value(row) != ABSENT:
                fields[line.target] = line.value(row)
        return fields

    def _remember(self, outcomes: list[tuple[Step, str, Record]]) -> None:
        """What is known after a job: what was known, and what Salesforce confirmed."""
        names = {line.target for line in self.settings.compared}
        base = {} if self.baseline else self.known
        if self.settings.compare == "destination":
            base = {key: known for key, known in self.before.items() if key in self.held}
        known = {key: Known(each.id, each.state, _only(each.fields, names)) for key, each in base.items()}
        for step, outcome, _ in outcomes:
            if step.key is None:
                continue
            old = known.get(step.key)
            fields = {} if old is None or old.state == "maybe" else old.fields
            if outcome in ("deleted", "already_gone"):
                known.pop(step.key, None)
            elif outcome == "lost" and old:
                known[step.key] = Known(None, "maybe")
            elif step.row is None and outcome == "updated":
                known[step.key] = Known(step.id, "expired", fields)
            elif outcome in ("inserted", "updated", "baseline"):
                assert step.row is not None
                lines = [x for x in self.settings.compared if outcome != "inserted" or x.write_on != "update"]
                told = {line.target: line.value(step.row) for line in lines if line.value(step.row) != ABSENT}
                known[step.key] = Known(step.id, "present", told if outcome == "inserted" else {**fields, **told})
        claimed = {step.id: step.key for step, outcome, _ in outcomes if step.row and outcome == "updated"}
        self.known = {key: each for key, each in known.items() if claimed.get(each.id, key) == key}

    def _count_refusals(self, outcomes: list[tuple[Step, str, Record]]) -> None:
        refused, park_after = {}, self.settings.park_after
        for step, outcome, _ in outcomes:
            if step.row is None or step.key is None:
                continue
            before = self.refused.get(step.key)
            if outcome in ("failed", "lost"):
                jobs = before.jobs + 1 if before else 1
                parked = bool(park_after) and jobs >= park_after
                refused[step.key] = Refused(jobs, self._content(step.row), parked)
            elif before and outcome in ("parked", "rejected"):
                refused[step.key] = dataclasses.replace(before, parked=before.parked and bool(park_after))
        self.refused = refused

    # --- taking it back ---

    def undo(self, *, remembers: bool) -> tuple[Counter[str], int]:
        """Take back what the last job did: what became of each record, and how many went back only in part.

        remembers: there is something that is known of the org.
        """
        counts, in_part = Counter({"read": len(self.did)}), 0
        for did in self.did:
            held = self.org.get(did.id)
            outcome, changed = self._taken_back(did, held)
            counts[outcome] += 1
            in_part += outcome == "updated" and changed
            if remembers and outcome in ("updated", "deleted", "restored"):
                self._unsure(did, gone=outcome == "deleted")
        return counts, in_part

    def _taken_back(self, did: Did, held: Record | None) -> tuple[str, bool]:
        if did.what == "deleted":
            self.org[did.id] = did.before
            return "restored", False
        if did.what == "inserted":
            if held is None:
                return "unchanged", False
            if any(held.get(name) != value for name, value in did.fields.items()):
                return "rejected", True
            del self.org[did.id]
            return "deleted", False
        if held is None:
            return "rejected", True
        wrote = {name: value for name, value in did.fields.items() if value != did.before.get(name)}
        back = {name: did.before.get(name) for name, value in wrote.items() if held.get(name) == value}
        changed = any(held.get(name) not in (value, did.before.get(name)) for name, value in wrote.items())
        held.update(back)
        return "updated" if back else "rejected" if changed else "unchanged", changed

    def _unsure(self, did: Did, *, gone: bool) -> None:
        """Nothing is known any more of a record but that it is there, or not."""
        for key in [key for key, known in self.known.items() if known.id == did.id]:
            if gone:
                del self.known[key]
            else:
                self.known[key] = Known(did.id, "maybe")
        if did.key is not None and not gone:
            known = self.known.get(did.key)
            self.known[did.key] = Known(did.id if known is None or known.id == did.id else None, "maybe")

    def named(self, placeholder: str, record_id: str) -> None:
        """Tell the id of a record that a job inserted."""
        self.org[record_id] = self.org.pop(placeholder)
        for did in self.did:
            did.id = record_id if did.id == placeholder else did.id
        for known in self.known.values():
            known.id = record_id if known.id == placeholder else known.id


def _only(fields: Record, names: set[str]) -> Record:
    return {name: value for name, value in fields.items() if name in names}
