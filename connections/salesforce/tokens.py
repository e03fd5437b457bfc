"""A SOQL condition taken apart, so far that its @parameters are found. Pure: no network here.

Texts stand in single quotes, with backslashes before what would end them (SOQL reference, "Quoted String Escape
Sequences"); SOQL has no comments. So an @ within a text stays what it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<text>'(?:[^'\\]|\\.)*'?)
  | @(?P<parameter>[^\W\d]\w*)
  | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
  | (?P<sign><=|>=|!=|<>|[^\s\w])
  | (?P<number>\w+)
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclasses.dataclass(frozen=True)
class Token:
    """One piece. kind: "text", "parameter" (its `text` has no @), "name", "sign" or "number". start, end: where it
    stands in the condition, from 0."""

    kind: str
    text: str
    start: int
    end: int


def tokens(condition: str) -> Iterator[Token]:
    """The pieces of a condition, in order."""
    for match in _TOKEN.finditer(condition):
        kind = match.lastgroup or ""
        yield Token(kind, match[kind], match.start(), match.end())


def parameters_in(condition: str) -> list[str]:
    """The names of the parameters that a condition uses, each once, in order."""
    return list(dict.fromkeys(token.text for token in tokens(condition) if token.kind == "parameter"))
