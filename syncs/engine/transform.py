"""From staged text to what is sent: one SQL query over the staged table, never a loop over rows.

The query is a nest of projections, each of which sees the columns of the one inside it:

    t_<i>   trimmed text of line i's source column, constant or expression, NULL when blank
    n_<i>   canonical value, for the families whose values have more spellings than one
    v_<i>   what is sent for a value; NULL for a blank, and for a value that the field cannot hold
    e_<i>   what is sent: v_<i>, or the sign that clears a field, or NULL for a field that is left alone
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import values
from syncs.engine.families import Family, Line, lines_of
from syncs.engine.sql import literal
from syncs.spec import SyncSpec

# One bit per field in a signed 64-bit number. The next one, in the first mask, says that nobody can tell whether the
# row passes the source's filter.
MASK_BITS = 60
FILTER_BIT = 1 << MASK_BITS


@dataclasses.dataclass(frozen=True)
class Transform:
    """A mapping as SQL.

    lines: the lines of the mapping, in its order.
    keys: the lines that feed the sync key, in the order of the key's fields; empty without one.
    time_zone: in which a date-time without an offset is read. has_filter: the rows went through a filter, see
    `syncs/engine/prepare.py`.
    """

    lines: tuple[Line, ...]
    keys: tuple[Line, ...]
    time_zone: str
    has_filter: bool = False

    @classmethod
    def of(
        cls, spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...], *, has_filter: bool = False
    ) -> Transform:
        """The transform of a sync for a source with these columns. The spec must have no problems."""
        lines = lines_of(spec, describe, columns)
        by_name = {line.field.name.lower(): line for line in lines}
        return cls(lines, tuple(by_name[name.lower()] for name in spec.key_fields), spec.time_zone, has_filter)

    @property
    def masks(self) -> int:
        """How many mask columns a row needs for one bit per line."""
        return -(-len(self.lines) // MASK_BITS)

    def texts(self, staged: str, lines: tuple[Line, ...] | None = None) -> str:
        """A query for `_row` and the columns t_<i> and n_<i> of `lines` (all of them unless told).

        Beside them stand xe_<i> and xw_<i> of those that are worked out, and what tells of the filter.
        staged: a FROM item with the columns of a staged table.
        """
        lines = self.lines if lines is None else lines
        texts = ", ".join(f"{_text(line)} AS t_{line.index}" for line in lines)
        errors = [f", xe_{line.index}, xw_{line.index}" for line in lines if line.computed]
        if self.has_filter:
            errors.append(", _filter_error, _filter_values")
        query = f"SELECT _row, {texts}{''.join(errors)} FROM {staged}"
        canonical = [
            f"{values.canonical(line.family, f't_{line.index}', self.time_zone)} AS n_{line.index}"
            for line in lines
            if has_canonical(line.family)
        ]
        return f"SELECT *, {', '.join(canonical)} FROM ({query})" if canonical else query

    def encoded(self, staged: str) -> str:
        """A query for what every staged row becomes.

        Its columns: `_row`; `e_<i>`; `key` and `nkey` (NULL without a key), the key as sent and as Salesforce
        compares it; and for each mask m: `bad_<m>`, a bit for each cell that cannot be sent, `missing_<m>`, a bit for
        each blank that a new record must not have, `rounded_<m>`, a bit for each number that lost decimals.
        """
        checked = ", ".join(f"{values.encoded(line, canonical_name(line))} AS v_{line.index}" for line in self.lines)
        return (
            f"SELECT _row, {', '.join(_sent(line) for line in self.lines)}, {self._key_columns()}, "
            f"{', '.join(self._mask_columns())} "
            f"FROM (SELECT *, {checked} FROM ({self.texts(staged)}))"
        )

    def key_query(self, staged: str) -> str:
        """A query for `_row`, `key`, `nkey` and, for the i-th key field, `k_<i>`, what is sent for it.

        It reads no other column of the source.
        """
        if not self.keys:
            raise ValueError("this sync has no key")
        checked = ", ".join(f"{values.encoded(line, canonical_name(line))} AS v_{line.index}" for line in self.keys)
        inner = f"SELECT *, {checked} FROM ({self.texts(staged, self.keys)})"
        parts = ", ".join(f"v_{line.index} AS k_{place}" for place, line in enumerate(self.keys))
        return f"SELECT _row, {self._key_columns()}, {parts} FROM ({inner})"

    def _key_columns(self) -> str:
        if not self.keys:
            return "NULL::VARCHAR AS key, NULL::VARCHAR AS nkey"
        sent = [f"v_{line.index}" for line in self.keys]
        comparable = [
            compared(line.family, line.field.case_sensitive, v) for line, v in zip(self.keys, sent, strict=True)
        ]
        return f"{shown_key(sent)} AS key, {joined_key(comparable)} AS nkey"

    def _mask_columns(self) -> list[str]:
        columns = []
        for mask in range(self.masks):
            lines = self.lines[mask * MASK_BITS : (mask + 1) * MASK_BITS]
            bad = _mask((line, _bad(line)) for line in lines)
            if self.has_filter and mask == 0:
                bad = f"({bad} | CASE WHEN _filter_error THEN {FILTER_BIT} ELSE 0 END)"
            columns.append(f"{bad} AS bad_{mask}")
            required = ((line, f"t_{line.index} IS NULL") for line in lines if self._is_required(line))
            columns.append(f"{_mask(required)} AS missing_{mask}")
            roundable = (line for line in lines if line.family == "number" and line.mapping.too_precise == "round")
            rounded = ((line, f"v_{line.index} <> n_{line.index}") for line in roundable)
            columns.append(f"{_mask(rounded)} AS rounded_{mask}")
        return columns

    def _is_required(self, line: Line) -> bool:
        # Where a blank clears the field, or is the key, another rule speaks of it.
        return line.field.required_on_insert and not line.clears and line not in self.keys


def has_canonical(family: Family) -> bool:
    """Values of the family have more spellings than one, or not every text is a value of it."""
    return family not in ("text", "picklist")


def canonical_name(line: Line) -> str:
    """The column with the line's canonical value, in a query made by `Transform.texts`."""
    return f"n_{line.index}" if has_canonical(line.family) else f"t_{line.index}"


def bit_of(line: Line) -> int:
    """The line's bit in its mask."""
    return 1 << (line.index % MASK_BITS)


def joined_key(parts: Sequence[str]) -> str:
    """SQL: one text for a key of several fields, each as Salesforce compares it; NULL when one of them is."""
    return " || chr(31) || ".join(parts)


def shown_key(parts: Sequence[str]) -> str:
    """SQL: a key of several fields as a person reads it; NULL when one of them is."""
    return " || ' / ' || ".join(parts)


def compared(family: Family, case_sensitive: bool, value: str) -> str:
    """SQL: an encoded key in the form in which Salesforce compares it.

    Text compares without regard to case, unless the field is marked case-sensitive (Salesforce help, "Custom Field
    Attributes"); numbers are canonical already.
    """
    return value if case_sensitive or family in ("number", "id") else f"lower({value})"


def normalised_key(family: Family, case_sensitive: bool, text: str, time_zone: str) -> str:
    """SQL: `text`, a key as Salesforce returns it, in the form in which Salesforce compares it; NULL when it is none.

    text: a column name.
    """
    plain = f"nullif({values.trimmed(text)}, '')"
    trimmed = f"CASE WHEN {values.full_match(text, '[!-~]+')} THEN {text} ELSE {plain} END"
    if has_canonical(family):
        trimmed = f"list_transform([{trimmed}], lambda k: {values.canonical(family, 'k', time_zone)})[1]"
    return compared(family, case_sensitive, trimmed)


def _text(line: Line) -> str:
    if line.computed:
        return f"x_{line.index}"
    if line.column is None:
        return f"nullif({literal((line.mapping.constant or '').strip(values.WHITE_SPACE))}, '')"
    return f"nullif(c_{line.column}, '')"


def _sent(line: Line) -> str:
    if not line.clears:
        return f"v_{line.index} AS e_{line.index}"
    return f"CASE WHEN t_{line.index} IS NULL THEN '{values.CLEARED}' ELSE v_{line.index} END AS e_{line.index}"


def _bad(line: Line) -> str:
    bad = f"t_{line.index} IS NOT NULL AND v_{line.index} IS NULL"
    if line.clears and not line.field.nillable:
        bad = f"v_{line.index} IS NULL"
    return f"xe_{line.index} OR ({bad})" if line.computed else bad


def _mask(conditions: Iterable[tuple[Line, str]]) -> str:
    terms = [f"CASE WHEN {condition} THEN {bit_of(line)} ELSE 0 END" for line, condition in conditions]
    return f"({' | '.join(terms)})::BIGINT" if terms else "0::BIGINT"
