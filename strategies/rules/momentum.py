"""Momentum: the price against the price of `lookback_periods` ticks, the current one counted.

change = (now - history[-lookback]) / history[-lookback]; above the threshold BUY, below its
negative SELL, both strict; confidence = min(1, 5 |change|). A start of zero or less says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import History

PARAMETERS: Final = {
    "lookback_periods": Parameter(
        "int", 20, minimum=2, maximum=1_000_000, doc="ticks of the window"
    ),
    "threshold": Parameter("float", 0.01, minimum=0, doc="least change that signals, a fraction"),
    "position_size": Parameter("float", 100, exclusive_minimum=0, doc="quantity of a signal"),
}


def reasoning(change: float, lookback_periods: int) -> str:
    """Return what happened in words."""
    return f"momentum {change:+.4%} over {lookback_periods} ticks"


class Momentum:
    """The processor form; it keeps no state of its own."""

    def __init__(self, lookback_periods: int, threshold: float, position_size: float) -> None:
        self.lookback_periods = lookback_periods
        self.threshold = threshold
        self.position_size = position_size
        self._start = -lookback_periods  # made once: a minus at every tick is 4 % of its time

    def get_required_history_length(self) -> int:
        """Return the window."""
        return self.lookback_periods

    def supports_instrument(self, token: int) -> bool:
        """Say yes: any instrument has a price."""
        return True

    def get_strategy_name(self) -> str:
        """Return ``momentum``."""
        return "momentum"

    def snapshot(self) -> dict[str, Any]:
        """Return nothing: all it needs is in the history."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Signal where the price left its window's first price by more than the threshold."""
        start = history[self._start].price  # a hybrid's history may be longer
        if start <= 0.0:
            return None
        change = (tick.price - start) / start
        if abs(change) <= self.threshold:
            return None
        return SignalResult(
            "BUY" if change > 0.0 else "SELL",
            min(1.0, 5.0 * abs(change)),
            self.position_size,
            tick.price,
            reasoning(change, self.lookback_periods),
            {"change": change},
        )


def create(parameters: Mapping[str, Any]) -> Momentum:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    return Momentum(**check_parameters(PARAMETERS, parameters))
