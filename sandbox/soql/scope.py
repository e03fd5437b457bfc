"""Names of a statement: the objects, fields and parent paths they stand for, and the SQL that reads them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

from lark import Token

from sandbox.rows.relations import lookup_named
from sandbox.rows.rules import literal, name, visible
from sandbox.schema import ID_TYPES, NUMBER_TYPES, TEXT_TYPES, Field, ObjectType, Schema, field_document
from sandbox.soql.tree import Source
from sandbox.wire import SalesforceError

MAX_LEVELS = 5
MAX_PARENTS = 55
ADVICE = (
    "If you are attempting to use a custom {what}, be sure to append the '{suffix}' after the {where} name. Please"
    " reference your WSDL or the describe call for the appropriate names."
)
# What the object Name has of those a polymorphic lookup points to (object reference, "Name").
NAME_FIELDS = (
    ("Id", "id", 18),
    ("Name", "string", 255),
    ("Type", "picklist", 40),
    ("FirstName", "string", 40),
    ("LastName", "string", 80),
    ("Email", "email", 128),
    ("Phone", "phone", 40),
    ("Title", "string", 128),
    ("Username", "string", 80),
    ("Alias", "string", 8),
    ("IsActive", "boolean", 0),
    ("ProfileId", "reference", 18),
)
NAME_OBJECT = ObjectType(
    "Name",
    "",
    {},
    {
        each[0].lower(): Field(field_document({"name": each[0], "type": each[1], "length": each[2]}))
        for each in NAME_FIELDS
    },
    [],
)


@dataclass(frozen=True)
class Expression:
    """Something with a value per row or group: its SQL, its field type, and what messages call it."""

    sql: str
    type: str
    label: str
    scale: int = 0
    folds_case: bool = False
    field: Field | None = None

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES

    @property
    def is_number(self) -> bool:
        return self.type in NUMBER_TYPES

    @property
    def is_id(self) -> bool:
        return self.type in ID_TYPES

    @property
    def key(self) -> str:
        """SQL: the value in the form in which equal values are alike."""
        return f"lower({self.sql})" if self.folds_case else self.sql


@dataclass(frozen=True)
class Reference(Expression):
    """A field by its path: `owner` is the object that has it, `parents` are the joins on the way there."""

    owner: ObjectType = NAME_OBJECT
    parents: tuple[Join, ...] = ()


@dataclass(frozen=True)
class Context:
    """What is the same for all parts of a statement.

    `today` is the org's day; `may_read(object, field)` tells whether a field shows to who asks.
    """

    schema: Schema
    text: str
    today: datetime.date
    deleted_too: bool = False
    user_id: str | None = None
    may_read: Callable[[str, str], bool] | None = None

    def error(self, token: Token, code: str, message: str) -> SalesforceError:
        """An error with its place in the statement, laid out as Salesforce does: line, caret, row and column."""
        line, column = token.line or 1, token.column or 1
        shown = self.text.split("\n")[line - 1]
        layout = f"\n{shown}\n{' ' * (column - 1)}^\nERROR at Row:{line}:Column:{column}\n{message}"
        return SalesforceError(400, code, layout)

    def object(self, token: Token) -> ObjectType:
        """The object of a name; raises INVALID_TYPE."""
        found = self.schema.object_named(str(token))
        if found is None:
            advice = ADVICE.format(what="object", where="entity", suffix="__c")
            raise self.error(token, "INVALID_TYPE", f"sObject type '{token}' is not supported. {advice}")
        return found

    def shows(self, owner: ObjectType, one: Field) -> bool:
        return self.may_read is None or owner is NAME_OBJECT or self.may_read(owner.name, one.name)

    def visible_fields(self, owner: ObjectType) -> list[Field]:
        return [one for one in owner.fields.values() if self.shows(owner, one)]

    def field_of(self, owner: ObjectType, token: Token, given: str) -> Field:
        """The field of an object; raises INVALID_FIELD."""
        found = owner.field_named(given)
        if found is None or not self.shows(owner, found):
            advice = ADVICE.format(what="field", where="custom field", suffix="__c")
            raise self.error(token, "INVALID_FIELD", f"No such column '{given}' on entity '{owner.name}'. {advice}")
        return found


@dataclass(frozen=True)
class Join:
    """A parent that the FROM clause brings in; `key` tells it from the others, `path` are its relationships' names."""

    key: tuple[str, ...]
    alias: str
    path: tuple[str, ...]
    target: ObjectType
    sql: str


@dataclass
class Scope:
    """The object of one SELECT with the parents it reads."""

    context: Context
    target: ObjectType
    aliases: dict[str, list[str]] = field(default_factory=dict)
    joins: dict[tuple[str, ...], Join] = field(default_factory=dict)

    def name_sources(self, sources: list[Source]) -> None:
        """Learn the aliases of FROM: of the object, and of parents as in `FROM Contact c, c.Account a`."""
        self.aliases = {self.target.name.lower(): [], sources[0].name.lower(): []}
        for place, source in enumerate(sources):
            path = [] if place == 0 else self._without_alias(str(source.name).split("."))
            if place:
                self.join(source.name, path)
            if source.alias is not None:
                self.aliases[source.alias.lower()] = path

    def _without_alias(self, parts: list[str]) -> list[str]:
        known = self.aliases.get(parts[0].lower()) if len(parts) > 1 else None
        return parts if known is None else [*known, *parts[1:]]

    def reference(self, token: Token) -> Reference:
        """The field a path leads to. Raises INVALID_FIELD for what is no field or no relationship."""
        *path, last = self._without_alias(str(token).split("."))
        return self._reference(token, path, last, None)

    def reference_from(self, start: Join, token: Token) -> Reference:
        """The field a path leads to that begins at a parent."""
        *path, last = str(token).split(".")
        return self._reference(token, path, last, start)

    def _reference(self, token: Token, path: list[str], last: str, start: Join | None) -> Reference:
        parents = self._walk(token, path, start)
        end = parents[-1] if parents else start
        owner = end.target if end else self.target
        one = self.context.field_of(owner, token, last)
        return self.reference_on(end, one, tuple(parents))

    def reference_on(self, end: Join | None, one: Field, parents: tuple[Join, ...] = ()) -> Reference:
        """A field of the object itself, or of a joined parent."""
        alias, owner, path = (end.alias, end.target, end.path) if end else ("t", self.target, ())
        label = ".".join([*path, one.name])
        return Reference(f"{alias}.{name(one.name)}", one.type, label, one.scale, one.folds_case, one, owner, parents)

    def join(self, token: Token, path: list[str]) -> Join:
        """The parent at the end of a path, joined once."""
        return self._walk(token, path, None)[-1]

    def parents(self, token: Token, path: list[str]) -> list[Join]:
        """All parents of a path, the last of them the object it leads to."""
        return self._walk(token, self._without_alias([*path, ""])[:-1], None)

    def _walk(self, token: Token, path: list[str], start: Join | None) -> list[Join]:
        if len(path) + (len(start.path) if start else 0) > MAX_LEVELS:
            message = f"SOQL statements cannot query more than {MAX_LEVELS} levels of parent relationships."
            raise self.context.error(token, "MALFORMED_QUERY", message)
        found: list[Join] = []
        at = start
        for relationship in path:
            lookup = self.lookup(token, at.target if at else self.target, relationship)
            at = self._joined(token, at, lookup)
            found.append(at)
        return found

    def lookup(self, token: Token, owner: ObjectType, relationship: str) -> Field:
        """The lookup field of a relationship's name."""
        found = lookup_named(owner, relationship)
        if found is None or not self.context.shows(owner, found) or not self._parents(found):
            advice = ADVICE.format(what="relationship", where="custom relationship", suffix="__r")
            message = f"Didn't understand relationship '{relationship}' in field path. {advice}"
            raise self.context.error(token, "INVALID_FIELD", message)
        return found

    def _parents(self, lookup: Field) -> list[ObjectType]:
        found = (self.context.schema.object_named(each) for each in lookup.reference_to)
        return [each for each in found if each is not None]

    def _joined(self, token: Token, above: Join | None, lookup: Field) -> Join:
        """The parent a lookup of the object itself, or of a parent `above`, points to."""
        parents = self._parents(lookup)
        if len(lookup.reference_to) > 1:
            return self._add(token, above, lookup, NAME_OBJECT, lambda: self._names_of(parents))
        return self._add(token, above, lookup, parents[0], lambda: _records_of(parents[0]))

    def join_type(self, token: Token, above: Join | None, lookup: Field, target: ObjectType) -> Join:
        """The parent of a polymorphic lookup, read as one of its objects (for TYPEOF)."""
        return self._add(token, above, lookup, target, lambda: _records_of(target), f":{target.name}")

    def _add(
        self,
        token: Token,
        above: Join | None,
        lookup: Field,
        target: ObjectType,
        source: Callable[[], str],
        kind: str = "",
    ) -> Join:
        relationship = str(lookup.document["relationshipName"])
        key = (*(above.key if above else ()), relationship.lower() + kind)
        if key not in self.joins:
            if len(self.joins) >= MAX_PARENTS:
                message = f"SOQL statements cannot query more than {MAX_PARENTS} parent relationships."
                raise self.context.error(token, "MALFORMED_QUERY", message)
            alias = f"p{len(self.joins) + 1}"
            column = f"{above.alias if above else 't'}.{name(lookup.name)}"
            path = (*(above.path if above else ()), relationship)
            sql = f" LEFT JOIN {source()} AS {alias} ON {alias}.Id = {column}"
            self.joins[key] = Join(key, alias, path, target, sql)
        return self.joins[key]

    def _names_of(self, parents: list[ObjectType]) -> str:
        """SQL: the records of several objects as records of the object Name."""
        selects = []
        for parent in parents:
            columns = [self._name_column(parent, one) for one in NAME_OBJECT.fields.values()]
            selects.append(f"SELECT {', '.join(columns)} FROM {_records_of(parent)}")
        return f"({' UNION ALL '.join(selects)})"

    def _name_column(self, parent: ObjectType, one: Field) -> str:
        if one.name == "Type":
            return f'{literal(parent.name)} AS "Type"'
        found = parent.field_named(one.name)
        if found is None and one.name == "Name":
            found = next((each for each in parent.fields.values() if each.flag("nameField")), None)
        if found is None or not self.context.shows(parent, found):
            return f"CAST(NULL AS {one.sql_type}) AS {name(one.name)}"
        return f"{name(found.name)} AS {name(one.name)}"

    def from_sql(self) -> str:
        """SQL: the object's view with its parents; the columns of the object itself are those of `t`."""
        return f"{name('v_' + self.target.name)} AS t" + "".join(each.sql for each in self.joins.values())

    def live(self) -> str:
        """SQL: the condition that leaves out the recycle bin, and records that do not show to who asks."""
        shown = visible(self.target, "t")
        if self.context.deleted_too:
            return shown
        return "NOT t.IsDeleted" if shown == "true" else f"NOT t.IsDeleted AND {shown}"


def _records_of(parent: ObjectType) -> str:
    """SQL: the records of a parent object that show to who asks."""
    source = name("v_" + parent.name)
    return source if parent.only_owner is None else f"(SELECT * FROM {source} WHERE {visible(parent)})"
