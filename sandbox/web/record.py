"""The page of one record: all its fields, its parents and its children."""

from __future__ import annotations

from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows.rules import literal, name
from sandbox.schema import Field, ObjectType
from sandbox.web import layout
from sandbox.web.html import Html, code, html, link, number, plural, tag
from sandbox.web.layout import address
from sandbox.web.objects import object_of, parent_of, value_text
from sandbox.wire import not_found


def show(org: Org, call: Call) -> Answer:
    """GET records/OBJECT/ID."""
    target = object_of(org, call)
    fields = [each for each in target.fields.values() if each.type != "address"]
    columns = ", ".join(name(each.name) for each in fields)
    wanted = call.arguments["id"]
    found = org.store.rows(f"SELECT {columns} FROM {name('v_' + target.name)} WHERE Id = ?", [wanted])
    if not found:
        raise not_found()
    values = {each.name: value for each, value in zip(fields, found[0], strict=True)}
    crumbs = [link(f"{layout.VIEW}/objects", "Objects"), " / ", link(address("objects", target.name), target.name)]
    gone = tag("p", "This record lies in the recycle bin.", class_="message bad") if values["IsDeleted"] else None
    title = _title(target, values) or wanted
    empty = [each for each in fields if values[each.name] is None]
    told = [each for each in fields if values[each.name] is not None]
    heads = ("Field", "Label", "Value")
    table = layout.table(heads, [[code(each.name), each.label, _value(org, each, values[each.name])] for each in told])
    rest = layout.table(heads[:2], [[code(each.name), each.label] for each in empty])
    more = tag("details", tag("summary", plural(len(empty), "empty field", "empty fields")), rest) if empty else None
    live = html(gone, table, more, _children(org, target, wanted))
    return layout.page(org, call, title, tag("p", crumbs, " / ", code(wanted), class_="crumbs"), live=live)


def _title(target: ObjectType, values: dict[str, Any]) -> str:
    named = next((each.name for each in target.fields.values() if each.flag("nameField")), None)
    return value_text(values.get(named)) if named else ""


def _value(org: Org, each: Field, value: Any) -> Any:
    text = value_text(value)
    if each.type == "reference" and text:
        return _parent(org, each, text)
    return tag("div", text, class_="wrap")


def _parent(org: Org, each: Field, record_id: str) -> Html:
    """A link to a parent, with its name where the record is there."""
    parent = parent_of(org, each, record_id)
    if parent is None:
        return code(record_id)
    named = next((field.name for field in parent.fields.values() if field.flag("nameField")), "Id")
    found = org.store.rows(f"SELECT {name(named)} FROM {name('v_' + parent.name)} WHERE Id = ?", [record_id])
    if not found:
        return code(record_id)
    return link(address("records", parent.name, record_id), value_text(found[0][0]) or record_id)


def _children(org: Org, target: ObjectType, record_id: str) -> Html | None:
    """Which records point to this one, counted by object and field."""
    counts = [
        f"SELECT {literal(child.name)}, {literal(each.name)}, count(*) FROM {name(child.name)}"
        f" WHERE {name(each.name)} = $id AND NOT IsDeleted"
        for child in org.schema
        for each in child.stored_fields
        if target.name in each.reference_to
    ]
    if not counts:
        return None
    with org.store.reading() as cursor:
        found = cursor.execute(" UNION ALL ".join(counts), {"id": record_id}).fetchall()
    rows = [
        [link(address("objects", child, field=field, value=record_id), child), code(field), number(count)]
        for child, field, count in sorted(found)
        if count
    ]
    if not rows:
        return layout.section("Children", layout.none_yet("No records point to this one."))
    return layout.section("Children", layout.table(("Object", "By its field", "Records"), rows, right=(2,)))
