"""The laws of controls about strategies: barriers, the same at any batch size, about one only.

Streams of ticks with drawn controls between them: pauses, stops, additions, replacements, nonsense.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from reaching import unreached

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import (
    ApprovedSignal,
    ControlRefused,
    DroppedSignal,
    Effect,
    Failure,
    Fill,
    Transition,
    effect_seq,
)
from parity.model.errors import ConfigError
from parity.model.events import Control, EventBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.settings.strategies import spec_of
from parity.testing.generators import (
    ONE,
    SECOND_NS,
    START_NS,
    TABLE,
    TWO,
    between,
    cut,
    event_streams,
    partitions,
)

NAMES = ("a", "b", "new")


class Turning:
    """Buys and sells in turn, where its history rises; counts in plain attributes."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return the length asked for."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "turning"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Take the other side, and say what it sees."""
        assert len(history) == self.length == len(list(history))
        self.calls += 1
        if self.calls % 7 == 0:
            raise RuntimeError("seven")
        side = "BUY" if self.calls % 2 else "SELL"
        first = {"first": history[0].price, "column": float(history.price[0]), "n": self.calls}
        return SignalResult(side, 0.5, 1, tick.price, "", first)


def strategy(name: str, length: int, tokens: Sequence[int] = (), on: str = "trades") -> Any:
    """Return a strategy as a control carries it."""
    return {"strategy_id": name, "length": length, "tokens": list(tokens), "on": on}


def planner(given_strategy: Mapping[str, Any]) -> list[ExecutorPlan]:
    """Make the plan of a strategy(); a kernel where its length is 0; refuse length -1."""
    length, name = given_strategy["length"], given_strategy["strategy_id"]
    if length < 0:
        raise ConfigError("it cannot be built")
    limits = {"risk": {"cooldown_sec": 2, "max_exposure": 400}, "paper": {"allow_short": True}}
    errors = {"errors": {"window_sec": 30, "max": 1, "retry_sec": 2, "retries": 1}}
    config = StrategyConfig(
        strategy_id=name,
        strategy_type="turning",
        instrument_tokens=tuple(given_strategy["tokens"]),
        on=given_strategy["on"],
        parameters={**limits, **errors},
    )
    if length == 0:
        parameters = {"lookback_periods": 3, "threshold": 0.0, "position_size": 1}
        kind = {"strategy_type": "momentum_kernel", "parameters": {**parameters, **limits}}
        return list(prepare([spec_of(msgspec.structs.replace(config, **kind))]).plans)
    return [ExecutorPlan(config, "paper", lambda: Turning(length))]


STARTED = (strategy("a", 3), strategy("b", 2, (ONE,)))
verbs = st.sampled_from(
    (
        *(f"strategy_{what}" for what in ("paused", "resumed", "flattened", "replaced") * 2),
        "strategy_stopped",
        *("strategy_added",) * 2,
        "policy_changed",
    )
)
wanted = st.builds(
    strategy,
    st.sampled_from(NAMES),
    st.sampled_from((0, 1, 2, 5, 9, -1)),
    st.sampled_from(((), (), (ONE,), (ONE, TWO))),
    st.sampled_from(("trades", "trades", "quotes")),
)


@st.composite
def details(draw: st.DrawFn, verb: str) -> dict[str, Any]:
    """Draw the detail of a control; now and then a senseless one."""
    if verb == "policy_changed":
        return draw(st.sampled_from(({"min_confidence": 0.6}, {}, {"nonsense": 1})))
    detail: dict[str, Any] = {"strategy_id": draw(st.sampled_from((*NAMES, "nobody")))}
    if verb in ("strategy_added", "strategy_replaced"):
        detail["strategy"] = {**draw(wanted), "strategy_id": detail["strategy_id"]}
        if draw(st.integers(0, 9)) == 0:
            detail["strategy"] = draw(st.sampled_from((None, {**strategy("b", 2)})))
    if verb == "strategy_paused":
        detail["resume_sec"] = draw(st.sampled_from((None, 1, 5.5, 60, -3, "soon")))
    if draw(st.integers(0, 5)) == 0:
        detail["broker"] = draw(st.sampled_from(("paper", "zerodha", 7)))
    if draw(st.integers(0, 2)) == 0:
        detail["ts_event"] = START_NS + draw(st.integers(-5, 120)) * SECOND_NS
    return detail


@st.composite
def controlled(draw: st.DrawFn) -> EventBatch:
    """Draw a stream of events in which some controls are about strategies."""
    events = draw(event_streams(min_ticks=30))
    records = events.ticks.to_records()
    before = sorted(draw(st.lists(st.integers(0, len(records)), max_size=8)))
    old = {c.seq: c for c in events.controls}
    controls: list[Control] = []
    seq = at = 0
    for row in range(len(records) + 1):
        while at < len(before) and before[at] == row:
            seq, at = seq + 1, at + 1
            verb = draw(verbs)
            detail = draw(details(verb))
            controls.append(Control(seq=seq, ts_recv=0, verb=verb, detail=detail))
        if row < len(records):
            if (gap := old.get(int(records[row]["seq"]) - 1)) is not None:
                seq += 1
                controls.append(msgspec.structs.replace(gap, seq=seq))
            seq += 1
            records[row]["seq"] = seq
    return EventBatch(type(events.ticks).from_records(records, TABLE), tuple(controls))


Outcome = tuple[list[Effect], Any, bytes]


def engine_of(started: Sequence[Any] = STARTED) -> Engine:
    """Return a fresh engine of the strategies that run from the start."""
    plans = [one for given_strategy in started for one in planner(given_strategy)]
    return Engine(TABLE, plans, seed=3, planner=planner)


def run(batches: Sequence[EventBatch], started: Sequence[Any] = STARTED) -> Outcome:
    """Return effects, report and state."""
    engine = engine_of(started)
    effects = [effect for batch in batches for effect in engine.process(batch)]
    return effects, engine.report(), state_bytes(engine.snapshot())


def own(effects: Sequence[Effect], name: str) -> list[Any]:
    """Return one strategy's effects, without the run-wide number of a signal."""
    found = [e for e in effects if getattr(e, "candidate", e).strategy_id == name]
    return [
        msgspec.structs.replace(e, signal_no=0) if isinstance(e, ApprovedSignal) else e
        for e in found
    ]


def state_of(outcome: Outcome, name: str) -> list[Any]:
    """Return one strategy's reports and states."""
    states = msgspec.msgpack.decode(outcome[2])["executors"]
    reports: list[Any] = [e for e in outcome[1].executors if e.strategy_id == name]
    return reports + [one for one in states if one["key"][0] == name]


@given(controlled(), partitions())
def test_controls_are_barriers_at_any_batch_size(events: EventBatch, sizes: list[int]) -> None:
    """Effects, report and state are the same for any cutting, and come in order."""
    whole = run([events])
    inner: list[Any] = [getattr(e, "candidate", e) for e in whole[0]]
    keys = [(e.seq, e.strategy_id, e.broker) for e in inner]

    assert whole == run(list(cut(events, sizes)))
    assert whole == run(list(cut(events, [1] * 200)))
    assert sorted(keys) == keys


@given(controlled(), st.data())
def test_a_restart_anywhere_between_controls_goes_on(events: EventBatch, data: Any) -> None:
    """A fresh engine of the strategies at the start takes a checkpoint with others in it."""
    until = data.draw(st.integers(1, events.last_seq))
    first = engine_of()
    head = first.process(between(events, 1, until))
    stored = state_bytes(first.snapshot())
    second = engine_of()
    second.restore(msgspec.msgpack.decode(stored))
    again = state_bytes(second.snapshot())
    tail = second.process(between(events, until + 1, events.last_seq))

    assert stored == again
    assert run([events]) == ([*head, *tail], second.report(), state_bytes(second.snapshot()))


@given(controlled(), st.data())
def test_a_prefix_of_events_gives_a_prefix_of_effects(events: EventBatch, data: Any) -> None:
    """No control acts before its place."""
    until = data.draw(st.integers(1, events.last_seq))
    part = run([between(events, 1, until)])[0]

    assert [e for e in run([events])[0] if effect_seq(e) <= until] == part


@given(controlled(), partitions(), st.sampled_from(NAMES))
def test_a_control_about_one_changes_no_byte_of_another(
    events: EventBatch, sizes: list[int], name: str
) -> None:
    """What is asked of others, and whether they are there at all, reaches nobody else."""
    about = [
        c for c in events.controls if c.verb == "policy_changed" or _named(c.detail) in (None, name)
    ]
    started = [one for one in STARTED if one["strategy_id"] == name]
    alone = run([EventBatch(events.ticks, tuple(about))], started)
    among = run(list(cut(events, sizes)))

    assert own(alone[0], name) == own(among[0], name)
    assert state_of(alone, name) == state_of(among, name)


def _named(detail: Mapping[str, Any]) -> Any:
    return detail.get("strategy_id")


@given(controlled())
def test_states_follow_each_other_and_gate_what_is_said(events: EventBatch) -> None:
    """Every transition goes on from the last one; only ACTIVE strategies are approved."""
    states = {one["strategy_id"]: "INIT" for one in STARTED}
    effects, report, _ = run([events])
    for effect in effects:
        if isinstance(effect, Transition):
            was = states.get(effect.strategy_id, "INIT")
            assert effect.was == was or (was, effect.was) == ("STOPPED", "INIT")
            states[effect.strategy_id] = effect.now
        elif isinstance(effect, ApprovedSignal | DroppedSignal):
            state = states[effect.candidate.strategy_id]
            assert state != "STOPPED"
            approved = isinstance(effect, ApprovedSignal)
            assert (state == "ACTIVE") == (approved or effect.reason != "lifecycle")
    refused = [e for e in effects if isinstance(e, ControlRefused)]
    # Nothing else failed: each history had its exact length, whoever asked for more or less.
    assert {e.error for e in effects if isinstance(e, Failure)} <= {"RuntimeError: seven"}
    assert states == {e.strategy_id: e.state for e in report.executors}
    assert len(refused) == sum(report.refused_controls.values())
    assert {e.seq for e in refused} <= {c.seq for c in events.controls}


@given(event_streams(min_ticks=40), st.integers(1, 40), st.sampled_from((1, 2, 5, 0)), st.data())
def test_what_is_added_or_replaced_sees_nothing_from_before(
    events: EventBatch, at: int, length: int, data: Any
) -> None:
    """Its candidates are those of an engine that began at the barrier, whoever kept histories."""
    seq = int(events.ticks.column("seq")[min(at, len(events.ticks) - 1)])
    new = strategy("new", length)
    verb, started = data.draw(
        st.sampled_from(
            (("strategy_added", STARTED), ("strategy_added", ()),
             ("strategy_replaced", (*STARTED, strategy("new", 4))))
        )
    )  # fmt: skip
    control = Control(seq=seq, ts_recv=0, verb=verb, detail={"strategy_id": "new", "strategy": new})
    records = events.ticks.to_records()
    records["seq"] += records["seq"] >= seq
    with_it = EventBatch(type(events.ticks).from_records(records, TABLE), (control,))
    tail = records[records["seq"] > seq]
    later = EventBatch(type(events.ticks).from_records(tail, TABLE))
    said = [e.candidate for e in own(run([with_it], started)[0], "new") if hasattr(e, "candidate")]
    fresh = [e.candidate for e in own(run([later], [new])[0], "new") if hasattr(e, "candidate")]

    def told(candidates: list[Any]) -> list[Any]:
        # The ordinal counts equal times over the barrier: it belongs to the stream.
        return [(c.seq, c.side, c.price, c.metadata) for c in candidates if c.seq > seq]

    assert told(fresh) == told(said)


def reached(events: EventBatch) -> set[str]:
    """Return which refusals a stream led to, and what the controls in it brought about."""
    effects = run([events])[0]
    approved = {e.candidate.strategy_id for e in effects if isinstance(e, ApprovedSignal)}
    replaced = {e.seq: _named(e.detail) for e in events.controls if e.verb == "strategy_replaced"}
    refused = {e.seq: e.reason for e in effects if isinstance(e, ControlRefused)}
    later = {
        "replaced_and_approved"
        for e in effects
        if isinstance(e, ApprovedSignal)
        and any(
            seq < e.candidate.seq and seq not in refused and name == e.candidate.strategy_id
            for seq, name in replaced.items()
        )
    }
    fills = {e.kind for e in effects if isinstance(e, Fill) and not e.reason}
    left = {"end_passed_by_hand"} if _end_passed(events, effects) else set()
    return {
        *refused.values(),
        *fills,
        *later,
        *left,
        *("added_and_approved",) * ("new" in approved),
    }


def _end_passed(events: EventBatch, effects: Sequence[Effect]) -> bool:
    """Say whether a pause was left by hand, and the end that it would have had came later."""
    ends = {c.seq: c.detail.get("resume_sec") for c in events.controls}
    last_ns = int(events.ticks.column("ts_event")[-1])
    moved = [e for e in effects if isinstance(e, Transition)]
    for one in {e.strategy_id for e in moved}:
        own_moves = [e for e in moved if e.strategy_id == one]
        for paused, left in itertools.pairwise(own_moves):
            seconds = ends.get(paused.seq) if paused.reason == "paused" else None
            if seconds and paused.ts_event and left.reason in ("resumed", "stopped"):
                return paused.ts_event + seconds * SECOND_NS < last_ns
    return False


REACHED = {
    "unknown_strategy", "not_allowed", "already_there", "malformed", "not_built", "still_held",
    "flatten", "added_and_approved", "replaced_and_approved", "end_passed_by_hand",
}  # fmt: skip


def test_the_streams_are_worth_it() -> None:
    """Refusals come up in the generated streams, and so does what a granted control leads to."""
    assert set() == unreached(controlled(), REACHED, reached)
