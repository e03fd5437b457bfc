"""What a sync's form has to offer: tables or files, columns, objects and fields, as its connections tell them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeVar

from connections import discover
from connections.discover import DiscoveryFailed
from connections.models import Connection
from connections.salesforce.describe import Field, ObjectDescribe
from connections.salesforce.discover import ObjectSummary
from connections.sources.base import Selection, Table
from syncs.engine.families import family_of

_MOST_PARENTS = 10

Answer = TypeVar("Answer")


@dataclasses.dataclass
class Offers:
    """Asked for at most once each, and only when somebody looks.

    source, destination: the connections, or None where the person may not execute on them. selection, object, keys:
    what is chosen so far. lines: of the mapping, pairs of the target and the parent object of its lookup, or "".
    refresh: ask the connections anew. trouble: why something could not be offered, in words.
    """

    source: Connection | None
    destination: Connection | None
    selection: Selection
    object: str
    keys: Sequence[str] = ()
    lines: Sequence[tuple[str, str]] = ()
    refresh: bool = False
    trouble: list[str] = dataclasses.field(default_factory=list)

    @cached_property
    def tables(self) -> list[Table] | None:
        """Tables or files of the source; None when it cannot tell."""
        source = self.source
        if source is None:
            return None
        return self._try(lambda: discover.tables(source, refresh=self.refresh))

    @cached_property
    def columns(self) -> tuple[str, ...] | None:
        """Columns of what is selected; None when nothing is, or the source cannot tell."""
        source, chosen = self.source, self.selection
        if source is None or not (chosen.table or chosen.query or chosen.path):
            return None
        listed = next((each for each in self.tables or [] if each.name == (chosen.table or chosen.path)), None)
        # Whether a filter can be understood is seen only by asking with it.
        if listed is not None and listed.columns and not chosen.filter:
            return listed.columns
        return self._try(lambda: discover.columns(source, chosen, refresh=self.refresh))

    @cached_property
    def objects(self) -> list[ObjectSummary] | None:
        """Objects that the connected user may write, by label, platform events last; None when it cannot tell."""
        destination = self.destination
        if destination is None:
            return None
        found = self._try(lambda: discover.objects(destination, refresh=self.refresh))
        if found is None:
            return None
        writable = (each for each in found if each.createable or each.updateable or each.deletable)
        return sorted(writable, key=lambda each: (each.name.endswith("__e"), each.label.lower()))

    @cached_property
    def describe(self) -> ObjectDescribe | None:
        """The chosen object; None when none is, or Salesforce cannot tell."""
        destination = self.destination
        if destination is None or not self.object:
            return None
        return self._try(lambda: discover.describe(destination, self.object, refresh=self.refresh))

    def describes(self, names: Iterable[str]) -> dict[str, ObjectDescribe]:
        """By API name, those of these objects that Salesforce tells of."""
        destination = self.destination
        if destination is None:
            return {}
        found = {}
        for name in names:
            parent = self._try(partial(discover.describe, destination, name, refresh=self.refresh))
            if parent is not None:
                found[name] = parent
        return found

    @cached_property
    def parents(self) -> dict[str, list[Field]]:
        """Of the parent objects that lines look up: fields by which a record can be found, ids and external ids first.

        A reference to one object only is looked up there, so its fields are offered before anybody chose it.
        """
        if self.describe is None or self.destination is None:
            return {}
        found: dict[str, list[Field]] = {}
        for target, chosen in self.lines:
            field = self.describe.field(target)
            if field is None or field.type != "reference":
                continue
            name = chosen or (field.reference_to[0] if len(field.reference_to) == 1 else "")
            if name and name not in found and len(found) < _MOST_PARENTS:
                found[name] = self._fields_of_parent(name)
        return found

    def _fields_of_parent(self, name: str) -> list[Field]:
        destination = self.destination
        assert destination is not None
        described = self._try(lambda: discover.describe(destination, name, refresh=self.refresh))
        fields = [] if described is None else [*described.fields.values()]
        usable = [each for each in fields if family_of(each.type) is not None and each.type != "textarea"]
        return sorted(usable, key=lambda each: (not (each.external_id or each.id_lookup), each.label.lower()))

    def fields(self) -> list[Field] | None:
        """Fields of the object that a line can be mapped to, the required ones first.

        A field that nobody may write can be a key all the same: the id, and what is chosen as one.
        """
        if self.describe is None:
            return None
        keys = {name.lower() for name in self.keys}
        found = [
            each
            for each in self.describe.fields.values()
            if (each.createable or each.updateable or each.type == "id" or each.name.lower() in keys)
            and family_of(each.type) is not None
        ]
        return sorted(found, key=lambda each: (not each.required_on_insert, each.type == "id", each.label.lower()))

    def try_filter(self, where: str, parameters: Mapping[str, str], time_zone: str) -> tuple[bool, str]:
        """Whether Salesforce takes a condition on the chosen object, and what to tell about that.

        parameters: values by name. time_zone: of their date-times without an offset.
        """
        if self.destination is None or not self.object:
            return False, "Choose an object first."
        try:
            found = discover.count(self.destination, self.object, where, parameters, time_zone)
        except DiscoveryFailed as error:
            before = where[: (error.position or 1) - 1][-30:]
            place = f" The mistake is behind: {before!r}." if error.position and before.strip() else ""
            return False, f"{error}{place}"
        if not where.strip():
            return True, f"Without a filter, all {found:,} records of {self.object} take part."
        records = "1 record meets" if found == 1 else f"{found:,} records meet"
        return True, f"{records} this filter."

    def proposals(self) -> list[tuple[str, str]]:
        """Pairs of a column and the field whose label or API name it has; each field once."""
        by_name: dict[str, str] = {}
        for field in self.fields() or []:
            by_name.setdefault(_plain(field.label), field.name)
        for field in self.fields() or []:
            by_name[_plain(field.name)] = field.name
        pairs: dict[str, str] = {}
        for column in self.columns or ():
            target = by_name.get(_plain(column))
            if target is not None:
                pairs.setdefault(target, column)
        return [(column, target) for target, column in pairs.items()]

    def _try(self, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except DiscoveryFailed as error:
            if str(error) not in self.trouble:
                self.trouble.append(str(error))
            return None


def _plain(name: str) -> str:
    """A name without what people spell differently."""
    return re.sub(r"[\W_]+", "", re.sub(r"__c$", "", name, flags=re.IGNORECASE)).lower()
