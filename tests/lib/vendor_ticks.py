"""Hypothesis streams of ticks that files of other programs can hold, and their comparison."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import COLUMNS, TICK_DTYPE
from parity.recording.reader import open_recording

ONE, TWO = 11, 22
TABLE = InstrumentTable(
    [
        Instrument(
            token=ONE, symbol="BTCUSDT", venue="binance-futures", price_scale=2, quantity_scale=3
        ),
        Instrument(token=TWO, symbol="ES-H5", venue="cme", price_scale=4, quantity_scale=0),
    ]
)  # fmt: skip
START_NS = 1_700_000_000_000_000_000
_BOOK = flag.NO_BID | flag.NO_ASK | flag.NO_BID_QUANTITY | flag.NO_ASK_QUANTITY
_DAY = flag.NO_VOLUME | flag.NO_OPEN_INTEREST
_SIZES = st.one_of(st.integers(0, 50), st.integers(10**12, 10**14))
_PRICES = st.one_of(st.integers(1, 200), st.integers(10**13, 10**14))


@st.composite
def trades(
    draw: st.DrawFn,
    *,
    unit_ns: int = 1,
    sides: tuple[int, ...] = (1, -1),
    tokens: tuple[int, ...] = (ONE, TWO),
    no_ids: bool = True,
    recv: bool = True,
    whole: bool = False,
) -> Any:
    """Draw trades in ts_recv order (or ts_event order without `recv`), times in whole units."""
    count = draw(st.integers(1, 12))
    records = np.zeros(count, TICK_DTYPE)
    records["stream"] = records["offset"] = -1
    clock = START_NS
    for record in records:
        clock += draw(st.sampled_from((0, 1, 999, 10**9))) * unit_ns
        record["instrument_token"] = draw(st.sampled_from(tokens))
        record["flags"] = flag.TRADE | _BOOK | _DAY
        record["price_int"] = draw(_PRICES)
        record["quantity_int"] = draw(_SIZES)
        record["side"] = draw(st.sampled_from(sides))
        record["trade_id"] = draw(st.integers(0, 10**18 - 1))
        if no_ids and draw(st.booleans()):
            record["trade_id"] = -1
            record["flags"] |= flag.NO_TRADE_ID
        if whole and record["instrument_token"] == ONE:
            record["quantity_int"] = record["quantity_int"] // 1000 * 1000
        _times(draw, record, clock, unit_ns, recv)
    return records


@st.composite
def quotes(
    draw: st.DrawFn,
    *,
    unit_ns: int = 1,
    tokens: tuple[int, ...] = (ONE, TWO),
    one_sided: bool = True,
    empty: bool = False,
    whole: bool = False,
) -> Any:
    """Draw quotes in ts_recv order: crossed, one-sided, and of an empty book where asked for."""
    count = draw(st.integers(1, 12))
    records = np.zeros(count, TICK_DTYPE)
    records["stream"] = records["offset"] = records["trade_id"] = -1
    clock = START_NS
    kinds = [0]
    if one_sided:
        kinds += [flag.NO_BID | flag.NO_BID_QUANTITY, flag.NO_ASK | flag.NO_ASK_QUANTITY]
    if empty:
        kinds += [_BOOK]
    for record in records:
        clock += draw(st.sampled_from((0, 1, 999, 10**9))) * unit_ns
        record["instrument_token"] = draw(st.sampled_from(tokens))
        absent = draw(st.sampled_from(kinds))
        record["flags"] = (
            flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY | flag.NO_TRADE_ID | _DAY | absent
        )
        factor = 1000 if whole and record["instrument_token"] == ONE else 1
        for side in ("bid", "ask"):
            if not absent & flag.FLAG_NAMES[f"no_{side}"]:
                record[f"{side}_int"] = draw(_PRICES)
                record[f"{side}_quantity_int"] = draw(_SIZES) // factor * factor
        _times(draw, record, clock, unit_ns, True)
    return records


def _times(draw: st.DrawFn, record: Any, clock: int, unit_ns: int, recv: bool) -> None:
    record["ts_event"] = clock
    if not recv:
        record["flags"] |= flag.NO_TS_RECV
        return
    record["ts_recv"] = clock
    # Ahead of or behind the arrival, never equal: that says "no venue time" to Tardis.
    record["ts_event"] += draw(st.sampled_from((-5_000, -1, 1, 10**6))) * unit_ns
    if unit_ns == 1_000 and draw(st.integers(0, 4)) == 0:
        record["ts_event"] = clock
        record["flags"] |= flag.NO_VENUE_TIME


def read_back(folder: Path) -> dict[str, Any]:
    """Return all tick columns of a recording."""
    batches = [b.ticks for b in open_recording(folder).batches()]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in COLUMNS}


def same(records: Any, folder: Path, table: InstrumentTable) -> None:
    """Assert that a recording holds the records: tokens by symbol, values by their decimals."""
    found, held = read_back(folder), open_recording(folder).table
    by_symbol = {i.symbol: i for i in held}
    assert len(records) == len(found["seq"])
    for row, record in enumerate(records):
        wanted = table.by_token(int(record["instrument_token"]))
        own = by_symbol[wanted.symbol]
        assert own.token == found["instrument_token"][row]
        for name in COLUMNS:
            value, expected = int(found[name][row]), int(record[name])
            if name in ("seq", "instrument_token"):
                continue
            if name == "flags":
                value &= ~(flag.DUPLICATE | flag.SKEWED | flag.LATE)
            elif name.endswith("_int"):
                which = "price" if name in ("price_int", "bid_int", "ask_int") else "quantity"
                value *= 10 ** (getattr(wanted, f"{which}_scale") - getattr(own, f"{which}_scale"))
            assert expected == value, (row, name)
