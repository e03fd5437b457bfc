"""One thing to change before a sync can run, and words that several such things share."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

from connections.salesforce.describe import Field
from syncs.spec import SyncSpec


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing to change before a sync can run.

    place: what is wrong, such as a field of the mapping. value: what stands there. reason: why it cannot be.
    way_out: what to do about it.
    """

    place: str
    value: str
    reason: str
    way_out: str

    def __str__(self) -> str:
        shown = f" '{self.value}'" if self.value else ""
        return f"{self.place}{shown}: {self.reason} {self.way_out}"


@dataclasses.dataclass(frozen=True)
class Writes:
    """What a sync may do to records, whatever its rows turn out to be. by: what makes it do so, in words."""

    creates: bool
    updates: bool
    deletes: bool
    by: str

    @classmethod
    def of(cls, spec: SyncSpec) -> Writes:
        """By the behaviours; an action column asks for what its rows say, and rarely for deletes alone."""
        if spec.action_column:
            return cls(True, True, False, f"the action column '{spec.action_column}'")
        behaviour = spec.behaviour
        changes = behaviour.changed in ("update", "conditional")
        return cls(
            creates=behaviour.new == "insert",
            updates=changes or behaviour.dropped == "expire",
            deletes="delete" in (behaviour.changed, behaviour.dropped),
            by=f"the mode '{spec.mode}'",
        )


def kind_of(field: Field) -> str:
    """What a field that cannot be written is, in words."""
    if field.calculated:
        return "a formula field"
    if field.type == "id":
        return "the record's id"
    return "an auto-number field" if field.auto_number else "the field"


def listed(names: Sequence[str], most: int = 30) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def nearest(name: str, names: Sequence[str]) -> str:
    """Asks whether the name that is most like this one was meant; "" when none is like it."""
    folded = {known.lower(): known for known in reversed(names)}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return f"Did you mean '{folded[near[0]]}'?" if near else ""
