"""Where connections may go. One hook, asked before each outgoing connection is made.

`SFSYNC_ADDRESS_POLICY` names the function; an installation that must keep its users away from inner networks puts
its own there.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.utils.module_loading import import_string

AddressPolicy = Callable[[str, int], None]


class AddressRefused(Exception):
    """The address policy of this installation forbids a connection to a host."""


def allow_all(host: str, port: int) -> None:
    """The policy of a fresh installation: every address is allowed."""


def address_policy() -> AddressPolicy:
    """The installation's policy: call it with (host, port); it raises AddressRefused, or returns."""
    policy: AddressPolicy = import_string(settings.SFSYNC_ADDRESS_POLICY)
    return policy
