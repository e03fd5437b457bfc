"""Opens files below one folder, and never outside of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

from connections.sources.base import MisconfiguredSourceError, TransientSourceError

_MAX_LISTED = 1000
_SHOWN = 10


def open_below(folder: Path, path: str) -> BinaryIO:
    """Open the file at `path`, relative to `folder`, for reading.

    Links may point to other files of the folder, not out of it. The path is resolved first, and then opened part by
    part without following links, so that nobody can swap in a link between the two. Raises MisconfiguredSourceError.
    """
    wanted = PurePath(path)
    if not path or "\0" in path:
        raise MisconfiguredSourceError("No file is selected. Give the path of a file in the organization's folder.")
    if wanted.is_absolute() or ".." in wanted.parts:
        raise _outside(path)
    # Not Path.resolve(): that raises RuntimeError for links that point to each other.
    root = Path(os.path.realpath(folder))
    real = Path(os.path.realpath(root / wanted))
    if not real.is_relative_to(root):
        raise _outside(path)
    try:
        descriptor = _open_parts(root, real.relative_to(root).parts)
    except OSError as error:
        raise _explained(error, folder, path) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MisconfiguredSourceError(f"'{path}' is a folder or a device, not a file.{_what_is_there(folder)}")
    return os.fdopen(descriptor, "rb")


def files_below(folder: Path) -> Iterator[str]:
    """Paths of the files below `folder`, relative to it, in order of name: at most 1,000, hidden ones left out."""
    count = 0
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield (Path(directory) / name).relative_to(folder).as_posix()
                count += 1
                if count == _MAX_LISTED:
                    return


def _open_parts(root: Path, parts: tuple[str, ...]) -> int:
    if os.open not in os.supports_dir_fd:
        return os.open(root.joinpath(*parts), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held)
            os.close(held)
            held = inner
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        return os.open(parts[-1] if parts else ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=held)
    finally:
        os.close(held)


def _outside(path: str) -> MisconfiguredSourceError:
    return MisconfiguredSourceError(
        f"The path '{path}' leads out of the organization's folder. Give a path inside it, without '..'."
    )


def _explained(error: OSError, folder: Path, path: str) -> MisconfiguredSourceError | TransientSourceError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return MisconfiguredSourceError(f"There is no file '{path}'.{_what_is_there(folder)}")
    if error.errno == errno.ELOOP:
        return _outside(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return MisconfiguredSourceError(f"The file '{path}' may not be read. Give sfsync's user the right to.")
    return TransientSourceError(f"The file '{path}' cannot be opened: {error.strerror}.")


def _what_is_there(folder: Path) -> str:
    names = list(files_below(folder))
    if not names:
        return " The organization's folder holds no files; put the file there first."
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" The organization's folder holds {shown}{more}."
