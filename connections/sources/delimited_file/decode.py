"""A file's bytes as UTF-8, whatever its encoding, and what to say when the encoding is wrong."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from connections.sources.base import PermanentSourceError, TransientSourceError

BLOCK_BYTES = 4 * 1024 * 1024
_UTF8_BOM = codecs.BOM_UTF8
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def codec_name(encoding: str) -> str:
    """Python's name of a text encoding, "utf-8" for UTF-8 with a byte order mark too. Raises LookupError."""
    name = codecs.lookup(encoding).name
    "".encode(name)  # raises LookupError for codecs that are not of text, such as "base64"
    return "utf-8" if name == "utf-8-sig" else name


def utf8_blocks(file: BinaryIO, codec: str, name: str) -> Iterator[bytes]:
    """The file in blocks of UTF-8, of some megabytes each, without a byte order mark.

    codec: from `codec_name`. A file said to be UTF-8 is passed on as it is; who parses it finds what is wrong, and
    `explain_bad_utf8` says it. Raises PermanentSourceError for bytes that are not of the encoding.
    """
    head = _read(file, name)
    _refuse_other_mark(head, codec, name)
    if codec == "utf-8":
        yield from _unchanged(file, head, name)
    else:
        yield from _decoded(file, head, codec, name)


def explain_bad_utf8(file: BinaryIO, name: str) -> PermanentSourceError:
    """Find the first byte of the file that is not UTF-8, and say so. The file is read again from its start."""
    file.seek(0)
    try:
        for _ in _decoded(file, _read(file, name), "utf-8", name):
            pass
    except PermanentSourceError as error:
        return error
    return PermanentSourceError(f"{name} is not UTF-8, or was changed while it was read.")


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        return file.read(BLOCK_BYTES)
    except OSError as error:
        raise TransientSourceError(f"{name} cannot be read: {error.strerror}.") from None


def _refuse_other_mark(head: bytes, codec: str, name: str) -> None:
    wide = codec.startswith(("utf-16", "utf-32"))
    likely = ""
    if head.startswith(_UTF16_BOMS) and not wide:
        likely = "utf-16"
    elif head.startswith(_UTF8_BOM) and codec != "utf-8":
        likely = "utf-8"
    elif not wide and head[:400].count(0) > len(head[:400]) // 4:
        likely = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    elif codec == "utf-16" and head and not head.startswith(_UTF16_BOMS) and 0 not in head[:400]:
        likely = _likely(head)
    if likely:
        raise PermanentSourceError(
            f"{name} is not {codec}: its first bytes look like {likely}. Set the connection's encoding to {likely}."
        )


def _unchanged(file: BinaryIO, head: bytes, name: str) -> Iterator[bytes]:
    block = head.removeprefix(_UTF8_BOM)
    while block:
        yield block
        block = _read(file, name)


def _decoded(file: BinaryIO, head: bytes, codec: str, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    block, taken, lines, first = head, 0, 0, True
    while True:
        taken += len(block)
        try:
            text = decoder.decode(block, final=not block)
            out = text.encode("utf-8")
        except UnicodeDecodeError as error:
            offset = taken - len(error.object) + error.start
            line = lines + 1 + error.object[: error.start].count(b"\n")
            raise _wrong_encoding(error.object[error.start :], offset, line, codec, head, name) from None
        except UnicodeError:
            raise _wrong_encoding(block, taken - len(block), lines + 1, codec, head, name) from None
        lines += out.count(b"\n")
        if first and out.startswith(_UTF8_BOM):
            out = out[len(_UTF8_BOM) :]
        first = first and not text
        if out:
            yield out
        if not block:
            return
        block = _read(file, name)


def _wrong_encoding(bad: bytes, offset: int, line: int, codec: str, head: bytes, name: str) -> PermanentSourceError:
    byte = f"byte 0x{bad[0]:02X}" if bad else "the end"
    likely = _likely(head + bad[:4])
    advice = f"It looks like {likely}; set" if likely and likely != codec else "Set"
    return PermanentSourceError(
        f"{name} is not {codec}: {byte} at offset {offset:,} (line {line:,}) does not belong there. "
        f"{advice} the encoding of the connection to the one the file was written in."
    )


def _likely(sample: bytes) -> str:
    if sample.startswith(_UTF16_BOMS):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
