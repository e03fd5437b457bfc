"""The rules that refuse a row, as SQL over staged text: one value expression and one error expression per field.

Codes and messages follow the StatusCode list of the SOAP API guide and the texts Salesforce answers with. An error is
kept as Bulk API 2.0 prints it in `sf__Error`: `CODE:message:Field1,Field2 --`, or `CODE:message:--` without fields.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.schema import Field, ObjectType, Schema

# In JSON a null is a null; this text stands for it in staged rows, where NULL means "not named".
JSON_NULL = "\x01null"

# Everything Unicode calls white space: Salesforce cuts all of it off the edges of text.
BLANKS = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
BLANKS += "\u2028\u2029\u202f\u205f\u3000"

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_DATETIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_EMAIL = r"[A-Za-z0-9!#$%&''*+/=?^_`{|}~.-]+@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}"
_ID = r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?"
TRUE_WORDS = ("true", "1", "yes", "y", "t")
FALSE_WORDS = ("false", "0", "no", "n", "f")


def literal(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def name(identifier: str) -> str:
    """`identifier` as a quoted SQL name."""
    return '"' + identifier.replace('"', '""') + '"'


def literals(values: Sequence[str]) -> str:
    return "(" + ", ".join(literal(value) for value in values) + ")"


def row_error(code: str, message: str, fields: Sequence[str] = ()) -> str:
    """An error in the form of `sf__Error`."""
    return f"{code}:{message}:{','.join(fields)} --" if fields else f"{code}:{message}:--"


def trimmed(column: str) -> str:
    """SQL: the text of `column` without blanks at its edges; the test first is three times as fast as trim alone."""
    has_blanks = f"regexp_matches({column}, {literal(f'^[{BLANKS}]|[{BLANKS}]$')})"
    return f"CASE WHEN {has_blanks} THEN trim({column}, {literal(BLANKS)}) ELSE {column} END"


def staged(text: str | None) -> str:
    """The cell of a value that comes as JSON or from the sandbox itself, without blanks at its edges.

    None, and a text of blanks alone, clear the field.
    """
    return (text or "").strip(BLANKS) or JSON_NULL


def cell_text(column: str, null_marker: str) -> str:
    """SQL: the text Salesforce would keep of a staged cell; NULL when it is blank or the null marker."""
    if null_marker == JSON_NULL:
        # Such cells were trimmed by `staged`. Looking for blanks here makes the plan of a small write twice as long.
        return f"nullif({column}, {literal(JSON_NULL)})"
    return f"nullif(nullif({trimmed(column)}, {literal(null_marker)}), '')"


def visible(target: ObjectType, alias: str = "") -> str:
    """SQL: the condition of the records of an object that show to who asks."""
    column = f"{alias}.OwnerId" if alias else "OwnerId"
    return "true" if target.only_owner is None else f"{column} = {literal(target.only_owner)}"


def key_form(field: Field, value: str) -> str:
    """SQL: `value` (already typed) in the form in which Salesforce compares keys and unique values of `field`."""
    return f"lower({value})" if field.folds_case else value


def typed_value(field: Field, text: str) -> str:
    """SQL: the value of `text` in the column type of `field`; NULL when the text is no such value."""
    if field.is_number:
        return f"CASE WHEN NOT contains({text}, '_') THEN TRY_CAST({text} AS {field.sql_type}) END"
    if field.type == "boolean":
        truth = f"WHEN lower({text}) IN {literals(TRUE_WORDS)} THEN true"
        return f"CASE {truth} WHEN lower({text}) IN {literals(FALSE_WORDS)} THEN false END"
    if field.type == "date":
        return f"CASE WHEN length({text}) = 10 AND {text}[5] = '-' THEN TRY_CAST({text} AS DATE) END"
    if field.type == "datetime":
        # Salesforce keeps datetimes to the second.
        moment = f"CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP)"
        return f"CASE WHEN regexp_full_match({text}, {literal(_DATETIME)}) THEN date_trunc('second', {moment}) END"
    if field.is_id:
        return f"CASE WHEN regexp_full_match({text}, {literal(_ID)}) THEN sf_id18({text}[1:15]) END"
    return text


def value_error(field: Field, text: str, value: str, schema: Schema, own_prefix: str) -> str | None:
    """SQL: the error of a cell, or NULL; None when a field of this type takes any text.

    `own_prefix` is the key prefix of the object being written, for its Id.
    """
    if field.is_number:
        return _number_error(field, text, value)
    if field.type in ("boolean", "date", "datetime"):
        wrong = _concat(f"INVALID_TYPE_ON_FIELD_IN_RECORD:{field.label}: value not of required type: ", text, field)
        return f"CASE WHEN {text} IS NOT NULL AND {value} IS NULL THEN {wrong} END"
    if field.is_id:
        return _id_error(field, text, value, _allowed_prefixes(field, schema, own_prefix))
    if field.is_text:
        return _text_error(field, text)
    return None


def _concat(before: str, text: str, field: Field, after: str = "") -> str:
    return f"{literal(before)} || {text} || {literal(f'{after}:{field.name} --')}"


def _number_error(field: Field, text: str, value: str) -> str:
    is_number = f"regexp_full_match({text}, {literal(_NUMBER)})"
    outside = _concat(
        f"NUMBER_OUTSIDE_VALID_RANGE:{field.label}: value outside of valid range on numeric field: ", text, field
    )
    wrong = _concat(f"INVALID_TYPE_ON_FIELD_IN_RECORD:{field.label}: value not of required type: ", text, field)
    refused = f"{text} IS NOT NULL AND {value} IS NULL"
    return f"CASE WHEN {refused} AND {is_number} THEN {outside} WHEN {refused} THEN {wrong} END"


def _allowed_prefixes(field: Field, schema: Schema, own_prefix: str) -> list[str]:
    """The key prefixes an id in this field may have; empty when one of its objects is not in the org."""
    if field.type == "id":
        return [own_prefix]
    targets = [schema.object_named(each) for each in field.reference_to]
    return [each.key_prefix for each in targets if each] if all(targets) else []


def _id_error(field: Field, text: str, value: str, prefixes: list[str]) -> str:
    wrong = _concat(f"MALFORMED_ID:{field.label}: id value of incorrect type: ", text, field)
    conditions = [f"{value} IS NULL", f"(length({text}) = 18 AND {value} <> {text})"]
    if prefixes:
        conditions.append(f"{value}[1:3] NOT IN {literals(prefixes)}")
    return f"CASE WHEN {text} IS NOT NULL AND ({' OR '.join(conditions)}) THEN {wrong} END"


def _text_error(field: Field, text: str) -> str:
    too_long = _concat(
        f"STRING_TOO_LONG:{field.label}: data value too large: ", text, field, f" (max length={field.length})"
    )
    cases = [f"WHEN length({text}) > {field.length} THEN {too_long}"]
    if field.flag("restrictedPicklist"):
        bad = _concat(
            f"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:{field.label}: bad value for restricted picklist field: ",
            text,
            field,
        )
        allowed = literals(field.active_values)
        chosen = f"len(list_filter(string_split({text}, ';'), lambda x: x NOT IN {allowed})) > 0"
        refused = chosen if field.type == "multipicklist" else f"{text} NOT IN {allowed}"
        cases.append(f"WHEN {refused} THEN {bad}")
    if field.type == "email":
        bad = _concat(f"INVALID_EMAIL_ADDRESS:{field.label}: invalid email address: ", text, field)
        cases.append(f"WHEN NOT regexp_full_match({text}, '{_EMAIL}') THEN {bad}")
    return f"CASE {' '.join(cases)} END"
