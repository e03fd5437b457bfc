"""What jobs were foreseen to cost, and what they cost: 100, 10,000 and 1,000,000 contacts, each three times.

    python -m benchmarks.budget [--rows 1000000]

The first job of a sync knows nothing of earlier ones; the others do. Ends with 1 where a forecast is further off than a
tenth of the calls used.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import requests

from benchmarks.bench import COLUMNS, Bench, Org, Usage, bench, write_people

SIZES, TURNS = (100, 10_000, 1_000_000), 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="Only this size; may be repeated.")
    sizes = parser.parse_args().rows or SIZES
    print(f"{'rows':>12}{'job':>5}{'foreseen':>10}{'used':>7}{'counted':>9}{'off':>8}{'s foreseen':>12}{'s':>8}")
    good = True
    with bench() as place:
        org, worker = place.org(), place.worker()
        for rows in sizes:
            name = f"people-{rows}"
            sync = place.sync(org, name=name)
            for turn in range(TURNS):
                # Every row is another one each time, so that every row is sent.
                columns = {**COLUMNS, "Title": f"'Title {turn}'"}
                write_people(place.files / f"{name}.csv", rows, columns=columns)
                good = _measure(place, sync, worker, org, rows) and good
    sys.exit(0 if good else 1)


def _counted(url: str) -> int:
    """How many calls the sandbox has counted."""
    answer = requests.get(f"{url}/_sandbox/limits", timeout=30)
    return int(answer.json()["used_api_requests"])


def _measure(place: Bench, sync: Any, worker: Usage, org: Org, rows: int) -> bool:
    from jobs.counts import api_calls

    before = _counted(org.url)
    job = place.run(sync, worker).job
    used, foreseen, counted = api_calls(job), job.forecast["calls"], _counted(org.url) - before
    off = abs(foreseen - used) / used
    took = (job.ended_at - job.planned_at).total_seconds() if job.ended_at and job.planned_at else 0.0
    print(
        f"{rows:>12,}{job.pk:>5}{foreseen:>10,}{used:>7,}{counted:>9,}{off:>8.1%}"
        f"{job.forecast['seconds']:>12.1f}{took:>8.1f}",
        flush=True,
    )
    return off <= 0.1


if __name__ == "__main__":
    main()
