"""Files that people upload: whole or not at all, and never outside of the organization's folder."""

import os
import time

import pytest

from connections import discover, kinds
from connections.uploads import UploadRefused, delete_file, store_upload, stored_files
from orgs.access import Denied, operator
from orgs.models import AuditEvent
from tests.factories import anybody, make_connection, make_organization

pytestmark = pytest.mark.django_db


@pytest.fixture
def files():
    return make_connection(make_organization())


@pytest.fixture
def folder(files):
    return kinds.files_folder(files.organization)


def store(connection, name="accounts.csv", chunks=(b"id\n", b"1\n"), **more):
    return store_upload(connection, name, chunks, by=anybody(connection), **more)


@pytest.mark.parametrize(
    "name", ["accounts.csv", "Ko\u0308ln.csv", "a b;c&d.csv", "-rf", "%2e%2e%2fx.csv", "con", "x" * 200, "数据.csv"]
)
def test_an_odd_name_is_kept_as_it_is_read(files, folder, name):
    stored = store(files, name)
    assert (folder / stored).read_bytes() == b"id\n1\n"
    assert [each.path for each in stored_files(files)] == [stored]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "has no name"),
        ("  ", "has no name"),
        (".", "begins with a dot"),
        ("..", "begins with a dot"),
        (".hidden.csv", "begins with a dot"),
        ("../theirs.csv", "holds a slash"),
        ("/etc/passwd", "holds a slash"),
        ("..\\theirs.csv", "holds a slash"),
        ("a\0.csv", "cannot be seen"),
        ("a\n.csv", "cannot be seen"),
        ("fdp\u202evsc.csv", "cannot be seen"),
        ("x" * 201, "longer than 200 bytes"),
        ("ö" * 101, "longer than 200 bytes"),
    ],
)
def test_a_name_that_is_none_is_refused(files, folder, name, why):
    with pytest.raises(UploadRefused, match=why):
        store(files, name)
    assert list(folder.iterdir()) == []
    assert not AuditEvent.all_objects.exists()


def test_a_file_that_is_too_large_leaves_nothing(files, folder, settings):
    settings.SFSYNC_UPLOAD_MB = 0.001
    with pytest.raises(UploadRefused, match="larger than 0.001 MB"):
        store(files, chunks=(b"x" * 600 for _ in range(2)))
    assert list(folder.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(files, folder):
    def broken():
        yield b"id\n"
        raise ConnectionResetError(104, "Connection reset by peer")

    store(files, chunks=[b"old"])
    with pytest.raises(UploadRefused, match="could not be stored: Connection reset"):
        store(files, chunks=broken(), replace=True)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"old"]


def test_a_file_that_somebody_else_puts_there_meanwhile_is_not_overwritten(files, folder):
    def slow():
        (folder / "accounts.csv").write_bytes(b"theirs")
        yield b"mine"

    with pytest.raises(UploadRefused, match="There is a file 'accounts.csv' already"):
        store(files, chunks=slow())
    assert [path.read_bytes() for path in folder.iterdir()] == [b"theirs"]
    assert not AuditEvent.all_objects.exists()


def test_a_link_is_replaced_and_what_it_points_to_stays(files, folder, tmp_path):
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"outside")
    (folder / "accounts.csv").symlink_to(outside)
    store(files, replace=True)
    assert outside.read_bytes() == b"outside"
    (folder / "other.csv").symlink_to(outside)
    delete_file(files, "other.csv", by=anybody(files))
    assert outside.exists() and not (folder / "other.csv").is_symlink()


def test_what_a_dead_process_left_is_removed_after_a_day(files, folder):
    for name, age in ((".upload-old", 90_000), (".upload-new", 60)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    store(files)
    assert sorted(path.name for path in folder.iterdir()) == [".upload-new", "accounts.csv"]


def test_an_upload_is_seen_at_once_by_all_connections_that_read_the_folder(files):
    other = make_connection(files.organization, name="Same folder")
    assert discover.tables(other) == []
    store(files)
    assert [(table.name, table.columns) for table in discover.tables(other)] == [("accounts.csv", ("id",))]
    delete_file(files, "accounts.csv", by=anybody(files))
    assert discover.tables(other) == []


def test_only_connections_that_read_files_take_them_and_only_from_their_organization(files):
    salesforce = make_connection(files.organization, "salesforce")
    with pytest.raises(UploadRefused, match="reads no files"):
        store(salesforce)
    with pytest.raises(Denied):
        store_upload(files, "accounts.csv", [b"x"], by=operator(make_organization("beta"), "carol"))
