"""Controls about strategies, one by one: what a desk sees of each."""

from typing import Any

import pytest

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, ControlRefused, Effect, Fill, Transition
from parity.model.errors import ConfigError
from parity.model.events import Control, EventBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.recording.rows import decision_row
from parity.testing.generators import ONE, SECOND_NS, START_NS, TABLE, TWO, dummy_batch


class Buying:
    """Says BUY at every tick."""

    brokers = ("paper", "zerodha")

    def get_required_history_length(self) -> int:
        """Return 2."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def supports_broker(self, broker: str) -> bool:
        """Take those it is made for."""
        return broker in type(self).brokers

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "buying"

    def process_tick(self, tick: Any, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, tick.price)


class Paper(Buying):
    """For paper only."""

    brokers = ("paper",)


def plan(name: str, broker: str = "paper", made: Any = Buying, **config: Any) -> ExecutorPlan:
    """Return a plan."""
    return ExecutorPlan(
        StrategyConfig(strategy_id=name, strategy_type="buying", **config), broker, made
    )


def control(seq: int, verb: str, **detail: Any) -> Control:
    """Return a control about a strategy."""
    return Control(seq=seq, ts_recv=0, verb=f"strategy_{verb}", detail=detail)


def run(
    controls: list[Control], ticks: int = 8, **engine: Any
) -> tuple[list[Effect], Engine, EventBatch]:
    """Return what happens over trades between controls, one event a second."""
    taken = {c.seq for c in controls}
    seqs = [s for s in range(1, ticks + len(controls) + 1) if s not in taken]
    events = dummy_batch(
        ticks,
        seq=seqs,
        ts_event=[START_NS + s * SECOND_NS for s in seqs],
        controls=controls,
    )
    made = Engine(TABLE, [plan("a"), plan("a", "zerodha"), plan("b")], **engine)
    return made.process(events), made, events


def of(effects: list[Effect], kind: Any, *key: str) -> list[Any]:
    """Return one executor's effects of a kind."""
    found = [(getattr(e, "candidate", e), e) for e in effects if isinstance(e, kind)]
    return [e for inner, e in found if (inner.strategy_id, inner.broker) == key]


def test_a_pause_is_of_one_broker_or_of_all() -> None:
    """`broker` names one executor; without it all of the strategy's are meant."""
    one = control(4, "paused", strategy_id="a", broker="zerodha")
    effects, engine, _ = run([one, control(7, "paused", strategy_id="a")])
    states = {e.key: e.life.state.name for e in engine.executors}

    assert {
        ("a", "paper"): "PAUSED",
        ("a", "zerodha"): "PAUSED",
        ("b", "paper"): "ACTIVE",
    } == states
    assert [4] == [t.seq for t in of(effects, Transition, "a", "zerodha")][2:]
    assert [7] == [t.seq for t in of(effects, Transition, "a", "paper")][2:]
    assert [2, 3, 5, 6] == [s.candidate.seq for s in of(effects, ApprovedSignal, "a", "paper")]


def test_a_pause_may_end_by_itself() -> None:
    """At its instant on the executor's clock, before the candidate of that tick."""
    effects, _, _ = run([control(4, "paused", strategy_id="b", resume_sec=2.5, reason="news")])
    moved = of(effects, Transition, "b", "paper")[2:]

    assert [(4, "PAUSED", "news"), (6, "ACTIVE", "resume_sec")] == [
        (t.seq, t.now, t.reason) for t in moved
    ]
    assert START_NS + 5_500_000_000 == moved[1].ts_event
    assert [2, 3, 6, 7] == [s.candidate.seq for s in of(effects, ApprovedSignal, "b", "paper")][:4]


@pytest.mark.parametrize("verb", ["resumed", "stopped", "flattened"])
def test_what_ends_a_pause_by_hand_cancels_its_own_end(verb: str) -> None:
    """The instant at which it would have ended passes, and all is as without one."""
    asked = {"strategy_id": "b"}
    rest = [control(5, verb, **asked)]
    rest += [control(6, "paused", **asked)] * (verb == "resumed")  # a second one has no end
    effects, engine, _ = run([control(4, "paused", **asked, resume_sec=2.5), *rest])
    plain, other, _ = run([control(4, "paused", **asked), *rest])
    states = {"resumed": "PAUSED", "stopped": "STOPPED", "flattened": "PAUSED"}

    assert plain == effects
    assert other.report() == engine.report()
    assert states[verb] == engine.executors[2].life.state.name
    back, _, _ = run(
        [control(4, "paused", **asked, resume_sec=2.5), control(5, "resumed", **asked)]
    )
    assert [2, 3, 6, 7, 8] == [s.candidate.seq for s in of(back, ApprovedSignal, "b", "paper")][:5]


def test_flatten_closes_everything_and_pauses() -> None:
    """The waiting order ends as cancelled, the position is sold at the next tick, and no more."""
    effects, engine, _ = run([control(5, "flattened", strategy_id="b")])
    fills = of(effects, Fill, "b", "paper")
    executor = engine.executors[2]

    assert [(3, 1, ""), (4, 1, ""), (5, 1, "cancelled"), (6, -1, "")] == [
        (f.seq, f.side, f.reason) for f in fills
    ]
    assert 2 == fills[-1].quantity
    assert {ONE: 0} == executor.broker.portfolio.positions
    assert "PAUSED" == executor.life.state.name
    assert -1 == fills[2].ordinal


def test_a_stopped_strategy_keeps_its_orders_and_can_be_flattened() -> None:
    """What was approved before the stop is filled; then nothing, until it is flattened."""
    effects, engine, _ = run(
        [control(4, "stopped", strategy_id="b"), control(7, "flattened", strategy_id="b")]
    )
    fills = of(effects, Fill, "b", "paper")

    assert [(3, 1), (5, 1), (8, -1)] == [(f.seq, f.side) for f in fills]
    assert "STOPPED" == engine.executors[2].life.state.name
    assert [2, 3] == [s.candidate.seq for s in of(effects, ApprovedSignal, "b", "paper")]


@pytest.mark.parametrize(
    ("verb", "detail", "reason"),
    [
        ("paused", {"strategy_id": "c"}, "unknown_strategy"),
        ("paused", {"strategy_id": "b", "broker": "zerodha"}, "unknown_strategy"),
        ("resumed", {"strategy_id": "b"}, "not_allowed"),
        ("paused", {}, "malformed"),
        ("paused", {"strategy_id": 7}, "malformed"),
        ("paused", {"strategy_id": "b", "resume_sec": 0}, "malformed"),
        ("paused", {"strategy_id": "b", "resume_sec": float("nan")}, "malformed"),
        ("paused", {"strategy_id": "b", "ts_event": "noon"}, "malformed"),
        ("added", {"strategy_id": "c"}, "malformed"),
        ("added", {"strategy_id": "c", "strategy": {"made": "c"}}, "not_built"),
    ],
)
def test_what_cannot_be_done_is_seen_and_changes_nothing(
    verb: str, detail: dict[str, Any], reason: str
) -> None:
    """It is an effect, a row and a count; the run goes on as without it."""
    effects, engine, events = run([control(4, verb, **detail)])
    refused = [e for e in effects if isinstance(e, ControlRefused)]
    plain = Engine(TABLE, [plan("a"), plan("a", "zerodha"), plan("b")])
    rest = plain.process(EventBatch(events.ticks))

    assert [(4, f"strategy_{verb}", reason)] == [(e.seq, e.verb, e.reason) for e in refused]
    assert {f"strategy_{verb}": 1} == engine.report().refused_controls
    assert f"strategy_{verb}: {reason}" == decision_row(refused[0])["reason"]
    assert rest == [e for e in effects if not isinstance(e, ControlRefused)]


def test_a_replacement_keeps_the_money_and_the_count() -> None:
    """Position, cash, signal numbers and digests go on; the warm-up and the parameters are new."""
    new = {"strategy_id": "b", "strategy": {"x": 1}}

    def planner(strategy: Any) -> list[ExecutorPlan]:
        assert {"x": 1} == strategy
        return [plan("b", parameters={"paper": {"cash": 5, "commission": 0}})]

    effects, engine, _ = run([control(5, "replaced", **new)], planner=planner)
    before, _, _ = run([], ticks=4)
    report = next(e for e in engine.report().executors if e.strategy_id == "b")
    fills = of(effects, Fill, "b", "paper")
    said = of(effects, ApprovedSignal, "b", "paper")

    assert of(before, ApprovedSignal, "b", "paper")[:3] == said[:3]
    assert [2, 3, 4, 7, 8, 9] == [s.candidate.seq for s in said]
    assert [3, 4, 6, 8, 9] == [f.seq for f in fills]  # the order of 4 waited through it
    assert [True, True, False, False, False] == [f.commission > 0 for f in fills]
    assert {"ACTIVE": 2, "INIT": 2, "STOPPED": 1, "WARMUP": 2} == report.lifecycle.entered
    assert 6 == report.signals == len({s.signal_id for s in said})
    assert 999_000 < engine.executors[2].broker.portfolio.cash < 1_000_000


def test_a_replacement_that_leaves_a_position_behind_is_refused() -> None:
    """An instrument in use has to stay among the strategy's; flat, it may go."""

    def planner(strategy: Any) -> list[ExecutorPlan]:
        return [plan("b", instrument_tokens=(TWO,))]

    new = {"strategy_id": "b", "strategy": {}}
    late = [control(5, "replaced", **new), control(6, "flattened", strategy_id="b"),
            control(9, "replaced", **new)]  # fmt: skip
    effects, engine, _ = run(late, planner=planner)
    refused = [e for e in effects if isinstance(e, ControlRefused)]

    assert [(5, "still_held", str(ONE))] == [(e.seq, e.reason, e.said) for e in refused]
    assert [TWO] == [*engine.executors[2].tokens.values()]
    assert "PAUSED" == engine.executors[2].life.state.name  # as it was


def test_a_broker_that_a_processor_does_not_support_is_refused_by_name() -> None:
    """At the start with the strategy, the processor and the broker; by a control as not built."""
    with pytest.raises(ConfigError, match="strategy p: buying does not support broker zerodha"):
        Engine(TABLE, [plan("p", "zerodha", Paper)])
    assert Engine(TABLE, [plan("p", "paper", Paper)]).executors
    asked = control(3, "added", strategy_id="p", strategy={})
    effects, _, _ = run([asked], planner=lambda strategy: [plan("p", "zerodha", Paper)])

    assert ["not_built"] == [e.reason for e in effects if isinstance(e, ControlRefused)]


def test_a_policy_that_is_none_is_refused_and_a_good_one_reaches_the_added() -> None:
    """A malformed policy ends nothing; who comes later follows the policy of the day."""
    quiet = Control(seq=2, ts_recv=0, verb="policy_changed", detail={"min_confidence": 2.0})
    wrong = Control(seq=3, ts_recv=0, verb="policy_changed", detail={"risk_mode": "BRAVE"})
    added = control(4, "added", strategy_id="c", strategy={})
    effects, engine, _ = run([quiet, wrong, added], planner=lambda strategy: [plan("c")])

    assert ["malformed"] == [e.reason for e in effects if isinstance(e, ControlRefused)]
    assert {"policy_changed": 1} == engine.report().refused_controls
    assert {"min_confidence"} == {*next(e for e in engine.report().executors
                                        if e.strategy_id == "c").drops}  # fmt: skip
