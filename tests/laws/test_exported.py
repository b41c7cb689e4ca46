"""The law of exports: rows that `parity export` writes, `parity import` reads back, tick by tick.

Over trades, quotes of one and two sides, index values and snapshots, late, repeated and untimed
ticks, ticks of a halt or an auction, and an extension column of every kind.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.exports import Wanted, export
from parity.model import ticks as flag
from parity.model.extensions import PRESENT, Extension
from parity.model.instruments import InstrumentTable
from parity.model.ticks import TickBatch
from parity.recording.reader import Recording, open_recording
from parity.recording.sequencer import Sequencer
from parity.recording.writer import RecordingWriter
from parity.sources.importers import import_ticks
from parity.testing.generators import ONE, START_NS, TABLE, TWO

EXTENDED = InstrumentTable(
    TABLE,
    (
        Extension("average_price", "price"),
        Extension("lots", "quantity"),
        Extension("orders", "integer"),
        Extension("conditions", "text", ("open", "a,b", 'say "x"')),
    ),
)
_SCALED = ("price", "quantity", "bid", "ask", "bid_quantity", "ask_quantity", "volume")
_LARGE = 10**14  # digits enough to break a float


@st.composite
def records(draw: st.DrawFn, table: InstrumentTable) -> Any:
    """Draw ticks as an importer would make them: absent values neutral, with their flags."""
    count = draw(st.integers(1, 25))
    made = np.zeros(count, table.tick_dtype)
    made["stream"] = made["offset"] = made["trade_id"] = -1
    now = START_NS
    for row in made:
        now += draw(st.sampled_from((0, 1, 999, 10**9, 90 * 10**9)))
        kind = draw(
            st.sampled_from((flag.TRADE, flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT))
        )
        flags = kind | draw(st.sampled_from((0, 0, flag.NO_VENUE_TIME, flag.CATCH_UP, flag.WARMUP)))
        flags |= draw(st.sampled_from((0, 0, flag.HALTED, flag.AUCTION)))
        row["instrument_token"] = draw(st.sampled_from((ONE, TWO)))
        row["ts_recv"] = now
        row["ts_event"] = now + draw(st.sampled_from((0, -(10**6), -(10**10), 6 * 10**9)))
        row["side"] = draw(st.sampled_from((-1, 0, 1)))
        needed = {"price", "quantity"} if kind == flag.TRADE else {"bid"}
        for name in _SCALED:
            if name in needed or draw(st.booleans()):
                row[f"{name}_int"] = draw(st.integers(1, 5) | st.integers(1, _LARGE))
            else:
                flags |= flag.FLAG_NAMES[f"no_{name}"]
        for name in ("open_interest", "trade_id"):
            if draw(st.booleans()):
                row[name] = draw(st.integers(0, 30))
            else:
                flags |= flag.FLAG_NAMES[f"no_{name}"]
        for field, extension in table.columns.extensions.items():
            if draw(st.booleans()):
                row[PRESENT] |= table.columns.bits[field]
                most = len(extension.words) - 1 if extension.words else _LARGE
                row[field] = draw(st.integers(0, most))
        row["flags"] = flags
    return Sequencer(table).sequence(made)


def kept(folder: Path, made: Any, table: InstrumentTable) -> Recording:
    """Write ticks as a recording."""
    with RecordingWriter(folder, table, order="ts_recv", created_by="test") as writer:
        writer.append(TickBatch.from_records(made, table))
    return open_recording(folder)


def ticks_of(recording: Recording) -> list[tuple[Any, ...]]:
    """Every tick, column by column; texts as their words."""
    texts = {f: e.words for f, e in recording.table.columns.extensions.items() if e.words}
    found = []
    for batch in recording.batches():
        for record in batch.ticks.to_records() if len(batch.ticks) else ():
            there = int(record[PRESENT]) if texts else 0
            found.append(
                tuple(
                    texts[name][record[name]]
                    if name in texts and there & recording.table.columns.bits[name]
                    else record[name].item()
                    for name in record.dtype.names
                )
            )
    return found


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("table", [TABLE, EXTENDED], ids=["plain", "extended"])
@given(data=st.data(), times=st.sampled_from(("iso", "ns")))
def test_exported_ticks_come_back(form: str, table: InstrumentTable, data: Any, times: str) -> None:
    """Equal in every column: seq, times, exact numbers, flags with all verdicts, extensions."""
    made = data.draw(records(table))
    with tempfile.TemporaryDirectory() as folder:
        source = kept(Path(folder, "rec"), made, table)
        file = Path(folder, f"ticks.{form}")
        export(source.path, file, Wanted(times=times))
        import_ticks(file, Path(folder, "again"), instrument_table=table)
        again = open_recording(Path(folder, "again"))

        assert ticks_of(source) == ticks_of(again)


def test_parquet_brings_its_instruments_along(tmp_path: Path) -> None:
    """Without a table: scales, kinds and contract sizes are those of the export."""
    made = np.zeros(1, TABLE.tick_dtype)
    made["instrument_token"], made["ts_event"], made["price_int"], made["quantity_int"] = (
        TWO, START_NS, 10, 1,
    )  # fmt: skip
    absent = [n for n in flag.FLAG_NAMES if n.startswith("no_")]
    there = {"no_price", "no_quantity", "no_venue_time"}
    made["flags"] = flag.TRADE | sum(flag.FLAG_NAMES[n] for n in absent if n not in there)
    made["stream"] = made["offset"] = made["trade_id"] = -1
    source = kept(tmp_path / "rec", Sequencer(TABLE).sequence(made), TABLE)
    export(source.path, tmp_path / "t.parquet", Wanted())
    report = import_ticks(tmp_path / "t.parquet", tmp_path / "again")

    assert "parity" == report.files[0]["format"]
    assert TABLE.by_token(TWO) == open_recording(tmp_path / "again").table.by_token(TWO)
    assert ticks_of(source) == ticks_of(open_recording(tmp_path / "again"))
