"""The Python tier: momentum as a processor, beside a plain loop over ticks made beforehand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle, rate
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.history import market_ticks
from parity.model.values import MarketTick, SignalResult, StrategyConfig

if TYPE_CHECKING:
    from parity.model.events import EventBatch

TICKS = max(20_000, generate.TICKS // 10)
LOOKBACK = int(generate.MOMENTUM["lookback_periods"])
THRESHOLD = float(generate.MOMENTUM["threshold"])
# What csp's Python node reaches of such a loop, and what the design asks for with ten strategies.
BARS = {1: 0.46, 10: 0.125}


class PriceColumn:
    """Momentum that reads the history as a numpy column, as notebooks do."""

    def get_required_history_length(self) -> int:
        """Return the window."""
        return LOOKBACK

    def supports_instrument(self, token: int) -> bool:
        """Say yes."""
        return True

    def get_strategy_name(self) -> str:
        """Return its name."""
        return "price_column"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Apply the rule."""
        change = tick.price / history.price[0] - 1.0
        if abs(change) <= THRESHOLD:
            return None
        return SignalResult("BUY" if change > 0 else "SELL", 0.8, 100, tick.price)


class OlderCode(PriceColumn):
    """Momentum as code for older services has it: Decimal prices, datetime times, list access."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Apply the rule."""
        start = history[0].last_price
        change = float((tick.last_price - start) / start)
        if abs(change) <= THRESHOLD or tick.timestamp.year < 2000:
            return None
        return SignalResult("BUY" if change > 0 else "SELL", 0.8, 100, tick.last_price)


def plain_loop(
    ticks: Sequence[MarketTick],
    thresholds: Sequence[float],
    lookback: int = LOOKBACK,
    quantity: float = 100,
) -> Callable[[], list[tuple[Any, ...]]]:
    """Return the rule in a plain loop: one deque an instrument, every rule on every tick.

    It returns what the processor says, field by field, as tuples.
    """

    def loop() -> list[tuple[Any, ...]]:
        windows: dict[int, deque[float]] = {}
        said: list[tuple[Any, ...]] = []
        for tick in ticks:
            window = windows.get(tick.instrument_token)
            if window is None:
                window = windows[tick.instrument_token] = deque(maxlen=lookback)
            price = tick.price
            window.append(price)
            if len(window) < lookback:
                continue
            start = window[0]
            if start <= 0.0:
                continue
            for threshold in thresholds:
                change = (price - start) / start
                if abs(change) <= threshold:
                    continue
                side = "BUY" if change > 0.0 else "SELL"
                confidence = min(1.0, 5.0 * abs(change))
                reasoning = f"momentum {change:+.4%} over {lookback} ticks"
                said.append((side, confidence, quantity, price, reasoning, {"change": change}))
        return said

    return loop


def _batches() -> list[EventBatch]:
    return list(generate.recording(TICKS).batches())


def _run(plans: Sequence[ExecutorPlan], batches: Sequence[EventBatch]) -> Callable[..., int]:
    table = batches[0].ticks.table

    def run(fresh: Sequence[EventBatch]) -> int:
        engine = Engine(table, plans)
        for batch in fresh:
            engine.process(batch)
        return sum(e.candidates for e in engine.report().executors)

    return run


@pytest.mark.parametrize("count", [1, 10])
def test_bench_python_tier(benchmark: Any, report: Report, count: int) -> None:
    """Momentum processors through the engine, batches in memory."""
    batches = _batches()
    ticks = [t for b in generate.fresh(batches) for t in market_ticks(b.ticks)]
    thresholds = [THRESHOLD * (1 + n / 100) for n in range(count)]
    plans = [
        generate.plan("momentum", generate.MOMENTUM | {"threshold": t}, f"momentum-{n}")
        for n, t in enumerate(thresholds)
    ]
    loop, run = plain_loop(ticks, thresholds), _run(plans, batches)
    assert len(loop()) == run(batches)
    seconds = beside(
        benchmark,
        run,
        {"loop": loop},
        rounds=generate.ROUNDS,
        prepare=lambda: (generate.fresh(batches),),
    )
    ratio = middle([a / b for a, b in zip(seconds["loop"], seconds["subject"], strict=True)])
    case = f"Python tier, {count} × momentum"
    report.say(f"{case}: plain loop over prebuilt ticks", rate(TICKS, seconds["loop"]))
    report.at_least(case, rate(TICKS, seconds["subject"]), ratio, BARS[count], "plain loop")


@pytest.mark.parametrize("style", [PriceColumn, OlderCode])
def test_bench_python_styles(benchmark: Any, report: Report, style: type[PriceColumn]) -> None:
    """The same rule in other styles of access; reported, no bar."""
    batches = _batches()
    config = StrategyConfig(strategy_id="style", strategy_type=style.__name__)
    run = _run([ExecutorPlan(config, "paper", style)], batches)
    seconds = beside(
        benchmark,
        run,
        {},
        rounds=generate.ROUNDS,
        prepare=lambda: (generate.fresh(batches),),
    )
    first = (style.__doc__ or "").partition(":")[0].rstrip(".")
    report.say(f"Python tier, {first}", rate(TICKS, seconds["subject"]))
