"""What keeps a sync from running, found before anybody runs it."""

from __future__ import annotations

import dataclasses

from syncs.engine import lookups, validate
from syncs.engine.validate import Problem
from syncs.models import Sync
from syncs.offers import Offers


def problems_of(sync: Sync, offers: Offers) -> list[Problem]:
    """The problems of a stored sync, against what its connections offer.

    offers: of this sync as it is stored. A connection that does not answer is a problem too; one that the person may
    not execute on is left unasked, and nothing is said.
    """
    if offers.source is None or offers.destination is None:
        return []
    describe, columns = offers.describe, offers.columns
    if describe is None or columns is None:
        return [
            Problem("Connection", "", reason, "Correct that, then open this page again.") for reason in offers.trouble
        ]
    spec = sync.spec_to_look_at()
    parents = offers.describes(lookups.objects_of(spec, describe))
    return validate.problems(spec, dataclasses.replace(describe, parents=parents), columns)
