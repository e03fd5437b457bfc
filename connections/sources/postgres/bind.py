"""What a user wrote in SQL, with the values of its @parameters: bound as literals, never pasted as text.

The text is taken apart as PostgreSQL does it (manual, "Lexical Structure"), so that an @ in a string, a quoted name, a
comment or an operator stays what it is. Backslashes in plain strings are taken literally: sessions have to be told so
(`standard_conforming_strings`).
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

from connections.sources.base import MisconfiguredSourceError, parameters_in_words

_LETTER = r"A-Za-z_\u0080-\U0010ffff"
# Between two parts of one string there may be blanks and comments, if a line break is among them.
_CONTINUED = r"(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:[ \t\f\v\r\n]|--[^\r\n]*[\r\n])*'"
_TOKEN = re.compile(
    rf"""
    (?P<escaped>[eE]'(?:[^'\\]|\\.|''|'{_CONTINUED})*(?P<escaped_end>'?))
  | (?P<name>[{_LETTER}][{_LETTER}0-9$]*)
  | (?P<string>'(?:[^']|'')*(?P<string_end>'?))
  | (?P<quoted>"(?:[^"]|"")*(?P<quoted_end>"?))
  | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)
  | (?P<line>--[^\r\n]*)
  | (?P<comment>/\*)
  | (?P<operator>(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])+)
  | (?P<sign>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_PART = re.compile(r"/\*|\*/")
_PARAMETER = re.compile(r"[^\W\d]\w*")
# Behind these an @ without a blank is a parameter; behind any other sign it is part of an operator, such as <@ or @@.
_BEFORE_PARAMETER = frozenset(
    ["", "=", "<>", "!=", "<=", ">=", ">", "||", "+", "-", "*", "/", "%", "->", "->>", "~", "~*", "!~", "!~*", "~~"]
)


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement as it is sent, and what of it the user wrote.

    text: the statement. own: the user's part of it, as it was written; "" when the user wrote nothing. called: what
    the user's part is called. starts: pairs of a place in `text` and the place in `own` that it came from, ascending.
    """

    text: str
    own: str = ""
    called: str = "query"
    starts: tuple[tuple[int, int], ...] = ()

    def place(self, position: int) -> str:
        """Where in the user's part a character of the statement stands, in words; "" when it stands before that.

        position: of the character in `text`, from 0.
        """
        index = bisect.bisect_right([sent for sent, _ in self.starts], position) - 1
        if not self.own or index < 0:
            return ""
        sent, written = self.starts[index]
        written += position - sent
        if index + 1 < len(self.starts):
            written = min(written, self.starts[index + 1][1])  # within a value
        elif written > len(self.own):
            return f" (at the end of the {self.called})"
        before = self.own[:written]
        line, character = before.count("\n") + 1, len(before) - before.rfind("\n")
        return f" (line {line}, character {character} of the {self.called})"


def query(text: str, parameters: Mapping[str, str | None], literal: Callable[[str], str]) -> Statement:
    """A user's query with its parameters bound. literal: writes a value as one. Raises MisconfiguredSourceError."""
    bound, starts = _bound(text, "query", parameters, literal)
    return Statement(bound.rstrip().rstrip(";").rstrip(), text, "query", tuple(starts))


def filtered(
    select: str, alias: str, condition: str, parameters: Mapping[str, str | None], literal: Callable[[str], str]
) -> Statement:
    """The rows of a SELECT that meet a user's condition; it cannot be more than one condition on those rows.

    select: a whole SELECT. alias: by which quoted name the condition may call its rows. literal: writes a value as a
    literal. Raises MisconfiguredSourceError.
    """
    bound, starts = _bound(condition, "filter", parameters, literal, one_condition=True)
    before = f"SELECT * FROM ({select}) AS {alias} WHERE ("
    # The line break ends a comment at the end of the condition.
    text = f"{before}{bound}\n)"
    return Statement(text, condition, "filter", tuple((sent + len(before), own) for sent, own in starts))


def _bound(
    text: str,
    called: str,
    parameters: Mapping[str, str | None],
    literal: Callable[[str], str],
    *,
    one_condition: bool = False,
) -> tuple[str, list[tuple[int, int]]]:
    """The text with values for its parameters, and from where on each piece of it is where."""
    pieces: list[str] = []
    starts = [(0, 0)]
    length = done = 0
    for start, end, name in _parameters(text, called, one_condition):
        if name not in parameters:
            raise MisconfiguredSourceError(
                f"The {called} uses @{name}, which is no parameter of the sync{parameters_in_words(parameters)}. "
                "Declare it, or correct the name; where @ is an operator, write a blank behind it."
            )
        given = parameters[name]
        if given is not None and "\0" in given:
            raise MisconfiguredSourceError(f"The value of @{name} holds a NUL character. Leave it out.")
        value = " NULL " if given is None else f" {literal(given).strip()} "
        pieces += [text[done:start], value]
        length += start - done
        starts.append((length + 1, start))  # behind the blank
        length += len(value)
        starts.append((length, end))
        done = end
    return "".join([*pieces, text[done:]]), starts


def _parameters(text: str, called: str, one_condition: bool) -> Iterator[tuple[int, int, str]]:
    """Where the parameters stand: start, end and name of each. Raises MisconfiguredSourceError for an open end."""
    position = depth = 0
    while match := _TOKEN.match(text, position):
        kind, found = match.lastgroup, match[0]
        position = match.end()
        if kind in ("escaped", "string", "quoted") and not match[f"{kind}_end"]:
            raise _open(text, match.start(), called, "quote")
        if kind == "dollar":
            position = text.find(found, position) + len(found)
            if position < match.end():
                raise _open(text, match.start(), called, found)
        elif kind == "comment":
            position = _comment_end(text, match.start(), called)
        elif kind == "operator" and found.endswith("@") and found[:-1] in _BEFORE_PARAMETER:
            name = _PARAMETER.match(text, position)
            if name:
                yield position - 1, name.end(), name[0]
                position = name.end()
        elif kind == "sign" and one_condition:
            depth += (found == "(") - (found == ")")
            if depth < 0 or found == ";":
                raise _no_condition(text, match.start(), found)
    if one_condition and depth:
        raise MisconfiguredSourceError("The filter is no single condition: a parenthesis is not closed. Close it.")


def _comment_end(text: str, start: int, called: str) -> int:
    depth = 0
    for part in _COMMENT_PART.finditer(text, start):
        depth += 1 if part[0] == "/*" else -1
        if not depth:
            return part.end()
    raise _open(text, start, called, "/*")


def _open(text: str, start: int, called: str, sign: str) -> MisconfiguredSourceError:
    place = Statement(text, text, called, ((0, 0),)).place(start)
    return MisconfiguredSourceError(f"In the {called} a {sign} is not closed{place}. Close it.")


def _no_condition(text: str, start: int, sign: str) -> MisconfiguredSourceError:
    place = Statement(text, text, "filter", ((0, 0),)).place(start)
    return MisconfiguredSourceError(
        f"The filter is no single condition: there is a '{sign}' too many{place}. Write what would stand behind WHERE, "
        "such as: country = 'DE' AND active."
    )
