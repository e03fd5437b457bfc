"""The whole org as a zip file: its schema files, a CSV file per object with deleted rows too, and the counters of ids.

An export is read back whole or not at all. Jobs, sessions, events and faults are no part of it.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from sandbox.org import Org, Settings
from sandbox.rows.rules import literal, name
from sandbox.schema import ObjectType
from sandbox.store import BASE62

FORMAT = 1
FACTS = "org.json"
UNDO = "undo.csv"
UNDO_COLUMNS = {"parent": "VARCHAR", "object": "VARCHAR", "field": "VARCHAR", "id": "VARCHAR"}
CSV_WRITE = "FORMAT csv, HEADER true, NULL '', DELIM ',', QUOTE '\"', ESCAPE '\"'"
CSV_READ = (
    "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '',"
    " allow_quoted_nulls = false, parallel = false, max_line_size = 16777216"
)
KNOWN_FACTS = frozenset({"format", "org_id", "time", "counters", "objects"})


class ArchiveError(ValueError):
    """A file that is no export of this org's kind; the message says what is wrong with it."""


def write_archive(org: Org, target: Path) -> None:
    """Write the export of an org, as it is at one moment."""
    with (
        tempfile.TemporaryDirectory(dir=org.settings.folder) as folder,
        org.store.reading() as cursor,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        cursor.execute("BEGIN")
        for place, path in enumerate(org.settings.schema_files, 1):
            archive.write(path, f"schema/{place:03}-{path.name}")
        objects = {}
        for each in org.schema:
            columns = _columns(each)
            listed = ", ".join(name(column) for column in columns)
            file = Path(folder) / "rows.csv"
            cursor.execute(
                f"COPY (SELECT {listed} FROM {name(each.name)} ORDER BY rowid) TO {literal(str(file))} ({CSV_WRITE})"
            )
            found = cursor.execute(f"SELECT count(*) FROM {name(each.name)}").fetchone()
            assert found is not None
            objects[each.name] = {"records": found[0], "columns": columns}
            if found[0]:
                archive.write(file, f"records/{each.name}.csv")
        cursor.execute(f"COPY (SELECT * FROM _undo ORDER BY rowid) TO {literal(str(file))} ({CSV_WRITE})")
        archive.write(file, UNDO)
        counters = dict(cursor.execute("SELECT name, value FROM _counters ORDER BY name").fetchall())
        cursor.execute("COMMIT")
        facts = {"format": FORMAT, "org_id": org.org_id, "time": org.clock.time(), "counters": counters}
        archive.writestr(FACTS, json.dumps({**facts, "objects": objects}, indent=1))


def _columns(target: ObjectType) -> dict[str, str]:
    return {each.name: each.sql_type for each in target.stored_fields}


def read_archive(org: Org, source: Path) -> int:
    """Replace all records of an org by those of an export; how many there are now.

    Raises ArchiveError for a file that does not fit the org, which is then unchanged.
    """
    with _opened(source) as archive, tempfile.TemporaryDirectory(dir=org.settings.folder) as folder:
        facts = read_facts(archive)
        if facts["org_id"] != org.org_id:
            raise ArchiveError(
                f"The export is of org {facts['org_id']}, and this is org {org.org_id}:"
                f" start the sandbox with --org-id {facts['org_id']}"
            )
        targets = _targets(org, facts["objects"], archive.namelist())
        try:
            with org.store.writing() as cursor:
                total = sum(_replace(cursor, archive, Path(folder), *each) for each in targets)
                _replace_undo(cursor, archive, Path(folder))
                _count_on(cursor, org, facts["counters"])
                org.users.stand()
        except (duckdb.Error, zipfile.BadZipFile) as error:
            raise ArchiveError(str(error)) from None
    org.cursors.clear()
    org.recent.clear()
    org.push_topics.forget()
    org.policy.locked.clear()
    return total


def _opened(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise ArchiveError(f"This is no zip file that can be read: {error}") from None


def read_facts(archive: zipfile.ZipFile) -> dict[str, Any]:
    """What an export says of itself.

    Raises ArchiveError.
    """
    try:
        facts = json.loads(archive.read(FACTS))
    except KeyError:
        raise ArchiveError(f"This is no export of a sandbox: the zip file holds no {FACTS}") from None
    except (ValueError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{FACTS} cannot be read: {error}") from None
    if not isinstance(facts, dict) or set(facts) != KNOWN_FACTS or facts["format"] != FORMAT:
        raise ArchiveError(f"{FACTS} is none of format {FORMAT}, the one this sandbox reads")
    counters, objects = facts["counters"], facts["objects"]
    if not isinstance(counters, dict) or not all(type(each) is int and 0 < each < 2**53 for each in counters.values()):
        raise ArchiveError(f"{FACTS}: counters are whole numbers from 1")
    if not isinstance(objects, dict) or not all(_is_object(each) for each in objects.values()):
        raise ArchiveError(f"{FACTS}: each of the objects has its number of records and its columns")
    return dict(facts)


def _is_object(facts: Any) -> bool:
    if not isinstance(facts, dict) or set(facts) != {"records", "columns"} or type(facts["records"]) is not int:
        return False
    columns = facts["columns"]
    return isinstance(columns, dict) and all(isinstance(each, str) for each in columns.values())


def from_export(settings: Settings, source: Path) -> Settings:
    """Settings with the schema files and the org id of an export, which is then read in at the start.

    Raises ArchiveError.
    """
    folder = settings.folder / "import"
    with _opened(source) as archive:
        facts = read_facts(archive)
        folder.mkdir(parents=True, exist_ok=True)
        copied = []
        for each in sorted(archive.namelist()):
            if each.startswith("schema/") and not each.endswith("/"):
                copied.append(folder / Path(each).name)
                copied[-1].write_bytes(archive.read(each))
    files = (*copied, *settings.schema_files)
    return dataclasses.replace(settings, schema_files=files, org_id=str(facts["org_id"]), import_file=source)


def _targets(
    org: Org, objects: dict[str, dict[str, Any]], files: list[str]
) -> list[tuple[ObjectType, dict[str, str], int]]:
    """Each object of the org with the columns and the number of records that the export has of it.

    Raises ArchiveError where the export has what the org has not.
    """
    named = {f"records/{each}.csv" for each, facts in objects.items() if facts["records"]}
    if missing := sorted(named - set(files)):
        raise ArchiveError(f"The export lacks {missing[0]}")
    if unknown := sorted({each for each in files if each.startswith("records/") and each[-1] != "/"} - named):
        raise ArchiveError(f"The export holds {unknown[0]}, of which {FACTS} knows nothing")
    for each, facts in objects.items():
        target = org.schema.object_named(each)
        if target is None or target.name != each:
            raise ArchiveError(f"This org has no object {each}: start it with the schema files of the export")
        own = _columns(target)
        for column, kind in facts["columns"].items():
            if own.get(column) != kind:
                told = f"is {own[column]} here" if column in own else "is none here"
                raise ArchiveError(f"{each}.{column} is {kind} in the export and {told}")
        if not {"Id", "IsDeleted"} <= set(facts["columns"]):
            raise ArchiveError(f"{each} has no column Id or IsDeleted in the export")
    nothing: dict[str, Any] = {"columns": {}, "records": 0}
    found = [(each, objects.get(each.name, nothing)) for each in org.schema]
    return [(each, facts["columns"], facts["records"]) for each, facts in found]


def _copied(archive: zipfile.ZipFile, file: str, folder: Path, columns: Iterable[str]) -> Path:
    """A CSV file out of the zip, with exactly these columns."""
    copy = folder / "rows.csv"
    try:
        with archive.open(file) as packed, copy.open("wb") as unpacked:
            while chunk := packed.read(1 << 20):
                unpacked.write(chunk)
    except KeyError:
        raise ArchiveError(f"The export lacks {file}") from None
    with copy.open("rb") as unpacked:
        header = unpacked.readline().decode("utf-8", "replace").strip().split(",")
    if header != list(columns):
        raise ArchiveError(f"The columns of {file} are not those that {FACTS} names")
    return copy


def _read(file: Path, columns: dict[str, str]) -> str:
    kinds = ", ".join(f"{literal(each)}: {literal(kind)}" for each, kind in columns.items())
    return f"read_csv({literal(str(file))}, columns = {{{kinds}}}, {CSV_READ})"


def _replace(
    cursor: duckdb.DuckDBPyConnection,
    archive: zipfile.ZipFile,
    folder: Path,
    target: ObjectType,
    columns: dict[str, str],
    records: int,
) -> int:
    """Replace the records of one object; how many there are."""
    cursor.execute(f"DELETE FROM {name(target.name)}")
    if not records:
        return 0
    file = _copied(archive, f"records/{target.name}.csv", folder, columns)
    # Fields that came after the export was made are empty.
    later = [each for each in target.stored_fields if each.name not in columns]
    listed = [name(each) for each in columns]
    values = listed + ["false" if each.type == "boolean" else "NULL" for each in later]
    names = ", ".join(listed + [name(each.name) for each in later])
    cursor.execute(f"INSERT INTO {name(target.name)} ({names}) SELECT {', '.join(values)} FROM {_read(file, columns)}")
    found = cursor.execute(
        f"SELECT count(*), count(DISTINCT Id), count(*) FILTER (length(Id) = 18 AND starts_with(Id, ?)"
        f" AND IsDeleted IS NOT NULL AND sf_id18(Id[1:15]) = Id) FROM {name(target.name)}",
        [target.key_prefix],
    ).fetchone()
    if found != (records,) * 3:
        raise ArchiveError(
            f"records/{target.name}.csv: {records} records, each with an Id of its own that starts with"
            f" {target.key_prefix}, are expected"
        )
    return records


def _replace_undo(cursor: duckdb.DuckDBPyConnection, archive: zipfile.ZipFile, folder: Path) -> None:
    """Replace what an undelete of a parent would bring back to its children."""
    file = _copied(archive, UNDO, folder, UNDO_COLUMNS)
    cursor.execute("DELETE FROM _undo")
    cursor.execute(f"INSERT INTO _undo SELECT * FROM {_read(file, UNDO_COLUMNS)}")


def _count_on(cursor: duckdb.DuckDBPyConnection, org: Org, counters: dict[str, int]) -> None:
    """Go on counting where the export did; ids that are there are never given again, nor those of jobs."""
    own = dict(cursor.execute("SELECT name, value FROM _counters").fetchall())
    kept = {key: value for key, value in own.items() if org.schema.object_named(key) is None}
    merged = {**counters, **{key: max(value, counters.get(key, 1)) for key, value in kept.items()}}
    for each in org.schema:
        found = cursor.execute(f"SELECT max(Id[7:15]) FROM {name(each.name)}").fetchone()
        if found and found[0] and each.name != "Organization":
            merged[each.name] = max(merged.get(each.name, 1), _number(found[0]) + 1)
    cursor.execute("DELETE FROM _counters")
    cursor.executemany("INSERT INTO _counters VALUES (?, ?)", [list(each) for each in merged.items()])


def _number(digits: str) -> int:
    """The number of a record, from the last nine of its id's first 15 characters."""
    total = 0
    for each in digits:
        total = total * 62 + BASE62.index(each)
    return total
