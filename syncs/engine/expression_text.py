"""The text of an expression before it is parsed: is it safe to parse, and which `@parameters` stand in it?

DuckDB's parser takes quadratic time, or much more, for some texts that mean nothing. They are told apart here, by the
words of the text alone. What an expression may do is not decided here but by the tree that the parser makes of it.
"""

from __future__ import annotations

import dataclasses
import re

LONGEST = 10_000
MOST_BRACKETS = 50
# How many signs may stand in a row, as in `- - - a`; each of them doubles some of the parser's work.
_MOST_PREFIXES = 10
# The parser copies what stands between CASE and WHEN to each of its WHENs.
_LONGEST_CASE_OPERAND = 20

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<text>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<parameter>@[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)
  | (?P<name>[^\W\d]\w*)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class ExpressionError(Exception):
    """A mistake in an expression.

    reason: what is wrong and what to do, in one or two sentences. text: the whole expression. position: the character
    where the mistake stands, from 1. length: how many characters it has, at least 1.
    """

    def __init__(self, reason: str, text: str, position: int = 1, length: int = 1) -> None:
        self.reason, self.text = reason, text
        self.position = max(1, min(position, len(text) + 1))
        self.length = max(1, length)
        super().__init__(f"At character {self.position}: {reason}")

    def display(self) -> str:
        """The line of the expression in which the mistake stands, with a mark below it."""
        before = self.text[: self.position - 1]
        start = before.rfind("\n") + 1
        end = self.text.find("\n", self.position - 1)
        line = self.text[start:] if end < 0 else self.text[start:end]
        place = self.position - 1 - start
        shift = max(0, place - 60)
        shown = ("..." if shift else "") + line[shift : place + 60] + ("..." if len(line) > place + 60 else "")
        mark = " " * (place - shift + (3 if shift else 0)) + "^" * min(self.length, max(1, len(line) - place))
        return f"{shown}\n{mark}"


@dataclasses.dataclass(frozen=True)
class ReadyText:
    """A text that may be parsed: as long as what the user wrote, with a `$` for the `@` of each parameter."""

    sql: str
    text: str

    def position(self, offset: int) -> int:
        """The character, from 1, at a place in the text's UTF-8, in bytes from 0."""
        return len(self.sql.encode()[:offset].decode(errors="ignore")) + 1


def ready_to_parse(text: str) -> ReadyText:
    """The text of an expression in the form that DuckDB parses. Raises `ExpressionError`."""
    if not text.strip():
        raise ExpressionError("The expression is empty.", text)
    if len(text) > LONGEST:
        raise ExpressionError(f"The expression is longer than {LONGEST:,} characters. Shorten it.", text, LONGEST)
    guard = _Guard(text)
    pieces = []
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup or "", match[0]
        guard.look_at(kind, token, match.start() + 1)
        pieces.append("$" + token[1:] if kind == "parameter" else token)
    guard.end()
    return ReadyText("".join(pieces), text)


class _Guard:
    """Refuses what a parser had better not see."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._prefixes = 0
        self._brackets: list[int] = []
        # For each CASE whose first WHEN has not come yet, how many words its operand has so far.
        self._operands: list[int] = []

    def look_at(self, kind: str, token: str, position: int) -> None:
        if "\0" in token:
            raise self._error("There is a NUL character in the expression. Remove it.", position)
        if kind == "space":
            return
        if kind == "sign":
            self._sign(token, position)
        word = token.upper() if kind == "name" else ""
        self._count_prefixes(kind, word, position)
        self._case(word, position)

    def end(self) -> None:
        if self._brackets:
            raise self._error("This bracket is not closed.", self._brackets[-1])

    def _sign(self, token: str, position: int) -> None:
        if token in "'\"":
            what = "a text" if token == "'" else "the name of a column"
            raise self._error(f"Here {what} begins that has no end. Close it with {token}", position)
        if token in "$?;":
            hint = "; a parameter is written as @name" if token != ";" else ""
            raise self._error(f"'{token}' has no place in an expression{hint}.", position)
        if token == "@":
            raise self._error(
                "After '@' comes the name of a parameter. For the absolute value, use abs(...).", position
            )
        if token in "([{":
            self._brackets.append(position)
            if len(self._brackets) > MOST_BRACKETS:
                raise self._error(f"There are more than {MOST_BRACKETS} brackets inside each other.", position)
        elif token in ")]}":
            if not self._brackets:
                raise self._error("No bracket is open that this one could close.", position)
            self._brackets.pop()

    def _count_prefixes(self, kind: str, word: str, position: int) -> None:
        is_prefix = word == "NOT" or (kind == "sign" and self._text[position - 1] not in "()[]{},")
        self._prefixes = self._prefixes + 1 if is_prefix else 0
        if self._prefixes > _MOST_PREFIXES:
            raise self._error(f"There are more than {_MOST_PREFIXES} signs in a row.", position)

    def _case(self, word: str, position: int) -> None:
        if word == "WHEN" and self._operands:
            self._operands.pop()
        elif word == "CASE":
            if self._operands:
                raise self._error("A CASE cannot stand between CASE and WHEN. Write CASE WHEN ... instead.", position)
            self._operands.append(0)
        elif self._operands:
            self._operands[-1] += 1
            if self._operands[-1] > _LONGEST_CASE_OPERAND:
                reason = "What stands between CASE and its first WHEN is too long. Write CASE WHEN ... instead."
                raise self._error(reason, position)

    def _error(self, reason: str, position: int) -> ExpressionError:
        return ExpressionError(reason, self._text, position)
