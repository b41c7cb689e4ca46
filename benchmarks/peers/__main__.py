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
COUNTS: Final = (1, 10)
HERE: Final = Path(__file__).resolve().parent
# Case, script, its form. The first of each count is what the others are set against.
CASES: Final = (
    ("plain loop over ticks made beforehand", "parity_momentum.py", "loop"),
    ("csp, one node over tick structs", "csp_momentum.py", "struct"),
    ("csp, a node an instrument, prices alone", "csp_momentum.py", "price"),
    ("parity, processors, from Parquet", "parity_momentum.py", "parquet"),
    ("parity, processors, batches in memory", "parity_momentum.py", "memory"),
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


def _turn(python: str, script: str, form: str, count: int, folder: Path) -> dict[str, Any]:
    rule = [generate.MOMENTUM["lookback_periods"], generate.MOMENTUM["threshold"]]
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
        for count in COUNTS:
            seconds: dict[str, float] = {}
            signals: dict[str, int] = {}
            for _ in range(generate.ROUNDS):
                for case, script, form in CASES:
                    python = peers if script.startswith("csp") else sys.executable
                    said = _turn(python, script, form, count, folder)
                    seconds[case] = min(said["seconds"], seconds.get(case, said["seconds"]))
                    signals[case] = said["signals"]
            loop = seconds[CASES[0][0]]
            peer = seconds[CASES[1][0]]
            for case, _, _ in CASES:
                figure = (
                    f"{ticks / seconds[case] / 1e6:.2f} M ticks/s, {loop / seconds[case]:.2f} × "
                    f"the loop, {signals[case]} signals"
                )
                name = f"{count} × momentum: {case}"
                if case.startswith("parity"):
                    ratio = peer / seconds[case]
                    report.at_least(name, figure, ratio, 1.0, "csp's node over structs")
                else:
                    report.say(name, figure)
            wrong += len(set(signals.values())) > 1
    print("\n".join(report.lines()))
    if wrong:
        print("bench-peers: the counts of signals differ: not the same work", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
