"""Ticks and events for tests: dummies with sane defaults, and Hypothesis strategies of streams.

What is generated is small and nasty: two instruments, equal times, late ticks, quotes of one and of
two sides among the trades, ticks without a price or venue time, undelivered ones, controls between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.events import Control, EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TickBatch

ONE: Final = 101
TWO: Final = 202
TABLE: Final = InstrumentTable(
    [
        Instrument(token=ONE, symbol="ONE", price_scale=2, quantity_scale=3),
        Instrument(token=TWO, symbol="TWO", price_scale=1, quantity_scale=0, kind="perp"),
    ]
)
START_NS: Final = 1_736_154_000_000_000_000  # 2025-01-06 09:00:00 UTC
SECOND_NS: Final = 1_000_000_000

Records = npt.NDArray[Any]

_QUOTE = flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY
# What a generated tick can be, by weight: mostly trades, so that strategies have much to say.
_KINDS: Final = (
    *[flag.TRADE] * 12,
    *[_QUOTE] * 5,
    _QUOTE | flag.NO_BID,
    _QUOTE | flag.NO_ASK,
    flag.SNAPSHOT,
    flag.SNAPSHOT | flag.NO_PRICE,
    flag.INDEX,
    flag.TRADE | flag.DUPLICATE,
    flag.TRADE | flag.SKEWED,
    flag.TRADE | flag.NO_VENUE_TIME,
)
_STEPS_NS: Final = (0, 0, 0, 1, 1, SECOND_NS, SECOND_NS, 3 * SECOND_NS, 40 * SECOND_NS, -SECOND_NS)


def dummy_records(count: int, **columns: Any) -> Records:
    """Return `count` trades of instrument ONE at 100.00, a second apart, seq from 1.

    Args:
        count: how many.
        columns: values, or sequences of values, by column name.
    """
    records = np.zeros(count, TICK_DTYPE)
    records["seq"] = np.arange(1, count + 1)
    records["ts_event"] = START_NS + np.arange(count) * SECOND_NS
    records["ts_recv"] = records["ts_event"] + 250_000
    records["instrument_token"] = ONE
    records["price_int"] = 100_00
    records["quantity_int"] = 1_000
    records["flags"] = flag.TRADE | flag.NO_TRADE_ID
    records["trade_id"] = -1
    for name, values in columns.items():
        records[name] = values
    return records


def dummy_batch(
    count: int, *, table: InstrumentTable = TABLE, controls: Sequence[Control] = (), **columns: Any
) -> EventBatch:
    """Return an event batch of dummy_records()."""
    ticks = TickBatch.from_records(dummy_records(count, **columns), table)
    return EventBatch(ticks, tuple(controls))


def dummy_quotes(count: int, *, bid: Any, ask: Any, **columns: Any) -> Records:
    """Return `count` two-sided quotes of instrument ONE."""
    records = dummy_records(count, flags=_QUOTE | flag.NO_TRADE_ID, price_int=0, quantity_int=0)
    records["bid_int"], records["ask_int"] = bid, ask
    for name, values in columns.items():
        records[name] = values
    return records


def cut(batch: EventBatch, sizes: Iterable[int]) -> Iterator[EventBatch]:
    """Yield the events of a batch in pieces of the given numbers of events, the rest as one."""
    seqs = sorted([*batch.ticks.column("seq").tolist(), *(c.seq for c in batch.controls)])
    at = 0
    for size in sizes:
        if at < len(seqs):
            yield between(batch, seqs[at], seqs[min(at + size, len(seqs)) - 1])
            at += size
    if at < len(seqs):
        yield between(batch, seqs[at], seqs[-1])


def between(batch: EventBatch, first: int, last: int) -> EventBatch:
    """Return the events with first <= seq <= last, in columns of their own."""
    seq = batch.ticks.column("seq")
    rows = np.flatnonzero((seq >= first) & (seq <= last))
    ticks = TickBatch.from_records(batch.ticks.to_records()[rows], batch.ticks.table)
    return EventBatch(ticks, tuple(c for c in batch.controls if first <= c.seq <= last))


@st.composite
def event_streams(
    draw: st.DrawFn,
    max_ticks: int = 90,
    min_ticks: int = 20,
    table: InstrumentTable = TABLE,
    start_ns: int = START_NS,
) -> EventBatch:
    """Draw a stream of events, seq from 1 without a gap, as one batch.

    Args:
        draw: Hypothesis's.
        max_ticks: of both instruments.
        min_ticks: likewise.
        table: TABLE's instruments, whose calendars may be others.
        start_ns: about where the first tick is, ns UTC.
    """
    one_tick = st.tuples(
        st.sampled_from((ONE, ONE, TWO)),
        st.sampled_from(_KINDS),
        st.sampled_from(_STEPS_NS),
        st.integers(-40, 40),  # step of the price
        st.integers(1, 5),  # quantity, and half of the spread
        st.sampled_from((False,) * 19 + (True,)),  # a control comes first
    )
    drawn = draw(st.lists(one_tick, min_size=min_ticks, max_size=max_ticks))
    records = np.zeros(len(drawn), TICK_DTYPE)
    controls: list[Control] = []
    price, clock, seq = {ONE: 100_00, TWO: 500_0}, start_ns, 0
    for row, (token, kind, step_ns, step, size, control) in enumerate(drawn):
        if control:
            seq += 1
            controls.append(Control(seq=seq, ts_recv=clock, verb="gap", detail={"row": row}))
        seq += 1
        clock += step_ns
        price[token] = max(1_00, price[token] + step)
        records[row] = _tick(seq, clock, token, kind, price[token], size)
        if step_ns < 0:
            records[row]["flags"] |= flag.LATE
            clock -= step_ns
    return EventBatch(TickBatch.from_records(records, table), tuple(controls))


def partitions(max_size: int = 30) -> st.SearchStrategy[list[int]]:
    """Draw sizes of the pieces that a stream is cut into."""
    return st.lists(st.integers(1, max_size), max_size=40)


def _tick(seq: int, clock: int, token: int, kind: int, price: int, size: int) -> tuple[Any, ...]:
    far = 3600 * SECOND_NS if kind & (flag.SKEWED | flag.NO_VENUE_TIME) else 0
    row = {
        "seq": seq,
        "ts_event": clock + far,
        "ts_recv": clock + 250_000,
        "instrument_token": token,
        "price_int": 0 if kind & flag.NO_PRICE else price,
        "quantity_int": 0 if kind & flag.NO_QUANTITY else size,
        "bid_int": price - size if kind & flag.QUOTE and not kind & flag.NO_BID else 0,
        "ask_int": price + size if kind & flag.QUOTE and not kind & flag.NO_ASK else 0,
        "trade_id": -1,
        "flags": kind | flag.NO_TRADE_ID,
        "offset": seq - 1,
    }
    return tuple(row.get(name, 0) for name in TICK_DTYPE.names or ())
