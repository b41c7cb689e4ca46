"""`make bench-peers`: the peers and parity in turn on one file of ticks, in one table.

The peers are installed apart, into `.venv-peers`, from hash-locked requirements.
PARITY_BENCH_TICKS (500 000 here) sizes the data, PARITY_BENCH_ROUNDS (5) says how often each takes
its turn; the figure of each is its fastest round, in CPU seconds, because both of its threads and
other work on the machine count in the wall's. A peer that finds another number of signals is an
error: it did other work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import generate
from benchmarks.report import Report

TICKS: Final = int(os.environ.get("PARITY_BENCH_TICKS", "500000"))
# How many strategies, and how much larger than the benchmarks' own their thresholds are: at a
# hundred times nothing is found, so that a turn costs what the nodes cost and no decision.
WORK: Final = ((1, 1), (10, 1), (1, 100), (10, 100))
HERE: Final = Path(__file__).resolve().parent
# Case, script, its form, and the place of the case it is to be ahead of: of the same start.
CASES: Final = (
    ("plain loop over ticks made beforehand", "parity_momentum.py", "loop", 0),
    ("csp, nodes over tick structs, from Parquet", "csp_momentum.py", "struct", 1),
    ("csp, nodes over tick structs, table in memory", "csp_momentum.py", "memory", 2),
    ("csp, a node an instrument, prices alone, from Parquet", "csp_momentum.py", "price", 3),
    ("parity, processors, from Parquet", "parity_momentum.py", "parquet", 1),
    ("parity, processors, batches in memory", "parity_momentum.py", "memory", 2),
)


def _installed() -> str:
    """Return the peers' Python, its environment made first where it is not there or too old."""
    root = HERE.parents[1]
    folder, wanted = root / ".venv-peers", root / "requirements" / "peers.txt"
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    if not stamp.exists() or stamp.stat().st_mtime < wanted.stat().st_mtime:
        print("bench-peers: installing the peers into .venv-peers (once)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, "--require-hashes", "-r", wanted], check=True)
        stamp.touch()
    return str(python)


def _export(folder: Path) -> int:
    """Write the ticks of the benchmark's recording as the plain table the peers read."""
    batches = [b.ticks for b in generate.recording(TICKS).batches()]
    columns = {
        name: np.concatenate([b.column(name) for b in batches])
        for name in ("ts_event", "instrument_token", "price", "quantity", "side")
    }
    at = pa.array(columns.pop("ts_event"), pa.timestamp("ns", "UTC"))
    columns["side"] = columns["side"].astype(np.int64)
    pq.write_table(pa.table({"ts": at, **columns}), folder / "ticks.parquet")
    return len(at)


def _turn(
    python: str, script: str, form: str, folder: Path, count: int, factor: int
) -> dict[str, Any]:
    rule = [generate.MOMENTUM["lookback_periods"], generate.MOMENTUM["threshold"] * factor]
    asked = {"form": form, "count": count, "rule": rule, "ticks": TICKS}
    run = [python, str(HERE / script), json.dumps(asked), str(folder / "ticks.parquet")]
    env = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    said = subprocess.run(run, check=False, capture_output=True, text=True, env=env)
    if said.returncode:
        sys.exit(f"bench-peers: {script} {form} failed:\n{said.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return answer


def main() -> int:
    """Let each case take its turn, round after round; return 0 where all found the same signals."""
    peers = _installed()
    report = Report()
    wrong = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ticks = _export(folder)
        for count, factor in WORK:
            seconds: dict[str, float] = {}
            signals: dict[str, int] = {}
            for _ in range(generate.ROUNDS):
                for case, script, form, _ in CASES:
                    python = peers if script.startswith("csp") else sys.executable
                    said = _turn(python, script, form, folder, count, factor)
                    seconds[case] = min(said["seconds"], seconds.get(case, said["seconds"]))
                    signals[case] = said["signals"]
            loop = seconds[CASES[0][0]]
            for case, _, _, beside in CASES:
                figure = (
                    f"{ticks / seconds[case] / 1e6:.2f} M ticks/s, {loop / seconds[case]:.2f} × "
                    f"the loop, {signals[case]} signals"
                )
                name = f"{count} × momentum{', no signal' if factor > 1 else ''}: {case}"
                if case.startswith("parity"):
                    ratio = seconds[CASES[beside][0]] / seconds[case]
                    report.at_least(name, figure, ratio, 1.0, "csp over structs")
                else:
                    report.say(name, figure)
            wrong += len(set(signals.values())) > 1
    print("\n".join(report.lines()))
    if wrong:
        print("bench-peers: the counts of signals differ: not the same work", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
