"""Declares the settings of a connection kind, once: forms, validation and redaction are made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

S = TypeVar("S")


class SettingsError(ValueError):
    """A connection's settings cannot be used; the message names the setting, the value and the way out."""


def setting(
    label: str,
    *,
    help: str = "",
    secret: bool = False,
    address: bool = False,
    choices: Sequence[tuple[str, str]] = (),
    default: Any = dataclasses.MISSING,
) -> Any:
    """One setting of a kind, as a dataclass field.

    `secret` settings are stored encrypted, are never shown again and never logged. `address` settings say where the
    secrets are sent: who changes one has to enter the secrets again. `choices` are (value, label) pairs for forms. A
    setting without a `default` is required.
    """
    metadata = {"label": label, "help": help, "secret": secret, "address": address, "choices": tuple(choices)}
    # `repr=False` keeps a secret out of every log line and traceback that prints the settings.
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def secret_names(settings_class: type) -> set[str]:
    """The names of the settings of `settings_class` that are secret."""
    return {field.name for field in dataclasses.fields(settings_class) if field.metadata.get("secret")}


def address_names(settings_class: type) -> set[str]:
    """The names of the settings of `settings_class` that say where the secrets are sent."""
    return {field.name for field in dataclasses.fields(settings_class) if field.metadata.get("address")}


def defaults(settings_class: type) -> dict[str, Any]:
    """The values that stand for settings that are not given."""
    fields = dataclasses.fields(settings_class)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def build(settings_class: type[S], values: Mapping[str, Any]) -> S:
    """Make a `settings_class` from plain values.

    Raises `SettingsError` for an unknown name, a missing required setting or a value of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise SettingsError(f"'{name}' is not a setting of this kind. Settings of this kind: {known}.")
    for name, field in fields.items():
        label = field.metadata.get("label", name)
        if name not in values:
            if field.default is dataclasses.MISSING:
                raise SettingsError(f"The setting '{name}' ({label}) is missing. Give it a value.")
            continue
        expected = _plain_type(field.type)
        if not isinstance(values[name], expected) or (expected is int and isinstance(values[name], bool)):
            shown = "***" if field.metadata.get("secret") else repr(values[name])
            raise SettingsError(f"The setting '{name}' ({label}) must be {_NAMES[expected]}, not {shown}.")
    return settings_class(**values)


_NAMES: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false"}


def _plain_type(annotation: Any) -> type:
    for plain in _NAMES:
        if annotation in (plain, plain.__name__):
            return plain
    raise TypeError(f"a setting is text, a whole number or true/false, not {annotation!r}")
