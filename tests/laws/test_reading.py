"""Laws of reading: any filter is the full read, filtered; always in order, cached or not."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control, EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS, DERIVED, TICK_DTYPE, TRADE, TickBatch
from parity.recording import cache, scan, writer
from parity.recording.journal import JournalWriter
from parity.recording.reader import open_recording
from parity.recording.writer import RecordingWriter

Records = npt.NDArray[Any]
TOKENS = list(range(100, 112))
TABLE = InstrumentTable(
    Instrument(token=t, symbol=str(t), price_scale=t % 4, quantity_scale=t % 3) for t in TOKENS
)
SEALED, OPEN = 4_000, 500
START = 1_700_000_000_000_000_000
# Ticks leave out every seventh seq, which is a control's.
SEQS = np.array([s for s in range(1, 6_000) if s % 7][: SEALED + OPEN])
GAPS = [Control(seq=s, ts_recv=s, verb="gap", detail={}) for s in range(7, SEQS[-1], 7)]


def ticks() -> Records:
    """Ticks of twelve instruments, some of them late."""
    chance = np.random.default_rng(5)
    records = np.zeros(len(SEQS), TICK_DTYPE)
    for name in TICK_DTYPE.names or ():
        if name.endswith("_int"):
            records[name] = chance.integers(-(10**6), 10**9, len(SEQS))
    records["seq"] = SEQS
    records["ts_event"] = START + np.arange(len(SEQS)) * 10 + chance.integers(-500, 500, len(SEQS))
    records["instrument_token"] = chance.choice(TOKENS, len(SEQS))
    records["flags"], records["trade_id"] = TRADE, SEQS * 3
    records["offset"] = SEQS - 1
    return records


TICKS = ticks()


@pytest.fixture(scope="module", params=["parts", "cache", "half a cache"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of several parts, row groups and batches, and a journal still open."""
    path = tmp_path_factory.mktemp("law") / "rec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PART_ROWS_MAX", 1_500)
        patch.setattr("parity.recording.layout.ROW_GROUP_ROWS", 500)
        patch.setattr(cache, "BATCH_ROWS", 400)
        sealed = int(SEQS[SEALED - 1])
        with RecordingWriter(path, TABLE, order="ts_event", created_by="law") as out:
            out.append(
                TickBatch.from_records(TICKS[:SEALED], TABLE), [c for c in GAPS if c.seq < sealed]
            )
        if request.param != "parts":
            open_recording(path).build_cache()
        if request.param == "half a cache":
            sorted((path / "cache").iterdir())[1].unlink()
        with JournalWriter(path) as journal:
            journal.append(TICKS[SEALED:], [c for c in GAPS if c.seq > sealed])
    return path


instants = st.one_of(
    st.none(), st.integers(START - 1_000, START + len(SEQS) * 10 + 1_000), st.just(0)
)
tokens = st.one_of(st.none(), st.lists(st.sampled_from(TOKENS), max_size=12, unique=True))
wanted = st.one_of(
    st.none(), st.lists(st.sampled_from([*COLUMNS, *DERIVED, "inst"]), max_size=6, unique=True)
)


@settings(max_examples=settings().max_examples * 2)
@given(
    columns=wanted,
    instruments=tokens,
    start_ns=instants,
    end_ns=instants,
    batch_rows=st.integers(1, 5_000),
    cpus=st.sampled_from([1, 2]),
)
def test_any_reading_is_the_whole_filtered(
    folder: Path,
    columns: list[str] | None,
    instruments: list[int] | None,
    start_ns: int | None,
    end_ns: int | None,
    batch_rows: int,
    cpus: int,
) -> None:
    """Any instruments, times, projection and batch size, with the reader thread and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "cpu_count", lambda: cpus)
        batches = list(
            open_recording(folder).batches(
                columns=columns,
                instruments=instruments,
                start_ns=start_ns,
                end_ns=end_ns,
                batch_rows=batch_rows,
            )
        )
    keep = np.ones(len(TICKS), bool)
    if instruments is not None:
        keep &= np.isin(TICKS["instrument_token"], instruments)
    if start_ns is not None:
        keep &= TICKS["ts_event"] >= start_ns
    if end_ns is not None:
        keep &= TICKS["ts_event"] < end_ns
    expected = TickBatch.from_records(TICKS[keep], TABLE)
    for name in columns if columns is not None else COLUMNS:
        read = [b.ticks.column(name) for b in batches if len(b.ticks)]
        whole = np.concatenate(read) if read else expected.column(name)[:0]
        assert expected.column(name).dtype == whole.dtype
        assert expected.column(name).tobytes() == whole.tobytes(), name
    assert all(len(b.ticks) <= max(batch_rows, 1) for b in batches)
    check_order(batches)
    if columns is not None:
        own = {DERIVED.get(c, c) for c in columns if c != "inst"}
        needed = own | {"seq", "instrument_token"}
        assert all(set(b.ticks.names) <= needed for b in batches)
    if (instruments, start_ns, end_ns) == (None, None, None):
        every = [s for b in batches for s in (*b.ticks.column("seq").tolist(), *seqs(b))]
        assert list(range(1, int(SEQS[-1]) + 1)) == sorted(every)


def seqs(batch: EventBatch) -> list[int]:
    """The controls' seqs."""
    return [c.seq for c in batch.controls]


def check_order(batches: list[EventBatch]) -> None:
    """Every batch lies behind the one before, ticks and controls each in rising seq."""
    last = 0
    for batch in batches:
        ticks = batch.ticks.column("seq").tolist()
        for one in (ticks, seqs(batch)):
            assert one == sorted(set(one))
        assert min([*ticks, *seqs(batch)]) > last
        last = batch.last_seq


# -- the trap: IN with five or more literals

MANY = list(range(100, 300))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred instruments: few ticks match, which is where DuckDB loses the order."""
    path = tmp_path_factory.mktemp("trap") / "rec"
    rows = 300_000
    table = InstrumentTable(Instrument(token=t, symbol=str(t), price_scale=2) for t in MANY)
    records = np.zeros(rows, TICK_DTYPE)
    records["seq"] = np.arange(1, rows + 1)
    records["ts_event"] = START + np.arange(rows)
    records["instrument_token"] = np.random.default_rng(9).choice(MANY, rows)
    records["flags"] = TRADE
    with RecordingWriter(path, table, order="ts_event", created_by="law") as out:
        out.append(TickBatch.from_records(records, table))
    return path


def in_order(seq: npt.NDArray[Any]) -> bool:
    """Whether it rises strictly."""
    return bool((seq[1:] > seq[:-1]).all())


def fives() -> Iterator[list[int]]:
    """Sets of five tokens: which of them lose their order differs from run to run."""
    for step in range(3, 40):
        yield [MANY[(1 + n * step) % len(MANY)] for n in range(5)]


def ask(connection: duckdb.DuckDBPyConnection, folder: Path, tokens: list[int]) -> list[int]:
    """The seqs of some tokens as DuckDB gives them."""
    files = [folder / p.file for p in open_recording(folder).manifest.of_kind("ticks")]
    rows = connection.sql(
        f"SELECT seq FROM read_parquet({scan.file_list(files)}) WHERE instrument_token IN "
        f"({', '.join(map(str, tokens))})"
    )
    found: list[int] = rows.fetchnumpy()["seq"].tolist()
    return found


@pytest.mark.slow
def test_duckdb_loses_order_at_five_literals_and_ours_does_not(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it comes it loses row order; with the setting it does not, and the reader would tell."""
    lost: list[list[int]] = []
    with duckdb.connect(":memory:", config={"threads": 1}) as plain, scan.connect() as ours:
        for tokens in fives():
            found = ask(plain, many, tokens)
            if found != sorted(found):
                lost.append(found)
            assert sorted(found) == ask(ours, many, tokens)
    for tokens in itertools.islice(fives(), 10):
        read = [b.ticks.column("seq") for b in open_recording(many).batches(instruments=tokens)]
        assert in_order(np.concatenate(read))
    assert lost, "DuckDB keeps the order now: the setting may go"

    # The order that DuckDB gave, given to the reader: refused.
    for seqs in lost:
        rows = pa.record_batch({"seq": np.array(seqs, np.uint64)})
        monkeypatch.setattr(scan, "scan", lambda *_, rows=rows: (b for b in [rows]))
        with pytest.raises(RecordingCorrupt, match=r"seq \d+ follows seq \d+"):
            list(open_recording(many).batches(instruments=[100], columns=["seq"]))
