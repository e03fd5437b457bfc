"""/_sandbox/export and /_sandbox/import: the whole org as a zip file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web.archive import ArchiveError, read_archive, write_archive
from sandbox.wire import SalesforceError

CHUNK = 1 << 20


def export_org(org: Org, call: Call) -> Answer:
    """GET /_sandbox/export."""
    file = _temporary(org)
    try:
        write_archive(org, file)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    headers = {"Content-Disposition": f'attachment; filename="org-{org.org_id}.zip"', "Cache-Control": "no-store"}
    headers["Content-Length"] = str(file.stat().st_size)
    return Answer(200, headers=headers, stream=_once(file), content_type="application/zip")


def _temporary(org: Org) -> Path:
    handle, path = tempfile.mkstemp(suffix=".zip", dir=org.settings.folder)
    os.close(handle)
    return Path(path)


def _once(file: Path) -> Iterator[bytes]:
    """The bytes of a file, which is removed after it."""
    # Open already, so that it is gone even when nobody reads to the end.
    source = file.open("rb")
    file.unlink()

    def chunks() -> Iterator[bytes]:
        with source:
            while chunk := source.read(CHUNK):
                yield chunk

    return chunks()


async def import_org(org: Org, call: Call, request: Request) -> Answer:
    """POST /_sandbox/import with the zip file as its body.

    Raises SalesforceError: 400 BAD_EXPORT for a file that does not fit, and then nothing is changed.
    """
    file = _temporary(org)
    try:
        with file.open("wb") as copy:
            async for chunk in request.stream():
                copy.write(chunk)
        return Answer(200, {"records": await run_in_threadpool(read_archive, org, file)})
    except ArchiveError as error:
        raise SalesforceError(400, "BAD_EXPORT", str(error)) from None
    finally:
        file.unlink(missing_ok=True)
