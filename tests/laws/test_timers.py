"""The laws of timers: which are due, when, and what is said then depends on own ticks alone.

A reference of a few lines says from an executor's ticks and heartbeats, one after the other, which
instants they pass. Instruments with sessions and those that trade round the clock are mixed.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from hypothesis import find, given
from hypothesis import strategies as st
from markets import beaten, is_timed, own_ticks, prompt_beats, records
from reaching import GENERATED

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.timers import IDLE_MAX
from parity.model import ticks as flag
from parity.model.bars import Bar, Bars
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Failure, Fill
from parity.model.events import Control, EventBatch
from parity.model.sessions import SessionClock
from parity.model.ticks import TickBatch
from parity.model.timers import AtClose, AtOpen, Declared, Every, Timer
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
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

RISK = {"risk": {"cooldown_sec": 2}}
EDGES = [(START_NS + a * SECOND_NS, START_NS + b * SECOND_NS) for a, b in ((5, 9), (20, 61))]
CLOCK = SessionClock(
    "SHORT", START_NS - SECOND_NS, START_NS + 10**6 * SECOND_NS, [(*e, "regular") for e in EDGES]
)
MIXED = type(TABLE)(
    [msgspec.structs.replace(TABLE.by_token(ONE), calendar="SHORT"), TABLE.by_token(TWO)]
)
SHAPES: tuple[tuple[Declared, ...], ...] = (
    (Every(1),),
    (Every(3, offset_sec=1), AtOpen(), AtClose(-2)),
    (AtClose(), Every(0.5), AtOpen(-1), Every(7)),
    (Every(0.03),),  # often enough for a silence of 40 s to be too long
)


class Timing:
    """Speaks at every timer, with all that is in it, and at some ticks."""

    def __init__(self, timers: Sequence[Declared], token: int = 0, length: int = 1) -> None:
        self.timers = tuple(timers)
        self.token = token
        self.length = length
        self.seen: list[tuple[int, int, int]] = []
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return the length."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take the one."""
        return self.token in (0, token)

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "timing"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Speak at every third call."""
        self.calls += 1
        return SignalResult("SELL", 0.5, 1, tick.price) if self.calls % 3 == 0 else None

    def on_timer(self, timer: Timer, history: Any, rng: Any) -> SignalResult | None:
        """Say which it is, what the history ends with, and a number of its stream."""
        self.calls += 1
        self.seen.append((timer.due_ns, timer.instrument_token, timer.number))
        said = {"at": timer.due_ns, "no": timer.number, "n": self.calls, "rows": len(history)}
        return SignalResult("BUY", rng.uniform(), 1, history[-1].price, "", said)

    def snapshot(self) -> dict[str, Any]:
        """Return the number of calls; what was seen is for the test only."""
        return {"calls": self.calls}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.calls = state["calls"]


class Breaking(Timing):
    """Raises at some timers and at some ticks, after it has counted them; has bars as well."""

    bars = Bars(seconds=3)

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Break at multiples of 7."""
        said = super().process_tick(tick, history)
        if tick.price_int % 7 == 0:
            raise RuntimeError("seven")
        return said

    def on_timer(self, timer: Timer, history: Any, rng: Any) -> SignalResult | None:
        """Break at every fourth call."""
        said = super().on_timer(timer, history, rng)
        if self.calls % 4 == 0:
            raise RuntimeError("four")
        return said

    def process_bar(self, bar: Bar, history: Any, rng: Any) -> SignalResult | None:
        """Say what the stream says, which is another one than a timer's at the same instant."""
        self.calls += 1
        return SignalResult("SELL", rng.uniform(), 1, bar.close, "", {"n": self.calls})


class Holding(Breaking):
    """The same, and sees its portfolio in each of its methods."""

    def process_tick(self, tick: MarketTick, history: Any, portfolio: Any) -> SignalResult | None:  # type: ignore[override] # asks for more
        """Break at multiples of 7."""
        return _with(super().process_tick(tick, history), portfolio, tick.instrument_token)

    def on_timer(self, timer: Timer, history: Any, rng: Any, portfolio: Any) -> Any:  # type: ignore[override] # asks for more
        """Say it twice."""
        said = super().on_timer(timer, history, rng)
        return [_with(said, portfolio, timer.instrument_token)] * 2

    def process_bar(self, bar: Bar, history: Any, rng: Any, portfolio: Any) -> Any:  # type: ignore[override] # asks for more
        """Say what is held."""
        said = super().process_bar(bar, history, rng)
        return _with(said, portfolio, bar.instrument_token)


def _with(said: SignalResult | None, portfolio: Any, token: int) -> SignalResult | None:
    if said is None:
        return None
    held = portfolio.position(token)
    more = {**(said.metadata or {}), "held": str(held), "cash": str(portfolio.cash)}
    side = "SELL" if held > 2 else said.signal_type
    return SignalResult(side, said.confidence, 1, said.price, "", more)


class Forgetting(Breaking):
    """Breaks with nothing that could be stored, so that an error warms it up anew."""

    def snapshot(self) -> Any:
        """Return what cannot be stored."""
        raise RuntimeError("no snapshot")


class ForgettingHolding(Holding):
    """The same, with its portfolio."""

    def snapshot(self) -> Any:
        """Return what cannot be stored."""
        raise RuntimeError("no snapshot")


STORED = (Timing, Breaking, Holding)


@cache
def plans(*kinds: type[Timing]) -> tuple[ExecutorPlan, ...]:
    """Return plans of every shape, each on other ticks and instruments than the last."""
    ways = (("trades", 0, 1), ("quotes", 0, 1), ("trades", ONE, 3), ("quotes", TWO, 2))
    made = []
    for shift, kind in enumerate(kinds):
        for n, shape in enumerate(SHAPES[:3]):
            on, token, length = ways[(n + shift) % len(ways)]
            name = f"{kind.__name__}_{n}_{on}_{token}_{length}"
            config = StrategyConfig(name, "timing", {**RISK, "errors": {"max": 6}}, on=on)
            build = _builder(kind, shape, token, length)
            made.append(ExecutorPlan(config, "paper", build))
    return tuple(made)


def _builder(kind: type[Timing], shape: Sequence[Declared], token: int, length: int) -> Any:
    return lambda: kind(shape, token, length)


def engine_of(given_plans: Sequence[ExecutorPlan]) -> Engine:
    """Return an engine of instruments with sessions and without."""
    return Engine(MIXED, given_plans, seed=3, sessions={"SHORT": CLOCK})


def run(batches: Sequence[EventBatch], given_plans: Sequence[ExecutorPlan]) -> tuple[Any, ...]:
    """Return effects, report and state after the batches."""
    engine = engine_of(given_plans)
    effects = [effect for batch in batches for effect in engine.process(batch)]
    return effects, engine.report(), state_bytes(engine.snapshot())


def instants(declared: Declared, token: int, after: int, until: int, ticked: int) -> list[int]:
    """Return the instants of a timer in (after, until]; `ticked` is the newest tick's time."""
    offset = round(declared.offset_sec * SECOND_NS)
    if isinstance(declared, Every):
        step = round(declared.seconds * SECOND_NS)
        first, last = (after - offset) // step + 1, (until - offset) // step
        last = min(last, (ticked - offset) // step + IDLE_MAX)
        return [offset + n * step for n in range(first, last + 1)]
    edges = [e[isinstance(declared, AtClose)] + offset for e in EDGES] if token == ONE else []
    return [edge for edge in edges if after < edge <= until]


def reference(
    events: EventBatch, shape: Sequence[Declared], on: str, token: int
) -> list[tuple[int, int, int]]:
    """Return (instant, token, number) of what is due where an instrument had a tick of its kind."""
    moves = [(c.seq, c.ts_event, None) for c in events.controls if c.ts_event is not None]
    moves += [
        (int(t["seq"]), int(t["ts_event"]), t) for t in own_ticks(events, [token] if token else [])
    ]
    clock = ticked = None
    warm: set[int] = set()
    out = []
    for _, ns, tick in sorted(moves, key=lambda move: move[0]):
        if (tick is None or is_timed(tick)) and clock is not None and ns > clock:
            due = [
                (instant, one, number)
                for number, declared in enumerate(shape)
                for one in (ONE, TWO)
                for instant in instants(declared, one, clock, ns, ticked)
                if token in (0, one)
            ]
            out += [one for one in sorted(due) if one[1] in warm]
            clock = ns
        if tick is not None:
            if is_timed(tick):
                clock = ns if clock is None else clock
                ticked = max(ticked or ns, ns)
            bits = int(tick["flags"])
            quoted = bits & flag.QUOTE and not bits & (flag.NO_BID | flag.NO_ASK)
            traded = bits & flag.TRADE_LIKE and not bits & flag.NO_PRICE
            if traded if on == "trades" else quoted:
                warm.add(int(tick["instrument_token"]))
    return out


# What becomes of each control: most heartbeats come with it, some are of a later time.
all_steps = st.lists(st.integers(-9, 200), max_size=6).map(lambda steps: [*steps, *[0] * 200])


@given(
    event_streams(min_ticks=30),
    partitions(),
    st.sampled_from(SHAPES),
    st.sampled_from(("trades", "quotes")),
    st.sampled_from((0, ONE, TWO)),
    all_steps,
)
def test_timers_are_those_of_the_reference(
    events: EventBatch,
    sizes: list[int],
    shape: tuple[Declared, ...],
    on: str,
    token: int,
    steps: list[int],
) -> None:
    """At any cut the same are due, at the same instants, in the same order."""
    events = beaten(events, steps)
    for pieces in ([events], list(cut(events, sizes)), list(cut(events, [1] * 200))):
        made = Timing(shape, token)
        config = StrategyConfig(strategy_id="t", strategy_type="timing", on=on)
        engine = engine_of([ExecutorPlan(config, "paper", lambda made=made: made)])
        for piece in pieces:
            engine.process(piece)

        assert reference(events, shape, on, token) == made.seen


@given(event_streams(), partitions(), all_steps)
def test_batch_boundaries_never_matter_to_timers(
    events: EventBatch, sizes: list[int], steps: list[int]
) -> None:
    """Nor to what is decided at them, errors, bars and portfolios included."""
    events, some = beaten(events, steps), plans(*STORED)
    whole = run([events], some)

    assert whole == run(list(cut(events, sizes)), some)
    assert whole == run(list(cut(events, [1] * 200)), some)


@given(event_streams(), partitions())
def test_an_error_without_a_snapshot_warms_up_anew_at_any_cut(
    events: EventBatch, sizes: list[int]
) -> None:
    """What is decided after it does not depend on where batches end."""

    def said(pieces: list[EventBatch]) -> tuple[list[Effect], Any]:
        engine = engine_of(plans(Forgetting, ForgettingHolding))
        return [e for piece in pieces for e in engine.process(piece)], engine.report()

    assert said([events]) == said(list(cut(events, sizes)))
    assert said([events]) == said(list(cut(events, [1] * 200)))


@given(event_streams(), st.data(), all_steps)
def test_timers_survive_a_snapshot(events: EventBatch, data: Any, steps: list[int]) -> None:
    """A fresh engine that takes a stored snapshot tells what the first would have told."""
    events, some = beaten(events, steps), plans(*STORED)
    head, *tail = cut(events, [data.draw(st.integers(1, events.last_seq))])
    first, second = engine_of(some), engine_of(some)
    effects = first.process(head)
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += [effect for piece in tail for effect in second.process(piece)]

    assert run([events], some) == (effects, second.report(), state_bytes(second.snapshot()))


@given(event_streams(), st.data())
def test_a_prefix_of_events_gives_a_prefix_of_timers(events: EventBatch, data: Any) -> None:
    """No timer is due because of what comes later."""
    head, *_ = cut(events, [data.draw(st.integers(1, events.last_seq))])
    part, whole = run([head], plans(*STORED))[0], run([events], plans(*STORED))[0]

    assert part == whole[: len(part)]


@given(event_streams(min_ticks=30), partitions(), st.data())
def test_heartbeats_that_overtake_no_tick_change_no_byte(
    events: EventBatch, sizes: list[int], data: Any
) -> None:
    """They make timers prompt, and nothing else of them or of a decision is another."""
    some = plans(Timing)  # who errs is told with the seq of what made it due
    tokens = {one.build().token for one in some}  # type: ignore[union-attr] # ours have one
    told = [[token] if token else [] for token in tokens]
    without = run([events], some)
    prompt = run(list(cut(prompt_beats(events, told, data.draw), sizes)), some)

    assert records(without[0]) == records(prompt[0])
    assert without[1].executors == prompt[1].executors


# -- by hand ---------------------------------------------------------------------------------


def test_a_timer_goes_before_the_tick_that_makes_it_due() -> None:
    """What is said is stamped with the instant, ordinal -1; its order fills at that very tick."""
    config = StrategyConfig("t", "t")
    engine = engine_of([ExecutorPlan(config, "paper", lambda: Timing([Every(2)], TWO))])
    effects = engine.process(
        dummy_batch(
            2, table=MIXED, instrument_token=TWO, ts_event=[START_NS, START_NS + 2 * SECOND_NS]
        )
    )
    said, _ = [e.candidate for e in effects if isinstance(e, ApprovedSignal)]
    (fill,) = [e for e in effects if isinstance(e, Fill)]

    assert (START_NS + 2 * SECOND_NS, -1, 2) == (said.ts_event, said.ordinal, said.seq)
    assert (START_NS + 2 * SECOND_NS, 0, 2) == (fill.ts_event, fill.ordinal, fill.seq)


def test_nothing_is_due_to_a_strategy_that_was_stopped() -> None:
    """A live run would send itself heartbeats for it, as long as its source is silent."""
    engine = engine_of(
        [ExecutorPlan(StrategyConfig("t", "t"), "paper", lambda: Timing([Every(2)]))]
    )
    engine.process(dummy_batch(2, table=MIXED, instrument_token=TWO))
    due = engine.next_due()
    stop = Control(seq=3, ts_recv=1, verb="strategy_stopped", detail={"strategy_id": "t"})
    engine.process(EventBatch(TickBatch.empty(MIXED), (stop,)))

    assert (START_NS + 2 * SECOND_NS, None) == (due, engine.next_due())


def test_silence_is_counted_from_the_last_tick() -> None:
    """A step is due IDLE_MAX times without a tick, whether heartbeats come between or not."""
    made = [Timing([Every(1)], TWO) for _ in range(2)]
    far = START_NS + 5 * IDLE_MAX * SECOND_NS
    for one, beats in zip(made, ((), (3, IDLE_MAX - 1, IDLE_MAX + 9)), strict=True):
        config = StrategyConfig("t", "t")
        engine = engine_of([ExecutorPlan(config, "paper", lambda one=one: one)])
        controls = [
            Control(
                seq=2 + n,
                ts_recv=0,
                verb="heartbeat",
                detail={"ts_event": START_NS + s * SECOND_NS},
            )
            for n, s in enumerate(beats)
        ]
        engine.process(
            dummy_batch(
                3, table=MIXED, controls=controls, instrument_token=TWO, seq=[1, 9, 10],
                ts_event=[START_NS, far, far + SECOND_NS],
            )
        )  # fmt: skip

    assert made[0].seen == made[1].seen
    assert [START_NS + n * SECOND_NS for n in range(1, IDLE_MAX + 1)] == [
        ns for ns, _, _ in made[0].seen[:-1]
    ]
    assert far + SECOND_NS == made[0].seen[-1][0]


def test_the_end_of_a_backtest_makes_timers_due() -> None:
    """Up to the end that was given."""
    made = Timing([Every(10), AtClose()], ONE)
    engine = engine_of([ExecutorPlan(StrategyConfig("t", "t"), "paper", lambda: made)])
    engine.process(dummy_batch(2, table=MIXED))
    engine.end(START_NS + 25 * SECOND_NS)

    assert [9, 10, 20] == [(ns - START_NS) // SECOND_NS for ns, _, _ in made.seen]


def test_the_streams_are_worth_it() -> None:
    """Generated streams have timers approved, filled and broken, at edges of sessions too."""

    def loud(events: EventBatch) -> bool:
        some = plans(*STORED, Forgetting)
        engine = engine_of(some)
        effects = engine.process(events)
        at = {
            e.candidate.ts_event for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)
        }
        failed = {e.strategy_id.split("_")[0] for e in effects if isinstance(e, Failure)}
        return (
            bool(at & {e[0] for e in EDGES})
            and engine.report().fills > 3
            and {"Breaking", "Holding", "Forgetting"} <= failed
        )

    assert find(event_streams(min_ticks=40), loud, settings=GENERATED)
