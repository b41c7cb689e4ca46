"""The scan for the next touched level: what a plain loop finds, and no Python at quiet ticks."""

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity import codegen
from parity.core import matching
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.matching import ANY, Levels, first_row
from parity.core.view import FEW_ROWS, Scan, Segment
from parity.kernels.touch import next_touch
from parity.model import ticks as flag
from parity.model.effects import Fill
from parity.model.events import EventBatch
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import ONE, START_NS, TABLE, TWO

MASKS = np.array([flag.WARMUP, flag.QUOTE, flag.NO_ASK, flag.TRADE_LIKE, flag.NO_PRICE], np.uint32)
BITS = (
    flag.TRADE,
    flag.QUOTE,
    flag.TRADE | flag.WARMUP,
    flag.TRADE | flag.NO_PRICE,
    flag.QUOTE | flag.NO_ASK,
    flag.SNAPSHOT,
    0,
)
PRICE = st.integers(-3, 3)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(BITS), PRICE, PRICE), max_size=40),
    st.integers(-1, 40),
    st.tuples(*[st.integers(-4, 4)] * 4),
)
def test_it_finds_what_a_plain_loop_finds(
    ticks: list[tuple[bool, int, int, int]], behind: int, levels: tuple[int, int, int, int]
) -> None:
    """Law: the first own row behind a row, trades and quotes each by their levels; else -1."""
    low_trade, low_quote, high_trade, high_quote = levels
    expected = -1
    for row, (mine, bits, traded, quoted) in reversed(list(enumerate(ticks))):
        if not mine or row <= behind or bits & flag.WARMUP:
            continue
        if bits & flag.QUOTE:
            hit = not bits & flag.NO_ASK and not low_quote < quoted < high_quote
        else:
            priced = bits & flag.TRADE_LIKE and not bits & flag.NO_PRICE
            hit = bool(priced) and not low_trade < traded < high_trade
        if hit:
            expected = row

    columns = [np.array([t[n] for t in ticks], np.int64) for n in range(4)]
    rows, flags = np.flatnonzero(columns[0]), columns[1].astype(np.uint32)
    given_ = (rows, behind, flags, columns[2], columns[3], MASKS, *levels)
    assert expected == next_touch(*given_) == next_touch.py_func(*given_)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(BITS), PRICE, PRICE),
        min_size=FEW_ROWS,
        max_size=60,
    ),
    st.sampled_from([1, -1]),
    st.tuples(*[st.integers(-5, 5)] * 4),
)
def test_what_prices_do_not_reach_is_not_looked_for(
    ticks: list[tuple[int, int, int, int]], side: int, levels: tuple[int, int, int, int]
) -> None:
    """Law: with the pass for all who wait, the first row is the one that the scan alone finds."""
    records = np.zeros(len(ticks), TABLE.tick_dtype)
    records["seq"] = records["ts_event"] = np.arange(1, len(ticks) + 1)
    records["instrument_token"] = [(ONE, TWO)[tick[0]] for tick in ticks]
    records["flags"] = [tick[1] for tick in ticks]
    records["price_int"] = [tick[2] for tick in ticks]
    records["ask_int" if side > 0 else "bid_int"] = [tick[3] for tick in ticks]
    segment = Segment(TickBatch.from_records(records, TABLE), Scan(2))
    for dense in (0, 1):
        alone = matching._next(segment.rows_of(dense), -1, side, Levels(*levels), segment)
        assert alone == first_row(dense, side, Levels(*levels), -1, segment)
        for behind in (-1, 0, 3):  # an order of any price first looks at a few rows by itself
            whole = matching._next(segment.rows_of(dense), behind, side, ANY, segment)
            assert whole == first_row(dense, side, ANY, behind, segment)


def test_a_reach_is_of_prices_that_count() -> None:
    """Trades, bids and asks by themselves; what is absent, or a warm-up's, widens nothing."""
    records = np.zeros(FEW_ROWS, TABLE.tick_dtype)
    records["seq"] = records["ts_event"] = np.arange(1, FEW_ROWS + 1)
    records["instrument_token"], records["flags"] = ONE, flag.TRADE | flag.NO_PRICE
    records["price_int"], records["bid_int"], records["ask_int"] = 1_000, -1_000, 1_000
    for row, (bits, price, bid, ask) in enumerate(
        [
            (flag.TRADE, 7, 0, 0),
            (flag.TRADE, 5, 0, 0),
            (flag.TRADE | flag.WARMUP, 99, 0, 0),
            (flag.QUOTE, 0, 3, 4),
            (flag.QUOTE | flag.NO_BID, 0, 0, 9),
        ]
    ):
        values = (bits, price, bid, ask)
        for name, value in zip(("flags", "price_int", "bid_int", "ask_int"), values, strict=True):
            records[name][row] = value
    segment = Segment(TickBatch.from_records(records, TABLE), Scan(2))

    assert [5, 7, 3, 3, 4, 9] == segment.reach(0)
    assert first_row(0, 1, Levels(low_trade=4), -1, segment) == -1
    assert first_row(0, 1, Levels(low_trade=5), -1, segment) == 1


def opening(state: Any, params: Any, out: Any, price: float) -> int:
    """Buy at the first tick, and never again."""
    state.count += 1
    if state.count != 2:
        return 0
    out.side = 1
    out.confidence = 1.0
    out.quantity = 1.0
    out.price = price
    return 1


def kernel() -> KernelStrategy:
    """A position with a stop loss and a take profit that no tick reaches."""
    return KernelStrategy(
        name="opening",
        step=opening,
        state=np.dtype([("count", "i8")]),
        params=np.zeros((), [("unused", "i8")]),
        out=out_dtype(),
        columns=("price",),
        history=1,
        describe=lambda _: ("", {"stop_loss_pct": 40, "take_profit_pct": 90}),
    )


class Opening:
    """The same as a processor."""

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "opening"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Say nothing."""
        return None


def quiet(first_seq: int, count: int) -> EventBatch:
    """Return trades that go up and down by a little."""
    records = np.zeros(count, TABLE.tick_dtype)
    records["seq"] = np.arange(first_seq, first_seq + count)
    records["ts_event"] = START_NS + records["seq"] * 1_000_000
    records["instrument_token"], records["flags"] = ONE, flag.TRADE
    records["price_int"] = 10_000 + np.arange(count) % 7
    records["quantity_int"] = 1_000
    return EventBatch(TickBatch.from_records(records, TABLE), ())


def calls_of(plan: ExecutorPlan, ticks: int) -> int:
    """Return how many functions are called, Python's and C's, while so many quiet ticks go by."""
    engine = Engine(TABLE, [plan])
    opened = engine.process(quiet(1, 1_000))
    engine.process(quiet(1_001, 1_000))  # whatever is made once is made
    batch, calls = quiet(2_001, ticks), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # Hypothesis has callbacks for collections, which would be counted
    sys.setprofile(count)
    try:
        effects = engine.process(batch)
    finally:
        sys.setprofile(before)
        gc.enable()
    waits: Mapping[int, Any] = engine.executors[0].broker.brackets
    assert (plan.driver is not None) == (list(waits) == [ONE])
    assert (plan.driver is not None) == any(isinstance(e, Fill) for e in opened)
    assert [] == effects
    return calls


@pytest.mark.slow
def test_quiet_ticks_cost_no_python() -> None:
    """Law: with a position and its exits open, 100 ticks call as many functions as 1 000 do.

    Of large segments, which are numbered only where asked, 2 000 as many as 16 000. Of a
    processor, which is called at each of them, it is not so: the count counts.
    """
    config = StrategyConfig("opening", "opening", {"risk": {"cooldown_sec": 60}})
    driver = codegen.build(kernel())
    watching = ExecutorPlan(config, "paper", kernel, driver)
    build: Callable[[], Any] = Opening
    called = ExecutorPlan(config, "paper", build)

    calls_of(watching, 2_000)  # what a large segment makes once is made
    assert calls_of(watching, 100) == calls_of(watching, 1_000) < 300
    assert calls_of(watching, 2_000) == calls_of(watching, 16_000) < 300
    assert calls_of(called, 1_000) >= calls_of(called, 100) + 900
