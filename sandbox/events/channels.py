"""Which topics a channel or topic name leads to (Platform Events guide, "Subscribe"; CDC guide, "Channels")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.events.changes import CHANGE_SUFFIX, object_of, topic_of

if TYPE_CHECKING:
    from sandbox.org import Org

ALL_CHANGES = "ChangeEvents"


def topics_of(org: Org, channel: str) -> list[str] | None:
    """The topics of `/event/X__e`, `/data/AccountChangeEvent` or `/data/ChangeEvents`; None for no such channel."""
    kind, _, name = channel.removeprefix("/").partition("/")
    if kind == "event" and (event := org.schema.event_named(name)):
        return [event.name]
    if kind == "data" and name == ALL_CHANGES:
        return [topic_of(each) for each in org.schema]
    if kind == "data" and name.endswith(CHANGE_SUFFIX) and (target := object_of(org, name)):
        return [topic_of(target)]
    return None
