"""Rules."""

from __future__ import annotations

from typing import Any


def targets_of(rule: dict[str, Any] | None) -> tuple[str, ...]:
    return ()
