"""`rec.ticks()`, `rec.sql()` and the reader thread: exact, lazy, and from any thread or process."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import DERIVED, TickBatch
from parity.recording import scan, writer
from parity.recording.journal import JournalWriter
from parity.recording.reader import Recording, open_recording
from parity.recording.writer import RecordingWriter

Records = npt.NDArray[Any]


@pytest.fixture
def half_open(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, Records]:
    """Instruments at three scales, several parts, two gaps, and a journal that is still open."""
    monkeypatch.setattr(writer, "PART_ROWS_MAX", 400)
    monkeypatch.setattr("parity.recording.layout.ROW_GROUP_ROWS", 200)
    ticks = make_ticks(1000)
    gap = Control(seq=801, ts_recv=1, verb="gap", detail={"offset": 5})
    ticks["seq"][800:] += 1
    path = import_ticks(ticks[:800], (gap,)).path
    with JournalWriter(path) as journal:
        journal.append(
            ticks[800:], [Control(seq=1002, ts_recv=2, verb="gap", detail={"offset": 6})]
        )
    return path, ticks


def exact(recording: Recording, ticks: Records, name: str) -> list[Decimal]:
    """A column of prices or quantities as decimals, from the integers."""
    which = "quantity_scale" if "quantity" in name or name == "volume" else "price_scale"
    return [
        Decimal(int(value)).scaleb(-getattr(recording.table.by_token(int(token)), which))
        for value, token in zip(ticks[DERIVED[name]], ticks["instrument_token"], strict=True)
    ]


@pytest.mark.parametrize("cached", [False, True])
def test_frames_and_sql_hold_exact_prices_of_parts_and_journal(
    half_open: tuple[Path, Records], cached: bool
) -> None:
    """Every scaled column equals the integers at their own scales; `offset` needs its quotes."""
    path, ticks = half_open
    recording = open_recording(path)
    if cached:
        recording.build_cache()
    frame = recording.ticks().collect()
    for name in DERIVED:
        rows = recording.sql(f'SELECT "{name}" FROM ticks ORDER BY seq').fetchall()
        assert exact(recording, ticks, name) == [row[0] for row in rows]
        assert exact(recording, ticks, name) == frame.sort("seq")[name].to_list()
    offsets = recording.sql('SELECT "offset", seq FROM ticks ORDER BY seq').fetchall()
    assert ticks[["offset", "seq"]].tolist() == offsets
    assert ticks["offset"].tolist() == frame["offset"].to_list()
    events = recording.sql("SELECT seq, detail_json->>'offset' FROM events ORDER BY seq")
    assert [(801, "5"), (1002, "6")] == events.fetchall()
    joined = recording.sql(
        "SELECT symbol, count(*) FROM ticks JOIN instruments ON token = instrument_token "
        "GROUP BY symbol ORDER BY symbol"
    )
    tokens, counts = np.unique(ticks["instrument_token"], return_counts=True)
    named = [
        (recording.table.by_token(int(t)).symbol, int(n))
        for t, n in zip(tokens, counts, strict=True)
    ]
    assert named == joined.fetchall()


def test_the_frame_is_lazy(half_open: tuple[Path, Records]) -> None:
    """What is asked for goes down into the scan of the parts; nothing else is loaded."""
    path, ticks = half_open
    lazy = open_recording(path).ticks()

    assert isinstance(lazy, pl.LazyFrame)
    asked = lazy.filter(pl.col("seq") > 700).select("seq", "price")
    plan = asked.explain()
    assert "Parquet SCAN" in plan
    assert "PROJECT 2/18 COLUMNS" in plan
    assert 'SELECTION: col("seq") > 700' in plan
    assert ticks["seq"][ticks["seq"] > 700].tolist() == asked.collect()["seq"].to_list()


def test_extension_columns_are_shown(folder: Path, make_ticks: Callable[..., Records]) -> None:
    """By their names: prices exact, words as text, null where absent; sealed or not."""
    table = InstrumentTable(
        [
            Instrument(token=t, symbol=str(t), price_scale=t % 3, quantity_scale=5)
            for t in (7, 9, 12)
        ],
        [Extension("open", "price"), Extension("note", "text", ("a", "it's"))],
    )
    ticks = make_ticks(300)
    records = np.zeros(len(ticks), table.tick_dtype)
    for name in ticks.dtype.names or ():
        records[name] = ticks[name]
    for name in ("quantity_int", "bid_quantity_int", "ask_quantity_int", "volume_int"):
        records[name] //= 1000
    records["present"] = np.arange(len(ticks)) % 4
    records["open_int"] = (records["present"] & 1) * records["seq"]
    records["note"] = (records["present"] >> 1) * (records["seq"] % 2)
    with RecordingWriter(folder, table, order="ts_event", created_by="test") as out:
        out.append(TickBatch.from_records(records[:200], table))
    with JournalWriter(folder) as journal:
        journal.append(records[200:])
    recording = open_recording(folder)
    expected = [
        (
            Decimal(int(r["open_int"])).scaleb(-(int(r["instrument_token"]) % 3))
            if r["present"] & 1
            else None,
            ("a", "it's")[r["note"]] if r["present"] & 2 else None,
        )
        for r in records
    ]

    assert expected == recording.sql('SELECT "open", note FROM ticks ORDER BY seq').fetchall()
    shown = recording.ticks().sort("seq").select("open", pl.col("note").cast(pl.String)).collect()
    assert expected == shown.rows()


def test_a_relation_outlives_its_recording(recorded: Path) -> None:
    """Made, let go of, fetched; also behind close() and a with block."""
    relation = open_recording(recorded).sql("SELECT count(*) FROM ticks")
    gc.collect()
    assert [(500,)] == relation.fetchall()
    with open_recording(recorded) as recording:
        relation = recording.sql("SELECT max(seq) FROM ticks")
    assert [(500,)] == relation.fetchall()
    assert [(500,)] == recording.sql("SELECT max(seq) FROM ticks").fetchall()  # opened again


def test_many_threads_may_ask(half_open: tuple[Path, Records]) -> None:
    """One recording, eight threads, queries and streams side by side."""
    path, ticks = half_open
    recording = open_recording(path)
    found: list[object] = []

    def ask(number: int) -> None:
        (row,) = recording.sql(f"SELECT count(*), sum(seq) + {number} FROM ticks").fetchall()
        seqs = np.concatenate([b.ticks.column("seq") for b in recording.batches(batch_rows=64)])
        frame = recording.ticks().select(pl.col("seq").sum()).collect().item()
        found.append((row[0], int(row[1]) - number, int(seqs.sum()), frame))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    total = int(ticks["seq"].sum())

    assert [(1000, total, total, total)] * 8 == found


def _count(path: Path, answers: Any) -> None:
    recording = open_recording(path)
    answers.put(sum(len(b.ticks) for b in recording.batches()))
    answers.put(recording.sql("SELECT count(*) FROM ticks").fetchall()[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_another_process_may_ask(recorded: Path, way: str) -> None:
    """Also one forked from a process that has read already."""
    assert 500 == sum(len(b.ticks) for b in open_recording(recorded).batches())
    script = f"""if True:
        import multiprocessing
        from pathlib import Path
        from parity.recording.reader import open_recording
        def count(path, answers):
            recording = open_recording(path)
            answers.put(sum(len(b.ticks) for b in recording.batches()))
            answers.put(recording.sql("SELECT count(*) FROM ticks").fetchall()[0][0])
        if __name__ == "__main__":
            path = Path({str(recorded)!r})
            list(open_recording(path).batches())
            context = multiprocessing.get_context("fork")
            answers = context.Queue()
            child = context.Process(target=count, args=(path, answers))
            child.start()
            print(answers.get(timeout=60), answers.get(timeout=60))
            child.join(60)
            print(child.exitcode)
    """
    if way == "fork":  # in a process of its own: this one has threads
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert ("500 500\n0\n", "") == (done.stdout, done.stderr)
        return
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_count, args=(recorded, answers))
    child.start()
    assert [500, 500] == [answers.get(timeout=60) for _ in range(2)]
    child.join(60)
    assert child.exitcode == 0


# -- the reader thread


def readers() -> int:
    """How many reader threads there are."""
    return sum(t.name == "parity-reader" for t in threading.enumerate())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_thread_only_where_there_are_two_cpus(recorded: Path) -> None:
    """The process's own CPUs decide, as `taskset` or a container leaves them."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        batches = open_recording(recorded).batches(batch_rows=10)
        next(batches)
        assert readers() == 0
        assert 490 == sum(len(b.ticks) for b in batches)
        os.sched_setaffinity(0, before)
        batches = open_recording(recorded).batches(batch_rows=10)
        next(batches)
        assert readers() == (len(before) > 1)
        assert 490 == sum(len(b.ticks) for b in batches)
        assert readers() == 0
    finally:
        os.sched_setaffinity(0, before)


def test_error_in_the_thread_reaches_the_reader(
    half_open: tuple[Path, Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the ticks that came before it, as the same error as without the thread."""
    path, _ = half_open
    recording = open_recording(path)
    part = path / recording.manifest.of_kind("ticks")[1].file
    data = part.read_bytes()
    part.write_bytes(data[:4] + bytes(len(data) - 600) + data[-596:])  # its footer still holds
    said = []
    for cpus in (1, 2):
        monkeypatch.setattr(scan, "cpu_count", lambda cpus=cpus: cpus)
        seen: list[int] = []
        with pytest.raises(RecordingCorrupt, match="a part cannot be read") as error:
            seen.extend(len(b.ticks) for b in recording.batches(batch_rows=50))
        said.append((str(error.value), sum(seen) <= 400, readers()))

    assert said[0] == said[1]
    assert (True, 0) == said[0][1:]
