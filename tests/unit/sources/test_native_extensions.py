"""Extension columns on the wire: exact both ways, from a market_tick envelope, end to end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parity as pt
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.proofs import verify
from parity.model import ticks as flag
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.recording.journal import JournalWriter
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.sequencer import Sequencer
from parity.recording.writer import create_recording
from parity.settings.strategies import load_strategies
from parity.sources.codecs import Undecodable
from parity.sources.codecs.market_tick import KITE
from parity.sources.codecs.native import NativeDecoder, encode_batch

if TYPE_CHECKING:
    from pathlib import Path

INSTRUMENTS = [
    Instrument(token=7, symbol="ONE", price_scale=2, quantity_scale=3),
    Instrument(token=9, symbol="TWO", price_scale=4, quantity_scale=0),
]
TABLE = InstrumentTable(
    INSTRUMENTS,
    [
        Extension("average_price", "price"),
        Extension("ask_quantity_3", "quantity"),
        Extension("last_trade_time", "integer"),
        Extension("conditions", "text", ("", "@ F", '"ü"')),
    ],
)
FULL = InstrumentTable(INSTRUMENTS, [Extension(name, kind) for name, kind in KITE.items()])
exact = st.integers(-(10**18) + 1, 10**18 - 1)


def decode(payload: bytes, table: InstrumentTable = TABLE) -> Any:
    """Return the record of one message, written over garbage."""
    row = np.full(1, 7, table.tick_dtype)
    NativeDecoder(table, keep_verdicts=True).decode_into(payload, row, 0)
    return row[0]


def message(**fields: object) -> bytes:
    """Return a native trade with extension fields."""
    plain = {"instrument_token": 7, "ts_event": 5, "price": "1.5", "quantity": "2"}
    return json.dumps(plain | fields).encode()


@given(data=st.data(), count=st.integers(1, 5))
@settings(deadline=None)
def test_decode_undoes_encode(data: st.DataObject, count: int) -> None:
    """Every extension and `present` come back, whichever are there."""
    records = np.zeros(count, TABLE.tick_dtype)
    records["flags"] = flag.SNAPSHOT | sum(
        bit for name, bit in flag.FLAG_NAMES.items() if name.startswith("no_")
    )
    records["trade_id"] = -1
    for row in records:
        row["instrument_token"] = data.draw(st.sampled_from([7, 9]))
        for extension, bit in zip(TABLE.extensions, (1, 2, 4, 8), strict=True):
            if data.draw(st.booleans()):
                int64 = st.integers(-(2**63), 2**63 - 1)
                kinds = {"text": st.integers(0, 2), "integer": int64}
                row[extension.field] = data.draw(kinds.get(extension.kind, exact))
                row["present"] |= np.uint64(bit)
    back = np.full(count, 7, TABLE.tick_dtype)
    decoder = NativeDecoder(TABLE, keep_verdicts=True)

    for row, payload in enumerate(encode_batch(TickBatch.from_records(records, TABLE))):
        decoder.decode_into(payload, back, row)

    for name in set(TABLE.columns.names) - {"seq", "stream", "offset", "sub", "ts_event"}:
        assert back[name].tolist() == records[name].tolist(), name


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"average_price": "1.005"}, "average_price: '1.005' is finer than"),
        ({"average_price": 1.5}, "average_price"),
        ({"ask_quantity_3": "x"}, "ask_quantity_3: expected a decimal number"),
        ({"last_trade_time": "1"}, "last_trade_time"),
        ({"last_trade_time": 2**63}, "last_trade_time"),
        ({"conditions": "T"}, "conditions: 'T' is not among its words"),
    ],
)
def test_a_value_that_does_not_fit_is_undecodable(fields: dict[str, Any], problem: str) -> None:
    """The column is named, and the record stays as it was."""
    row = np.full(1, 7, TABLE.tick_dtype)
    before = row.tobytes()

    with pytest.raises(Undecodable, match=problem):
        NativeDecoder(TABLE).decode_into(message(**fields), row, 0)

    assert row.tobytes() == before


def test_a_table_without_extensions_reads_past_them() -> None:
    """A recording that declares none takes the message and leaves them out."""
    row = np.zeros(1, InstrumentTable(INSTRUMENTS).tick_dtype)

    NativeDecoder(InstrumentTable(INSTRUMENTS)).decode_into(message(average_price="1"), row, 0)

    assert row["price_int"].tolist() == [150]


def envelope(**data: object) -> bytes:
    """Return a market_tick envelope of Kite's full mode."""
    plain = {"instrument_token": 7, "last_price": 1.5, "timestamp": "2025-01-06T09:15:00+05:30"}
    return json.dumps({"id": "x", "type": "market_tick", "data": plain | data}).encode()


def test_a_full_envelope_fills_what_is_declared() -> None:
    """OHLC, averages, day's open interest and five levels, exactly; a level of zeros is absent."""
    level = {"price": 1.45, "quantity": 30, "orders": 2}
    nothing = {"price": 0, "quantity": 0, "orders": 0}
    row = decode(
        envelope(
            ohlc={"open": 1.5, "high": 1.55, "low": 1, "close": -0.05},
            average_traded_price=1.52,
            total_buy_quantity=100,
            oi_day_high=12,
            last_trade_time="2025-01-06T09:14:59.5+05:30",
            depth={"buy": [level, *[nothing] * 4], "sell": [level] * 6},
        ),
        FULL,
    )
    there = {
        e.name: int(row[field])
        for field, e in FULL.columns.extensions.items()
        if row["present"] & np.uint64(FULL.columns.bits[field])
    }
    sells = {
        f"ask{what}_{n}": value
        for n in range(1, 6)
        for what, value in (("", 145), ("_quantity", 30_000), ("_orders", 2))
    }

    assert there == {
        "open": 150,
        "high": 155,
        "low": 100,
        "close": -5,
        "average_price": 152,
        "total_buy_quantity": 100_000,
        "open_interest_day_high": 12,
        "last_trade_time": 1_736_135_099_500_000_000,
        "bid_1": 145,
        "bid_quantity_1": 30_000,
        "bid_orders_1": 2,
        **sells,
    }
    assert (row["bid_int"], row["ask_int"]) == (145, 145)


def test_an_envelope_without_extras_leaves_all_absent() -> None:
    """Nothing is made up; a declared column of another kind than Kite's is not filled."""
    assert decode(envelope(), FULL)["present"] == 0
    other = InstrumentTable(INSTRUMENTS, [Extension("average_price", "integer")])
    assert decode(envelope(average_traded_price=1.5), other)["present"] == 0


STRATEGY = """
import parity as pt

@pt.strategy("above", history=2)
def above(tick, history):
    average, before = tick.extension("average_price"), history[-2].extension("average_price")
    if average is not None and tick.price > average:
        said = {"average": average, "before": before, "words": tick.extension("conditions")}
        return pt.SignalResult("BUY", 0.5, 1, tick.price, "", said)
"""


def test_from_messages_to_a_verified_run(tmp_path: Path) -> None:
    """Messages, journal, sealed parts, backtest, a paper run over them, and its proof."""
    decoder, count = NativeDecoder(TABLE), 40
    records = np.zeros(count, TABLE.tick_dtype)
    for row in range(count):
        fields = {"average_price": f"{1 + row % 3}.00", "conditions": "@ F"} if row % 2 else {}
        payload = message(ts_event=1_700_000_000_000_000_000 + row, price="2.5", **fields)
        decoder.decode_into(payload, records, row, stream=0, offset=row)
    records["ts_recv"] = records["ts_event"] + 1  # as the runner stamps what arrives
    create_recording(tmp_path / "REC", TABLE, created_by="test", streams=[("ticks", 0)])
    with JournalWriter(tmp_path / "REC") as journal:
        journal.append(Sequencer(TABLE).sequence(records), (), {0: count})
    seal(tmp_path / "REC")
    (tmp_path / "above.py").write_text(STRATEGY)

    run = pt.backtest(tmp_path / "REC", tmp_path / "above.py", out=tmp_path / "run")
    specs = load_strategies([tmp_path / "above.py"])
    feed = Feed(recording=tmp_path / "REC")
    paper(tmp_path / "paper", specs, feed, table=open_recording(tmp_path / "REC").table)

    said = run.signals["metadata"].to_list()
    assert len(said) == 14
    assert json.loads(said[0]) == {"average": 2.0, "before": None, "words": "@ F"}
    assert verify(tmp_path / "run").verdict == "identical"
    assert verify(tmp_path / "paper").verdict == "identical"
    own = open_recording(tmp_path / "paper" / "recording")
    assert [b.ticks.column("average_price_int").tolist() for b in own.batches()] == [
        records["average_price_int"].tolist()
    ]
    shown = run.ticks
    assert shown.schema["average_price"] == pl.Float64
    assert shown["average_price"].to_list()[:4] == [None, 2.0, None, 1.0]
    assert shown["conditions"].to_list()[:2] == [None, "@ F"]
