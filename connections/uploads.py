"""Files that people put into their organization's folder, for connections of the kind `delimited_file` to read.

The folder is the organization's: all its connections of this kind see the same files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import time
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from connections import kinds
from connections.models import Connection, Discovered
from connections.sources.delimited_file.folder import files_below
from orgs import access, audit
from orgs.access import Actor
from orgs.models import Permission

KIND = "delimited_file"
_LONGEST_NAME = 200  # bytes; file systems allow 255, and some tools add an ending
_UNFINISHED = ".upload-"
_ABANDONED_SECONDS = 24 * 3600


class UploadRefused(Exception):
    """A file cannot be stored or deleted. The message says why and what to do; nothing has changed."""


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """One file of the folder. path: relative to it. size: bytes."""

    path: str
    size: int
    modified_at: datetime


def store_upload(
    connection: Connection, name: str, chunks: Iterable[bytes], *, by: Actor, replace: bool = False
) -> str:
    """Put a file into the folder of the connection's organization, whole or not at all.

    name: of the file, without a folder. chunks: its content. replace: whether a file of this name may be replaced.
    Returns the path by which a sync selects it. Raises Denied, and UploadRefused.
    """
    folder = _folder(connection, by)
    path = _checked_name(name)
    if not replace and os.path.lexists(folder / path):
        raise _is_there(path)
    unfinished = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        _remove_abandoned(folder)
        size = _write(unfinished, chunks)
        with transaction.atomic():
            audit.record(by, f"uploaded {path}"[:40], connection, {"file": [None, path], "bytes": [None, size]})
            if replace:
                os.replace(unfinished, folder / path)
            else:
                # Unlike a rename, a link fails when somebody else has just put a file there.
                os.link(unfinished, folder / path)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise UploadRefused(f"The file '{path}' could not be stored: {error.strerror}.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    _forget(connection)
    return path


def stored_files(connection: Connection) -> list[StoredFile]:
    """The files of the folder in order of name: at most 1,000, hidden ones left out."""
    folder = kinds.files_folder(connection.organization)
    found = []
    for path in files_below(folder):
        # It may be deleted in this moment.
        with contextlib.suppress(OSError):
            told = (folder / path).stat()
            found.append(StoredFile(path, told.st_size, datetime.fromtimestamp(told.st_mtime, UTC)))
    return found


def delete_file(connection: Connection, path: str, *, by: Actor) -> None:
    """Delete one of `stored_files`. Raises Denied, and UploadRefused when there is no such file."""
    folder = _folder(connection, by)
    if path not in files_below(folder):
        raise UploadRefused(f"There is no file '{path}' any more.")
    try:
        with transaction.atomic():
            audit.record(by, f"deleted {path}"[:40], connection, {"file": [path, None]})
            (folder / path).unlink()
    except OSError as error:
        raise UploadRefused(f"The file '{path}' could not be deleted: {error.strerror}.") from None
    _forget(connection)


def _folder(connection: Connection, by: Actor) -> Path:
    access.require(by, Permission.WRITE, connection)
    if connection.kind != KIND:
        raise UploadRefused(f"The connection '{connection}' reads no files. Choose one of the kind 'Delimited file'.")
    return kinds.files_folder(connection.organization)


def _checked_name(name: str) -> str:
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean:
        raise UploadRefused("The file has no name. Give it one.")
    shown = clean if clean.isprintable() else repr(clean)
    if "/" in clean or "\\" in clean:
        raise UploadRefused(f"The name '{shown}' holds a slash. Give the name of a file, without a folder.")
    if clean.startswith("."):
        raise UploadRefused(f"The name '{shown}' begins with a dot, which hides the file. Rename it.")
    if any(unicodedata.category(character).startswith("C") for character in clean):
        raise UploadRefused(f"The name {shown} holds a character that cannot be seen. Rename the file.")
    if len(clean.encode()) > _LONGEST_NAME:
        raise UploadRefused(f"The name '{shown[:40]}...' is longer than {_LONGEST_NAME} bytes. Shorten it.")
    return clean


def _is_there(path: str) -> UploadRefused:
    return UploadRefused(f"There is a file '{path}' already. Choose to replace it, or rename yours.")


def _write(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a new file and bring it to the disk. Returns its size in bytes."""
    most, size = settings.SFSYNC_UPLOAD_MB * 1_000_000, 0
    with open(path, "xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise UploadRefused(
                    f"The file is larger than {settings.SFSYNC_UPLOAD_MB:g} MB, the most that may be uploaded here. "
                    "Ask whoever runs this installation to copy it into the organization's folder."
                )
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size


def _remove_abandoned(folder: Path) -> None:
    """Take away what a process left that died while it was writing."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _forget(connection: Connection) -> None:
    """The lists of files and columns are out of date, those of all connections that read the folder."""
    same = {"organization_id": connection.organization_id, "connection__kind": KIND}
    Discovered.all_objects.filter(**same).delete()
