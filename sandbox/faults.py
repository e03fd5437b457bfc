"""Trouble on demand: rules that make chosen calls fail, hang or lose their answer, and chosen bulk jobs go wrong."""

from __future__ import annotations

import asyncio
import json
import random
import re
from dataclasses import dataclass, field
from typing import Any

import duckdb

CALL_ACTIONS = frozenset(
    {"status", "maintenance", "expire_token", "lose_answer", "twice", "cut", "hold_before", "hold_after"}
)
JOB_ACTIONS = frozenset({"slow_job", "fail_job", "abort_job"})
ROW_ACTIONS = frozenset({"refuse_rows"})
ACTIONS = CALL_ACTIONS | JOB_ACTIONS | ROW_ACTIONS
# These go on until they are removed, unless the rule says how often.
LASTING = frozenset({"maintenance", "refuse_rows"})
KEYS = frozenset(
    [
        "id",
        "method",
        "path",
        "nth",
        "every",
        "times",
        "action",
        "status",
        "code",
        "message",
        "html",
        "retry_after",
        "after_bytes",
        "seconds",
        "after_rows",
        "object",
        "operation",
        "body",
        "probability",
        "seed",
        "field",
        "matches",
    ]
)


class FaultError(ValueError):
    """A rule that cannot be used; the message says what is wrong with it."""


@dataclass
class Rule:
    """One rule and what it has done so far."""

    id: str
    action: str
    facts: dict[str, Any]
    method: re.Pattern[str] | None
    path: re.Pattern[str] | None
    body: re.Pattern[bytes] | None
    chance: random.Random
    matched: int = 0
    fired: int = 0
    held: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def fires(self) -> bool:
        """Count one match; whether the rule acts on it."""
        self.matched += 1
        limit = self.facts.get("times", None if self.action in LASTING else 1)
        if limit is not None and self.fired >= limit:
            return False
        nth, every = self.facts.get("nth"), self.facts.get("every")
        if nth is not None and self.matched != nth:
            return False
        if every is not None and self.matched % every != 0:
            return False
        if self.chance.random() >= self.facts.get("probability", 1):
            return False
        self.fired += 1
        return True

    def as_json(self) -> dict[str, Any]:
        return {**self.facts, "id": self.id, "matched": self.matched, "fired": self.fired, "held": self.held}


@dataclass(frozen=True)
class Refusal:
    """Rows to refuse: those whose `field` matches `pattern` (RE2); `error` is what a row is told, by code and text."""

    field: str
    pattern: str
    code: str
    message: str


class Faults:
    """All rules of the org, in the order in which they were added; the first that fires wins."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._number = 0

    def add(self, facts: dict[str, Any]) -> Rule:
        """Add a rule from its JSON.

        Raises FaultError for an unknown key or action, or a pattern that is no regular expression.
        """
        if unknown := set(facts) - KEYS:
            raise FaultError(f"unknown keys: {', '.join(sorted(unknown))}; known are {', '.join(sorted(KEYS))}")
        _check(facts)
        self._number += 1
        rule_id = str(facts.get("id") or f"rule-{self._number}")
        try:
            method = re.compile(facts["method"], re.IGNORECASE) if facts.get("method") else None
            path = re.compile(facts["path"]) if facts.get("path") else None
            body = re.compile(facts["body"].encode()) if facts.get("body") else None
        except re.error as error:
            raise FaultError(f"not a regular expression: {error}") from error
        chance = random.Random(facts.get("seed"))
        rule = Rule(rule_id, str(facts["action"]), dict(facts), method, path, body, chance)
        self._rules[rule_id] = rule
        return rule

    def add_text(self, text: str) -> Rule:
        """Add a rule from its JSON text. Raises FaultError."""
        try:
            facts = json.loads(text)
        except ValueError as error:
            raise FaultError(f"{text!r} is not JSON: {error}") from None
        if not isinstance(facts, dict):
            raise FaultError(f"{text!r} is not a JSON object")
        return self.add(facts)

    @property
    def read_bodies(self) -> bool:
        """Whether a rule looks at the bodies of calls."""
        return any(rule.body is not None for rule in self._rules.values())

    def for_call(self, method: str, path: str, body: bytes | None) -> Rule | None:
        """The rule that acts on this call, if any; every rule that matches counts it.

        `body` is None where it was not read (uploads): rules that look at bodies pass such calls by.
        """
        chosen = None
        for rule in self._rules.values():
            if rule.action in CALL_ACTIONS and _is_for(rule, method, path, body) and rule.fires() and chosen is None:
                chosen = rule
        return chosen

    def for_job(self, object_name: str, operation: str) -> list[dict[str, Any]]:
        """What shall happen to a bulk job that is being created."""
        actions = []
        for rule in list(self._rules.values()):
            if rule.action not in JOB_ACTIONS:
                continue
            if _is_about(rule, object_name, operation) and rule.fires():
                actions.append(rule.facts)
        return actions

    def for_rows(self, object_name: str, operation: str) -> tuple[Refusal, ...]:
        """Which rows of a write shall be refused."""
        refusals = []
        for rule in list(self._rules.values()):
            if rule.action in ROW_ACTIONS and _is_about(rule, object_name, operation) and rule.fires():
                facts = rule.facts
                message = facts.get("message", "refused by a rule of the sandbox")
                refusals.append(Refusal(facts["field"], facts["matches"], facts["code"], message))
        return tuple(refusals)

    async def hold(self, rule: Rule) -> None:
        """Wait until the rule is released or its seconds have passed."""
        rule.held += 1
        try:
            await asyncio.wait_for(rule.release.wait(), rule.facts.get("seconds"))
        except TimeoutError:
            pass
        finally:
            rule.held -= 1

    def release(self, rule_id: str | None = None) -> int:
        """Let go of calls held by a rule, or by any; how many there were. Later calls of the rule are held anew."""
        count = 0
        for rule in self._rules.values():
            if rule_id is None or rule.id == rule_id:
                count += rule.held
                rule.release.set()
                rule.release = asyncio.Event()
        return count

    def remove(self, rule_id: str) -> bool:
        """Forget a rule, letting go of what it holds; whether it was there."""
        self.release(rule_id)
        return self._rules.pop(rule_id, None) is not None

    def clear(self) -> None:
        self.release()
        self._rules.clear()
        self._number = 0

    def as_json(self) -> list[dict[str, Any]]:
        return [rule.as_json() for rule in self._rules.values()]


def _check(facts: dict[str, Any]) -> None:
    """Raise FaultError for a rule that cannot be."""
    action = facts.get("action")
    if action not in ACTIONS:
        raise FaultError(f"action {action!r} is none of {', '.join(sorted(ACTIONS))}")
    if action == "status" and not isinstance(facts.get("status"), int):
        raise FaultError("action status needs 'status', an HTTP status code")
    for key in ("nth", "every", "times"):
        if facts.get(key) is not None and (not isinstance(facts[key], int) or facts[key] < 1):
            raise FaultError(f"{key} must be a whole number from 1")
    for key in ("method", "path", "body", "object", "operation", "field", "matches", "code", "message"):
        if facts.get(key) is not None and not isinstance(facts[key], str):
            raise FaultError(f"{key} must be a text")
    chance = facts.get("probability", 1)
    if not isinstance(chance, int | float) or not 0 < chance <= 1:
        raise FaultError("probability must be a number above 0 and at most 1")
    if action in ROW_ACTIONS:
        _check_rows(facts)


def _check_rows(facts: dict[str, Any]) -> None:
    if missing := [key for key in ("object", "field", "matches", "code") if not facts.get(key)]:
        raise FaultError(f"action refuse_rows needs {', '.join(missing)}")
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT regexp_matches('', ?)", [facts["matches"]])
    except duckdb.Error as error:
        raise FaultError(f"matches is not a regular expression: {error}") from error


def _is_for(rule: Rule, method: str, path: str, body: bytes | None) -> bool:
    if rule.method is not None and not rule.method.fullmatch(method):
        return False
    if rule.path is not None and not rule.path.search(path):
        return False
    return rule.body is None or (body is not None and rule.body.search(body) is not None)


def _is_about(rule: Rule, object_name: str, operation: str) -> bool:
    wanted_object, wanted_operation = rule.facts.get("object"), rule.facts.get("operation")
    if wanted_object and wanted_object.lower() != object_name.lower():
        return False
    return not wanted_operation or bool(wanted_operation == operation)
