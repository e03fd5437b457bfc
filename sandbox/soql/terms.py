"""The words of a search: `{joe* AND NOT "joe smith"}` as a condition on text (SOSL Reference, "FIND {SearchQuery}")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.rows.rules import literal
from sandbox.wire import SalesforceError

MAX_TERM = 10_000
MAX_DEPTH = 50
_LETTER = r"[\pL\pN_]"
_TOKEN = re.compile(r'\s*(?:(?P<bracket>[()])|"(?P<phrase>(?:\\.|[^"\\])*)"|(?P<word>(?:\\.|[^\s()"\\])+))', re.DOTALL)


@dataclass
class Terms:
    """Reads the words one after the other; `text` is what stood between the braces."""

    text: str

    def sql(self, haystack: str) -> str:
        """SQL: whether the text `haystack` (in lower case) holds what is looked for.

        Raises SalesforceError (400, MALFORMED_SEARCH).
        """
        if len(self.text) > MAX_TERM:
            raise malformed(f"The search term may have at most {MAX_TERM} characters")
        self._haystack = haystack
        self._depth = 0
        self._tokens = self._split()
        if not self._tokens:
            raise malformed("The search term is empty")
        condition = self._any()
        if self._tokens:
            raise malformed(f"unexpected token: '{self._tokens[0][1]}'")
        return condition

    def _split(self) -> list[tuple[str, str]]:
        found = []
        position = 0
        text = self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise malformed(f"unexpected token: '{text[position:].strip()[:1]}'")
            kind = str(match.lastgroup)
            found.append((kind, match[kind]))
            position = match.end()
        return found

    def _next_is(self, word: str) -> bool:
        return bool(self._tokens) and self._tokens[0][0] == "word" and self._tokens[0][1].upper() == word

    def _any(self) -> str:
        parts = [self._all()]
        while self._next_is("OR"):
            self._tokens.pop(0)
            parts.append(self._all())
        return f"({' OR '.join(parts)})"

    def _all(self) -> str:
        """Words one after the other must all be there, with AND between them or without."""
        parts = [self._one()]
        while self._tokens and not self._next_is("OR") and self._tokens[0] != ("bracket", ")"):
            negated = False
            if self._next_is("AND"):
                self._tokens.pop(0)
                if negated := self._next_is("NOT"):
                    self._tokens.pop(0)
            parts.append(f"{'NOT ' if negated else ''}{self._one()}")
        return f"({' AND '.join(parts)})"

    def _one(self) -> str:
        if not self._tokens:
            raise malformed("unexpected token: '<EOF>'")
        kind, text = self._tokens.pop(0)
        if kind != "bracket":
            if kind == "word" and text.upper() in ("AND", "OR"):
                raise malformed(f"unexpected token: '{text}'")
            return self._holds(text, phrase=kind == "phrase")
        self._depth += 1
        if text == ")" or self._depth > MAX_DEPTH:
            raise malformed(f"unexpected token: '{text}'")
        inner = self._any()
        if not self._tokens or self._tokens.pop(0) != ("bracket", ")"):
            raise malformed("unexpected token: '<EOF>'")
        self._depth -= 1
        return inner

    def _holds(self, text: str, *, phrase: bool) -> str:
        """SQL: whether a word or phrase stands there as a whole; `*` and `?` are wildcards."""
        plain = re.sub(r"\\(.)", r"\1", text)
        if len(re.sub(r"[*?\s]", "", plain)) < (1 if phrase else 2):
            raise malformed(f"search term must be longer than one character: {plain}")
        wild = {"*": f"{_LETTER}*", "?": _LETTER}
        parts = re.findall(r"\\.|.", text.lower(), re.DOTALL)
        pattern = "".join(wild.get(each) or re.escape(each[-1]) for each in parts)
        whole = rf"(^|[^\pL\pN_]){pattern}($|[^\pL\pN_])"
        return f"regexp_matches({self._haystack}, {literal(whole)})"


def malformed(message: str) -> SalesforceError:
    return SalesforceError(400, "MALFORMED_SEARCH", message)
