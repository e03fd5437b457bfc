import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from jobs.errors import JobRefused
from jobs.models import Status
from jobs.results import open_refused_rows_csv, row_error, row_errors
from syncs.engine.rejects import ERROR_SCHEMA
from syncs.engine.stage import Staged
from tests.factories import make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db


def test_a_job_without_results_says_so():
    job = make_job(make_sync(make_organization()))
    for look in (row_errors, open_refused_rows_csv):
        with pytest.raises(JobRefused, match="is queued and has no row errors"):
            look(job)


def test_files_past_their_retention_are_told_of():
    job = make_job(make_sync(make_organization()), status=Status.PARTIAL, files_removed_at=timezone.now())
    job.manifests = {"final": {}}
    for look in (row_errors, open_refused_rows_csv):
        with pytest.raises(JobRefused, match="past their retention"):
            look(job)


@pytest.mark.parametrize("damaged", ["rows.parquet", "errors.parquet"])
@pytest.mark.parametrize("at", ["the beginning", "the middle"])
def test_damaged_files_are_told_of(tmp_path, damaged, at):
    job = make_job(make_sync(make_organization()), status=Status.PARTIAL)
    rows = list(range(1, 1001))
    cells = {f"c_{place}": [f"{row * 7919} of {place}" for row in rows] for place in range(3)}
    pq.write_table(pa.table({"_row": rows, **cells}), tmp_path / "rows.parquet")
    errors = [{"_row": row, "source": "rule", "code": "TOO_LONG", "message": f"row {row}"} for row in rows]
    pq.write_table(pa.Table.from_pylist(errors, ERROR_SCHEMA), tmp_path / "errors.parquet")
    staged = Staged(tmp_path / "rows.parquet", None, ("a", "b", "c"), 1000, (), {})
    job.manifests = {"staged": staged.to_json(), "final": {"errors_file": str(tmp_path / "errors.parquet")}}
    looks = [
        lambda: row_errors(job, search="of"),
        lambda: row_error(job, 700),
        lambda: open_refused_rows_csv(job).close(),
    ]
    for look in looks:
        look()
    content = bytearray((tmp_path / damaged).read_bytes())
    middle = slice(4, len(content) * 3 // 4) if at == "the middle" else slice(0, len(content))
    content[middle] = b"\xff" * len(content[middle])
    (tmp_path / damaged).write_bytes(content)
    for look in looks:
        with pytest.raises(JobRefused, match="missing or damaged"):
            look()


def test_wide_rows_with_long_cells_are_shown(tmp_path):
    job = make_job(make_sync(make_organization()), status=Status.PARTIAL)
    rows, names = list(range(1, 21)), [f"column {place}" for place in range(500)]
    cells = {f"c_{place}": [f"{row}-{place}-" + "x" * 2000 for row in rows] for place in range(500)}
    pq.write_table(pa.table({"_row": rows, **cells}), tmp_path / "rows.parquet")
    errors = [{"_row": row, "code": "TOO_LONG", "message": "long " * 10_000, "value": "x" * 255} for row in rows]
    pq.write_table(pa.Table.from_pylist(errors, ERROR_SCHEMA), tmp_path / "errors.parquet")
    staged = Staged(tmp_path / "rows.parquet", None, tuple(names), 20, (), {})
    job.manifests = {"staged": staged.to_json(), "final": {"errors_file": str(tmp_path / "errors.parquet")}}
    assert [error.row for error in row_errors(job, search="17-499-X").errors] == [17]
    shown = row_error(job, 17)[1]
    assert shown is not None and shown["column 499"] == "17-499-" + "x" * 2000
    with open_refused_rows_csv(job) as file:
        assert file.read().count(b"17-499-x") == 1
