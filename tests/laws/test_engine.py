"""The laws of the engine: what a run decides depends on its events, and on nothing else.

Every law runs all shipped strategies, and some that use every feature, on trades and on quotes,
over generated streams with heartbeats, policies, fills from outside and gaps between the ticks, of
instruments that trade round the clock, at NSE and in New York, near the edges of their sessions.
Larger numbers of examples: `make laws`.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest
from every_feature import all_events, every_plan
from hypothesis import find, given
from hypothesis import strategies as st
from markets import engine_of, markets, prompt_beats, records
from reaching import GENERATED, unreached

from parity.compose.plans import prepare
from parity.core import engine, view
from parity.core.engine import RunReport
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, Effect, Fill, Transition, effect_seq
from parity.model.events import EventBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.settings.strategies import spec_of
from parity.strategies import REGISTRY
from parity.testing.generators import ONE, TWO, between, cut, partitions

COSTS = {"risk": {"cooldown_sec": 2}, "paper": {"allow_short": True, "cash": 100_000}}
SHIPPED: tuple[tuple[str, str, str, dict[str, Any], tuple[int, ...]], ...] = (
    ("momentum", "momentum", "trades", {"lookback_periods": 3, "threshold": 0.0, **COSTS}, ()),
    ("momentum_k", "momentum_kernel", "trades", {"lookback_periods": 3, "threshold": 0.0}, ()),
    ("momentum_q", "momentum", "quotes", {"lookback_periods": 2, "threshold": 0.0}, ()),
    ("momentum_kq", "momentum_kernel", "quotes", {"lookback_periods": 2, "threshold": 0.0}, ()),
    ("sma", "sma_cross", "trades", {"fast_periods": 2, "slow_periods": 4}, ()),
    ("sma_k", "sma_cross_kernel", "trades", {"fast_periods": 2, "slow_periods": 4}, ()),
    ("ema_k", "ema_cross_kernel", "trades", {"fast_periods": 2, "slow_periods": 4}, ()),
    (
        "rsi_k",
        "rsi_bands_kernel",
        "trades",
        {"lookback_periods": 2, "lower": 45, "upper": 55},
        (),
    ),
    ("reversion", "mean_reversion", "trades", {"lookback_periods": 4, "z_entry": 0.5}, (TWO,)),
    (
        "reversion_k",
        "mean_reversion_kernel",
        "trades",
        {"lookback_periods": 4, "z_entry": 0.5},
        (TWO,),
    ),
    ("demo", "low_frequency_demo", "trades", {"min_interval_seconds": 3}, ()),
    ("breakout", "breakout", "trades", {"lookback_periods": 3, "threshold": 0.0}, ()),
    ("breakout_k", "breakout_kernel", "trades", {"lookback_periods": 3, "threshold": 0.0}, ()),
    ("breakout_q", "breakout", "quotes", {"lookback_periods": 2, "threshold": 0.0}, (ONE,)),
    (
        "hybrid",
        "hybrid_momentum",
        "trades",
        {"lookback_periods": 2, "ml_lookback_periods": 3, "threshold": 0.0, "min_conf": 0.1},
        (),
    ),
    ("ml", "ml_momentum", "trades", {"lookback_periods": 3, "min_conf": 0.1, **COSTS}, (ONE,)),
)


class Drawing:
    """A processor that asks its random stream, and keeps state of its own in plain attributes."""

    def __init__(self) -> None:
        self.calls = 0
        self.last: list[float] = []

    def get_required_history_length(self) -> int:
        """Return 2."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "drawing"

    def process_tick(self, tick: MarketTick, history: Any, rng: Any) -> SignalResult | None:
        """Signal now and then, by chance and by what was before."""
        self.calls += 1
        self.last = [*self.last[-2:], tick.price]
        if rng.below(3):
            return None
        side = "BUY" if rng.uniform() < 0.5 else "SELL"
        return SignalResult(
            side, rng.uniform(), 1, tick.price, "", {"n": self.calls, "l": self.last}
        )


class Swinging(Drawing):
    """Buys at one tick and sells at the next, so that positions open and close all the time."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:  # type: ignore[override] # asks no random stream
        """Take the other side."""
        self.calls += 1
        return SignalResult("BUY" if self.calls % 2 else "SELL", 1.0, 1, tick.price)


# Every limit at once, so that each is under every law; as small as the generated streams.
LIMITED = {
    "risk": {
        "min_confidence": 0.05, "risk_modes": ["NORMAL"], "max_quantity": 2.5,
        "position_guard_sec": 2, "cooldown_sec": 0.5, "cooldown_opens_only": True,
        "price_band": 0.004, "price_band_bar_sec": 30, "slippage_budget": 0,
        "max_exposure": 290, "max_concurrent_signals": 1, "loss_streak_max": 1,
        "loss_streak_pause_sec": 3, "duplicate_sec": 2, "duplicate_price_step": 0.2,
        "max_signals_per_minute": 5, "min_signal_interval_ms": 500, "max_signals_per_day": 12,
    },
    "paper": {"allow_short": True},
}  # fmt: skip
# One limit each, for those that seldom act behind the others.
SINGLE: tuple[dict[str, Any], ...] = (
    {"price_band": 0.002, "price_band_bar_sec": 5},
    {"max_exposure": 250},
    {"loss_streak_max": 2, "loss_streak_pause_sec": 5},
    {"duplicate_sec": 4, "duplicate_price_step": 0.5},
    {"position_guard_sec": 5},
)
PLANS = len(SHIPPED) + 2 + 2 * (1 + len(SINGLE)) + len(every_plan())  # in all_plans()


@cache
def limited_plans() -> tuple[ExecutorPlan, ...]:
    """Return executors with limits, on trades and on quotes."""
    made = []
    for number, risk in enumerate(({}, *SINGLE)):
        parameters = {**LIMITED, "risk": risk} if risk else LIMITED
        for on in ("trades", "quotes"):
            config = StrategyConfig(
                strategy_id=f"limited_{number}_{on}",
                strategy_type="drawing",
                parameters=parameters,
                on=on,
                max_position_size=Decimal(2),
                risk_multiplier=Decimal("0.7"),
            )
            made.append(ExecutorPlan(config, "paper", Drawing))
    return tuple(made)


@cache
def all_plans() -> tuple[ExecutorPlan, ...]:
    """Return the plans of every shipped strategy and of ours, kernels compiled."""
    specs = [
        spec_of(
            StrategyConfig(
                strategy_id=name,
                strategy_type=kind,
                on=on,
                parameters={"position_size": 1, **given} if kind != "low_frequency_demo" else given,
                instrument_tokens=tokens,
            )
        )
        for name, kind, on, given, tokens in SHIPPED
    ]
    drawing = StrategyConfig(strategy_id="drawing", strategy_type="drawing", parameters=COSTS)
    swinging = StrategyConfig(
        strategy_id="swinging", strategy_type="swinging", instrument_tokens=(ONE,)
    )
    return (
        *prepare(specs).plans,
        ExecutorPlan(drawing, "paper", Drawing),
        ExecutorPlan(swinging, "paper", Swinging),
        *limited_plans(),
        *every_plan(),
    )


Outcome = tuple[list[Effect], RunReport, bytes]


def run(batches: Sequence[EventBatch], plans: Sequence[ExecutorPlan] = ()) -> Outcome:
    """Return the effects, the report and the state after the batches."""
    engine = engine_of(batches[0], plans or all_plans())
    effects = [effect for batch in batches for effect in engine.process(batch)]
    return effects, engine.report(), state_bytes(engine.snapshot())


def last_seq(events: EventBatch) -> int:
    """Return the last seq of the events."""
    return events.last_seq


@given(all_events(), partitions())
def test_batch_boundaries_never_matter(events: EventBatch, sizes: list[int]) -> None:
    """Any cutting of the same events gives the same effects, in order, report and state."""
    whole = run([events])

    assert in_order(whole[0])
    assert whole == run(list(cut(events, sizes)))
    assert whole == run(list(cut(events, [1] * 200)))


@given(all_events(), partitions())
def test_how_many_ticks_are_surveyed_changes_nothing(events: EventBatch, sizes: list[int]) -> None:
    """Few ticks, as kernels meet many: numbered only where asked, in lent room."""
    kernels = tuple(plan for plan in all_plans() if plan.driver is not None)
    whole = run([events], kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "MANY_ROWS", 1)
        patch.setattr(engine, "_OBJECTS_MAX", 1)  # more ticks than these get lent room
        assert whole == run([events], kernels)
        assert whole == run(list(cut(events, sizes)), kernels)


@given(all_events(), partitions(), st.integers(0, PLANS - 1))
def test_batch_boundaries_never_matter_to_one_alone(
    events: EventBatch, sizes: list[int], which: int
) -> None:
    """Nor do they to a strategy that runs alone, whose positions come and go."""
    plans = [all_plans()[which]]

    assert run([events], plans) == run(list(cut(events, sizes)), plans)


def test_every_shipped_strategy_is_under_these_laws() -> None:
    """A strategy that is added to the registry is added here."""
    assert PLANS == len(all_plans())
    assert set(REGISTRY) == {kind for _, kind, *_ in SHIPPED}


@given(all_events(), st.data())
def test_a_prefix_of_events_gives_a_prefix_of_effects(events: EventBatch, data: Any) -> None:
    """Nothing that is decided depends on what comes later."""
    until = data.draw(st.integers(1, last_seq(events)))
    part = run([between(events, 1, until)])[0]
    whole = run([events])[0]

    assert [e for e in whole if effect_seq(e) <= until] == part


@given(all_events(), st.data())
def test_snapshot_and_tail_equal_the_whole(events: EventBatch, data: Any) -> None:
    """A fresh engine that takes a stored snapshot goes on as if nothing had happened."""
    until = data.draw(st.integers(1, last_seq(events)))
    head, tail = between(events, 1, until), between(events, until + 1, last_seq(events))
    first = engine_of(events, all_plans())
    effects = first.process(head)
    stored = state_bytes(first.snapshot())
    second = engine_of(events, all_plans())
    second.restore(msgspec.msgpack.decode(stored))
    restored = state_bytes(second.snapshot())
    effects = [*effects, *second.process(tail)]

    assert stored == restored
    assert run([events]) == (effects, second.report(), state_bytes(second.snapshot()))


def in_order(effects: Sequence[Effect]) -> bool:
    """Say whether effects rise by (seq, strategy_id, broker), and signals are numbered from 1."""
    inner: list[Any] = [getattr(e, "candidate", e) for e in effects]
    keys = [(e.seq, e.strategy_id, e.broker) for e in inner]
    numbers = [e.signal_no for e in effects if isinstance(e, ApprovedSignal)]
    return sorted(keys) == keys and list(range(1, len(numbers) + 1)) == numbers


@given(markets(min_ticks=30), partitions(), st.data())
def test_heartbeats_that_overtake_no_tick_change_no_byte(
    events: EventBatch, sizes: list[int], data: Any
) -> None:
    """They make prompt whatever is due, and nothing of any decision is another."""
    told = {plan.config.instrument_tokens for plan in all_plans()}
    beats = prompt_beats(events, told, data.draw)
    without, prompt = run([events]), run(list(cut(beats, sizes)))

    assert records(without[0]) == records(prompt[0])
    assert without[1].executors == prompt[1].executors
    assert not any(executor.overtaken for executor in prompt[1].executors)


def own(effects: Sequence[Effect], wanted: Callable[[str], bool]) -> list[Any]:
    """Return the effects of some strategies, without the run-wide number of a signal."""
    kept = []
    for effect in effects:
        inner: Any = getattr(effect, "candidate", effect)
        if wanted(inner.strategy_id):
            blank = isinstance(effect, ApprovedSignal)
            kept.append(msgspec.structs.replace(effect, signal_no=0) if blank else effect)
    return kept


def executor_of(outcome: Outcome, name: str) -> tuple[Any, Any]:
    """Return one executor's report and state."""
    reports = [e for e in outcome[1].executors if e.strategy_id == name]
    states = msgspec.msgpack.decode(outcome[2])["executors"]
    return reports, [s for s in states if s["key"][0] == name]


@given(all_events(), partitions())
def test_other_instruments_change_nothing(events: EventBatch, sizes: list[int]) -> None:
    """An executor says the same whether or not ticks of other instruments pass between its own."""
    records = events.ticks.to_records()
    for name, token in (("ml", ONE), ("reversion", TWO), ("every_flat", TWO), ("every_tick", ONE)):
        plans = [p for p in all_plans() if p.config.strategy_id == name]
        rest = records[records["instrument_token"] == token]
        alone = EventBatch(
            type(events.ticks).from_records(rest, events.ticks.table), events.controls
        )
        without, among = run([alone], plans), run(list(cut(events, sizes)), plans)

        assert without[0] == among[0]
        assert executor_of(without, name) == executor_of(among, name)


@given(all_events(), partitions())
def test_other_strategies_change_nothing(events: EventBatch, sizes: list[int]) -> None:
    """A strategy decides the same alone and among the others, but for the number of a signal."""
    among = run(list(cut(events, sizes)))
    for plan in all_plans():
        name = plan.config.strategy_id
        alone = run([events], [plan])

        assert own(alone[0], name.__eq__) == own(among[0], name.__eq__)
        assert executor_of(alone, name) == executor_of(among, name)


@given(all_events(), st.permutations(range(PLANS)))
def test_the_order_of_plans_does_not_matter(events: EventBatch, order: list[int]) -> None:
    """Strategies are run in the order of their names, however they were given."""
    plans = all_plans()

    assert run([events]) == run([events], [plans[n] for n in order])


TWINS = {kind for kind in REGISTRY if f"{kind}_kernel" in REGISTRY}


@cache
def twin_plans() -> tuple[ExecutorPlan, ...]:
    """Return every rule that is shipped in both tiers, in both, on trades and on quotes."""
    given = {kind: parameters for _, kind, _, parameters, _ in reversed(SHIPPED)}
    configs = [
        StrategyConfig(
            strategy_id=f"{kind}/{tier}/{on}",
            strategy_type=kind if tier == "processor" else f"{kind}_kernel",
            on=on,
            parameters={"position_size": 1, **given[kind]},
        )
        for kind in sorted(TWINS)
        for tier in ("processor", "kernel")
        for on in ("trades", "quotes")
    ]
    return prepare([spec_of(config) for config in configs]).plans


def said_of_twins(events: EventBatch) -> dict[str, dict[str, tuple[int, str]]]:
    """Return what each tier said, by tier, kind and ticks."""
    found: dict[str, dict[str, tuple[int, str]]] = {"processor": {}, "kernel": {}}
    for one in run([events], twin_plans())[1].executors:
        kind, tier, on = one.strategy_id.split("/")
        found[tier][f"{kind} {on}"] = (one.candidates, one.candidate_digest)
    return found


@given(all_events(min_ticks=40))
def test_both_tiers_say_the_same(events: EventBatch) -> None:
    """The processor and the kernel give the same candidates, on trades and on quotes."""
    said = said_of_twins(events)

    assert said["processor"] == said["kernel"]


def test_every_twin_speaks() -> None:
    """On trades and on quotes, in the streams of the law of the tiers."""
    wanted = {f"{kind} {on}" for kind in TWINS for on in ("trades", "quotes")}

    def speaking(events: EventBatch) -> set[str]:
        return {name for name, (count, _) in said_of_twins(events)["kernel"].items() if count}

    assert {"breakout", "mean_reversion", "momentum", "sma_cross"} <= TWINS
    assert set() == unreached(all_events(min_ticks=40), wanted, speaking)


def test_the_streams_are_worth_it() -> None:
    """Generated streams make strategies speak, drop and fill: the laws are not about silence."""

    def loud(events: EventBatch) -> bool:
        report = run([events])[1]
        return report.fills > 5 and "cooldown" in report.drops and report.signals > 5

    def limited(events: EventBatch) -> bool:
        reasons = {r for e in run([events], limited_plans())[1].executors for r in e.drops}
        wanted = {"price_band", "max_exposure", "circuit_breaker", "duplicate", "position_guard"}
        return wanted <= reasons

    assert find(all_events(min_ticks=80), limited, settings=GENERATED)
    assert find(all_events(), loud, settings=GENERATED)


def reached(events: EventBatch) -> frozenset[str]:
    """Return which features a stream reached in those that use every one."""
    effects, report, _ = run([events], every_plan())
    kinds = {e.kind for e in effects if isinstance(e, Fill) and not e.reason}
    states = {e.now for e in effects if isinstance(e, Transition)}
    bars = {"bar" for e in effects if isinstance(e, ApprovedSignal) and e.candidate.ordinal < 0}
    timers = {
        "timer" if e.candidate.strategy_id != "every_holds" else "timer_with_portfolio"
        for e in effects
        if isinstance(e, ApprovedSignal) and "timer" in e.candidate.metadata
    }
    edges = {
        "edge"
        for e in effects
        if isinstance(e, ApprovedSignal) and e.candidate.metadata.get("timer") in (1, 3)
    }
    drops = {"session"} & {*report.drops}
    return frozenset({*kinds, *states, *bars, *timers, *edges, *drops, *report.controls})


FEATURES = {
    "bar", "order", "outside", "stop_loss", "take_profit", "ERROR", "PAUSED", "gap",
    "heartbeat", "fill", "fill_unknown_strategy", "policy_changed", "strategy_paused",
    "flatten", "STOPPED", "timer", "timer_with_portfolio", "edge",
    "session",
}  # fmt: skip


def test_the_streams_reach_every_feature() -> None:
    """Bars and timers that trade, exits, lifecycles and every kind of control happen in them."""
    assert set() == unreached(all_events(min_ticks=60), FEATURES, reached)
