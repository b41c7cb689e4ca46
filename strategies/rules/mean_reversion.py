"""Mean reversion: the price against the mean of its window, in standard deviations.

z = (x - mean) / sd over the last `lookback_periods` prices, the current one counted, with the
population deviation. On exact integers: z = (n x - S) / sqrt(n Q - S^2) with S = sum(x) and
Q = sum(x^2); the scale cancels, and only the last two steps are in floating point.
z <= -z_entry BUY, z >= z_entry SELL; confidence = min(1, |z| / 3). No deviation: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import History

NAME: Final = "mean_reversion"
PARAMETERS: Final = {
    "lookback_periods": Parameter(
        "int", 20, minimum=2, maximum=1_000_000, doc="ticks of the window"
    ),
    "z_entry": Parameter("float", 1.0, exclusive_minimum=0, doc="deviations that signal"),
    "position_size": Parameter("float", 100, exclusive_minimum=0, doc="quantity of a signal"),
}


def price_int_max(lookback_periods: int) -> int:
    """Return the largest |price_int| whose squared deviation a kernel's 128 bits surely hold."""
    return 2**58 // lookback_periods  # spread_push multiplies by up to 4 n x, at most 2**60


def reasoning(z: float, lookback_periods: int) -> str:
    """Return what happened in words."""
    return f"mean reversion z = {z:+.2f} over {lookback_periods} ticks"


class MeanReversion:
    """The processor form; it keeps no state of its own."""

    def __init__(self, lookback_periods: int, z_entry: float, position_size: float) -> None:
        self.lookback_periods = lookback_periods
        self.z_entry = z_entry
        self.position_size = position_size

    def get_required_history_length(self) -> int:
        """Return the window."""
        return self.lookback_periods

    def supports_instrument(self, token: int) -> bool:
        """Say yes: any instrument has a price."""
        return True

    def get_strategy_name(self) -> str:
        """Return ``mean_reversion``."""
        return NAME

    def snapshot(self) -> dict[str, Any]:
        """Return nothing: all it needs is in the history."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Signal against a price that left its mean by `z_entry` deviations."""
        prices = history.price_int[-self.lookback_periods :].tolist()
        count, total = len(prices), sum(prices)
        if abs(prices[-1]) > price_int_max(count):  # where the kernel stops, too
            raise OverflowError(f"price_int {prices[-1]}: too large for {count} of them")
        spread = count * sum(x * x for x in prices) - total * total
        if spread == 0:
            return None
        z = (count * prices[-1] - total) / math.sqrt(spread)
        if abs(z) < self.z_entry:
            return None
        return SignalResult(
            "BUY" if z < 0.0 else "SELL",
            min(1.0, abs(z) / 3.0),
            self.position_size,
            tick.price,
            reasoning(z, count),
            {"z": z},
        )


def create(parameters: Mapping[str, Any]) -> MeanReversion:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    return MeanReversion(**check_parameters(PARAMETERS, parameters))
