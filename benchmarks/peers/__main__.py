"""`make bench-peers`: the peers and parity in turn on the same ticks, in tables and one plot.

PARITY_BENCH_TICKS (500 000 here) sizes the data, PARITY_BENCH_ROUNDS (5) says how often each takes
its turn; the figure of each is its fastest round, in CPU seconds, because other work on the machine
counts in the wall's. An argument says where the plot goes, instead of `benchmarks/peers.svg`. Exit
code 1 where a case failed, or found other signals than the same rule finds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import generate
from benchmarks.peers import crosses, momentum, plot, turns
from benchmarks.report import Report

TICKS: Final = int(os.environ.get("PARITY_BENCH_TICKS", "500000"))
PLOT: Final = Path(__file__).resolve().parents[1] / "peers.svg"


def main(picture: Path) -> int:
    """Measure; print the tables and write the plot; return 0 where all did the same work."""
    pythons, absent = turns.environments()
    report = Report()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        data = turns.export(generate.recording(TICKS), Path(one))
        real = turns.real_trades(Path(other))
        found, wrong = crosses.measure(
            data, real if isinstance(real, turns.Data) else None, pythons
        )
        if "csp" in pythons:
            try:
                wrong += momentum.measure(report, data, pythons)
            except turns.Failed as failure:
                wrong.append(str(failure))
    conditions = turns.conditions()
    print(f"bench-peers: {data.ticks} ticks, {conditions}")
    print(f"bench-peers: {turns.versions(pythons)}")
    for peer, why in absent.items():
        print(f"bench-peers: {peer} is left out: {why}")
    if isinstance(real, str):
        print(f"bench-peers: real trades are left out: {real}")
    print("\nSMA cross; ratios to parity's rows, above 1 is faster")
    print("\n".join(crosses.lines(found, data.ticks)), end="\n\n")
    crosses.tell(report, found, data.ticks)
    print("\n".join(report.lines()))
    subtitle = f"{data.ticks:,} synthetic ticks, two instruments; {conditions}"
    plot.save(picture, found, data.ticks, subtitle)
    for line in wrong:
        print(f"bench-peers: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLOT))
