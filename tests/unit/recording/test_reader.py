"""Writer and reader: exact round trips, projection, filters, controls, threads."""

import gc
import json
import shutil
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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.model.errors import ConfigError, InputRefused
from parity.model.events import Control
from parity.model.extensions import NO_EXTENSIONS
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS, TICK_DTYPE, TickBatch
from parity.recording import layout, scan, writer
from parity.recording.reader import Recording, open_recording
from parity.recording.writer import RecordingWriter, create_recording

Records = npt.NDArray[Any]


@pytest.mark.parametrize("cpus", [1, 2])
def test_round_trip_is_exact(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    ticks_of: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
    cpus: int,
) -> None:
    """All columns of instruments with three different scales, with and without the thread."""
    monkeypatch.setattr(scan, "cpu_count", lambda: cpus)
    monkeypatch.setattr(layout, "ROW_GROUP_ROWS", 3000)
    monkeypatch.setattr(writer, "PART_ROWS_MAX", 6000)
    ticks = make_ticks(20_000)
    recording = import_ticks(ticks)

    assert 4 == len(recording.manifest.parts)
    assert ticks.tobytes() == ticks_of(recording).tobytes()
    assert ticks.tobytes() == ticks_of(recording, batch_rows=777).tobytes()


def test_parts_do_not_depend_on_batches(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same ticks in other pieces give the same bytes, content hash and recording_id."""
    monkeypatch.setattr(layout, "ROW_GROUP_ROWS", 500)
    ticks = make_ticks(2100)
    one = import_ticks(ticks, cut=7, to=tmp_path / "one")
    two = import_ticks(ticks, cut=2100, to=tmp_path / "two")

    assert one.manifest == two.manifest
    assert one.content_hash() == two.content_hash()
    assert one.content_hash() != import_ticks(ticks[:2099]).content_hash()


def test_parquet_shows_real_prices_to_any_tool(
    import_ticks: Callable[..., Recording], make_ticks: Callable[..., Records]
) -> None:
    """DECIMAL(18, scale) on INT64, with the documented encodings."""
    ticks = make_ticks(100)
    recording = import_ticks(ticks)
    file = pq.ParquetFile(recording.path / recording.manifest.parts[0].file)
    schema = file.schema_arrow
    price = file.schema.column(schema.names.index("price"))
    seq = file.metadata.row_group(0).column(0)

    assert [NO_EXTENSIONS.stored[n] for n in COLUMNS] == schema.names
    assert ("INT64", "Decimal(precision=18, scale=4)") == (
        price.physical_type,
        str(price.logical_type),
    )
    assert (pa.uint64(), pa.uint32()) == (schema.field("seq").type, schema.field("flags").type)
    assert ("ZSTD", True) == (seq.compression, "DELTA_BINARY_PACKED" in seq.encodings)
    first = pl.read_parquet(recording.path / "ticks").row(0, named=True)
    scale = recording.table.by_token(first["instrument_token"]).price_scale
    assert Decimal(int(ticks["price_int"][0])).scaleb(-scale) == first["price"]


def test_projection_brings_only_what_is_needed(
    import_ticks: Callable[..., Recording], make_ticks: Callable[..., Records]
) -> None:
    """Wanted columns, seq, and the token where it decides the scale; derived names are known."""
    ticks = make_ticks(100)
    recording = import_ticks(ticks)
    (side,) = recording.batches(columns=["side"])
    (price,) = recording.batches(columns=["price", "ts_event", "inst"])

    assert ("seq", "side") == side.ticks.names
    assert ("seq", "ts_event", "instrument_token", "price_int") == price.ticks.names
    assert TickBatch.from_records(ticks, recording.table).column("price").tolist() == (
        price.ticks.column("price").tolist()
    )
    with pytest.raises(ConfigError, match="did you mean 'quantity'"):
        recording.batches(columns=["quantiy"])


def test_equal_scales_are_read_without_a_copy(
    folder: Path, make_ticks: Callable[..., Records]
) -> None:
    """Where nothing has to be divided, the column is Arrow's own memory."""
    same = InstrumentTable(
        Instrument(token=t, symbol=str(t), price_scale=2, quantity_scale=3) for t in (7, 9, 12)
    )
    with RecordingWriter(folder, same, order="ts_event", created_by="test") as out:
        out.append(TickBatch.from_records(make_ticks(50), same))
    (batch,) = open_recording(folder).batches(columns=["price_int"])
    column = batch.ticks.column("price_int")

    assert ("seq", "price_int") == batch.ticks.names
    assert (False, False) == (column.flags.owndata, column.flags.writeable)


def test_filters_keep_order_and_choose_exactly(
    folder: Path, make_ticks: Callable[..., Records], ticks_of: Callable[..., Records]
) -> None:
    """Seven of forty tokens, and a half-open range; tests/laws/test_reading.py meets lost order."""
    many = InstrumentTable(
        Instrument(token=t, symbol=str(t), price_scale=2, quantity_scale=5) for t in range(40)
    )
    ticks = make_ticks(30_000)
    ticks["instrument_token"] = np.random.default_rng(3).integers(0, 40, len(ticks))
    with RecordingWriter(folder, many, order="ts_event", created_by="test") as out:
        out.append(TickBatch.from_records(ticks, many))
    recording = open_recording(folder)
    tokens = [1, 3, 5, 7, 9, 11, 13]
    start, end = int(ticks["ts_event"][9_000]), int(ticks["ts_event"][21_000])
    kept = np.isin(ticks["instrument_token"], tokens)
    inside = (ticks["ts_event"] >= start) & (ticks["ts_event"] < end)

    assert ticks[kept].tobytes() == ticks_of(recording, instruments=tokens).tobytes()
    assert ticks[inside].tobytes() == ticks_of(recording, start_ns=start, end_ns=end).tobytes()
    assert 0 == len(ticks_of(recording, instruments=[]))
    with pytest.raises(ConfigError, match="token 77"):
        recording.batches(instruments=[1, 77])


@pytest.mark.slow
def test_controls_come_where_their_seq_is(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    table: InstrumentTable,
    folder: Path,
) -> None:
    """A control travels with the ticks around it, whatever the batch size; bytes survive."""
    ticks = make_ticks(900)
    ticks["seq"] += ticks["seq"] > 450
    middle = Control(seq=451, ts_recv=5, verb="quarantine", detail={"payload": b"\x00\xfe"})
    end = Control(seq=902, ts_recv=6, verb="gap", detail={"offsets": [1, 2]})
    with RecordingWriter(folder, table, order="arrival", created_by="test") as out:
        out.append(TickBatch.from_records(ticks, table), [middle, end])
    recording = open_recording(folder)
    for rows in (1, 100, 450, 451, 5000):
        batches = list(recording.batches(batch_rows=rows))
        assert [middle, end] == [c for b in batches for c in b.controls]
        last = 0
        for batch in batches:
            seqs = [*batch.ticks.column("seq").tolist(), *(c.seq for c in batch.controls)]
            assert min(seqs) > last
            last = max(seqs)
            assert last == batch.last_seq
    cut = int(ticks["ts_event"][500])

    assert [end] == [c for b in recording.batches(start_ns=cut) for c in b.controls]
    assert [middle] == [c for b in recording.batches(end_ns=cut) for c in b.controls]
    row = recording.sql("SELECT verb, detail_json FROM events ORDER BY seq").fetchall()[0]
    assert ("quarantine", {"payload": "AP4="}) == (row[0], json.loads(row[1]))


def test_sql_and_frames_see_parts_and_journal(
    import_ticks: Callable[..., Recording], make_ticks: Callable[..., Records]
) -> None:
    """The views and the frame agree with the columns, also where ticks are not sealed yet."""
    from parity.recording.journal import JournalWriter

    ticks = make_ticks(1000)
    path = import_ticks(ticks[:600]).path
    with JournalWriter(path) as journal:
        journal.append(ticks[600:])
    with open_recording(path) as recording:
        total = recording.sql("SELECT count(*), sum(quantity), max(seq) FROM ticks").fetchall()
        names = recording.sql("SELECT symbol FROM instruments ORDER BY token").fetchall()
        frame = recording.ticks().select(pl.len(), pl.col("quantity").sum()).collect()
        exact = sum(
            Decimal(int(q)).scaleb(-recording.table.by_token(int(t)).quantity_scale)
            for q, t in zip(ticks["quantity_int"], ticks["instrument_token"], strict=True)
        )

        assert [(1000, exact, 1000)] == total
        assert [("A",), ("B",), ("C",)] == names
        assert (1000, exact) == frame.row(0)
        assert 1000 == sum(len(b.ticks) for b in recording.batches())


@pytest.mark.slow
def test_abort_leaves_nothing(
    folder: Path, table: InstrumentTable, make_ticks: Callable[..., Records]
) -> None:
    """An import that fails half way is not there at all."""
    ticks = TickBatch.from_records(make_ticks(200_000), table)

    def fail_half_way() -> None:
        with RecordingWriter(folder, table, order="ts_event", created_by="test") as out:
            out.append(ticks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()

    assert [] == list(folder.parent.iterdir())


def test_existing_folder_is_never_overwritten(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    table: InstrumentTable,
) -> None:
    """Neither by an import nor by a live run."""
    path = import_ticks(make_ticks(3)).path
    with pytest.raises(ConfigError, match="exists and is not empty"):
        RecordingWriter(path, table, order="ts_event", created_by="test")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        create_recording(path, table, created_by="test")


@pytest.mark.parametrize("order", ["", "TS_EVENT", "seq"])
def test_unknown_order_is_refused(folder: Path, table: InstrumentTable, order: str) -> None:
    """The manifest never says an order nobody defined."""
    with pytest.raises(ConfigError, match="order: expected one of ts_event"):
        create_recording(folder, table, order=order, created_by="test")


def test_gap_is_refused_by_the_writer(
    folder: Path, table: InstrumentTable, make_ticks: Callable[..., Records]
) -> None:
    """Ticks that do not follow each other are refused before they are kept."""
    with RecordingWriter(folder, table, order="ts_event", created_by="test") as out:
        out.append(TickBatch.from_records(make_ticks(3), table))
        with pytest.raises(InputRefused, match="do not follow seq 3 one by one"):
            out.append(TickBatch.from_records(make_ticks(3, next_seq=5), table))


@pytest.mark.parametrize("value", [10**14, -(10**14), 2**63 - 1, -(2**63)])
def test_value_that_does_not_fit_is_refused(
    folder: Path, table: InstrumentTable, make_ticks: Callable[..., Records], value: int
) -> None:
    """19 digits at the recording's scale: refused with instrument, seq and value, never cut."""
    ticks = make_ticks(3)
    ticks["instrument_token"], ticks["bid_int"][1] = 12, value  # scale 0 in a recording of 4
    with (
        pytest.raises(InputRefused, match=f"bid of instrument 12 at seq 2: {value} "),
        RecordingWriter(folder, table, order="ts_event", created_by="test") as out,
    ):
        out.append(TickBatch.from_records(ticks, table))

    assert not folder.exists()


# -- threads and processes


def test_abandoned_iterator_stops_its_thread(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader that stops early leaves no thread behind."""
    monkeypatch.setattr(scan, "cpu_count", lambda: 2)
    recording = import_ticks(make_ticks(5000))
    batches = recording.batches(batch_rows=100)
    next(batches)

    assert "parity-reader" in {t.name for t in threading.enumerate()}
    del batches
    gc.collect()
    assert "parity-reader" not in {t.name for t in threading.enumerate()}


def test_recordings_can_be_read_side_by_side(
    import_ticks: Callable[..., Recording], make_ticks: Callable[..., Records]
) -> None:
    """Every stream has a connection of its own."""
    ticks = make_ticks(3000)
    recording = import_ticks(ticks)
    pairs = zip(recording.batches(batch_rows=512), recording.batches(batch_rows=512), strict=True)

    assert all(a.ticks.column("seq").tolist() == b.ticks.column("seq").tolist() for a, b in pairs)


@pytest.mark.slow
def test_process_ends_quietly_whatever_is_left_open(recorded: Path) -> None:
    """Unfinished streams and open views print nothing at exit."""
    script = f"""if True:
        from parity.recording import reader, scan
        scan.cpu_count = lambda: 2
        recording = reader.open_recording({str(recorded)!r})
        batches = recording.batches(batch_rows=10)
        next(batches)
        relation = recording.sql("SELECT * FROM ticks")
        orphan = reader.open_recording(recording.path).sql("SELECT * FROM ticks")
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def printed(script: str) -> str:
    """Return what a script prints in a process of its own."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_opening_loads_no_heavy_library(recorded: Path) -> None:
    """`--help` and `inspect` of a manifest never pay for DuckDB, pyarrow or polars."""
    script = (
        "import sys, parity.recording.reader, parity.recording.journal as j;"
        f"parity.recording.reader.open_recording({str(recorded)!r}).tick_rows;"
        "print([m for m in ('duckdb', 'pyarrow', 'polars') if m in sys.modules])"
    )

    assert "[]\n" == printed(script)


def test_reading_loads_no_pandas(recorded: Path) -> None:
    """The first tick does not wait for pandas, which pyarrow's `to_numpy` imports where it is."""
    script = (
        "import sys, parity.recording.reader as reader;"
        f"print(sum(len(b.ticks) for b in reader.open_recording({str(recorded)!r}).batches()) > 0);"
        "print('pandas' in sys.modules)"
    )

    assert "True\nFalse\n" == printed(script)


@pytest.mark.data
def test_real_trades_take_at_most_13_bytes(
    shared_data: Path, folder: Path, ticks_of: Callable[..., Records]
) -> None:
    """21 313 real BTCUSDT trades, as an import keeps them, come back and stay small."""
    rows = pq.read_table(shared_data / "binance_usdm_BTCUSDT_20240808_trades.parquet")
    ticks = np.zeros(len(rows), TICK_DTYPE)
    for name, source in {
        "instrument_token": "instrument_token",
        "ts_event": "ts_event",
        "ts_recv": "ts_recv",
        "price_int": "price_i",
        "quantity_int": "quantity_i",
        "side": "side",
        "trade_id": "trade_id",
    }.items():
        ticks[name] = rows[source].to_numpy()
    ticks["seq"], ticks["stream"] = np.arange(len(rows)) + 1, -1
    scale = rows["price_scale"][0].as_py(), rows["quantity_scale"][0].as_py()
    table = InstrumentTable(
        [
            Instrument(
                token=int(ticks["instrument_token"][0]),
                symbol="BTCUSDT",
                price_scale=scale[0],
                quantity_scale=scale[1],
            )
        ]
    )
    with RecordingWriter(folder, table, order="ts_recv", created_by="test") as out:
        out.append(TickBatch.from_records(ticks, table))
    recording = open_recording(folder)

    assert ticks.tobytes() == ticks_of(recording).tobytes()
    assert sum(p.bytes for p in recording.manifest.parts) <= 13 * len(rows)
    shutil.rmtree(folder)
