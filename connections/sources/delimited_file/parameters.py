"""Parameters in the path of a file: `orders_@day.csv`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from connections.sources.base import MisconfiguredSourceError, parameters_in_words

_PARAMETER = re.compile(r"@([^\W\d]\w*)")


def with_parameters(path: str, parameters: Mapping[str, str | None]) -> tuple[str, str]:
    """The path with the values of its parameters, and a sentence on those it uses that are none, or "".

    A file may have an @ in its name, so what is no parameter stays. Raises MisconfiguredSourceError for a value that
    would lead into another folder, and for one that is not known.
    """
    unknown: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in parameters:
            unknown.append(name)
            return match[0]
        value = parameters[name]
        if value is None:
            raise MisconfiguredSourceError(
                f"Which file '{path}' is depends on @{name}, whose value is asked for when a job starts. Give the "
                "parameter a default, so that the columns of such a file can be shown before."
            )
        if ".." in value or any(sign in value for sign in "/\\\0"):
            raise MisconfiguredSourceError(
                f"The value '{value}' of @{name} cannot be part of the path '{path}': it may hold no '/', no "
                "backslash and no '..'. Put folders into the path itself."
            )
        return value

    found = _PARAMETER.sub(value_of, path)
    if not unknown or not parameters:
        return found, ""
    named = ", ".join(f"@{name}" for name in dict.fromkeys(unknown))
    return found, f" {named} is no parameter of the sync{parameters_in_words(parameters)}."
