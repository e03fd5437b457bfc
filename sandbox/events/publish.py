"""Publishing platform events (Platform Events guide, "Publish Event Messages with Salesforce APIs")."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.rows import rules
from sandbox.rows.rules import literal, row_error
from sandbox.schema import Field, ObjectType
from sandbox.store import make_id

if TYPE_CHECKING:
    from sandbox.login.users import User
    from sandbox.org import Org

HOUR = 3600
MOST_AN_HOUR = 50_000


@dataclass(frozen=True)
class Published:
    """What became of one event: its record id, uuid and replay id, or the error in the form of sf__Error."""

    id: str | None
    uuid: str | None
    replay_id: int | None
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """A good one, as REST answers it: `errors` holds the uuid, though nothing went wrong."""
        told: dict[str, Any] = {"statusCode": "OPERATION_ENQUEUED", "message": self.uuid, "fields": []}
        return {"id": self.id, "success": True, "errors": [told]}


def own_fields(event: ObjectType) -> list[Field]:
    """The fields a publisher may give."""
    return [each for each in event.fields.values() if each.flag("createable")]


def publish(org: Org, user: User, event: ObjectType, rows: list[dict[str, str | None]]) -> list[Published]:
    """Publish events, given as cells of text by field name; one outcome each, in their order.

    They are published at once, whatever becomes of the others. Only a call that is all or nothing takes them back.
    """
    fields = own_fields(event)
    published: list[Published] = []
    with org.store.writing() as cursor:
        checked = _checked(org, event, fields, rows)
        left = MOST_AN_HOUR - org.bus.count(HOUR, "%\\_\\_e")
        errors: list[str | None] = [error for error, _ in checked]
        good = [place for place, error in enumerate(errors) if error is None]
        for place in good[max(left, 0) :]:
            errors[place] = row_error("LIMIT_EXCEEDED", "The hourly limit of published platform events is exceeded")
        bodies = [checked[place][1] for place in good[: max(left, 0)]]
        events = iter(org.bus.publish(cursor, event.name, user.id, bodies))
        number = org.store.reserve(cursor, event.name, len(bodies)) if bodies else 0
        for error in errors:
            if error is not None:
                published.append(Published(None, None, None, error))
                continue
            made = next(events)
            published.append(Published(make_id(event.key_prefix, number), made.uuid, made.replay_id, None))
            number += 1
    return published


def _checked(
    org: Org, event: ObjectType, fields: list[Field], rows: list[dict[str, str | None]]
) -> list[tuple[str | None, dict[str, Any]]]:
    """Per row: its error or None, and its values as JSON holds them."""
    given = ", ".join(f"unnest(?::VARCHAR[]) AS g{place}" for place in range(len(fields)))
    cells = [[rules.staged(row[each.name]) if each.name in row else None for row in rows] for each in fields]
    texts = ", ".join(f"{rules.cell_text(f'g{n}', rules.JSON_NULL)} AS t{n}" for n in range(len(fields)))
    values = ", ".join(f"t{n}, {rules.typed_value(each, f't{n}')} AS v{n}" for n, each in enumerate(fields))
    found = [rules.value_error(each, f"t{n}", f"v{n}", org.schema, event.key_prefix) for n, each in enumerate(fields)]
    required = [
        f"CASE WHEN v{n} IS NULL THEN {literal(each.name)} END"
        for n, each in enumerate(fields)
        if each.required_on_insert
    ]
    missing = f"concat_ws(', ', {', '.join(required)})" if required else "''"
    lacks = (
        f"CASE WHEN {missing} <> '' THEN 'REQUIRED_FIELD_MISSING:Required fields are missing: [' || {missing} || ']:'"
        f" || replace({missing}, ', ', ',') || ' --' END"
    )
    error = f"coalesce({', '.join([each for each in found if each] + [lacks])})"
    chosen = ", ".join(f"v{n}" for n in range(len(fields)))
    sql = (
        f"SELECT {error}, {chosen} FROM (SELECT n, {values} FROM (SELECT n, {texts} FROM"
        f" (SELECT unnest(range({len(rows)})) AS n, {given}))) ORDER BY n"
    )
    return [
        (row[0], {each.name: as_json(each, value) for each, value in zip(fields, row[1:], strict=True)})
        for row in org.store.rows(sql, cells)
    ]


def as_json(field: Field, value: Any) -> Any:
    """A stored value as an event holds it: dates and moments as text, numbers as numbers, a blank checkbox as false."""
    if value is None:
        return bool(field.document["defaultValue"]) if field.type == "boolean" else None
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
    return value
