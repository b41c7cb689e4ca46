"""Bars of columns: stream, column and definition are one at every prefix, and the engine's too."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.kernels.bar_rules import BAR_RULES
from parity.kernels.bar_steps import bars_state
from parity.kernels.cutting import BarColumns, BarRule, ClosedBar
from parity.model.bars import Bar, Bars
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TRADE, TickBatch
from parity.model.values import StrategyConfig

pytestmark = pytest.mark.slow  # each step is compiled once
EVERY = pytest.mark.parametrize("rule", BAR_RULES.values(), ids=list(BAR_RULES))
SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS

Ticks = list[tuple[int, int, int, int]]


def parameters_of(draw: Any, rule: BarRule) -> dict[str, Any]:
    """Draw parameters of every kind, so small that bars close."""
    if rule.name == "tick_bars":
        return {"ticks": draw(st.integers(1, 5))}
    if rule.name == "volume_bars":
        return {"volume": draw(st.sampled_from([1, 7, 0.5, 2.25]))}
    empty, offset = draw(st.sampled_from(["skip", "flat"])), draw(st.sampled_from([0, 0.25]))
    return {"seconds": draw(st.sampled_from([1, 2.5])), "offset_sec": offset, "empty": empty}


@st.composite
def cases(draw: Any, rule: BarRule) -> tuple[dict[str, Any], Ticks]:
    """Draw parameters and ticks: equal, late, silent for long, of the largest numbers there are."""
    steps = st.sampled_from([0, 1, 10**8, SECOND_NS, -3 * SECOND_NS, 5 * SECOND_NS])
    steps |= st.just(1_500 * SECOND_NS)
    prices = st.integers(1, 9) | st.integers(-(2**53), 2**53)
    rows = st.tuples(steps, prices, st.integers(0, 9) | st.just(2**47), st.integers(-1, 1))
    ns, ticks = START_NS + draw(st.integers(0, SECOND_NS)), []
    for step, *rest in draw(st.lists(rows, max_size=40)):
        ns += step
        ticks.append((ns, *rest))
    return parameters_of(draw, rule), ticks


def as_array(ticks: Ticks) -> Any:
    """Give ticks as the rows that `advance` takes."""
    return np.array(ticks, np.int64).reshape(-1, 4).T.copy()


def column(rule: BarRule, ticks: Ticks, named: dict[str, Any]) -> BarColumns:
    """Cut whole columns."""
    rows = as_array(ticks)
    return rule(*rows, unit=1, quantity_unit=1, **named)


def rows_of(bars: BarColumns) -> list[tuple[Any, ...]]:
    """Give the bars of columns one by one, without what is counted beside them."""
    return list(zip(*(values.tolist() for values in bars[:-1]), strict=True))


def in_floats(bar: ClosedBar) -> tuple[Any, ...]:
    """Give a bar as a row of columns has it."""
    start, end, *ohlc, count, volume, notional, buy, sell, partial = bar
    vwap = notional / volume if volume else float("nan")
    sums = (float(volume), float(notional), vwap, float(buy), float(sell))
    return (start, end, *map(float, ohlc), count, *sums, partial)


@EVERY
@settings(deadline=None)
@given(st.data())
def test_stream_column_and_definition_are_one(rule: BarRule, data: Any) -> None:
    """At every prefix the same bars have closed, and as many ticks are left out."""
    named, ticks = data.draw(cases(rule))
    stream, streamed = rule.stream(**named), []
    integers = rule.integers(named)
    for end, tick in enumerate(ticks, 1):
        streamed += stream.push(*tick)

        assert (streamed, stream.left_out) == rule.reference(ticks[:end], *integers)
    whole = column(rule, ticks, named)
    assert len(streamed) == len(whole.start)
    for one, row in zip(streamed, rows_of(whole), strict=True):
        np.testing.assert_equal(in_floats(one), row)
    assert stream.left_out == whole.left_out


@EVERY
@settings(deadline=None)
@given(st.data())
def test_a_restart_at_any_cut_changes_nothing(rule: BarRule, data: Any) -> None:
    """From a copy of the state array, or of a stream's plain values, the same bars close."""
    named, ticks = data.draw(cases(rule))
    cut = data.draw(st.integers(0, len(ticks)))
    states, integers = np.zeros(1, bars_state()), rule.integers(named)
    stream, later = rule.stream(**named), rule.stream(**named)
    whole = rule.advance(np.zeros(1, bars_state()), as_array(ticks), integers)

    head = rule.advance(states, as_array(ticks[:cut]), integers)
    kept = np.frombuffer(states.tobytes(), states.dtype).copy()
    tail = rule.advance(kept, as_array(ticks[cut:]), integers)
    streamed = [bar for tick in ticks[:cut] for bar in stream.push(*tick)]
    later.restore(json.loads(json.dumps(stream.snapshot())))
    streamed += [bar for tick in ticks[cut:] for bar in later.push(*tick)]

    assert whole.tobytes() == head.tobytes() + tail.tobytes()
    assert (streamed, later.left_out) == rule.reference(ticks, *integers)


class Keeping:
    """Keeps the bars it is told of."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.seen: list[Bar] = []

    def get_required_history_length(self) -> int:
        """Return one."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take all."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "keeping"

    def process_tick(self, tick: Any, history: Any) -> None:
        """Say nothing."""

    def process_bar(self, bar: Bar, history: Any) -> None:
        """Keep it."""
        self.seen.append(bar)


@settings(deadline=None)
@given(st.data())
def test_time_bars_are_those_the_engine_tells_of(data: Any) -> None:
    """Of one instrument's trades, bar by bar, with their late ticks."""
    rule = BAR_RULES["time_bars"]
    named, ticks = data.draw(cases(rule))
    table = InstrumentTable([Instrument(token=7, symbol="X", price_scale=0, quantity_scale=0)])
    records = np.zeros(len(ticks), table.tick_dtype)
    records["seq"] = np.arange(1, len(ticks) + 1)
    records["instrument_token"] = 7
    for name, values in zip(
        ("ts_event", "price_int", "quantity_int", "side"), as_array(ticks), strict=True
    ):
        records[name] = values
    records["ts_recv"] = records["ts_event"]
    records["flags"] = TRADE
    kept = Keeping(Bars(**named))
    config = StrategyConfig(strategy_id="k", strategy_type="keeping")
    engine = Engine(table, [ExecutorPlan(config, "paper", lambda: kept)])
    engine.process(EventBatch(TickBatch.from_records(records, table)))

    bars, left_out = rule.reference(ticks, *rule.integers(named))

    fields = ("start_ns", "end_ns", "open_int", "high_int", "low_int", "close_int", "count",
              "volume_int", "notional_int", "buy_int", "sell_int", "partial")  # fmt: skip
    assert [tuple(bar) for bar in bars] == [
        tuple(getattr(bar, name) for name in fields) for bar in kept.seen
    ]
    assert engine.executors[0].bars is not None
    assert left_out == engine.executors[0].bars.left_out
