"""The journal and what becomes of it: append, read back, seal, and bytes per tick."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import generate
from benchmarks.report import Report, middle
from parity.recording.journal import JournalWriter, read_journal
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.sources import synthetic

if TYPE_CHECKING:
    from pathlib import Path

TICKS = max(20_000, generate.TICKS // 8)
APPEND_BAR = 1e6  # ticks a second
SEAL_BAR = 3e6


class Folders:
    """New open recordings, each filled with the same ticks."""

    def __init__(self, root: Path) -> None:
        self.table, self.records = synthetic.generate(generate.SEED, TICKS)
        self._names = (root / f"recording-{n}" for n in itertools.count())

    def empty(self, durability: str = "os") -> Path:
        """Return a new recording without ticks."""
        folder = next(self._names)
        create_recording(folder, self.table, created_by="benchmark", durability=durability)
        return folder

    def fill(self, folder: Path, batch: int, ticks: int = TICKS) -> Path:
        """Append ticks in batches, without a sync."""
        with JournalWriter(folder, durability="os") as journal:
            for lo in range(0, ticks, batch):
                journal.append(self.records[lo : min(lo + batch, ticks)], (), {0: lo + batch})
        return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Recordings of this module."""
    return Folders(tmp_path_factory.mktemp("journal"))


def _seconds(benchmark: Any) -> float:
    return middle(benchmark.stats.stats.data)


@pytest.mark.parametrize("batch", [1, 100, 1000])
def test_bench_append(benchmark: Any, report: Report, folders: Folders, batch: int) -> None:
    """Frames of so many ticks, written without a sync."""
    ticks = min(TICKS, batch * 20_000)

    def setup() -> tuple[tuple[Path, int, int], dict[str, Any]]:
        return (folders.empty(), batch, ticks), {}

    benchmark.pedantic(folders.fill, setup=setup, rounds=generate.ROUNDS)
    value = ticks / _seconds(benchmark) / 1e6
    case = f"journal append, {batch} a frame"
    if batch == 1000:
        report.above(case, value, "M ticks/s", least=APPEND_BAR / 1e6)
    else:
        report.say(case, f"{value:.3g} M ticks/s")


@pytest.mark.parametrize("batch", [1, 100])
def test_bench_sync(benchmark: Any, report: Report, folders: Folders, batch: int) -> None:
    """One frame and its fdatasync, on whatever disk holds the temporary folder."""
    at = itertools.count(0, batch)
    with JournalWriter(folders.empty("fdatasync")) as journal:

        def append() -> None:
            lo = next(at)
            journal.append(folders.records[lo : lo + batch])
            journal.sync()

        benchmark.pedantic(append, rounds=200, warmup_rounds=5)
    report.say(
        f"journal append and fdatasync, {batch} a frame", f"{_seconds(benchmark) * 1e6:.0f} µs"
    )


def test_bench_read_journal(benchmark: Any, report: Report, folders: Folders) -> None:
    """Reading an unsealed journal back, every frame checked."""
    folder = folders.fill(folders.empty(), 1000)

    def read() -> int:
        return sum(len(frame.records) for frame in read_journal(folder))

    assert TICKS == benchmark.pedantic(read, rounds=generate.ROUNDS)
    report.say("journal read", f"{TICKS / _seconds(benchmark) / 1e6:.3g} M ticks/s")


def test_bench_seal(benchmark: Any, report: Report, folders: Folders) -> None:
    """Sealing: journal to Parquet, synced; then the sizes of both, and reading all columns."""
    sealed: list[Path] = []
    wal = 0

    def setup() -> tuple[tuple[Path], dict[str, Any]]:
        nonlocal wal
        folder = folders.fill(folders.empty(), 1000)
        wal = sum(p.stat().st_size for p in (folder / "journal").glob("*.wal"))
        sealed.append(folder)
        return (folder,), {}

    benchmark.pedantic(seal, setup=setup, rounds=generate.ROUNDS)
    value = TICKS / _seconds(benchmark) / 1e6
    report.above("seal", value, "M rows/s", least=SEAL_BAR / 1e6)
    with open_recording(sealed[-1]) as recording:
        parquet = sum(part.bytes for part in recording.manifest.parts)
    report.say("bytes a tick, journal in frames of 1000", f"{wal / TICKS:.1f} B")
    report.say("bytes a tick, Parquet, synthetic", f"{parquet / TICKS:.1f} B")


def test_bench_read_parquet(benchmark: Any, report: Report) -> None:
    """Reading a sealed recording with all its columns, order checked."""
    source = generate.recording()

    def read() -> int:
        return sum(len(batch.ticks) for batch in source.batches())

    ticks = benchmark.pedantic(read, rounds=generate.ROUNDS)
    report.say("read Parquet, all columns", f"{ticks / _seconds(benchmark) / 1e6:.3g} M ticks/s")
