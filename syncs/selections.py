"""What a source is asked for, by a job, and by somebody who looks at a sync."""

from __future__ import annotations

from connections.sources.base import Selection
from syncs.models import Sync
from syncs.spec import SyncSpec


def selection_of(spec: SyncSpec) -> Selection:
    """The selection of a spec, with its filter and the values of its parameters."""
    chosen = spec.selection
    return Selection(chosen.table, chosen.query, chosen.path, chosen.filter, spec.parameters)


def selection_to_look_at(sync: Sync) -> Selection:
    """The selection of a sync, to tell its columns: values that are asked for when a job starts are not known."""
    chosen = sync.spec_to_look_at().selection
    defaults = {parameter.name: parameter.default for parameter in sync.parameters.all()}
    return Selection(chosen.table, chosen.query, chosen.path, chosen.filter, defaults)
