"""Pages of objects: all of them, one with its records or its fields."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows.rules import name
from sandbox.schema import Field, ObjectType
from sandbox.web import layout
from sandbox.web.html import Html, code, html, link, number, tag
from sandbox.web.layout import address
from sandbox.wire import not_found, plain_number, timestamp

SIZE = 50
MAX_COLUMNS = 12
# Columns of a list that say little about most records.
QUIET = frozenset({"IsDeleted", "CreatedById", "LastModifiedById", "LastModifiedDate", "SystemModstamp", "OwnerId"})


def index(org: Org, call: Call) -> Answer:
    """GET objects[?q=]: all objects, those with records first."""
    wanted = call.query.get("q", "")
    search = layout.form(
        f"{layout.VIEW}/objects",
        layout.entry("Name", "q", wanted, type="search", autocomplete="off"),
        layout.button("Search"),
        method="get",
        class_="row",
    )
    return layout.page(org, call, "Objects", search, live=_listed(org, wanted))


def _listed(org: Org, wanted: str) -> Html:
    counts = org.store.counts()
    text = wanted.lower()
    found = [each for each in org.schema if text in each.name.lower() or text in str(_label(each)).lower()]
    found.sort(key=lambda each: (not any(counts[each.name]), each.name.lower()))
    rows = [
        [
            link(address("objects", each.name), each.name),
            _label(each),
            code(each.key_prefix),
            link(address("objects", each.name, show="fields"), number(len(each.fields))),
            number(counts[each.name][0]),
            number(counts[each.name][1]) if counts[each.name][1] else "",
        ]
        for each in found
    ]
    if not rows:
        return layout.none_yet("No object is called so.")
    heads = ("Object", "Label", "Key prefix", "Fields", "Records", "In the recycle bin")
    return layout.table(heads, rows, right=(3, 4, 5))


def _label(target: ObjectType) -> Any:
    return target.facts.get("label", target.name.removesuffix("__c").replace("_", " "))


def show(org: Org, call: Call) -> Answer:
    """GET objects/NAME: its records; with `show=fields` its fields."""
    target = object_of(org, call)
    fields_shown = call.query.get("show") == "fields"
    live, deleted = org.store.counts()[target.name]
    tabs = [
        link(address("objects", target.name), f"Records {live:,}", aria_current=None if fields_shown else "page"),
        link(
            address("objects", target.name, show="fields"),
            f"Fields {len(target.fields):,}",
            aria_current="page" if fields_shown else None,
        ),
    ]
    crumbs = tag("p", link(f"{layout.VIEW}/objects", "Objects"), " / ", _label(target), class_="crumbs")
    head = html(crumbs, tag("nav", tabs, class_="tabs", aria_label="Parts"))
    if fields_shown:
        return layout.page(org, call, target.name, head, _fields(target))
    view = RecordList(org, target, call)
    return layout.page(org, call, target.name, head, view.controls(deleted), live=view.rows())


def object_of(org: Org, call: Call) -> ObjectType:
    """The object that the path names.

    Raises SalesforceError: 404.
    """
    target = org.schema.object_named(call.arguments["object"])
    if target is None:
        raise not_found()
    return target


def _fields(target: ObjectType) -> Html:
    rows = [
        [code(each.name), each.label, _type(each), _values(each), ", ".join(_marks(each))]
        for each in target.fields.values()
    ]
    return layout.table(("Field", "Label", "Type", "Values or parents", "Properties"), rows)


def _type(each: Field) -> str:
    if each.is_number and each.type != "int":
        return f"{each.type} ({each.precision - each.scale}, {each.scale})"
    return f"{each.type} ({each.length:,})" if each.is_text and each.length else each.type


def _values(each: Field) -> Any:
    if each.reference_to:
        return [[link(address("objects", parent), parent), " "] for parent in each.reference_to]
    values = each.active_values
    return tag("span", ", ".join(values), title=", ".join(values)) if values else ""


def _marks(each: Field) -> list[str]:
    marks = ["required"] if each.required_on_insert else []
    named = {"externalId": "external id", "unique": "unique", "calculated": "formula", "autoNumber": "auto number"}
    marks += [told for key, told in named.items() if each.flag(key)]
    if not each.flag("createable") and not each.flag("updateable"):
        marks.append("read-only")
    return marks + (["restricted picklist"] if each.flag("restrictedPicklist") else [])


class RecordList:
    """One page of an object's records, as searched, filtered and sorted by the query of the call."""

    def __init__(self, org: Org, target: ObjectType, call: Call) -> None:
        self.org = org
        self.target = target
        self.fields = [each for each in target.fields.values() if each.type != "address"]
        self.text = call.query.get("q", "")
        self.deleted = call.query.get("deleted") == "1"
        self.page = layout.page_number(call)
        self.sort = target.field_named(call.query.get("sort", ""))
        self.downwards = call.query.get("dir") == "desc"
        self.filter = target.field_named(call.query.get("field", ""))
        self.value = call.query.get("value", "")

    def controls(self, deleted: int) -> Html:
        """The form that searches."""
        hidden = [
            tag("input", type="hidden", name=key, value=value)
            for key, value in (("field", self.filter.name if self.filter else ""), ("value", self.value))
            if value
        ]
        tick = tag("input", type="checkbox", name="deleted", value="1", checked=self.deleted)
        bin_label = tag("label", tag("span", f"Recycle bin ({deleted:,})"), tick, class_="tick")
        search = layout.entry("Search in all text", "q", self.text, type="search", autocomplete="off")
        note = None
        if self.filter:
            clear = link(address("objects", self.target.name), "show all")
            note = tag("p", "Where ", code(self.filter.name), " is ", code(self.value), ": ", clear)
        parts = (hidden, search, bin_label, layout.button("Search"))
        return html(note, layout.form(address("objects", self.target.name), *parts, method="get", class_="row"))

    def rows(self) -> Html:
        """The records of the page."""
        where, given = self._where()
        source = name(f"v_{self.target.name}")
        total = self.org.store.rows(f"SELECT count(*) FROM {source} WHERE {where}", given)[0][0]
        self.page = min(self.page, max(1, -(-total // SIZE)))
        columns = ", ".join(name(each.name) for each in self.fields)
        sql = f"SELECT {columns} FROM {source} WHERE {where} ORDER BY {self._order()}"
        found = self.org.store.rows(f"{sql} LIMIT {SIZE} OFFSET {(self.page - 1) * SIZE}", given)
        if not found:
            return layout.none_yet("No records." if self.text or self.filter or self.deleted else "No records yet.")
        shown = self._worth_showing(found)
        heads = [self._head(self.fields[place]) for place in shown]
        rows = [[self._cell(row, place) for place in shown] for row in found]
        right = [at for at, place in enumerate(shown) if self.fields[place].is_number]
        pager = layout.pager(self.page, SIZE, total, lambda page: self._address(page=page))
        return html(layout.table(heads, rows, right=right), pager)

    def _where(self) -> tuple[str, list[Any]]:
        parts, given = ["IsDeleted" if self.deleted else "NOT IsDeleted"], []
        if self.filter:
            parts.append(f"CAST({name(self.filter.name)} AS VARCHAR) = ?")
            given.append(self.value)
        if self.text:
            texts = [each for each in self.fields if each.is_text or each.is_id]
            parts.append("(" + " OR ".join(f"contains(lower({name(each.name)}), lower(?))" for each in texts) + ")")
            given += [self.text] * len(texts)
        return " AND ".join(parts), given

    def _order(self) -> str:
        if self.sort is None or self.sort.type == "address":
            return '"CreatedDate" DESC, "Id" DESC'
        return f'{name(self.sort.name)} {"DESC" if self.downwards else "ASC"} NULLS LAST, "Id"'

    def _worth_showing(self, rows: list[tuple[Any, ...]]) -> list[int]:
        """The columns that tell something about these records: id and name first, empty ones not at all."""
        chosen = [place for place, each in enumerate(self.fields) if each.name == "Id" or each.flag("nameField")]
        for place, each in enumerate(self.fields):
            quiet = each.name in QUIET or each.name.endswith("GeocodeAccuracy")
            told = any(row[place] not in (None, False) for row in rows)
            if place not in chosen and (each is self.sort or (told and not quiet)):
                chosen.append(place)
        return chosen[:MAX_COLUMNS]

    def _head(self, each: Field) -> Html:
        again = self.sort is each and not self.downwards
        arrow = (" ↓" if self.downwards else " ↑") if self.sort is each else ""
        return link(self._address(sort=each.name, dir="desc" if again else ""), each.name, arrow, title=each.label)

    def _address(self, **changes: Any) -> str:
        state = {
            "q": self.text,
            "deleted": "1" if self.deleted else "",
            "field": self.filter.name if self.filter else "",
            "value": self.value if self.filter else "",
            "sort": self.sort.name if self.sort else "",
            "dir": "desc" if self.downwards else "",
        }
        return address("objects", self.target.name, **{**state, **changes})

    def _cell(self, row: tuple[Any, ...], place: int) -> Any:
        each, value = self.fields[place], row[place]
        if each.name == "Id":
            return link(address("records", self.target.name, str(value)), code(value))
        text = value_text(value)
        if each.type == "reference" and (parent := parent_of(self.org, each, text)):
            return link(address("records", parent.name, text), code(text))
        return tag("span", text, title=text) if len(text) > 30 else text


def parent_of(org: Org, each: Field, record_id: str) -> ObjectType | None:
    """The object, of those a lookup may point to, whose ids begin as this one does."""
    found = (org.schema.object_named(name) for name in each.reference_to)
    return next((parent for parent in found if parent and parent.key_prefix == record_id[:3]), None)


def value_text(value: Any) -> str:
    """A stored value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return timestamp(value)[:19].replace("T", " ")
    return plain_number(value) if isinstance(value, Decimal) else str(value)
