"""Breakout: the price against the range of the `lookback_periods` ticks before it.

high and low are the largest and smallest price of the ticks *before* the current one, which is
never in its own range: with it, no price could ever leave it. Above the range BUY, below it SELL,
by more than a fraction of its edge, both strict:

    up   = (price - high) / high > threshold
    down = (low - price) / low > threshold

confidence = min(1, 0.5 + 5 x up or down). A range that reaches zero or less says nothing. The
formula is ours; see docs/strategies.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import History

NAME: Final = "breakout"
PARAMETERS: Final = {
    "lookback_periods": Parameter(
        "int", 20, minimum=1, maximum=1_000_000, doc="ticks of the range, the current one left out"
    ),
    "threshold": Parameter("float", 0.001, minimum=0, doc="least way out of it, a fraction"),
    "position_size": Parameter("float", 100, exclusive_minimum=0, doc="quantity of a signal"),
}


def reasoning(side: int, beyond: float, lookback: int) -> str:
    """Return what happened in words."""
    where = "above the high" if side > 0 else "below the low"
    return f"{beyond:.4%} {where} of {lookback} ticks"


class Breakout:
    """The processor form; it keeps no state of its own."""

    def __init__(self, lookback_periods: int, threshold: float, position_size: float) -> None:
        self.lookback_periods = lookback_periods
        self.threshold = threshold
        self.position_size = position_size

    def get_required_history_length(self) -> int:
        """Return the range's ticks and the one that is held against them."""
        return self.lookback_periods + 1

    def supports_instrument(self, token: int) -> bool:
        """Say yes: any instrument has a price."""
        return True

    def get_strategy_name(self) -> str:
        """Return ``breakout``."""
        return NAME

    def snapshot(self) -> dict[str, Any]:
        """Return nothing: all it needs is in the history."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Signal where the price is outside the range before it."""
        before = history.price[:-1]
        high, low, price = float(before.max()), float(before.min()), tick.price
        if low <= 0.0:
            return None
        side, beyond, edge = 1, (price - high) / high, high
        if price < low:
            side, beyond, edge = -1, (low - price) / low, low
        if not beyond > self.threshold:
            return None
        return SignalResult(
            "BUY" if side > 0 else "SELL",
            min(1.0, 0.5 + 5.0 * beyond),
            self.position_size,
            price,
            reasoning(side, beyond, self.lookback_periods),
            {"edge": edge, "beyond": beyond},
        )


def create(parameters: Mapping[str, Any]) -> Breakout:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    return Breakout(**check_parameters(PARAMETERS, parameters))
