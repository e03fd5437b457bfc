"""HTML from Python: whatever is put into an element is escaped unless it is an element itself."""

from __future__ import annotations

from html import escape
from typing import Any

VOID = frozenset({"input", "br", "link", "meta"})


class Html(str):
    """Text that is HTML already. Only this module and fixed texts of pages make it."""

    __slots__ = ()


def html(*parts: Any) -> Html:
    """Some values one after the other: None is nothing, lists are what they hold, all but Html is escaped."""
    return Html("".join(_one(part) for part in parts))


def _one(part: Any) -> str:
    if part is None or part is False:
        return ""
    if isinstance(part, Html):
        return str(part)
    if isinstance(part, list | tuple):
        return "".join(_one(each) for each in part)
    return escape(str(part))


def tag(element: str, *children: Any, **attributes: Any) -> Html:
    """An element. In names of attributes `_` stands for `-`, at the end for nothing; None and False leave one out."""
    shown = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        shown.append(f" {name}" if value is True else f' {name}="{escape(str(value))}"')
    start = f"<{element}{''.join(shown)}>"
    return Html(start) if element in VOID else Html(f"{start}{html(*children)}</{element}>")


def link(address: str, *children: Any, **attributes: Any) -> Html:
    return tag("a", *children, href=address, **attributes)


def code(value: Any) -> Html:
    return tag("code", value)


def number(value: int | float) -> str:
    return f"{value:,}"


def plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
