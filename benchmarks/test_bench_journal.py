"""The journal and what becomes of it: append, read back, seal, and bytes per tick."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle
from parity.recording import layout
from parity.recording.journal import JournalWriter, read_journal
from parity.recording.manifest import scales_of
from parity.recording.reader import open_recording
from parity.recording.rotation import BackgroundSealer
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.sources import synthetic
from parity.sources.importers.imports import import_ticks

if TYPE_CHECKING:
    from collections.abc import Callable

TICKS = max(20_000, generate.TICKS // 4)  # by default about what a segment of the journal holds
APPEND_BAR = 1e6  # ticks a second
SEAL_BAR = 3e6
BYTES_BAR = 13  # of Binance's BTCUSDT trades


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


@pytest.fixture
def bare(folders: Folders, tmp_path: Path) -> Callable[[], None]:
    """What sealing cannot do without: pyarrow's writing of the same columns, encoded alike."""
    scales, columns = scales_of(folders.table), folders.table.columns
    names = folders.records.dtype.names or ()
    rows = layout.tick_table(
        {n: np.ascontiguousarray(folders.records[n]) for n in names}, folders.table, scales
    )

    def write() -> None:
        with (tmp_path / "bare.parquet").open("wb") as file:
            out = layout.open_tick_file(file, scales, columns)
            out.write_table(rows, row_group_size=layout.ROW_GROUP_ROWS)
            out.close()

    return write


@pytest.fixture
def copied(folders: Folders, tmp_path: Path) -> Callable[[], None]:
    """What appending cannot do without: the same bytes, checksummed and written in one go each."""

    def write() -> None:
        with (tmp_path / "bare.wal").open("wb", buffering=0) as file:
            for lo in range(0, TICKS, 1000):
                data = folders.records[lo : lo + 1000].tobytes()
                crc32(data)
                file.write(data)

    return write


def _seconds(benchmark: Any) -> float:
    return middle(benchmark.stats.stats.data)


@pytest.mark.parametrize("batch", [1, 100, 1000])
def test_bench_append(
    benchmark: Any, report: Report, folders: Folders, copied: Callable[[], None], batch: int
) -> None:
    """Frames of so many ticks, written without a sync."""
    ticks = min(TICKS, batch * 20_000)

    def prepare() -> tuple[Path, int, int]:
        return (folders.empty(), batch, ticks)

    took = beside(
        benchmark, folders.fill, {"copied": copied}, rounds=generate.ROUNDS, prepare=prepare
    )
    value = ticks / middle(took["subject"]) / 1e6
    case = f"journal append, {batch} a frame"
    if batch == 1000:
        report.above(case, value, "M ticks/s", least=APPEND_BAR / 1e6)
        ratio = middle(took["copied"]) / middle(took["subject"])
        report.say(f"{case}, of crc and write of the same bytes", f"{ratio:.2f}")
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


def test_bench_seal(
    benchmark: Any, report: Report, folders: Folders, bare: Callable[[], None]
) -> None:
    """Sealing: journal to Parquet, synced; beside bare pyarrow; then the sizes of both."""
    sealed: list[Path] = []
    wal = 0

    def prepare() -> tuple[Path]:
        nonlocal wal
        folder = folders.fill(folders.empty(), 1000)
        wal = sum(p.stat().st_size for p in (folder / "journal").glob("*.wal"))
        sealed.append(folder)
        return (folder,)

    took = beside(benchmark, seal, {"bare": bare}, rounds=generate.ROUNDS, prepare=prepare)
    value = TICKS / min(took["subject"]) / 1e6
    report.above("seal, best", value, "M rows/s", least=SEAL_BAR / 1e6)
    ratio = min(took["bare"]) / min(took["subject"])
    report.say("seal, of bare pyarrow's writing of the columns", f"{ratio:.2f}")
    with open_recording(sealed[-1]) as recording:
        parquet = sum(part.bytes for part in recording.manifest.parts)
    report.say("bytes a tick, journal in frames of 1000", f"{wal / TICKS:.1f} B")
    report.say("bytes a tick, Parquet, synthetic", f"{parquet / TICKS:.1f} B")


def test_bench_seal_single_ticks(benchmark: Any, report: Report, folders: Folders) -> None:
    """Sealing a journal whose frames hold one tick each, as a quiet feed leaves it."""
    ticks = min(TICKS, 100_000)

    def setup() -> tuple[tuple[Path], dict[str, Any]]:
        return (folders.fill(folders.empty(), 1, ticks),), {}

    benchmark.pedantic(seal, setup=setup, rounds=generate.ROUNDS, warmup_rounds=1)
    best = min(benchmark.stats.stats.data)
    report.say("seal, 1 a frame, best", f"{ticks / best / 1e6:.3g} M rows/s")


@pytest.mark.parametrize("sealing", [False, True], ids=["alone", "sealing"])
def test_bench_rotation(benchmark: Any, report: Report, folders: Folders, sealing: bool) -> None:
    """The slowest appends while segments end, with and without their sealing behind the writer."""
    slowest: list[float] = []
    others: list[float] = []

    def run(folder: Path) -> None:
        sealer = BackgroundSealer(folder, pytest.fail) if sealing else None
        took = []
        with JournalWriter(
            folder,
            durability="os",
            segment_bytes_max=16_000_000,
            on_end=sealer.wake if sealer else lambda _: None,
        ) as journal:
            for lo in range(0, TICKS, 100):
                began = time.perf_counter()
                journal.append(folders.records[lo : lo + 100], (), {0: lo})
                took.append(time.perf_counter() - began)
                time.sleep(0.0005)  # 200 000 ticks a second at most, as a live loop would wait
        if sealer is not None:
            sealer.stop()
        took.sort()
        slowest.append(took[-1])
        others.append(took[int(len(took) * 0.999)])

    benchmark.pedantic(run, setup=lambda: ((folders.empty(),), {}), rounds=2)
    case = f"append of 100 while segments end, {'sealed behind it' if sealing else 'not sealed'}"
    report.say(case, f"p99.9 {max(others) * 1e3:.2f} ms, max {max(slowest) * 1e3:.2f} ms")


def test_bench_bytes_per_tick(benchmark: Any, report: Report) -> None:
    """Bytes a tick of real data sets, each imported as it is; skipped where there are none."""
    shared = Path(os.environ.get("PARITY_SHARED_DATA", Path(__file__).parents[2] / "shared/data"))
    files = sorted(shared.glob("*.parquet"))
    if not files:
        pytest.skip(f"market data absent: no Parquet file in {shared}")

    def measure() -> dict[str, tuple[float, float]]:
        found = {}
        for file in files:
            with tempfile.TemporaryDirectory() as name:
                import_ticks([file], Path(name) / "rec")
                with open_recording(Path(name) / "rec") as recording:
                    parts = sum(p.bytes for p in recording.manifest.of_kind("ticks"))
                    found[file.stem] = (parts / recording.tick_rows, recording.tick_rows)
        return found

    for name, (size, rows) in benchmark.pedantic(measure, rounds=1).items():
        if "BTCUSDT" in name and "trades" in name:
            report.within(f"bytes a tick, {name}", size, "B", most=BYTES_BAR)
        else:
            report.say(f"bytes a tick, {name}", f"{size:.1f} B, {rows} ticks")


def test_bench_read_parquet(benchmark: Any, report: Report) -> None:
    """Reading a sealed recording with all its columns, order checked."""
    source = generate.recording()

    def read() -> int:
        return sum(len(batch.ticks) for batch in source.batches())

    ticks = benchmark.pedantic(read, rounds=generate.ROUNDS)
    report.say("read Parquet, all columns", f"{ticks / _seconds(benchmark) / 1e6:.3g} M ticks/s")
