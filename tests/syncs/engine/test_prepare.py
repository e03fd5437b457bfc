"""What the prepare step makes of staged rows, and what becomes of rows it cannot be made of."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncs.engine import portions, rules
from syncs.engine import prepare as preparing
from syncs.engine.errors import ExpressionTooSlow, Interrupted
from syncs.engine.prepare import Prepared, prepare
from syncs.engine.stage import Staged, stage
from syncs.engine.workspace import Workspace
from syncs.spec import ColumnSpec, MappingSpec, ReplacementSpec, SelectionSpec, SyncSpec

from .factories import KEY, Loads, actions, errors, field, make_describe, make_spec, reading, table

NOW = datetime.datetime(2024, 5, 1, 12, 0, tzinfo=datetime.UTC)
COLUMNS = ("id", "name", "price", "born", "note")
ROWS = [
    ("1", " Anna ", "12.50", "05.01.2024", "  x "),
    ("2", "Bert", "abc", "31.02.2024", "y"),
    ("3", "", None, "", "   "),
]
TYPES = (ColumnSpec("price", "number"), ColumnSpec("born", "date", "%d.%m.%Y"))
ID = MappingSpec("Ext__c", "id")


def prepared(
    folder: Path,
    spec: SyncSpec,
    rows: Sequence[Sequence[str | None]] = ROWS,
    columns: Sequence[str] = COLUMNS,
    *,
    batch_rows: int = 1000,
    **options: Any,
) -> tuple[Prepared, list[dict[str, Any]]]:
    """Stage and prepare rows; also the rows of the file."""
    workspace = Workspace(folder / "scratch", memory_mb=200)
    staged = stage(workspace, reading(columns, rows, batch_rows=batch_rows), folder / "staged.parquet")
    options = {"job_started_at": NOW, "file_name": "orders_77.csv", **options}
    done = prepare(workspace, spec, staged, folder / "prepared.parquet", **options)
    assert Prepared.from_json(done.to_json()) == done
    assert done.rows + done.filtered == staged.rows
    found = table(done.path)
    assert len(found) == done.rows
    return done, found


# At the limit of what a regular expression may be; a good second for each row.
SLOW = f"regexp_matches(name, '{'[a-z]{0,220}' * 11}0')"
LETTERS = "ab" * 10_000


def spec_of(*lines: MappingSpec, **changes: Any) -> SyncSpec:
    return make_spec(ID, *lines, **{"columns": TYPES, **changes})


def test_when_nothing_is_to_be_worked_out_the_staged_table_stays(tmp_path: Path) -> None:
    done, _ = prepared(tmp_path, make_spec(ID, MappingSpec("Name", "name")))
    assert done.path == tmp_path / "staged.parquet" and done.rows == 3 and not done.has_filter
    assert not (tmp_path / "prepared.parquet").exists()


def test_expressions_stand_beside_the_columns_that_are_taken_as_they_are(tmp_path: Path) -> None:
    lines = (MappingSpec("Name", expression="' ' || upper(name) || ' '"), MappingSpec("A__c", expression="price * 2"))
    done, found = prepared(tmp_path, spec_of(*lines, MappingSpec("N__c", "note"), action_column="note"))
    assert list(found[0]) == ["_row", "c_0", "c_4", "x_1", "xe_1", "xw_1", "x_2", "xe_2", "xw_2"]
    assert [(row["_row"], row["x_1"], row["x_2"]) for row in found] == [
        (1, "ANNA", "25"),
        (2, "BERT", None),
        (3, None, None),
    ]
    assert [row["xe_2"] for row in found] == [False, True, False]
    assert [row["xw_2"] for row in found] == [None, "price = 'abc'", None]
    assert done.errors == {"A__c": 1}


def test_columns_of_conditional_updates_are_handed_on(tmp_path: Path) -> None:
    rule = {"all": [{"left": {"source": "price"}, "operator": ">", "right": {"value": "5"}}]}
    _, found = prepared(tmp_path, spec_of(MappingSpec("Name", expression="name"), changed_rule=rule))
    assert "c_2" in found[0] and found[0]["c_2"] == "12.50"


def test_an_error_is_no_blank(tmp_path: Path) -> None:
    lines = (
        MappingSpec("A__c", expression="CAST(name AS INTEGER)"),
        MappingSpec("B__c", expression="1 / (price - 12.5)"),
        MappingSpec("C__c", expression="CAST(price AS DOUBLE) / 0"),
        MappingSpec("D__c", expression="born"),
        MappingSpec("E__c", expression="TRY_CAST(name AS INTEGER)"),
        MappingSpec("F__c", expression="price % 0"),
    )
    _, found = prepared(tmp_path, spec_of(*lines))
    assert [[row[f"xe_{place}"] for place in range(1, 7)] for row in found] == [
        [True, True, True, False, False, True],
        [True, True, True, True, False, True],
        [False] * 6,
    ]
    assert all(row[f"x_{place}"] is None for row in found for place in range(1, 7) if row[f"xe_{place}"])


def test_dates_in_the_format_of_their_column(tmp_path: Path) -> None:
    columns = (ColumnSpec("a", "date", "%d.%m.%y"), ColumnSpec("b", "datetime", "%d.%m.%Y %H:%M"))
    columns += (ColumnSpec("c", "datetime", "%d.%m.%Y %H:%M %z"), ColumnSpec("d", "date", ""))
    lines = [MappingSpec(f"{name.upper()}__c", name) for name in "abcd"]
    spec = make_spec(*lines, columns=columns, time_zone="Europe/Berlin", key_fields=())
    rows = [
        ("05.01.24", "05.01.2024 10:30", "05.01.2024 10:30 +0500", "2024-01-05"),
        ("5/1/24", "", "05.01.2024 10:30", "x"),
    ]
    _, found = prepared(tmp_path, spec, rows, "abcd")
    assert [found[0][f"x_{place}"] for place in range(3)] == [
        "2024-01-05",
        "2024-01-05 10:30:00",
        "2024-01-05 05:30:00.000000Z",
    ]
    assert [found[1][f"xe_{place}"] for place in range(3)] == [True, False, True]
    assert found[1]["x_1"] is None and found[1]["c_3"] == "x" and "x_3" not in found[1]


def test_replacements_are_made_in_their_order_everywhere_and_before_trimming(tmp_path: Path) -> None:
    changes = (ReplacementSpec("n", "m"), ReplacementSpec("(m)m", r"\1"), ReplacementSpec("A", " "))
    lines = (
        MappingSpec("Name", "name", replacements=changes),
        MappingSpec("B__c", constant="nn", replacements=changes[:1]),
        MappingSpec("C__c", expression="name || '!'", replacements=(ReplacementSpec("[^A-Z]", ""),)),
        MappingSpec("D__c", "born", replacements=(ReplacementSpec("-.*", ""),)),
    )
    _, found = prepared(tmp_path, spec_of(*lines))
    assert [found[0][f"x_{place}"] for place in range(1, 5)] == ["ma", "mm", "A", "2024"]
    assert [found[2][f"x_{place}"] for place in range(1, 5)] == [None, "mm", None, None]


@pytest.mark.parametrize("batch_rows", [1, 1000])
def test_a_line_that_does_not_trim_takes_the_cell_as_it_is(tmp_path: Path, batch_rows: int) -> None:
    lines = (MappingSpec("N__c", "note", trim=False), MappingSpec("X__c", expression="note || ' '", trim=False))
    rows = [(str(place), f"n{place}", "1", "", f" {place}" if place % 3 else f"{place}") for place in range(3000)]
    _, found = prepared(tmp_path, spec_of(*lines), [*rows, *ROWS], batch_rows=batch_rows)
    assert [row["x_1"] for row in found[:3000]] == [row[4] for row in rows]
    assert [row["x_1"] for row in found[3000:]] == ["  x ", "y", None]
    assert found[3000]["x_2"] == "x "


def test_special_functions(tmp_path: Path) -> None:
    text = "row_number() || file_name('[0-9]+') || strftime(job_started_at(), '%H') || @p"
    lines = (MappingSpec("A__c", expression=text), *(MappingSpec(f"U{n}__c", expression="uuid()") for n in "12"))
    _, found = prepared(tmp_path, spec_of(*lines, parameters={"p": "'"}))
    assert [row["x_1"] for row in found] == ["17712'", "27712'", "37712'"]
    assert len({row[f"x_{place}"] for row in found for place in (2, 3)}) == 6


def test_a_filter_leaves_rows_out_and_keeps_those_of_which_nobody_can_tell(tmp_path: Path) -> None:
    spec = spec_of(MappingSpec("Name", expression="name"), selection=SelectionSpec(path="x.csv", filter="price > 20"))
    done, found = prepared(tmp_path, spec, filter_here=True)
    assert (done.rows, done.filtered, done.has_filter, done.errors) == (1, 2, True, {"": 1})
    assert [(row["_row"], row["_filter_error"], row["_filter_values"]) for row in found] == [(2, True, "price = 'abc'")]
    done, found = prepared(tmp_path, spec)
    assert done.rows == 3 and "_filter_error" not in found[0]


def test_a_filter_alone_is_work_too(tmp_path: Path) -> None:
    spec = make_spec(ID, MappingSpec("Name", "name"), selection=SelectionSpec(path="x.csv", filter="name IS NULL"))
    done, found = prepared(tmp_path, spec, filter_here=True)
    assert [row["_row"] for row in found] == [3] and {"c_0", "c_1"} < set(found[0]) and done.filtered == 2


def test_a_filter_of_rules(tmp_path: Path) -> None:
    asked = {
        "any": [
            {"left": {"source": "price"}, "operator": ">", "right": {"value": "20"}},
            {"left": {"source": "born"}, "operator": "<", "right": {"value": "2024-01-02"}},
        ]
    }
    spec = spec_of(MappingSpec("Name", "name"), selection=SelectionSpec(path="x.csv", rules=asked))
    rows = [
        *ROWS,
        ("4", "Cleo", "abc", "01.01.2024", ""),
        ("5", "Dora", "30", "99.01.2024", ""),
        ("6", "E", "3", "x", ""),
    ]
    done, found = prepared(tmp_path, spec, rows)
    assert [(row["_row"], row["_filter_error"]) for row in found] == [(2, True), (4, False), (5, False), (6, True)]
    assert found[0]["_filter_values"] == "price = 'abc', born = '31.02.2024'"
    assert done.filtered == 2


def test_many_rows_keep_their_order(tmp_path: Path) -> None:
    rows = [(str(place), f"name {place}", str(place), "", None) for place in range(250_000)]
    spec = spec_of(
        MappingSpec("Name", expression="upper(name)"), selection=SelectionSpec(path="x.csv", filter="price % 5 <> 0")
    )
    seen: list[int] = []
    done, found = prepared(tmp_path, spec, rows, batch_rows=50_000, filter_here=True, progress=seen.append)
    assert [row["_row"] for row in found] == [place + 1 for place in range(250_000) if place % 5]
    assert found[-1]["x_1"] == "NAME 249999" and done.filtered == 50_000
    assert seen == sorted(seen) and seen[-1] == 250_000


def test_rows_that_are_long_are_worked_on_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_PORTION_BYTES", 100_000)
    monkeypatch.setattr(portions, "_CHUNK_BYTES", 10_000)
    monkeypatch.setattr(portions, "_CHUNK_STEPS", 1_000_000)
    rows = [(str(place), "x" * (20_000 if place % 50 == 0 else 10), "1", "", None) for place in range(500)]
    lines = (MappingSpec("Name", expression="upper(name) || '!'", replacements=(ReplacementSpec("X", "y"),)),)
    _, found = prepared(tmp_path, spec_of(*lines), rows)
    assert [row["x_1"] for row in found] == ["y" * len(row[1]) + "!" for row in rows]


def test_a_text_that_is_too_long_to_be_matched_is_an_error_of_its_row(tmp_path: Path) -> None:
    rows = [("1", "x" * 500_000, "1", "", None), ("2", "x" * 100_000, "1", "", None)]
    lines = (
        MappingSpec("A__c", expression="regexp_extract(name, 'x+y')"),
        MappingSpec("B__c", expression="length(name)"),
    )
    _, found = prepared(tmp_path, spec_of(*lines), rows)
    assert [row["xe_1"] for row in found] == [True, False]
    assert [row["x_2"] for row in found] == ["500000", "100000"]


def test_what_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "LONGEST_PORTION", 0.5)
    rows = [(str(place), LETTERS, "1", "", None) for place in range(300)]
    started = time.monotonic()
    with pytest.raises(ExpressionTooSlow, match=r"\(Name\): the rows \d+ to \d+ took more than .* Make them simpler"):
        prepared(tmp_path, spec_of(MappingSpec("Name", expression=SLOW)), rows)
    assert time.monotonic() - started < 60


def test_a_job_that_takes_too_long_as_a_whole_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "LONGEST_RUN", 0.3)
    rows = [(str(place), LETTERS, "1", "", None) for place in range(50)]
    with pytest.raises(ExpressionTooSlow, match="all rows of the source took more than"):
        prepared(tmp_path, spec_of(MappingSpec("Name", expression=SLOW)), rows)


def test_an_interrupt_stops_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "scratch", memory_mb=200)
    rows = [(str(place), LETTERS, "1", "", None) for place in range(500)]
    staged = stage(workspace, reading(COLUMNS, rows), tmp_path / "staged.parquet")
    spec = spec_of(MappingSpec("Name", expression=SLOW))
    threading.Timer(0.05, workspace.interrupt).start()
    with pytest.raises(Interrupted):
        prepare(workspace, spec, staged, tmp_path / "p.parquet", job_started_at=NOW, file_name="")


MEMORY = """
import datetime, resource, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from syncs.engine.prepare import prepare
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace
from syncs.spec import MappingSpec, SelectionSpec, SyncSpec

folder = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lines = tuple(MappingSpec(f"F{n}__c", expression=text) for n, text in enumerate(sys.argv[2:]))
spec = SyncSpec(SelectionSpec(path="x"), "Thing__c", (), "insert", lines)
rows = pq.read_metadata(folder / "staged.parquet").num_rows
staged = Staged(folder / "staged.parquet", None, ("a",), rows, (), {})
workspace = Workspace(folder / "scratch", memory_mb=320)
now = datetime.datetime.now(datetime.UTC)
prepare(workspace, spec, staged, folder / "prepared.parquet", job_started_at=now, file_name="")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_an_expression_that_makes_long_texts_of_long_cells_stays_within_its_memory(tmp_path: Path) -> None:
    # At once, the rows would take 4,000 * 1 KB * 400 = 1.6 GB.
    rows = 4000
    cells = pa.table({"_row": range(1, rows + 1), "c_0": ["a" * 1000] * rows})
    pq.write_table(cells, tmp_path / "staged.parquet")
    texts = [f"md5(replace(a, 'a', '{'b' * 200}') || replace(a, 'a', '{'c' * 200}'))", "length(upper(a) || a || a)"]
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), *texts], capture_output=True, text=True, check=True, timeout=250
    )
    assert int(ran.stdout) < 350
    assert pq.read_metadata(tmp_path / "prepared.parquet").num_rows == rows


# --- in a job ---


class PreparedLoads(Loads):
    """Jobs whose staged rows are prepared."""

    def stage(self, rows: Any, **options: Any) -> Staged:
        staged = super().stage(rows, **options)
        folder, _ = self.attempt()
        done = prepare(
            self.workspace,
            self.spec,
            staged,
            folder / "prepared.parquet",
            job_started_at=NOW,
            file_name="",
            filter_here=True,
        )
        assert done.at(folder).path.parent == folder
        return done.of(staged)


def test_in_a_job_rows_whose_expressions_fail_are_rejected(tmp_path: Path) -> None:
    spec = spec_of(
        MappingSpec("Name", expression="upper(name)"),
        MappingSpec("Size__c", expression="price * 2"),
        MappingSpec("Born__c", "born"),
    )
    describe = make_describe(
        KEY, field("Name"), field("Size__c", "double", precision=6, scale=2), field("Born__c", "date")
    )
    loads = PreparedLoads(tmp_path, spec, describe)
    loads.columns = COLUMNS
    plan, final = loads.run(ROWS)
    assert actions(plan) == {1: "upsert", 2: "rejected", 3: "upsert"}
    assert errors(plan.errors_file) == [(2, rules.EXPRESSION, "Size__c"), (2, rules.DATE, "Born__c")]
    first, second = table(plan.errors_file)
    assert "cannot be worked out for this row (price = 'abc')" in first["message"] and "price * 2" in first["message"]
    assert (first["value"], first["column"], second["column"]) == ("price = 'abc'", None, "born")
    assert "no date in the format that the column has (born = '31.02.2024')" in second["message"]
    # The same rows again are not sent, and a change of a column alone that the expression reads is seen.
    plan, _ = loads.run([*ROWS[:2], ("3", "", "1", "", "")])
    assert actions(plan) == {1: "unchanged", 2: "rejected", 3: "upsert"}


def test_in_a_job_a_row_whose_filter_fails_is_rejected_and_has_not_left(tmp_path: Path) -> None:
    spec = spec_of(
        MappingSpec("Name", "name"), mode="mirror", selection=SelectionSpec(path="x.csv", filter="price > 5")
    )
    loads = PreparedLoads(tmp_path, spec, make_describe(KEY, field("Name")))
    loads.columns = COLUMNS
    loads.run([("1", "Anna", "10", "", ""), ("2", "Bert", "10", "", ""), ("3", "Cleo", "10", "", "")])
    plan, _ = loads.run([("1", "Anna", "10", "", ""), ("2", "Bert", "ten", "", ""), ("3", "Cleo", "1", "", "")])
    assert actions(plan) == {1: "unchanged", 2: "rejected", "3": "delete"}
    [error] = table(plan.errors_file)
    assert (error["_row"], error["code"], error["value"]) == (2, rules.EXPRESSION, "price = 'ten'")
    assert error["message"].endswith("Correct the row, or the filter: price > 5")


def test_a_sync_without_work_runs_as_before(tmp_path: Path) -> None:
    loads = PreparedLoads(tmp_path)
    plan, _ = loads.run([("1", "Anna", "Rome")])
    assert actions(plan) == {1: "upsert"}
    assert dataclasses.replace(loads.spec) == loads.spec
