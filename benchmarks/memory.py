"""The most memory that a replay takes, in a process of its own: python -m benchmarks.memory TICKS.

Twice, from the parts and from the Arrow cache: run it with two sizes to see that neither grows.
And of an import: python -m benchmarks.memory FILE REC import; and of `parity backtest` and `parity
report` themselves, over ten kernels that say 66 candidates a thousand ticks between them:
python -m benchmarks.memory TICKS commands.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import generate
from benchmarks.test_bench_replay import CASES
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine
from parity.model.ticks import TickBatch
from parity.recording.reader import open_recording
from parity.recording.writer import RecordingWriter
from parity.sources import synthetic
from parity.sources.importers import import_ticks

BLOCK = 1_000_000
TEN = [
    {
        "id": f"s{number:02}",
        "strategy_type": "momentum_kernel",
        "instruments": [900001, 900002],
        "parameters": {"threshold": 0.004, "lookback_periods": 5 + number},
    }
    for number in range(10)
]
COMMAND = """
import sys
from parity.cli import main
try:
    main()
finally:
    print(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")), file=sys.stderr)
"""


def most_mb() -> int:
    """Return the most memory this process has taken so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would begin with what the parent had
        return next(int(x.split()[1]) for x in status.open() if x.startswith("VmHWM")) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make(folder: Path, ticks: int) -> None:
    """Write a recording of the same million ticks again and again, later each time."""
    table, block = synthetic.generate(generate.SEED, BLOCK)
    span = int(block["ts_event"][-1] - block["ts_event"][0]) + 1
    with RecordingWriter(folder, table, order="ts_event", created_by="benchmark") as out:
        for _ in range(ticks // BLOCK):
            out.append(TickBatch.from_records(block.copy(), table))
            block["seq"] += BLOCK
            for name in ("ts_event", "ts_recv"):
                block[name] += span
    open_recording(folder).build_cache()


def replay(folder: Path, cached: bool) -> None:
    """Run one kernel over it and print what it took."""
    source = open_recording(folder, cached=cached)
    plan = generate.plan(*CASES["momentum_kernel"])
    engine = Engine(source.table, [plan])
    columns = columns_of(Prepared([plan], [], [], {}, {}, {}), source.table)
    for batch in source.batches(columns=columns):
        engine.process(batch)
    most = most_mb()
    said = engine.report().executors[0].candidates
    print(f"{'cache' if cached else 'parts'}: {engine.ticks} ticks, {said} candidates, {most} MB")


def bring(file: Path, folder: Path) -> None:
    """Import a file and print what it took."""
    began = time.perf_counter()
    ticks = import_ticks(file, folder).ticks
    rate = ticks / (time.perf_counter() - began) / 1e6
    most = most_mb()
    print(f"import: {ticks} ticks, {rate:.2f} M ticks/s, {most} MB")


def commands(folder: Path, ticks: int) -> None:
    """Run `parity backtest` and `parity report`, each as a process of its own; Linux only."""
    make(folder / "rec", ticks)
    (folder / "ten.json").write_text(json.dumps(TEN))
    run = str(folder / "run")
    given = [str(folder / "rec"), "--strategies", str(folder / "ten.json"), "--out", run, "--json"]
    for words in (["backtest", *given], ["report", run, "--json"]):
        asked = [sys.executable, "-c", COMMAND, *words]
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
        most = int(done.stderr.split("VmHWM:")[1].split()[0]) // 1024
        told = json.loads(done.stdout)
        if words[0] == "backtest":
            count = sum(one["candidates"] for one in told["strategies"].values())
            what = f"{count} candidates"
        else:
            what = f"{told['fills']} fills"
        print(f"{words[0]}: {ticks} ticks, {what}, {most} MB")


def main() -> None:
    """Do what is asked; else make a recording and replay it twice, each in a fresh process."""
    if len(sys.argv) > 3 and sys.argv[3] == "import":
        bring(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    if len(sys.argv) > 2 and sys.argv[2] == "commands":
        with tempfile.TemporaryDirectory(dir=os.environ.get("PARITY_BENCH_CACHE")) as folder:
            commands(Path(folder), int(sys.argv[1]))
        return
    if len(sys.argv) > 2 and sys.argv[2] in ("parts", "cache"):
        replay(Path(sys.argv[1]), sys.argv[2] == "cache")
        return
    if len(sys.argv) > 2:
        make(Path(sys.argv[1]), int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("PARITY_BENCH_CACHE")) as folder:
        ticks = sys.argv[1] if len(sys.argv) > 1 else str(10 * BLOCK)
        for what in (ticks, "parts", "cache"):  # a child's peak starts at its parent's: keep it low
            path = str(Path(folder) / "rec")
            subprocess.run([sys.executable, "-m", "benchmarks.memory", path, what], check=True)


if __name__ == "__main__":
    main()
