"""How recordings/format-1 was made, once: `python recordings/make_format_1.py FOLDER`.

The checked-in folder is frozen: it is what format 1 looks like on disk, and every later version
must read it to the same values. This script shows how it came about and is not run again: ids and
bytes of Parquet would be others.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

import parity as pt
from parity.model import ticks as flag
from parity.model.events import Control
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.journal import JournalWriter
from parity.recording.sealing import seal
from parity.recording.writer import create_recording

TABLE: Final = InstrumentTable(
    [
        Instrument(
            token=101,
            symbol="ONE",
            venue="FROZEN",
            kind="perp",
            price_scale=2,
            quantity_scale=3,
            contract_size="0.5",
        ),
        Instrument(token=202, symbol="TWO", kind="future", price_scale=4, clock="recv"),
    ],
    [
        Extension("average_price", "price"),
        Extension("bid_quantity_2", "quantity"),
        Extension("bid_orders_2", "integer"),
        Extension("conditions", "text", ("@", "@ F I", "größer")),
    ],
)
T0: Final = 1_736_154_000_000_000_000  # 2025-01-06 09:00:00 UTC
_NO_BOOK = flag.NO_BID | flag.NO_ASK | flag.NO_BID_QUANTITY | flag.NO_ASK_QUANTITY
_NO_DAY = flag.NO_VOLUME | flag.NO_OPEN_INTEREST
TRADE = flag.TRADE | _NO_BOOK | _NO_DAY
QUOTE = flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY | flag.NO_TRADE_ID | _NO_DAY
ONE_SIDED = QUOTE | flag.NO_ASK | flag.NO_ASK_QUANTITY
UNTIMED = flag.SNAPSHOT | flag.NO_VENUE_TIME | flag.NO_TRADE_ID
INDEX = flag.INDEX | flag.NO_QUANTITY | flag.NO_TRADE_ID | _NO_BOOK | _NO_DAY
TWICE = TRADE | flag.DUPLICATE
BARE = TRADE | flag.NO_TRADE_ID | flag.NO_TS_RECV

# seq, ts_event, ts_recv, token, price, quantity, side, bid, ask, bid and ask quantity, volume,
# open interest, trade id, flags, stream, offset, sub; present and the four extensions
SEALED: Final[list[tuple[Any, ...]]] = [
    (1, T0, T0 + 250_000, 101, 100_00, 1_500, 1, 0, 0, 0, 0, 0, 0, 7, TRADE, 0, 40, 0,
     0b1111, 99_95, 2_001, 3, 2),
    (2, T0, T0 + 250_001, 101, 99_99, 1, -1, 0, 0, 0, 0, 0, 0, 8, TRADE, 0, 41, 0,
     0, 0, 0, 0, 0),
    (4, T0 + 1, T0 + 9, 101, 0, 0, 0, 99_98, 100_01, 12_000, 7, 0, 0, -1, QUOTE, 1, 5, 0,
     0b0010, 0, -1, 0, 0),
    (5, T0 + 2, T0 + 9, 202, 0, 0, 0, -1_2345, 0, 4, 0, 0, 0, -1, ONE_SIDED, 1, 5, 1,
     0b0100, 0, 0, -9_223_372_036_854_775_808, 0),
    (6, T0 + 10, T0 + 10, 202, 1_0001, 3, 0, 1_0000, 1_0002, 1, 2, 90, 12, -1, UNTIMED, 1, 6, 0,
     0b0001, -5, 0, 0, 0),
    (8, T0 + 3, T0 + 20, 101, 101_00, 2_000, 1, 0, 0, 0, 0, 0, 0, 7, TWICE, 0, 43, 0,
     0b1000, 0, 0, 0, 0),
    (9, T0 + 4, T0 + 30, 101, 102_50, 10, 1, 0, 0, 0, 0, 0, 0, 9, TRADE | flag.CATCH_UP, 0, 44, 0,
     0b1001, 102_00, 0, 0, 1),
    (11, T0 + 3, T0 + 31, 101, 103_00, 20, -1, 0, 0, 0, 0, 0, 0, 10, TRADE | flag.LATE, 0, 45, 0,
     0b0001, 102_25, 0, 0, 0),
    (12, T0 + 40, T0 + 40, 101, 9_999_999_999_999_99, 0, 0, 0, 0, 0, 0, 0, 0, -1, INDEX, 0, 46, 0,
     0b0100, 0, 0, 9_223_372_036_854_775_807, 0),
    (13, T0 + 50, 0, 101, 104_00, 30, 0, 0, 0, 0, 0, 0, 0, -1, BARE, -1, -1, 0,
     0b0011, 0, 0, 0, 0),
]  # fmt: skip
OPEN: Final = [row for row in SEALED if row[0] <= 6]
CONTROLS: Final = [
    Control(
        seq=3,
        ts_recv=T0 + 5,
        verb="gap",
        detail={"stream": 1, "offset": 3, "next_offset": 5, "reason": "retention"},
    ),
    Control(
        seq=7,
        ts_recv=T0 + 15,
        verb="quarantine",
        detail={"stream": 0, "offset": 42, "reason": "price: too fine", "payload": b"\x00{\xff"},
    ),
    Control(
        seq=10,
        ts_recv=T0 + 30,
        verb="resumed",
        detail={"last_seq": 9, "torn_bytes": 0, "checkpoint": 0},
    ),
]
STRATEGY: Final = '''\
"""Buys where the price is above the average price, and fails at an average of 102.00."""

import parity as pt


@pt.strategy("above", history=1)
def above(tick, history):
    """Take one tick."""
    average = tick.extension_exact("average_price")
    if average is None or tick.last_price <= average:
        return None
    if tick.extension_int("average_price") == 102_00:
        raise RuntimeError("an average of 102.00")
    said = {"average": str(average), "conditions": tick.extension("conditions")}
    return pt.SignalResult("BUY", 0.75, 1, tick.price, "above its average", said)
'''


def records_of(rows: list[tuple[Any, ...]], first: int, last: int) -> Any:
    """Return the ticks from seq `first` to `last` as records."""
    return np.array([row for row in rows if first <= row[0] <= last], TABLE.tick_dtype)


def controls_of(first: int, last: int) -> list[Control]:
    """Return the controls from seq `first` to `last`."""
    return [c for c in CONTROLS if first <= c.seq <= last]


def make(folder: Path) -> None:
    """Write `sealed`, `open` and `run` into a folder that holds none of them."""
    streams = [("ticks", 0), ("ticks", 1)]
    for name, rows in (("sealed", SEALED), ("open", OPEN)):
        create_recording(folder / name, TABLE, created_by="make_format_1", streams=streams)
        with JournalWriter(folder / name) as journal:
            journal.append(records_of(rows, 1, 4), controls_of(1, 4), {0: 42, 1: 5})
        seal(folder / name)
        with JournalWriter(folder / name) as journal:
            journal.append(records_of(rows, 5, 6), controls_of(5, 6), {1: 7})
            journal.append(records_of(rows, 7, 13), controls_of(7, max(r[0] for r in rows)))
            journal.sync()
            (left,) = (folder / name / "journal").glob("*.wal")
            killed = left.read_bytes()
        if name == "sealed":
            seal(folder / name)
        else:  # as a power loss leaves it: no end, and the start of one more frame
            left.write_bytes(killed + b"\x90\x00\x00\x00\x03\x00")
    (folder / "above.py").write_text(STRATEGY, encoding="utf-8")
    pt.backtest(folder / "sealed", folder / "above.py", out=folder / "run", seed=7)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
