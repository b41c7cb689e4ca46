"""The laws of deadlines: when they run is a function of the executor's own ticks, nothing else.

A reference of a few lines, one event at a time, says what has to run before which event.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markets import beaten

from parity.core.deadlines import Deadlines, Due
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.view import NO_TIME
from parity.model import ticks as flag
from parity.model.effects import Effect, Failure
from parity.model.errors import InputRefused
from parity.model.events import Control, EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.testing.generators import (
    ONE,
    SECOND_NS,
    START_NS,
    TABLE,
    TWO,
    cut,
    dummy_batch,
    event_streams,
    partitions,
)

# From behind the clock to far ahead of it: most reach what is pending, and ticks come behind them.
heartbeats = st.lists(st.sampled_from((-4, 0, 1, 3, 10, 40, 90)), max_size=8)
# (first instant after START_NS, step of repeating or 0, token, kind) in half seconds
timers = st.lists(
    st.tuples(
        st.integers(-2, 60) | st.integers(60, 600),
        st.sampled_from((0, 0, 1, 3, 50)),
        st.sampled_from((0, ONE, TWO)),
        st.sampled_from(("retry", "expiry")),
    ),
    max_size=6,
)


class Silent:
    """A processor that says nothing, for one instrument or all."""

    def __init__(self, token: int = 0) -> None:
        self.token = token

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take the one."""
        return self.token in (0, token)

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "silent"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Say nothing."""
        return None


def engine_of(timed: Sequence[tuple[int, int, int, str]], on: str, token: int) -> Engine:
    """Return an engine whose executor has deadlines that write down when they ran."""
    config = StrategyConfig(strategy_id="timed", strategy_type="silent", on=on)
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", lambda: Silent(token))])
    executor = engine.executors[0]
    steps = {(token, kind): step for _, step, token, kind in timed}

    def run(due: Due) -> list[Effect]:
        step = steps[due.token, due.kind]
        if step:
            executor.deadlines.set(due.ns + step * SECOND_NS // 2, due.token, due.kind)
        said = f"{due.kind} {due.ns - START_NS} clock {executor.clock - START_NS}"
        return [Failure(due.seq, *executor.key, due.token, said)]

    executor.when_due.update(retry=run, expiry=run)
    for first, _, deadline_token, kind in timed:
        executor.deadlines.set(START_NS + first * SECOND_NS // 2, deadline_token, kind)
    return engine


def ran(engine: Engine, batches: Sequence[EventBatch]) -> list[tuple[int, int, str]]:
    """Return what ran, as (seq, token, words)."""
    effects = [effect for batch in batches for effect in engine.process(batch)]
    return [(e.seq, e.instrument_token, e.error) for e in effects if isinstance(e, Failure)]


def reference(
    timed: Sequence[tuple[int, int, int, str]], events: EventBatch, token: int
) -> list[tuple[int, int, str]]:
    """Say one event at a time what has to run."""
    pending = {(t, k): (START_NS + f * SECOND_NS // 2, s) for f, s, t, k in timed}
    clock, out = NO_TIME, []
    moves = [(c.seq, c.ts_event, True) for c in events.controls]
    for tick in events.ticks.to_records():
        bits = int(tick["flags"])
        if not bits & flag.UNDELIVERED and token in (0, int(tick["instrument_token"])):
            untimed = bits & flag.NO_VENUE_TIME
            moves.append((int(tick["seq"]), NO_TIME if untimed else int(tick["ts_event"]), False))
    for seq, ns, _ in sorted(moves):
        if ns is None:
            continue
        reached = max(clock, ns)
        while due := min(
            ((d, *key, s) for key, (d, s) in pending.items() if d <= reached), default=None
        ):
            instant, due_token, kind, step = due
            clock = max(clock, instant)
            pending.pop((due_token, kind))
            if step:
                pending[due_token, kind] = (instant + step * SECOND_NS // 2, step)
            out.append((seq, due_token, f"{kind} {instant - START_NS} clock {clock - START_NS}"))
        clock = reached
    return out


@given(
    event_streams(),
    partitions(),
    timers,
    st.sampled_from(("trades", "quotes")),
    st.sampled_from((0, ONE, TWO)),
    heartbeats,
)
def test_deadlines_run_where_the_reference_says(
    events: EventBatch,
    sizes: list[int],
    timed: list[tuple[int, int, int, str]],
    on: str,
    token: int,
    beats: list[int],
) -> None:
    """At any cut, each runs before the first own event that brings the clock there, in order."""
    events = beaten(events, beats)
    wanted = reference(timed, events, token)

    assert wanted == ran(engine_of(timed, on, token), [events])
    assert wanted == ran(engine_of(timed, on, token), list(cut(events, sizes)))
    assert wanted == ran(engine_of(timed, on, token), list(cut(events, [1] * 200)))


def test_heartbeats_run_deadlines_in_these_streams() -> None:
    """In one stream of five a heartbeat is what made something run: the law is about them, too."""
    reached: list[bool] = []

    @settings(phases=[Phase.generate], max_examples=100, derandomize=True, database=None)
    @given(event_streams(), timers, heartbeats)
    def look(events: EventBatch, timed: list[tuple[int, int, int, str]], beats: list[int]) -> None:
        events = beaten(events, beats)
        at = {c.seq for c in events.controls if c.verb == "heartbeat"}
        reached.append(any(seq in at for seq, *_ in reference(timed, events, 0)))

    look()

    assert sum(reached) >= len(reached) // 5 >= 10


@given(event_streams(), timers, st.data())
def test_deadlines_survive_a_snapshot(
    events: EventBatch, timed: list[tuple[int, int, int, str]], data: Any
) -> None:
    """An engine restored anywhere runs what is left as the first one would have."""
    until = data.draw(st.integers(1, events.last_seq))
    head, *tail = cut(events, [until])
    first = engine_of(timed, "trades", 0)
    before = ran(first, [head])
    fresh = engine_of(timed, "trades", 0)
    fresh.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot())))

    assert ran(engine_of(timed, "trades", 0), [events]) == before + ran(fresh, tail)


def test_one_deadline_by_token_and_kind() -> None:
    """A second one takes the place of the first, a cancelled one is gone, order is total."""
    pending = Deadlines()
    for due in ((5, 1, "b"), (5, 1, "a"), (3, 2, "a"), (4, 1, "a"), (9, 3, "c")):
        pending.set(*due)
    pending.cancel(3, "c")
    pending.cancel(3, "never")

    assert 3 == pending.next_ns()
    assert 4 == pending.due_of(1, "a")
    assert [(3, 2, "a"), (4, 1, "a"), (5, 1, "b"), None] == [
        pending.pop((6, 0, "")) for _ in range(4)
    ]
    assert not pending.pending


def test_a_deadline_goes_before_the_tick_that_makes_it_due() -> None:
    """It is stamped with its own instant, and a tick exactly then comes behind it."""
    engine = engine_of([(4, 0, ONE, "retry")], "trades", 0)

    assert [(3, ONE, f"retry {2 * SECOND_NS} clock {2 * SECOND_NS}")] == ran(
        engine, [dummy_batch(6)]
    )
    assert START_NS + 5 * SECOND_NS == engine.executors[0].clock


def test_a_control_with_a_wrong_time_is_refused() -> None:
    """What moves clocks is an integer."""
    none = TickBatch.from_records(np.zeros(0, TABLE.tick_dtype), TABLE)
    beat = Control(seq=1, ts_recv=0, verb="heartbeat", detail={"ts_event": 1.5})

    with pytest.raises(InputRefused, match=r"ts_event: expected int ns UTC, was 1\.5"):
        engine_of([], "trades", 0).process(EventBatch(none, (beat,)))
