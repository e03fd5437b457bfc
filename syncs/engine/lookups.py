"""Parents found before anything is planned, and rows put into an order that suits Salesforce.

A lookup by a field that Salesforce cannot find parents by is resolved here: the values are collected, somebody reads
the parents that have them, and a new table holds the parents' ids instead. On the same way rows are sorted by their
parent, since batches that write children of one parent at the same time lock each other out, and rows that point to
rows of the same source get a wave of their own, so that parents go first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.engine import values
from syncs.engine.families import Family, Line, family_of, lines_of
from syncs.engine.files import write_query
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.transform import compared, has_canonical, normalised_key
from syncs.engine.waves import make_waves
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

# Objects whose records no save of a child locks (Salesforce help, "Record Locking Cheat Sheet").
_NEVER_LOCKED = frozenset({"RecordType", "User", "Group", "Profile"})
_NAMED_PARENTS = 10


@dataclasses.dataclass(frozen=True)
class Parents:
    """Records of one object that are found by one of its fields; lines that look there share what is read.

    object, field: API names, as Salesforce spells them.
    """

    object: str
    field: Field

    @property
    def name(self) -> str:
        """What they are called in file names and manifests."""
        return f"{self.object}.{self.field.name}"

    @property
    def family(self) -> Family:
        return family_of(self.field.type) or "text"


@dataclasses.dataclass(frozen=True)
class Found:
    """What was read of parents.

    wanted: the file that `values_to_resolve` wrote. records: Parquet with `r_0`, a record's id, and `r_1`, its value;
    it may have more records than were wanted.
    """

    wanted: Path
    records: Path


def objects_of(spec: SyncSpec, describe: ObjectDescribe) -> tuple[str, ...]:
    """API names of the parent objects that have to be described before the spec can be checked."""
    names = {}
    for mapping in spec.mappings:
        field = describe.field(mapping.target)
        if mapping.lookup is not None and field is not None:
            known = (name for name in field.reference_to if name.lower() == mapping.lookup.object.lower())
            names.update(dict.fromkeys(known))
    return tuple(names)


def parents_of(spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...]) -> dict[str, Parents]:
    """By name, the parents that sfsync itself has to find. columns: of the staged table."""
    found = (_parents(line, describe) for line in lines_of(spec, describe, columns) if line.is_resolved)
    return {each.name: each for each in found}


def _parents(line: Line, describe: ObjectDescribe) -> Parents:
    assert line.mapping.lookup is not None and line.parent_field is not None
    parent = describe.parent(line.mapping.lookup.object)
    assert parent is not None
    return Parents(parent.name, line.parent_field)


def is_needed(spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...]) -> bool:
    """Whether `resolve` has anything to do for a sync."""
    lines = lines_of(spec, describe, columns)
    return any(line.is_resolved for line in lines) or bool(_order(lines))


def values_to_resolve(
    workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, staged: Staged, name: str, to: Path
) -> int:
    """Write the different values by which the parents called `name` are looked for; return how many there are.

    staged: with the prepared table. to: Parquet with `k_0`, as Salesforce is asked for them.
    """
    held = _columns_of(staged.path)
    lines = lines_of(spec, describe, staged.columns)
    looking = [line for line in lines if line.is_resolved and _parents(line, describe).name == name]
    parents = _parents(looking[0], describe)
    texts = " UNION ALL ".join(f"SELECT {_text(line, held)} AS t FROM {parquet(staged.path)} AS s" for line in looking)
    # A value that cannot be one of the field's is nobody's; what clears a field has a rule of its own.
    canonical = values.canonical(parents.family, "t", spec.time_zone)
    normal = compared(parents.family, parents.field.case_sensitive, "v")
    each = f"SELECT *, {normal} AS n FROM (SELECT {canonical} AS v FROM (SELECT DISTINCT t FROM ({texts})))"
    query = f"SELECT any_value(v) AS k_0 FROM ({each}) WHERE n IS NOT NULL AND v <> '{values.CLEARED}' GROUP BY n"
    with workspace.connect() as connection:
        return write_query(connection, query, to)


def resolve(
    workspace: Workspace,
    spec: SyncSpec,
    describe: ObjectDescribe,
    staged: Staged,
    found: Mapping[str, Found],
    to: Path,
) -> Staged:
    """Write the table that plans are made from: with the ids of parents, in waves, ordered by parent.

    staged: with the prepared table. found: by name of the parents, what was read. to: Parquet with the columns of the
    prepared table and, for each line i that is resolved, `x_<i>`, the parent's id, or the line's own text where there
    is not exactly one; `xe_<i>`, whether that is so; `xi_<i>`, the ids of several parents. `_wave` is the row's wave.
    Returns the staged table with that file.
    """
    lines = lines_of(spec, describe, staged.columns)
    resolved = [line for line in lines if line.is_resolved]
    held = _columns_of(staged.path)
    with workspace.connect(ordered=True) as connection:
        tables = {}
        for number, (name, parents) in enumerate(parents_of(spec, describe, staged.columns).items()):
            tables[name] = f"parents_{number}"
            _make_table(connection, tables[name], parents, found[name], spec.time_zone)
        own = _self_references(lines, describe)
        waves = bool(own) and make_waves(connection, _edges(own, held, staged, spec.time_zone))
        columns, joins = ["s.*"], ""
        written = {name for line in resolved for name in (f"x_{line.index}", f"xe_{line.index}")} & held
        if written:
            columns = [f"s.* EXCLUDE ({', '.join(sorted(written))})"]

        def failed(index: int) -> str:
            """Where there was no text to look for because of an error, there is still one."""
            return f" OR coalesce(s.xe_{index}, false)" if f"xe_{index}" in held else ""

        for line in resolved:
            parents, i = _parents(line, describe), line.index
            text = _text(line, held)
            columns += [
                f"CASE WHEN f_{i}.n = 1 THEN f_{i}.id ELSE {text} END AS x_{i}",
                f"({text} IS NOT NULL AND f_{i}.n IS DISTINCT FROM 1{failed(i)}) AS xe_{i}",
                f"f_{i}.ids AS xi_{i}",
            ]
            normal = _normal(text, parents.family, parents.field, spec.time_zone)
            joins += f" LEFT JOIN {tables[parents.name]} AS f_{i} ON f_{i}.nvalue = {normal}"
        if waves:
            columns.append("coalesce(w.wave, 0)::INTEGER AS _wave")
            joins += " LEFT JOIN waves AS w ON w.w_row = s._row"
        query = f"SELECT {', '.join(columns)} FROM {parquet(staged.path)} AS s{joins}"
        order = _order(lines)
        sorting = ["_wave"] if waves else []
        sorting += [f"x_{line.index}" if line.is_resolved else _text(line, held) for line in order]
        if sorting:
            # In the order of the source where that tells no difference: equal rows are interchangeable only so.
            query += f" ORDER BY {', '.join([*sorting, '_row'])}"
        write_query(connection, query, to)
    return dataclasses.replace(staged, path=to, waves=waves)


def _columns_of(path: Path) -> set[str]:
    return set(pq.read_schema(path).names)


def _text(line: Line, held: set[str]) -> str:
    """SQL over the prepared table: the line's text before its parent is found, NULL for a blank."""
    if f"x_{line.index}" in held:
        text = f"nullif(s.x_{line.index}, '')"
    elif line.column is None:
        text = f"nullif({literal((line.mapping.constant or '').strip(values.WHITE_SPACE))}, '')"
    else:
        text = f"nullif(s.c_{line.column}, '')"
    if line.mapping.when_blank == "default":
        text = f"coalesce({text}, {literal(line.mapping.default.strip(values.WHITE_SPACE))})"
    # A text that could not be worked out is no blank.
    return f"CASE WHEN NOT s.xe_{line.index} THEN {text} END" if f"xe_{line.index}" in held else text


def _normal(text: str, family: Family, field: Field, time_zone: str) -> str:
    """SQL: a value of the source as Salesforce compares it in the parent's field; NULL when it can be none of its."""
    if has_canonical(family):
        text = f"list_transform([{text}], lambda t: {values.canonical(family, 't', time_zone)})[1]"
    return compared(family, field.case_sensitive, text)


def _make_table(
    connection: duckdb.DuckDBPyConnection, table: str, parents: Parents, found: Found, time_zone: str
) -> None:
    """A table of the parents by value: `nvalue`, `n` records, `id` of one, and the `ids` of several, as a text."""
    family, field = parents.family, parents.field
    nvalue = normalised_key(family, field.case_sensitive, "r_1", time_zone)
    wanted = f"SELECT {compared(family, field.case_sensitive, 'k_0')} AS w FROM {parquet(found.wanted)}"
    every = f"SELECT {nvalue} AS nvalue, r_0 AS id FROM {parquet(found.records)}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE read_parents AS SELECT * FROM ({every}) SEMI JOIN ({wanted}) ON w = nvalue"
    ).fetchall()
    read = "SELECT * FROM read_parents"
    listed = f"array_to_string(list_slice(list_sort(list(DISTINCT id)), 1, {_NAMED_PARENTS}), ', ')"
    more = f"CASE WHEN count(DISTINCT id) > {_NAMED_PARENTS} THEN ' and more' ELSE '' END"
    several = (
        f"SELECT nvalue, count(DISTINCT id) AS n, min(id) AS id, {listed} || {more} AS ids "
        f"FROM (SELECT * FROM ({read}) SEMI JOIN repeated ON r_value = nvalue) GROUP BY nvalue"
    )
    # Most values are of one record, and lists take much memory.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT nvalue AS r_value FROM ({read}) "
        "GROUP BY nvalue HAVING count(*) > 1"
    ).fetchall()
    single = f"SELECT nvalue, 1 AS n, id, NULL::VARCHAR AS ids FROM ({read}) ANTI JOIN repeated ON r_value = nvalue"
    connection.execute(
        f"CREATE TEMP TABLE {table} AS SELECT nvalue, n, id, CASE WHEN n > 1 THEN ids END AS ids "
        f"FROM ({single} UNION ALL {several})"
    ).fetchall()
    connection.execute("DROP TABLE read_parents").fetchall()


def _order(lines: tuple[Line, ...]) -> list[Line]:
    """The line by whose parent rows are ordered, or none: the first one whose parents may be locked.

    A parent that a record must have is locked in any case, so it comes first.
    """
    references = [
        line
        for line in lines
        if line.field.type == "reference"
        and line.mapping.constant is None
        and not set(line.field.reference_to) <= _NEVER_LOCKED
    ]
    return sorted(references, key=lambda line: line.field.nillable)[:1]


def _self_references(lines: tuple[Line, ...], describe: ObjectDescribe) -> list[tuple[Line, Line]]:
    """Lines that point to rows of the same source, each with the line that holds what they point to."""
    by_field = {line.field.name.lower(): line for line in lines if line.mapping.lookup is None}
    pairs = []
    for line in lines:
        lookup = line.mapping.lookup
        if lookup is not None and lookup.object.lower() == describe.name.lower() and not line.is_resolved:
            own = by_field.get(lookup.field.lower())
            pairs += [(line, own)] if own is not None else []
    return pairs


def _edges(pairs: list[tuple[Line, Line]], held: set[str], staged: Staged, time_zone: str) -> str:
    """A query for `row`, and hashes of what it is called by (`own`) and of what it points to (`parent`)."""
    queries = []
    for line, own in pairs:
        assert line.parent_field is not None
        sides = [_normal(_text(each, held), own.family, line.parent_field, time_zone) for each in (own, line)]
        queries.append(
            f"SELECT _row AS row, {sides[0]} AS called, {sides[1]} AS pointed FROM {parquet(staged.path)} AS s"
        )
    # DuckDB gives NULL a hash, too.
    hashes = [f"CASE WHEN {side} IS NOT NULL THEN hash({side}) END" for side in ("called", "pointed")]
    return f"SELECT row, {hashes[0]} AS own, {hashes[1]} AS parent FROM ({' UNION ALL '.join(queries)})"
