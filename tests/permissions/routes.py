"""Every address of the installation, from Django's own resolver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from django.urls import get_resolver, reverse

# What stands in addresses besides the number of a row.
OTHERS = {"app_label": "syncs", "name": "Account", "object": "Account", "url": "nothing", "row": 1}


@dataclasses.dataclass(frozen=True)
class Route:
    """name: by which it is reversed, or its pattern; params: what stands in its address; methods: those of the API."""

    name: str
    pattern: str
    params: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def is_api(self) -> bool:
        return self.pattern.startswith("api/")

    @property
    def of_one_row(self) -> bool:
        return any(param not in OTHERS for param in self.params)

    def address(self, number: int) -> str:
        """With the number of a row in the place of each id."""
        values = {param: OTHERS.get(param, number) for param in self.params}
        if self.name != self.pattern:
            return reverse(self.name, kwargs=values)
        address = "/" + self.pattern
        for part in ("<path:object_id>", "(?P<url>.*)$"):
            address = address.replace(part, str(number) if "object_id" in part else "nothing")
        return address


def all_routes() -> list[Route]:
    return list(_walk(get_resolver(), "", "", ()))


def _walk(resolver: Any, prefix: str, namespace: str, params: tuple[str, ...]) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        pattern = prefix + str(entry.pattern).removeprefix("^")
        names = (*params, *entry.pattern.regex.groupindex)
        if hasattr(entry, "url_patterns"):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _walk(entry, pattern, inner, names)
        else:
            name = namespace + entry.name if entry.name else pattern
            yield Route(name, pattern, names, _methods(entry.callback))


def _methods(view: Any) -> tuple[str, ...]:
    actions = getattr(view, "actions", None)
    if actions:
        return tuple(method.upper() for method in actions)
    of_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if of_class is not None and hasattr(of_class, "get"):
        return ("GET",)
    return ("GET", "POST")
