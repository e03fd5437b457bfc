"""Who may log in to the org."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """Somebody who may log in. `id` is that of the User record."""

    id: str
    username: str
    password: str = field(repr=False)
    security_token: str = field(repr=False)
    first_name: str = "Sandy"
    last_name: str = "Box"

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"
