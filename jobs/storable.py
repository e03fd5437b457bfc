"""What a database column can hold."""

from __future__ import annotations

from typing import Any


def storable(value: Any) -> Any:
    """The value with each NUL character made visible: PostgreSQL takes none, in texts or in JSON."""
    if isinstance(value, str):
        return value.replace("\0", "␀")
    if isinstance(value, dict):
        return {name: storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
