"""The laws of the lifecycle: where it changes is a function of the executor's own ticks.

A reference of a few lines, one tick at a time, says every transition; so does the engine, however
its events are cut and wherever it is restored.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from reaching import unreached

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Failure, Transition
from parity.model.events import EventBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import (
    ONE,
    SECOND_NS,
    START_NS,
    TABLE,
    TWO,
    between,
    cut,
    dummy_batch,
    event_streams,
    partitions,
)

LENGTH = 2


class Failing:
    """Says BUY; raises where the price is a multiple of its divisor. Begins anew after it."""

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor

    def get_required_history_length(self) -> int:
        """Return a short one."""
        return LENGTH

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "failing"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Fail or speak."""
        if tick.price_int % self.divisor == 0:
            raise RuntimeError("no")
        return SignalResult("BUY", 1.0, 1, tick.price)


class Kept(Failing):
    """The same with a snapshot, so that it loses nothing but the tick."""

    def snapshot(self) -> dict[str, Any]:
        """Return nothing: it has no state."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take nothing."""


class Twice(Kept):
    """Beside the others: never fails."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Speak."""
        return SignalResult("SELL", 1.0, 1, tick.price)


def plan(
    name: str, made: Any, errors: dict[str, Any] | None = None, risk: dict[str, Any] | None = None
) -> ExecutorPlan:
    """Return a plan with a block `errors`."""
    parameters = {"errors": errors, "paper": {"allow_short": True}} if errors else {}
    parameters |= {"risk": risk} if risk else {}
    config = StrategyConfig(strategy_id=name, strategy_type="failing", parameters=parameters)
    return ExecutorPlan(config, "paper", made)


Said = list[tuple[int, str, str, str]]


class Reference:
    """The lifecycle of one Failing over trades, one tick at a time."""

    def __init__(self, errors: dict[str, Any], divisor: int, anew: bool) -> None:
        self.errors, self.divisor, self.anew = errors, divisor, anew
        self.state, self.clock, self.said = "INIT", -(1 << 62), []  # type: str, int, Said
        self.seen: dict[int, int] = {}
        self.failed: list[int] = []
        self.tries, self.tried, self.due = 0, -(1 << 62), None  # type: int, int, int | None

    def go(self, seq: int, now: str, reason: str) -> None:
        """Take a step."""
        self.said.append((seq, self.state, now, reason))
        self.state, self.due = now, None

    def warm(self) -> str:
        """Return where it goes when it may go on."""
        return "ACTIVE" if max(self.seen.values(), default=0) >= LENGTH else "WARMUP"

    def moves(self, seq: int, time: int | None) -> None:
        """Let a tick of any kind move the clock, and what is due by then happen."""
        clock = self.clock if time is None else max(self.clock, time)
        if self.due is not None and self.due <= clock:
            if self.state == "ERROR":
                self.tries, self.tried = self.tries + 1, max(self.clock, self.due)
                self.go(seq, self.warm(), "retry")
            else:
                self.tries, self.tried, self.failed = 0, -(1 << 62), []
                self.go(seq, self.warm(), "resume_sec")
        self.clock = clock

    def take(self, seq: int, token: int, price: int) -> None:
        """Take a tick."""
        if self.state == "INIT":
            self.go(seq, "WARMUP", "first_tick")
        self.seen[token] = self.seen.get(token, 0) + 1
        if self.state == "WARMUP" and self.warm() == "ACTIVE":
            self.go(seq, "ACTIVE", "warm")
        if self.seen[token] >= LENGTH and price % self.divisor == 0:
            self.fail(seq)

    def fail(self, seq: int) -> None:
        """Take an error."""
        if self.state in ("WARMUP", "ACTIVE"):
            window = self.errors["window_sec"] * SECOND_NS
            self.failed = [at for at in [*self.failed, self.clock] if at > self.clock - window]
            if len(self.failed) > self.errors["max"]:
                self.failed = []
                self.tries = 0 if self.clock - self.tried > window else self.tries
                self.go(seq, "ERROR", "errors")
                if self.tries < self.errors["retries"]:
                    self.due = self.clock + self.errors["retry_sec"] * SECOND_NS
                else:
                    self.go(seq, "PAUSED", "retries_spent")
                    if self.errors["resume_sec"]:
                        self.due = self.clock + self.errors["resume_sec"] * SECOND_NS
        if self.anew:
            self.seen = {}
            if self.state == "ACTIVE":
                self.go(seq, "WARMUP", "began_anew")


blocks = st.fixed_dictionaries(
    {
        "window_sec": st.sampled_from((1, 10, 200)),
        "max": st.integers(0, 3),
        "retry_sec": st.sampled_from((1, 4, 60)),
        "retries": st.integers(0, 2),
        "resume_sec": st.sampled_from((None, 1, 30)),
    }
)


def expected(events: EventBatch, errors: dict[str, Any], divisor: int, anew: bool) -> Said:
    """Return what the reference says over the trades of the events."""
    reference = Reference(errors, divisor, anew)
    for tick in events.ticks.to_records():
        bits = int(tick["flags"])
        if bits & flag.UNDELIVERED:
            continue
        time = None if bits & flag.NO_VENUE_TIME else int(tick["ts_event"])
        reference.moves(int(tick["seq"]), time)
        if bits & flag.NO_PRICE or not bits & flag.TRADE_LIKE:
            continue
        token, price = int(tick["instrument_token"]), int(tick["price_int"])
        reference.take(int(tick["seq"]), token, price)
    return reference.said


def run(batches: Sequence[EventBatch], plans: Sequence[ExecutorPlan]) -> tuple[list[Any], Engine]:
    """Return effects and the engine."""
    engine = Engine(TABLE, plans)
    return [effect for batch in batches for effect in engine.process(batch)], engine


def moved(effects: Sequence[Effect], name: str = "it") -> Said:
    """Return one strategy's transitions."""
    found = [e for e in effects if isinstance(e, Transition) and e.strategy_id == name]
    return [(e.seq, e.was, e.now, e.reason) for e in found]


@given(event_streams(), partitions(), blocks, st.integers(1, 5), st.booleans())
def test_transitions_are_where_the_reference_says(
    events: EventBatch, sizes: list[int], errors: dict[str, Any], divisor: int, anew: bool
) -> None:
    """Errors, tries, pauses and warm-ups in event time, the same for any cutting."""
    made = Failing if anew else Kept
    # Nothing is approved: a fill at a quote would move the clock, too.
    plans = [plan("it", lambda: made(divisor), errors, {"risk_modes": ["DEFENSIVE"]})]
    whole, engine = run([events], plans)
    pieces, other = run(list(cut(events, sizes)), plans)

    assert expected(events, errors, divisor, anew) == moved(whole)
    assert whole == pieces
    assert engine.report() == other.report()
    assert state_bytes(engine.snapshot()) == state_bytes(other.snapshot())


@given(event_streams(), blocks, st.data())
def test_only_active_strategies_are_heard(
    events: EventBatch, errors: dict[str, Any], data: Any
) -> None:
    """What is said in another state is dropped as `lifecycle`; the digest of candidates has all."""
    divisor = data.draw(st.integers(2, 5))
    effects, engine = run([events], [plan("it", lambda: Kept(divisor), errors)])
    state = "INIT"
    for effect in effects:
        if isinstance(effect, Transition):
            assert state == effect.was
            state = effect.now
        elif isinstance(effect, ApprovedSignal):
            assert state == "ACTIVE"
        elif isinstance(effect, DroppedSignal) and effect.reason == "lifecycle":
            assert state != "ACTIVE"
            assert state in effect.seen
    never = {**errors, "max": 10_000}
    _, free = run([events], [plan("it", lambda: Kept(divisor), never)])

    assert free.executors[0].candidates.hex == engine.executors[0].candidates.hex
    assert free.executors[0].errors == engine.executors[0].errors


@given(event_streams(), blocks, st.booleans(), st.data())
def test_snapshots_carry_the_lifecycle(
    events: EventBatch, errors: dict[str, Any], anew: bool, data: Any
) -> None:
    """A restart between an error and its try changes nothing."""
    made = Failing if anew else Kept
    plans = [plan("it", lambda: made(3), errors)]
    until = data.draw(st.integers(1, events.last_seq))
    whole, engine = run([events], plans)
    head, first = run([between(events, 1, until)], plans)
    second = Engine(TABLE, plans)
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    tail = second.process(between(events, until + 1, events.last_seq))

    assert whole == [*head, *tail]
    assert engine.report() == second.report()
    assert state_bytes(engine.snapshot()) == state_bytes(second.snapshot())


@given(event_streams(), partitions(), blocks, st.integers(1, 5))
def test_errors_at_any_tick_change_no_byte_of_another(
    events: EventBatch, sizes: list[int], errors: dict[str, Any], divisor: int
) -> None:
    """Not its effects, its report or its state, wherever and however often the others fail."""
    steady = plan("steady", lambda: Twice(1))
    failing = [
        plan("a", lambda: Failing(divisor), errors),
        plan("z", lambda: Kept(divisor), errors),
    ]
    alone, one = run([events], [steady])
    among, three = run(list(cut(events, sizes)), [failing[0], steady, failing[1]])
    own = [e for e in among if getattr(e, "candidate", e).strategy_id == "steady"]
    blank = [
        msgspec.structs.replace(e, signal_no=0) if isinstance(e, ApprovedSignal) else e
        for e in (*alone, *own)
    ]

    assert blank[: len(alone)] == blank[len(alone) :]
    assert one.report().executors[0] == three.report().executors[1]
    assert one.snapshot()["executors"][0] == three.snapshot()["executors"][1]


def test_the_streams_are_worth_it() -> None:
    """Each state is entered behind ACTIVE in the generated streams, and left again."""
    errors = {"window_sec": 60, "max": 0, "retry_sec": 1, "retries": 1, "resume_sec": 1}

    def left(events: EventBatch) -> set[str]:
        said = moved(run([events], [plan("it", lambda: Failing(3), errors)])[0])
        seen = [(was, now) for _, was, now, _ in said]
        return {was for was, _ in seen[3:]} if ("ACTIVE", "ERROR") in seen else set()

    assert set() == unreached(event_streams(min_ticks=60), {"ERROR", "PAUSED", "WARMUP"}, left)


def test_a_failure_is_told_before_what_it_leads_to() -> None:
    """At one tick: warm, the failure, ERROR; the fields are those of the event."""
    errors = {"window_sec": 60, "max": 0, "retry_sec": 1, "retries": 0, "resume_sec": None}
    effects, engine = run([dummy_batch(2, price_int=3)], [plan("it", lambda: Failing(3), errors)])
    at = START_NS + SECOND_NS

    assert effects[1:] == [
        Transition(2, "it", "paper", "WARMUP", "ACTIVE", at, "warm"),
        Failure(2, "it", "paper", ONE, "RuntimeError: no"),
        Transition(2, "it", "paper", "ACTIVE", "ERROR", at, "errors"),
        Transition(2, "it", "paper", "ERROR", "PAUSED", at, "retries_spent"),
    ]
    found = engine.report().executors[0].lifecycle
    once = {"ACTIVE": 1, "ERROR": 1, "INIT": 1, "PAUSED": 1, "WARMUP": 1}
    assert (3, once, at, "retries_spent") == msgspec.structs.astuple(found)
    assert TWO not in [e.instrument_token for e in effects if isinstance(e, Failure)]
