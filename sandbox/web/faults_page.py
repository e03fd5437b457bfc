"""The page of faults: rules as they stand, and forms that add, remove and release them."""

from __future__ import annotations

import json
from typing import Any

from sandbox.call import Answer, Call
from sandbox.faults import ACTIONS
from sandbox.org import Org
from sandbox.web import control, layout
from sandbox.web.forms import read_form
from sandbox.web.html import Html, code, html, number, tag
from sandbox.web.layout import address
from sandbox.wire import SalesforceError

TEXTS = ("id", "method", "path", "body", "object", "operation", "code", "message", "field", "matches")
WHOLE = ("status", "times", "nth", "every", "retry_after", "after_bytes", "after_rows", "seed")
BROKEN = ("seconds", "probability")
# Names of troubles with the rule of each: what tests want most often.
PRESETS: dict[str, dict[str, Any]] = {
    "The next call is answered 503": {"action": "status", "status": 503},
    "Every third call is answered 503": {"action": "status", "status": 503, "every": 3, "times": None},
    "The answer to the next write is lost": {"action": "lose_answer", "method": "POST|PATCH|PUT|DELETE"},
    "The next write arrives twice": {"action": "twice", "method": "POST|PATCH"},
    "The session of the next call ends": {"action": "expire_token", "path": "/services/data/"},
    "The next bulk job fails half-way": {"action": "fail_job", "after_rows": 10},
    "The next bulk job takes 30 seconds": {"action": "slow_job", "seconds": 30},
    "Maintenance until removed": {"action": "maintenance"},
}


def show(org: Org, call: Call, problem: str | None = None, given: dict[str, str] | None = None) -> Answer:
    """GET faults."""
    message = tag("p", problem, class_="message bad", role="alert") if problem else None
    presets = layout.form(
        address("faults"),
        layout.choice("Trouble", "preset", list(PRESETS)),
        layout.button("Add", name="do", value="preset", class_="main"),
        class_="row",
    )
    return layout.page(
        org,
        call,
        "Faults",
        message,
        presets,
        live=_rules(org),
        after=html(layout.section("A rule of your own", layout.card(_form(given or {})))),
    )


def _rules(org: Org) -> Html:
    rules = org.faults.as_json()
    if not rules:
        return layout.none_yet("No rules: everything works.")
    rows = []
    for rule in rules:
        counted = {key: rule.pop(key) for key in ("matched", "fired", "held")}
        rule_id, action = rule.pop("id"), rule.pop("action")
        told = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in rule.items())
        release = _act(rule_id, "release", f"Release {counted['held']}") if counted["held"] else None
        counts = [number(each) for each in counted.values()]
        buttons = html(release, " ", _act(rule_id, "remove", "Remove"))
        rows.append([code(rule_id), action, tag("div", told, class_="wrap"), *counts, buttons])
    heads = ("Rule", "Action", "When and how", "Matched", "Acted", "Held", "")
    return layout.table(heads, rows, right=(3, 4, 5))


def _act(rule_id: str, do: str, text: str) -> Html:
    hidden = tag("input", type="hidden", name="id", value=rule_id)
    return layout.form(
        address("faults"), hidden, layout.button(text, name="do", value=do, class_="small"), class_="inline"
    )


def _form(given: dict[str, str]) -> Html:
    hints = {
        "id": "a name of its own",
        "method": "regular expression: POST|PATCH",
        "path": "regular expression: /jobs/ingest$",
        "body": "regular expression",
        "status": "HTTP status, for action status",
        "times": "how often; empty: once",
        "nth": "only this match",
        "every": "each such match",
        "probability": "0 to 1",
        "field": "for refuse_rows",
        "matches": "for refuse_rows: regular expression",
        "code": "Salesforce's error code",
    }

    def one(key: str) -> Html:
        kind = "number" if key in WHOLE or key in BROKEN else "text"
        step = "any" if key in BROKEN else None
        return layout.entry(
            key, key, given.get(key), hint=hints.get(key), type=kind, step=step, min=0 if kind == "number" else None
        )

    first = [one(key) for key in ("method", "path", "object", "operation", "status", "seconds", "times", "nth")]
    others = [key for key in (*TEXTS, *WHOLE, *BROKEN) if f'name="{key}"' not in html(first)]
    more = tag(
        "details", tag("summary", "More keys"), tag("div", [one(key) for key in others], class_="cards"), class_="all"
    )
    action = layout.choice("action", "action", sorted(ACTIONS), given.get("action", "status"))
    button = tag("div", layout.button("Add this rule", name="do", value="add", class_="main"), class_="all")
    return layout.form(address("faults"), action, first, more, button, class_="grid")


def change(org: Org, call: Call) -> Answer:
    """POST faults: what `do` says, add, preset, remove or release."""
    given = read_form(call)
    do, rule_id = given.pop("do", ""), given.get("id", "")
    try:
        if do == "preset":
            control.add_rules(org, PRESETS.get(given.get("preset", "")))
        elif do == "add":
            control.add_rules(org, _rule(given))
        elif do == "remove":
            org.faults.remove(rule_id)
        elif do == "release":
            org.faults.release(rule_id)
    except SalesforceError as error:
        return show(org, call, error.body[0]["message"], given)
    return layout.back(call, address("faults"))


def _rule(given: dict[str, str]) -> dict[str, Any]:
    """The rule of a filled-in form.

    Raises SalesforceError for what is no number.
    """
    rule: dict[str, Any] = {}
    for key, value in given.items():
        if not value.strip():
            continue
        try:
            rule[key] = int(value) if key in WHOLE else float(value) if key in BROKEN else value
        except ValueError:
            raise SalesforceError(400, "BAD_RULE", f"{key} must be a number, not {value!r}") from None
    return rule
