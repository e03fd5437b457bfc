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
from syncs.engine.families import MOST_CHARACTERS, Family, Line, lines_of
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
    time_zone: in which a date-time without an offset is read.
    carried: further columns, by name the SQL over the staged table that they are taken from.
    has_filter: the rows went through a filter, see `syncs/engine/prepare.py`.
    """

    lines: tuple[Line, ...]
    keys: tuple[Line, ...]
    time_zone: str
    carried: dict[str, str] = dataclasses.field(default_factory=dict)
    has_filter: bool = False

    @classmethod
    def of(
        cls, spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...], *, has_filter: bool = False
    ) -> Transform:
        """The transform of a sync for a source with these columns. The spec must have no problems."""
        lines = lines_of(spec, describe, columns)
        by_name = {line.field.name.lower(): line for line in lines}
        return cls(
            lines, tuple(by_name[name.lower()] for name in spec.key_fields), spec.time_zone, has_filter=has_filter
        )

    @property
    def masks(self) -> int:
        """How many mask columns a row needs for one bit per line."""
        return -(-len(self.lines) // MASK_BITS)

    @property
    def counted_masks(self) -> list[str]:
        """The names of the masks whose bits are counted and shown."""
        return [f"adjusted_{m}" for m in range(self.masks)] + [f"soft_{m}" for m in self.soft_masks]

    @property
    def soft_masks(self) -> range:
        """The numbers of the mask columns for cells that break a rule of a line that is not validated."""
        return range(self.masks if any(line.is_soft for line in self.lines) else 0)

    def texts(self, staged: str, lines: tuple[Line, ...] | None = None) -> str:
        """A query for `_row` and the columns t_<i> and n_<i> of `lines` (all of them unless told); of computed lines
        also xe_<i>, there is no value, and of resolved lookups xi_<i>, the ids of several parents.

        Beside them stand xe_<i> and xw_<i> of those that are worked out, and what tells of the filter.
        staged: a FROM item with the columns of a staged table.
        """
        lines = self.lines if lines is None else lines
        texts = ", ".join(f"{_text(line)} AS t_{line.index}" for line in lines)
        flags = "".join(f", {name}" for line in lines for name in _flags(line))
        flags += ", _filter_error, _filter_values" if self.has_filter else ""
        carried = "".join(f", {sql} AS {name}" for name, sql in self.carried.items())
        query = f"SELECT _row, {texts}{flags}{carried} FROM {staged}"
        canonical = [
            f"{values.canonical(line.family, f't_{line.index}', self.time_zone)} AS n_{line.index}"
            for line in lines
            if has_canonical(line.family)
        ]
        return f"SELECT *, {', '.join(canonical)} FROM ({query})" if canonical else query

    def encoded(self, staged: str) -> str:
        """A query for what every staged row becomes.

        Its columns: `_row`; what is carried; `v_<i>` of the key's lines; `e_<i>`; `key` and `nkey` (NULL without a
        key), the key as sent and as Salesforce compares it; and for each mask m: `bad_<m>`, a bit for each cell that
        cannot be sent, `missing_<m>`, a bit for each blank that a new record must not have, `adjusted_<m>`, a bit for
        each cell that was made to fit, and, for m in `soft_masks`, `soft_<m>`, a bit for each cell that breaks a rule
        without keeping its row from being sent.
        """
        checked = ", ".join(f"{_checked(line)} AS v_{line.index}" for line in self.lines)
        parts = [f"v_{line.index}" for line in self.keys]
        return (
            f"SELECT {', '.join(['_row', *self.carried, *parts])}, {', '.join(_sent(line) for line in self.lines)}, "
            f"{self._key_columns()}, {', '.join(self._mask_columns())} "
            f"FROM (SELECT *, {checked} FROM ({self.texts(staged)}))"
        )

    def key_query(self, staged: str) -> str:
        """A query for `_row`, `key`, `nkey` and, for the i-th key field, `k_<i>`, what is sent for it.

        It reads no other column of the source.
        """
        if not self.keys:
            raise ValueError("this sync has no key")
        checked = ", ".join(f"{_checked(line)} AS v_{line.index}" for line in self.keys)
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
            bad = _mask((line, _bad(line)) for line in lines if not line.is_soft)
            if self.has_filter and mask == 0:
                bad = f"({bad} | CASE WHEN _filter_error THEN {FILTER_BIT} ELSE 0 END)"
            columns.append(f"{bad} AS bad_{mask}")
            required = ((line, f"v_{line.index} IS NULL") for line in lines if _is_required(line))
            columns.append(f"{_mask(required)} AS missing_{mask}")
            adjusted = ((line, _adjusted(line)) for line in lines if line.adjustment)
            columns.append(f"{_mask(adjusted)} AS adjusted_{mask}")
            if mask in self.soft_masks:
                soft = ((line, _bad(line)) for line in lines if line.is_soft)
                columns.append(f"{_mask(soft)} AS soft_{mask}")
        return columns


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


def _flags(line: Line) -> list[str]:
    flags = [f"xe_{line.index}"] if line.computed else []
    flags += [f"xw_{line.index}"] if line.prepared else []
    return [*flags, f"xi_{line.index}"] if line.is_resolved else flags


def _text(line: Line) -> str:
    if line.is_resolved:
        # Blanks took their default before the parent was looked for.
        return f"nullif(x_{line.index}, '')"
    if line.prepared:
        text = f"nullif(x_{line.index}, '')"
    elif line.column is None:
        text = f"nullif({literal((line.mapping.constant or '').strip(values.WHITE_SPACE))}, '')"
    else:
        text = f"nullif(c_{line.column}, '')"
    if line.mapping.when_blank == "default":
        return f"coalesce({text}, {literal(line.mapping.default.strip(values.WHITE_SPACE))})"
    return text


def _checked(line: Line) -> str:
    """SQL: what is sent for a value of the line, or NULL."""
    value = values.encoded(line, canonical_name(line))
    return f"CASE WHEN NOT xe_{line.index} THEN {value} END" if line.computed else value


def has_no_parent(line: Line) -> str:
    """SQL condition over a resolved lookup's columns: no record has its value."""
    text = f"t_{line.index}"
    return f"(xe_{line.index} AND xi_{line.index} IS NULL AND {text} IS NOT NULL AND {text} <> '{values.CLEARED}')"


def _adjusted(line: Line) -> str:
    """SQL condition: the cell was made to fit."""
    return has_no_parent(line) if line.adjustment == "parents" else f"v_{line.index} <> {canonical_name(line)}"


def _sent(line: Line) -> str:
    # A line that is not validated leaves a field alone that cannot be cleared.
    if not line.clears or (line.is_soft and not line.field.nillable):
        return f"v_{line.index} AS e_{line.index}"
    blank = f"t_{line.index} IS NULL"
    if line.prepared:
        # A text that could not be worked out is no blank.
        blank += f" AND xw_{line.index} IS NULL"
    return f"CASE WHEN {blank} THEN '{values.CLEARED}' ELSE v_{line.index} END AS e_{line.index}"


def is_too_long_together(line: Line) -> str:
    """SQL condition over the t_<i> of all lines: the texts of the row are more than a record holds together."""
    texts = [(f"t_{index}", length) for index, length in line.together]
    # No text has more characters than bytes, and these are known without looking at it.
    size = " + ".join(f"coalesce(strlen({text}), 0)" for text, _ in texts)
    exact = " + ".join(f"coalesce(least({values.units(text)}, {length}), 0)" for text, length in texts)
    return f"CASE WHEN {size} <= {MOST_CHARACTERS} THEN false ELSE {exact} > {MOST_CHARACTERS} END"


def _bad(line: Line) -> str:
    """SQL condition: the cell breaks a rule, whatever becomes of the row."""
    bad = _bad_cell(line)
    return f"({bad}) OR ({is_too_long_together(line)})" if line.together else bad


def _bad_cell(line: Line) -> str:
    text, value = f"t_{line.index}", f"v_{line.index}"
    if line.is_mandatory:
        cleared = f" OR {value} = '{values.CLEARED}'" if line.adjustment == "picklist" else ""
        return f"{value} IS NULL{cleared}"
    if line.clears and not line.field.nillable:
        return f"{value} IS NULL"
    bad = f"{text} IS NOT NULL AND {value} IS NULL"
    if line.adjustment == "parents":
        bad = f"{bad} AND NOT {has_no_parent(line)}"
    return f"xw_{line.index} IS NOT NULL OR ({bad})" if line.prepared else bad


def _is_required(line: Line) -> bool:
    # Where a blank clears the field, or is the key, another rule speaks of it; but not where that rule rejects no row.
    return line.field.required_on_insert and not line.is_key and (line.is_soft or not line.clears)


def _mask(conditions: Iterable[tuple[Line, str]]) -> str:
    terms = [f"CASE WHEN {condition} THEN {bit_of(line)} ELSE 0 END" for line, condition in conditions]
    return f"({' | '.join(terms)})::BIGINT" if terms else "0::BIGINT"
