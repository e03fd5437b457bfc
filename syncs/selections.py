"""What a source is asked for, as the spec of a job tells it."""

from __future__ import annotations

from connections.sources.base import Selection
from syncs.spec import SyncSpec


def selection_of(spec: SyncSpec) -> Selection:
    """The selection of a spec, with its filter and the values of its parameters."""
    chosen = spec.selection
    return Selection(chosen.table, chosen.query, chosen.path, chosen.filter, spec.parameters)
