"""The law of halts: what is said at a deadline is judged by what the venue said last.

A venue says with a tick that trading is halted, or that it holds an auction. A bar's end and a
timer have no tick of their own: the last tick of the instrument counts, of any kind, wherever
batches end.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from markets import beaten
from reaching import GENERATED

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.bars import Bar, Bars
from parity.model.effects import ApprovedSignal, DroppedSignal
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.timers import Every, Timer
from parity.model.values import SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import (
    ONE,
    TABLE,
    TWO,
    between,
    cut,
    dummy_batch,
    event_streams,
    partitions,
)


class Speaking:
    """Says BUY at every tick, bar and timer."""

    bars = Bars(seconds=3)
    timers = (Every(2),)

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "speaking"

    def process_tick(self, tick: Any, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, tick.price)

    def process_bar(self, bar: Bar, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, bar.close)

    def on_timer(self, timer: Timer, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, history[-1].price)


def engine_of(on: str, phases: Sequence[str]) -> Engine:
    """Return an engine with one of them."""
    parameters = {"risk": {"phases": list(phases)}}
    config = StrategyConfig("speaking", "speaking", parameters, on=on)
    return Engine(TABLE, [ExecutorPlan(config, "paper", Speaking)])


def marked(events: EventBatch, bits: Sequence[int]) -> EventBatch:
    """Return the events, their ticks and heartbeats with what the venue says."""
    records = events.ticks.to_records()
    for row, more in zip(records, bits, strict=False):
        row["flags"] |= more
    beats = beaten(events, [0] * len(events.controls)).controls
    return EventBatch(TickBatch.from_records(records, TABLE), beats)


def wanted(events: EventBatch, said: Any, phases: Sequence[str]) -> str:
    """Return what a candidate is dropped for, by the flags of its own tick or of the last one."""
    bits, ticks = 0, events.ticks.to_records()
    for tick in ticks[ticks["instrument_token"] == said.instrument_token]:
        last = tick["seq"] < said.seq or (tick["seq"] == said.seq and said.ordinal >= 0)
        if last and not int(tick["flags"]) & flag.UNDELIVERED:
            bits = int(tick["flags"])
    if bits & flag.HALTED:
        return "halted"
    return "auction" if bits & flag.AUCTION and "auction" not in phases else ""


says = st.lists(
    st.sampled_from((0, 0, 0, flag.HALTED, flag.AUCTION, flag.HALTED | flag.AUCTION)), max_size=90
)
drawn_phases = st.sampled_from((("regular",), ("regular", "auction")))


@given(
    event_streams(),
    says,
    partitions(),
    st.sampled_from(("trades", "quotes")),
    drawn_phases,
    st.data(),
)
def test_deadlines_are_judged_by_the_last_tick(
    events: EventBatch,
    bits: list[int],
    sizes: list[int],
    on: str,
    phases: tuple[str, ...],
    data: Any,
) -> None:
    """At any cut and from a snapshot, ticks, bars and timers alike."""
    events = marked(events, bits)
    until = data.draw(st.integers(1, events.last_seq))
    first, second = engine_of(on, phases), engine_of(on, phases)
    effects = first.process(between(events, 1, until))
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += second.process(between(events, until + 1, events.last_seq))
    pieces = [list(cut(events, sizes)), list(cut(events, [1] * 200))]
    said = [e for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]

    for one in said:
        reason = one.reason if isinstance(one, DroppedSignal) else ""
        assert wanted(events, one.candidate, phases) == reason
    for batches in pieces:
        engine = engine_of(on, phases)
        assert effects == [e for batch in batches for e in engine.process(batch)]
        assert second.report() == engine.report()


@pytest.mark.parametrize("reason", ["halted", "auction"])
def test_the_streams_have_halts_at_deadlines(reason: str) -> None:
    """Candidates at deadlines are dropped for both."""

    def reached(drawn: Any) -> bool:
        effects = engine_of("trades", ("regular",)).process(marked(*drawn))
        drops = [e for e in effects if isinstance(e, DroppedSignal) and e.reason == reason]
        return any(e.candidate.ordinal < 0 for e in drops)

    assert find(st.tuples(event_streams(min_ticks=40), says), reached, settings=GENERATED)


def test_an_instrument_is_halted_by_its_own_ticks() -> None:
    """A halt of one says nothing of another, and ends with the next tick that does not say so."""
    flags = [flag.TRADE, flag.TRADE | flag.HALTED, flag.TRADE, flag.TRADE, flag.TRADE]
    events = dummy_batch(
        5, flags=flags, instrument_token=[TWO, ONE, TWO, ONE, TWO],
        ts_event=[10**18 + s * 10**9 for s in (0, 1, 2, 3, 4)],
    )  # fmt: skip
    effects = engine_of("trades", ("regular",)).process(events)
    found = [
        (e.candidate.instrument_token, e.candidate.ts_event // 10**9 % 10, e.reason)
        for e in effects
        if isinstance(e, DroppedSignal) and e.candidate.ordinal < 0
    ]

    assert [(ONE, 2, "halted")] * 2 == found  # a bar and a timer


def test_a_halt_outlives_a_snapshot() -> None:
    """Restored behind the halted tick, an engine still drops what is said before the next one."""
    events = dummy_batch(
        2, flags=[flag.TRADE | flag.HALTED, flag.TRADE], instrument_token=[ONE, TWO],
        ts_event=[10**18, 10**18 + 4 * 10**9],
    )  # fmt: skip
    head, tail = cut(events, [1])
    first, second = engine_of("trades", ("regular",)), engine_of("trades", ("regular",))
    first.process(head)
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))

    found = [
        (e.candidate.instrument_token, e.candidate.ordinal, e.reason)
        for e in second.process(tail)
        if isinstance(e, DroppedSignal)
    ]

    assert {(ONE, -1, "halted")} == {*found}
