"""The laws of bars: what closes, when, and what is said of it depends on own ticks alone.

A reference of a few dozen lines makes the bars of an executor from its ticks, one after the other.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np
from hypothesis import find, given
from hypothesis import strategies as st
from markets import beaten, own_ticks, prompt_beats, records
from reaching import GENERATED

from parity.core.bars import EMPTY_MAX
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.kernels.bars import Sums, bucket_of, grouped
from parity.model import ticks as flag
from parity.model.bars import Bar, Bars
from parity.model.effects import ApprovedSignal, Effect
from parity.model.events import EventBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import (
    ONE,
    START_NS,
    TABLE,
    TWO,
    cut,
    event_streams,
    partitions,
)

RISK = {"risk": {"slippage_budget": 0.3, "price_band": 0.01, "cooldown_sec": 2}}


class Barring:
    """Speaks at every bar, with all that is in it, and at some ticks."""

    def __init__(self, bars: Bars, token: int = 0, length: int = 1) -> None:
        self.bars = bars
        self.token = token
        self.length = length
        self.seen: list[Bar] = []
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return the length."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take the one."""
        return self.token in (0, token)

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "barring"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Speak at every third call."""
        self.calls += 1
        return SignalResult("SELL", 0.5, 1, tick.price) if self.calls % 3 == 0 else None

    def process_bar(self, bar: Bar, history: Any, rng: Any) -> SignalResult | None:
        """Say what the bar is, what the history ends with, and a number of its stream."""
        self.calls += 1
        self.seen.append(bar)
        values = msgspec.structs.asdict(bar)
        said = {**values, "last": history[-1].price, "rows": len(history), "n": self.calls}
        said["notional_int"] = str(bar.notional_int)
        return SignalResult("BUY", rng.uniform(), 1, bar.close, "", said)

    def snapshot(self) -> dict[str, Any]:
        """Return the number of calls; what was seen is for the test only."""
        return {"calls": self.calls}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.calls = state["calls"]


class Breaking(Barring):
    """Raises at some bars and at some ticks, after it has counted them."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Break at multiples of 7."""
        said = super().process_tick(tick, history)
        if tick.price_int % 7 == 0:
            raise RuntimeError("seven")
        return said

    def process_bar(self, bar: Bar, history: Any, rng: Any) -> SignalResult | None:
        """Break at multiples of 3."""
        said = super().process_bar(bar, history, rng)
        if bar.close_int % 3 == 0:
            raise RuntimeError("three")
        return said


class Forgetting(Breaking):
    """The same, with nothing that could be stored, so that an error warms it up anew."""

    def snapshot(self) -> Any:
        """Return what cannot be stored."""
        raise RuntimeError("no snapshot")


SHAPES = (
    Bars(seconds=1),
    Bars(seconds=3, offset_sec=0.5),
    Bars(seconds=40, empty="flat"),
    Bars(seconds=2, empty="flat"),
)


def plan(kind: type[Barring], bars: Bars, on: str, token: int = 0, length: int = 1) -> ExecutorPlan:
    """Return a plan of a processor that is told of bars."""
    name = f"{kind.__name__}_{bars.seconds}_{bars.empty}_{on}_{token}_{length}"
    config = StrategyConfig(strategy_id=name, strategy_type="barring", on=on, parameters=RISK)
    return ExecutorPlan(config, "paper", lambda: kind(bars, token, length))


@cache
def plans(*kinds: type[Barring]) -> tuple[ExecutorPlan, ...]:
    """Return plans of every shape, each on other ticks and instruments than the last."""
    ways = (("trades", 0, 1), ("quotes", 0, 1), ("trades", TWO, 3), ("quotes", ONE, 2))
    return tuple(
        plan(kind, bars, *ways[(n + shift) % len(ways)])
        for shift, kind in enumerate(kinds or (Barring, Breaking))
        for n, bars in enumerate(SHAPES)
    )


def run(batches: Sequence[EventBatch], given_plans: Sequence[ExecutorPlan]) -> tuple[Any, ...]:
    """Return effects, report and state after the batches."""
    engine = Engine(TABLE, given_plans, seed=3)
    effects = [effect for batch in batches for effect in engine.process(batch)]
    return effects, engine.report(), state_bytes(engine.snapshot())


def is_of(on: str, tick: Any) -> bool:
    """Say whether a tick is of the kind an executor is fed with."""
    bits = int(tick["flags"])
    if on == "trades":
        return bool(bits & flag.TRADE_LIKE and not bits & flag.NO_PRICE)
    return bool(bits & flag.QUOTE and not bits & (flag.NO_BID | flag.NO_ASK))


def reference(events: EventBatch, bars: Bars, on: str, token: int) -> list[tuple[int, ...]]:
    """Return (token, start, open, high, low, close, count, volume, notional, partial) of bars."""
    length, offset = bars.length_ns, bars.offset_ns
    clock = began = None
    open_bars: dict[int, list[tuple[int, int]]] = {}
    last: dict[int, tuple[int, int]] = {}
    out: list[tuple[int, ...]] = []
    for tick in own_ticks(events, [token] if token else []):
        if int(tick["flags"]) & flag.NO_VENUE_TIME:
            continue
        ns, one = int(tick["ts_event"]), int(tick["instrument_token"])
        began = ns if began is None else began
        number = (ns - offset) // length
        clock = number if clock is None else clock
        while clock < number:
            start = clock * length + offset
            for other in (ONE, TWO):
                prices = open_bars.pop(other, None)
                if prices:
                    paid = [p for p, _ in prices]
                    ohlc = (paid[0], max(paid), min(paid), paid[-1], len(paid))
                    sums = (sum(q for _, q in prices), sum(p * q for p, q in prices))
                    out.append((other, start, *ohlc, *sums, start < began))
                    last[other] = (paid[-1], 0)
                elif bars.empty == "flat" and other in last and last[other][1] < EMPTY_MAX:
                    close, flat = last[other]
                    last[other] = (close, flat + 1)
                    out.append((other, start, *[close] * 4, 0, 0, 0, start < began))
            clock += 1
        if number == clock and is_of(on, tick):
            mid = (int(tick["bid_int"]) + int(tick["ask_int"])) * 5
            price = int(tick["price_int"]) if on == "trades" else mid
            open_bars.setdefault(one, []).append((price, int(tick["quantity_int"])))
    return out


def as_tuple(bar: Bar) -> tuple[int, ...]:
    """Return a bar as the reference has it."""
    ohlc = (bar.open_int, bar.high_int, bar.low_int, bar.close_int, bar.count)
    sums = (bar.volume_int, bar.notional_int)
    return (bar.instrument_token, bar.start_ns, *ohlc, *sums, bar.partial)


@given(
    event_streams(min_ticks=30),
    partitions(),
    st.sampled_from(SHAPES),
    st.sampled_from(("trades", "quotes")),
    st.sampled_from((0, TWO)),
)
def test_bars_are_those_of_the_reference(
    events: EventBatch, sizes: list[int], bars: Bars, on: str, token: int
) -> None:
    """At any cut the same bars close, with the same integers, in the same order."""
    for pieces in ([events], list(cut(events, sizes)), list(cut(events, [1] * 200))):
        made = Barring(bars, token)
        config = StrategyConfig(strategy_id="b", strategy_type="barring", on=on)
        engine = Engine(TABLE, [ExecutorPlan(config, "paper", lambda made=made: made)])
        for piece in pieces:
            engine.process(piece)

        assert reference(events, bars, on, token) == [as_tuple(bar) for bar in made.seen]
        assert engine.executors[0].bars is not None
        assert len(made.seen) == engine.executors[0].bars.closed


@given(event_streams(), partitions())
def test_batch_boundaries_never_matter_to_bars(events: EventBatch, sizes: list[int]) -> None:
    """Nor to what is decided of them, errors, limits and paper orders included."""
    whole = run([events], plans())

    assert whole == run(list(cut(events, sizes)), plans())
    assert whole == run(list(cut(events, [1] * 200)), plans())


@given(event_streams(), partitions())
def test_an_error_without_a_snapshot_warms_up_anew_at_any_cut(
    events: EventBatch, sizes: list[int]
) -> None:
    """What is decided after it does not depend on where batches end."""

    def said(pieces: list[EventBatch]) -> tuple[list[Effect], Any]:
        engine = Engine(TABLE, plans(Forgetting), seed=3)
        return [e for piece in pieces for e in engine.process(piece)], engine.report()

    assert said([events]) == said(list(cut(events, sizes)))
    assert said([events]) == said(list(cut(events, [1] * 200)))


@given(event_streams(), st.data())
def test_bars_survive_a_snapshot(events: EventBatch, data: Any) -> None:
    """A fresh engine that takes a stored snapshot closes the open bars as the first would have."""
    head, *tail = cut(events, [data.draw(st.integers(1, events.last_seq))])
    first, second = Engine(TABLE, plans(), seed=3), Engine(TABLE, plans(), seed=3)
    effects = first.process(head)
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += [effect for piece in tail for effect in second.process(piece)]

    assert run([events], plans()) == (effects, second.report(), state_bytes(second.snapshot()))


@given(event_streams(), st.data())
def test_a_prefix_of_events_gives_a_prefix_of_bars(events: EventBatch, data: Any) -> None:
    """No bar closes because of what comes later."""
    head, *_ = cut(events, [data.draw(st.integers(1, events.last_seq))])
    part, whole = run([head], plans())[0], run([events], plans())[0]

    assert part == whole[: len(part)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),  # step of the bucket
            st.integers(0, 3),
            st.integers(-(10**18), 10**18),
            st.integers(0, 10**18),
            st.sampled_from((-1, 0, 1)),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_a_whole_column_and_tick_by_tick_are_one(
    rows: list[tuple[int, int, int, int, int]],
) -> None:
    """Grouped columns give the sums of one tick after the other, at the largest numbers too."""
    steps, inst, prices, quantities, sides = (np.array(c) for c in zip(*rows, strict=True))
    buckets = np.cumsum(steps)
    one_by_one: dict[tuple[int, int], Sums] = {}
    for bucket, one, price, quantity, side in zip(
        *(c.tolist() for c in (buckets, inst, prices, quantities, sides)), strict=True
    ):
        one_by_one.setdefault((bucket, one), Sums()).take(price, quantity, side)
    found = grouped(buckets, inst.astype(np.int32), prices, quantities, sides)

    assert {key: sums.values() for key, sums in sorted(one_by_one.items())} == {
        (bucket, one): sums.values() for bucket, one, sums in found
    }
    assert sorted(one_by_one) == [(bucket, one) for bucket, one, _ in found]


@given(st.integers(0, 2**62), st.integers(1, 10**15), st.integers(0, 10**15))
def test_intervals_are_half_open(ns: int, length: int, offset: int) -> None:
    """An instant lies in the interval that starts at or before it and ends behind it."""
    start = bucket_of(ns, length, offset) * length + offset

    assert start <= ns < start + length


def told(given_plans: Sequence[ExecutorPlan]) -> list[list[int]]:
    """Return the instruments of each, none where it is told of all."""
    tokens = {one.build().token for one in given_plans}  # type: ignore[union-attr] # ours have one
    return [[token] if token else [] for token in tokens]


@given(event_streams(min_ticks=30), partitions(), st.data())
def test_heartbeats_that_overtake_no_tick_change_no_byte(
    events: EventBatch, sizes: list[int], data: Any
) -> None:
    """They make bars close sooner, and nothing else of them or of a decision is another."""
    some = plans(Barring)
    without = run([events], some)
    prompt = run(list(cut(prompt_beats(events, told(some), data.draw), sizes)), some)

    assert records(without[0]) == records(prompt[0])
    assert without[1].executors == prompt[1].executors
    assert not any(executor.overtaken for executor in prompt[1].executors)


@given(event_streams(min_ticks=30), partitions(), st.lists(st.integers(-5, 200), max_size=6))
def test_ticks_that_a_heartbeat_overtook_are_counted(
    events: EventBatch, sizes: list[int], halves: list[int]
) -> None:
    """At any cut: own ticks that came while the newest heartbeat was ahead of all own times."""
    events = beaten(events, halves, since_ns=START_NS)
    report = run(list(cut(events, sizes)), plans(Barring))[1]
    for executor, one in zip(report.executors, sorted(plans(Barring), key=_id_of), strict=True):
        beat = newest = count = 0
        moves = [(c.seq, c.ts_event, None) for c in events.controls if c.ts_event is not None]
        token = one.build().token  # type: ignore[union-attr] # ours have one
        moves += [(int(t["seq"]), None, t) for t in own_ticks(events, [token] if token else [])]
        for _, ns, tick in sorted(moves, key=lambda move: move[0]):
            if tick is None:
                beat = max(beat, ns)
                continue
            timed = not int(tick["flags"]) & flag.NO_VENUE_TIME
            newest = max(newest, int(tick["ts_event"])) if timed else newest
            count += newest < beat

        assert count == executor.overtaken


def _id_of(one: ExecutorPlan) -> str:
    return one.config.strategy_id


def test_the_streams_are_worth_it() -> None:
    """Generated streams close bars, leave ticks out, break, and have bars approved and filled."""

    def loud(events: EventBatch) -> bool:
        effects, report, _ = run([events], plans())
        orders = {e.candidate.ordinal for e in effects if isinstance(e, ApprovedSignal)}
        return (
            -1 in orders
            and report.fills > 3
            and any(e.left_out for e in report.executors)
            and any(e.errors for e in report.executors)
        )

    def prompted(events: EventBatch) -> bool:
        some = plans(Barring)
        beats = prompt_beats(events, told(some))
        heard = {c.seq for c in beats.controls if c.verb == "heartbeat"}
        effects = run([beats], some)[0]
        return any(isinstance(e, ApprovedSignal) and e.candidate.seq in heard for e in effects)

    assert find(event_streams(min_ticks=40), loud, settings=GENERATED)
    assert find(event_streams(min_ticks=40), prompted, settings=GENERATED)
