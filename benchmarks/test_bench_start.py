"""Starting: a command's help, and a whole warm backtest in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from benchmarks import generate

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report

TICKS: Final = 20_000
BAR_S: Final = 1.5


def test_bench_help(benchmark: Any, report: Report) -> None:
    """`parity --help`, which loads none of the heavy libraries."""
    command = [sys.executable, "-m", "parity", "--help"]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
        rounds=generate.ROUNDS,
        warmup_rounds=1,
    )
    report.say("parity --help, best", f"{benchmark.stats.stats.min:.2f} s")


def test_bench_first_signal(benchmark: Any, report: Report, tmp_path: Path) -> None:
    """A warm backtest of a kernel over 20 000 ticks: above what its first signal takes."""
    recording, made = generate.recording(TICKS), [0]

    def backtest() -> None:
        made[0] += 1
        out = tmp_path / f"run-{made[0]}"
        command = [sys.executable, "-m", "parity", "backtest", str(recording.path), "--out"]
        subprocess.run(
            [*command, str(out), "-s", "momentum_kernel", "--set", "threshold=0.0105"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PARITY_CACHE_DIR": str(tmp_path / "cache")},
        )

    benchmark.pedantic(backtest, rounds=generate.ROUNDS, warmup_rounds=1)  # the first compiles
    best = benchmark.stats.stats.min
    report.within("a warm backtest of 20 000 ticks, whole, best", best, "s", most=BAR_S)
