"""Import of a Binance archive CSV, beside polars parsing the same file; and the memory it takes.

Polars gives floats and keeps them in memory; the import converts exactly, checks, orders,
compresses and hashes. The bar is that all this takes at most twice as long. Both use all CPUs; the
best round of each counts, since a neighbour can only make a round longer.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from benchmarks.generate import ROUNDS, SEED, TICKS
from benchmarks.report import Report, beside, rate
from parity.sources.importers import import_ticks

if TYPE_CHECKING:
    from pathlib import Path

START = 1_748_736_000_000_000
BLOCK = 100_000
IMPORT_BAR = 0.5
MEMORY_BAR_MB = 500


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spot trades file as Binance writes them: eight decimals, no header, microseconds."""
    path = tmp_path_factory.mktemp("archive") / "BTCUSDT-trades-2025-06.csv"
    random = np.random.default_rng(SEED)
    time, price = START, 10_459_188
    with path.open("w") as file:
        for first in range(0, TICKS, BLOCK):
            count = min(BLOCK, TICKS - first)
            times = time + np.cumsum(random.integers(0, 80_000, count))
            prices = price + np.cumsum(random.integers(-1, 2, count))
            quantities = random.integers(1, 50_000, count)
            makers = random.integers(0, 2, count)
            columns = (prices, quantities, times, makers)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            file.writelines(
                f"{5_000_000_000 + first + n},{p // 100}.{p % 100:02d}000000,"
                f"{q // 100_000}.{q % 100_000:05d}000,{p * q / 1e7:.8f},{t},{bool(m)},True\n"
                for n, (p, q, t, m) in enumerate(rows)
            )
            time, price = int(times[-1]), int(prices[-1])
    return path


def test_import_beside_polars(
    benchmark: Any, report: Report, archive: Path, tmp_path: Path
) -> None:
    """From the file to a sealed recording, while polars only parses."""

    def fresh() -> tuple[Path]:
        shutil.rmtree(tmp_path / "rec", ignore_errors=True)
        return (tmp_path / "rec",)

    seconds = beside(
        benchmark,
        lambda to: import_ticks(archive, to),
        {"polars": lambda: pl.read_csv(archive, has_header=False)},
        rounds=ROUNDS,
        prepare=fresh,
    )

    polars, subject = min(seconds["polars"]), min(seconds["subject"])
    threads = pl.thread_pool_size()
    report.say(f"polars parses the file, {threads} threads, best", rate(TICKS, [polars]))
    report.at_least(
        "import of a Binance CSV, best",
        rate(TICKS, [subject]),
        polars / subject,
        IMPORT_BAR,
        "polars' parse",
    )


def test_import_memory(benchmark: Any, report: Report, archive: Path, tmp_path: Path) -> None:
    """The most memory of an import in a process of its own; it hardly grows with the file."""

    def run() -> int:
        shutil.rmtree(tmp_path / "rec", ignore_errors=True)
        command = [sys.executable, "-m", "benchmarks.memory", str(archive), str(tmp_path / "rec")]
        told = subprocess.run([*command, "import"], check=True, capture_output=True, text=True)
        return int(told.stdout.rsplit(maxsplit=2)[-2])

    most = benchmark.pedantic(run, rounds=1)
    report.within("most memory of an import", most, "MB", most=MEMORY_BAR_MB)
