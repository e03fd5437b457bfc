"""Settings of a sync that do not go together, as far as that can be told without asking its connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from syncs.choices import Compare, Mode, OnChanged, OnDropped
from syncs.shapes import BadShape, check_columns, check_rule
from syncs.spec import Behaviour

if TYPE_CHECKING:
    from syncs.models import Sync

ASSIGNMENT_RULE = re.compile(r"01Q[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?")
Complaint = tuple[str, str]


def complaints(sync: Sync) -> Iterator[Complaint]:
    """What does not go together: pairs of the setting to change and what to say about it."""
    yield from _of_the_selection(sync)
    behaviour = sync.behaviour
    if behaviour is None:
        for name, what in (("on_new", "new"), ("on_changed", "changed"), ("on_dropped", "dropped")):
            if not getattr(sync, name):
                yield name, f"The mode 'custom' has to say what becomes of {what} records. Choose it."
        return
    yield from _of_behaviour(sync, behaviour)
    yield from _of_comparing(sync, behaviour)
    yield from _of_sending(sync, behaviour)


def _of_the_selection(sync: Sync) -> Iterator[Complaint]:
    if sync.source_query and sync.source_filter:
        yield "source_filter", "A query holds its conditions itself. Put this one into the query, and clear it here."
    if sync.source_query and sync.source_rules is not None:
        yield "source_rules", "A query holds its conditions itself. Put them into the query, and remove the rules."
    if sync.source_filter and sync.source_rules is not None:
        yield "source_rules", "Give either a source filter or rules, not both."
    for name, check in (("source_rules", _rules_of_source), ("columns", check_columns)):
        try:
            check(getattr(sync, name))
        except BadShape as error:
            yield name, str(error)


def _rules_of_source(rule: object) -> None:
    if rule is not None:
        check_rule(rule, targets=False)


def _of_behaviour(sync: Sync, behaviour: Behaviour) -> Iterator[Complaint]:
    conditional = behaviour.changed == OnChanged.CONDITIONAL
    if conditional and sync.changed_rule is None:
        yield "changed_rule", "Changed records are updated where a rule holds, but there is no rule. Build it."
    if sync.changed_rule is not None:
        try:
            check_rule(sync.changed_rule, targets=True)
        except BadShape as error:
            yield "changed_rule", str(error)
    if behaviour.dropped == OnDropped.EXPIRE and not sync.expire_field:
        yield "expire_field", "Dropped records expire, but no field is chosen for the date. Choose a date field."
    if sync.mode == Mode.CUSTOM and set(vars(behaviour).values()) == {"ignore"}:
        yield "on_new", "New, changed and dropped records are all ignored, so the sync would do nothing. Change one."
    deletes = "delete" in (behaviour.changed, behaviour.dropped) or sync.action_column
    if sync.hard_delete and not deletes:
        yield "hard_delete", "This sync deletes nothing, so there is nothing to delete for good. Switch it off."


def _of_comparing(sync: Sync, behaviour: Behaviour) -> Iterator[Complaint]:
    nothing = sync.compare == Compare.NOTHING
    if nothing and behaviour.dropped != OnDropped.IGNORE:
        verb = "expires" if behaviour.dropped == OnDropped.EXPIRE else "deletes"
        yield (
            "compare",
            (
                f"The mode '{sync.mode}' {verb} what left the source, and with compare = nothing nobody knows what "
                "that is. Compare with the snapshot or the destination."
            ),
        )
    if sync.action_column and not nothing:
        yield (
            "action_column",
            (
                "An action column says per row what to do, which goes with compare = nothing only. Choose that, or "
                "clear the action column."
            ),
        )
    if sync.target_filter and sync.compare != Compare.DESTINATION:
        yield (
            "target_filter",
            ("A target filter says which records take part in compare = destination. Choose that, or clear it."),
        )
    keyless = nothing and not sync.action_column and (sync.mode == Mode.INSERT or _publishes(sync))
    if not sync.key_fields and not keyless:
        yield (
            "key_fields",
            (
                "Choose the sync key, to know which record a row is. Only the mode 'insert' with compare = nothing "
                "needs none."
            ),
        )


def _of_sending(sync: Sync, behaviour: Behaviour) -> Iterator[Complaint]:
    if sync.auto_assign not in ("off", "default") and not ASSIGNMENT_RULE.fullmatch(sync.auto_assign):
        yield "auto_assign", "Give off, default, or the id of an assignment rule: 15 or 18 characters from 01Q on."
    if _publishes(sync) and (sync.compare != Compare.NOTHING or behaviour != Behaviour("insert", "ignore", "ignore")):
        yield "mode", "Platform events can only be published: choose the mode 'insert' with compare = nothing."


def _publishes(sync: Sync) -> bool:
    return sync.object.lower().endswith("__e")
