"""The engine says what an engine of a few dozen lines says, which looks at one tick at a time.

Random markets of trades and quotes, strategies that speak, hold back, say nonsense and fail, on
trades and on quotes, with and without limits; cut anywhere. Larger numbers: `make laws`.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PlainEngine, PlainStrategy
from reaching import unreached

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Failure, Fill
from parity.model.events import EventBatch
from parity.model.timers import Every
from parity.model.values import SIDE_NAMES, SignalResult, StrategyConfig
from parity.testing.generators import ONE, SECOND_NS, TABLE, TWO, cut, event_streams, partitions

SCALES = {i.token: (i.price_scale, i.quantity_scale) for i in TABLE}


class Rule:
    """Compares a price with the oldest it is shown; now and then it holds, overdoes it, or fails.

    `sees` and `said` are state of its own, so a roll-back that is forgotten is found out.
    """

    def __init__(self, length: int, wild: int) -> None:
        self.length = length
        self.wild = wild
        self.sees = 0
        self.said = 0.0

    def get_required_history_length(self) -> int:
        """Return its window."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "rule"

    def snapshot(self) -> dict[str, Any]:
        """Return what it counted."""
        return {"sees": self.sees, "said": self.said}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.sees, self.said = state["sees"], state["said"]

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Apply the rule."""
        self.sees += 1
        self.said += tick.price
        change = round((tick.price - history[0].price) * 10) + self.sees
        if change % 7 == 0 and self.wild:
            raise ArithmeticError(f"at {self.said}")
        if change % 3 == 0:
            return None
        quantity = (1, 2, 0.25, 9, -1)[change % 5 if self.wild else change % 3]
        confidence = (0.2, 0.5, 1.0, 1.5)[change % 4 if self.wild else change % 3]
        side = ("BUY", "SELL", "HOLD")[0 if change % 2 else 1 if change % 11 else 2]
        return SignalResult(side, confidence, quantity, history[-1].price)


class TimedRule(Rule):
    """The same, and compares at timers too; two of them meet every 35 seconds."""

    timers = (Every(5), Every(7))

    def on_timer(self, timer: Any, history: Any) -> SignalResult | None:
        """Apply the rule to the newest tick, and to which timer it is."""
        self.sees += timer.number + timer.due_ns // SECOND_NS % 3
        return self.process_tick(history[-1], history)


limits = st.fixed_dictionaries(
    {
        "on": st.sampled_from(("trades", "trades", "quotes")),
        "tokens": st.sampled_from(((), (), (ONE,), (TWO,))),
        "min_confidence": st.sampled_from((0.0, 0.0, 0.3)),
        "quantity_max": st.sampled_from((1e9, 1e9, 5.0)),
        "cooldown_ns": st.sampled_from((0, 2 * SECOND_NS, 40 * SECOND_NS)),
        "cash": st.sampled_from((500, 1_000_000)),
        "allow_short": st.booleans(),
    }
)
rules = st.tuples(st.integers(1, 5), st.sampled_from((0, 1)))
drawn_strategies = st.lists(
    st.tuples(st.sampled_from((Rule, TimedRule)), rules, limits), min_size=1, max_size=4
).map(
    lambda drawn: [
        PlainStrategy(f"s{number}", lambda kind=kind, rule=rule: kind(*rule), **limit)
        for number, (kind, rule, limit) in enumerate(drawn)
    ]
)


def plan_of(strategy: PlainStrategy) -> ExecutorPlan:
    """Return the same strategy for the real engine."""
    risk: dict[str, Any] = {"min_confidence": strategy.min_confidence}
    if strategy.quantity_max < 1e9:
        risk["max_quantity"] = strategy.quantity_max
    if strategy.cooldown_ns:
        risk["cooldown_sec"] = strategy.cooldown_ns / SECOND_NS
    paper = {"cash": strategy.cash, "allow_short": strategy.allow_short}
    config = StrategyConfig(
        strategy_id=strategy.strategy_id,
        strategy_type="rule",
        # More errors than there are ticks: what they lead to has laws of its own.
        parameters={"risk": risk, "paper": paper, "errors": {"max": 1000}},
        on=strategy.on,
        instrument_tokens=strategy.tokens,
        risk_multiplier=Decimal(1),
    )
    return ExecutorPlan(config, "paper", strategy.make)


def words(effect: Effect) -> tuple[Any, ...] | None:
    """Return an effect as the plain engine says it; None for what it does not speak of."""
    if isinstance(effect, ApprovedSignal | DroppedSignal):
        one = effect.candidate
        reason = effect.reason if isinstance(effect, DroppedSignal) else ""
        numbers = (one.price, one.quantity, one.confidence)
        key = (one.seq, one.strategy_id, "signal", one.instrument_token)
        return (*key, one.ts_event, one.ordinal, SIDE_NAMES[one.side], *numbers, reason)
    if isinstance(effect, Fill):
        money = (Fraction(effect.price), Fraction(effect.quantity), Fraction(effect.commission))
        key = (effect.seq, effect.strategy_id, "fill", effect.instrument_token, effect.side)
        return (*key, *money, effect.reason or effect.kind)
    if isinstance(effect, Failure):
        return (effect.seq, effect.strategy_id, "error", effect.instrument_token)
    return None


def plain(events: EventBatch, strategies: list[PlainStrategy]) -> list[tuple[Any, ...]]:
    """Walk the ticks through the plain engine."""
    engine = PlainEngine(SCALES, strategies)
    for row in events.ticks.to_records():
        engine.tick(row)
    return engine.said


@given(event_streams(), drawn_strategies, partitions())
def test_the_engine_says_what_the_plain_one_says(
    events: EventBatch, strategies: list[PlainStrategy], sizes: list[int]
) -> None:
    """Candidates, verdicts, fills, refusals and errors are the same, in the same order."""
    engine = Engine(TABLE, [plan_of(s) for s in strategies])
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]

    assert plain(events, strategies) == [w for e in effects if (w := words(e)) is not None]


def test_the_markets_reach_every_rule() -> None:
    """Every reason, fills, errors and timers happen: the law is not about silence."""
    wanted = {
        "hold", "sanity_quantity", "sanity_confidence", "min_confidence", "max_quantity",
        "cooldown", "order", "short_not_allowed", "insufficient_cash", "error", "", "timer",
    }  # fmt: skip
    drawn = st.tuples(event_streams(min_ticks=60), drawn_strategies)

    def reached(drawn: Any) -> set[str]:
        said = plain(*drawn)
        timers = {"timer" for one in said if one[2] == "signal" and one[5] == -1 and not one[-1]}
        return timers | {"error" if one[2] == "error" else str(one[-1]) for one in said}

    assert set() == unreached(drawn, wanted, reached)
