"""Ten million rows: put on record by a baseline, then one in a thousand changed. Part of `make bench`.

Prints CPU seconds and the largest memory of the worker process, and how much scratch space it used at most.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Usage, bench, write_people

ROWS = 10_000_000


class Scratch:
    """The most that a folder ever held, looked at ten times a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.peak_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            total = 0
            for path in self._folder.rglob("*"):
                try:
                    total += path.stat().st_size
                except OSError:  # gone since it was listed
                    continue
            self.peak_mb = max(self.peak_mb, total / 1e6)
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with bench() as place:
        from django.conf import settings

        write_people(place.files / "people.csv", rows)
        size = (place.files / "people.csv").stat().st_size / 1e6
        print(f"{rows:,} contacts x 12 columns, {size:.0f} MB of CSV\n")
        print(f"{'':<34}{'CPU s':>9}{'peak MB':>9}{'scratch MB':>12}{'wall s':>9}")
        sync, worker = place.sync(place.org()), place.worker()
        scratch = Scratch(settings.SFSYNC_SCRATCH)
        _measure(place, sync, worker, scratch, "sfsync, baseline", baseline=True)
        write_people(place.files / "people.csv", rows, changed_every=1000)
        _measure(place, sync, worker, scratch, "sfsync, 0.1 % changed")


def _measure(place: Bench, sync: Any, worker: Usage, scratch: Scratch, name: str, **options: Any) -> None:
    scratch.peak_mb = 0.0
    ran = place.run(sync, worker, **options)
    print(f"{name:<34}{ran.cpu:>9.1f}{worker.peak_mb():>9.0f}{scratch.peak_mb:>12.0f}{ran.seconds:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
