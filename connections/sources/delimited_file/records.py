"""Cuts delimited text at the ends of records, and refuses quoting that would swallow rows.

Arrow's parser takes a quote that is never closed, or text after a closing quote, as part of the value: one stray
quote then makes many good rows into one cell, without a word. So the quoting is checked here before it parses.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from connections.sources.base import PermanentSourceError

# A possessive repeat of a group keeps no way back for each turn of it. Before Python 3.11.5 such repeats match wrongly;
# a greedy one finds the same here, where no text can be read in two ways, and only takes more memory on the way.
_POSSESSIVE = b"+" if sys.version_info >= (3, 11, 5) else b""

MAX_RECORD_BYTES = 16 * 1024 * 1024
_NEWLINES = re.compile(rb"[\r\n]++")


class RecordCutter:
    """Knows where records end, for one delimiter and one quote character.

    delimiter: one ASCII character. quote: one ASCII character, or "" for none. name: of the file, for messages.
    """

    def __init__(self, delimiter: str, quote: str, name: str) -> None:
        d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
        self._delimiter = delimiter.encode()
        self._quote = quote.encode()
        self._name = name
        self._line_feeds = 0
        self._returns = 0
        self._unquoted = re.compile(rb"[^%b\r\n]*+" % d)
        if quote:
            # A quoted cell opens at the start of a cell and closes at the end of one; two quotes inside are one.
            cell = rb"(?<![^%b\r\n%b])%b[^%b]*+%b(?=[%b\r\n%b])" % (d, q, q, q, q, d, q)
            text = rb"[^%b\r\n]*+" % q
            p = _POSSESSIVE
            self._records = re.compile(rb"(?:%b(?:%b%b)*%b[\r\n]++)*%b" % (text, cell, text, p, p))
            self._quoted = re.compile(rb"%b[^%b]*+%b(?:%b[^%b]*+%b)*%b" % (q, q, q, q, q, q, p))

    def pieces(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Cut a text that comes in blocks of any size into pieces of whole records.

        Raises PermanentSourceError for a quote that is not closed, text after a closing quote, and a record of more
        than 16 MB, naming the line.
        """
        carry = b""
        for block in blocks:
            buffer = carry + block
            cut = self.last_end(buffer)
            if cut:
                yield buffer[:cut]
                self._count_lines(buffer[:cut])
            carry = buffer[cut:]
            if len(carry) > MAX_RECORD_BYTES:
                raise self._error("a record of more than 16 MB begins; a quote is probably not closed")
        if carry:
            buffer = carry + b"\n"
            cut = self.last_end(buffer)
            if cut < len(buffer):
                self._count_lines(buffer[:cut])
                raise self._error("a record begins in which a quote is not closed before the end of the file")
            yield buffer

    def first_end(self, text: bytes, start: int) -> int:
        """Where the record that begins at `start` ends, past its line break; -1 if it goes on past the text."""
        position = start
        while True:
            if self._quote and text.startswith(self._quote, position):
                quoted = self._quoted.match(text, position)
                end = len(text) if quoted is None else quoted.end()
                if text[end : end + 1] in (b"", self._quote):
                    return -1
            else:
                unquoted = self._unquoted.match(text, position)
                end = len(text) if unquoted is None else unquoted.end()
            after = text[end : end + 1]
            if after == self._delimiter:
                position = end + 1
            elif after in (b"\r", b"\n"):
                newlines = _NEWLINES.match(text, end)
                return len(text) if newlines is None else newlines.end()
            elif not after:
                return -1
            else:
                self._count_lines(text[:end])
                near = text[max(start, end - 40) : end + 20].decode("utf-8", "replace")
                raise self._error(f"text follows a closing quote, near {near!r}")

    def last_end(self, text: bytes) -> int:
        """Where the last whole record of `text` ends, past its line break; 0 if there is none."""
        if not self._quote or self._quote not in text:
            return max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        position = 0
        while True:
            # The expression takes all records of the usual form in one go; what stops it is looked at cell by cell.
            usual = self._records.match(text, position)
            position = position if usual is None else usual.end()
            end = self.first_end(text, position)
            if end == -1:
                return position
            position = end

    def _count_lines(self, text: bytes) -> None:
        self._line_feeds += text.count(b"\n")
        self._returns += text.count(b"\r")

    def _error(self, what: str) -> PermanentSourceError:
        # Lines end in LF, CR or both: whichever there are more of has ended every line.
        line = max(self._line_feeds, self._returns) + 1
        return PermanentSourceError(
            f"{self._name}, line {line}: {what}. Inside a quoted cell a quote must be doubled; correct the "
            "line, or change the quote character of the connection (blank for none)."
        )
