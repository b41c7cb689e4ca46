"""`make bench-peers`: the peers and parity in turn on one file of ticks, in one table.

PARITY_BENCH_TICKS (500 000 here) sizes the data, PARITY_BENCH_ROUNDS (5) says how often each takes
its turn; the figure of each is its fastest round, in CPU seconds, because other work on the machine
counts in the wall's. Exit code 1 where a case did other work than it says.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import generate
from benchmarks.peers import momentum, turns
from benchmarks.report import Report

TICKS: Final = int(os.environ.get("PARITY_BENCH_TICKS", "500000"))


def main() -> int:
    """Measure; print the table; return 0 where all did the same work."""
    pythons, absent = turns.environments()
    report, agreed = Report(), True
    for peer, why in absent.items():
        report.say(peer, why)
    with tempfile.TemporaryDirectory() as made:
        data = turns.export(generate.recording(TICKS), Path(made))
        if "csp" in pythons:
            agreed &= momentum.measure(report, data, pythons)
    print(f"bench-peers: {data.ticks} ticks, {turns.conditions()}")
    print("\n".join(report.lines()))
    if not agreed:
        print("bench-peers: the counts of signals differ: not the same work", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
