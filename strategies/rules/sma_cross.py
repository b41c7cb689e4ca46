"""Two simple moving averages of exact prices: a signal when the fast one crosses the slow one.

The averages are compared as integer sums by cross-multiplication: running float sums find crosses
that are not there. A tie keeps the side, and the first side after warm-up is no signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.kernels.exact import compare_ratios
from parity.model.errors import ConfigError
from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import History

NAME: Final = "sma_cross"

PARAMETERS: Final = {
    "fast_periods": Parameter("int", 20, minimum=1, doc="ticks of the fast average"),
    "slow_periods": Parameter("int", 50, minimum=2, maximum=1_000_000, doc="ticks of the slow one"),
    "position_size": Parameter("float", 1, exclusive_minimum=0, doc="quantity of a signal"),
}


def completed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with their defaults; raises ConfigError naming a wrong one."""
    given = check_parameters(PARAMETERS, parameters)
    fast, slow = given["fast_periods"], given["slow_periods"]
    if fast >= slow:
        raise ConfigError(
            f"parameters.fast_periods: expected below slow_periods ({slow}), was {fast}",
            cure="the fast average is the one of fewer ticks",
        )
    return given


def price_int_max(slow_periods: int) -> int:
    """Return the largest |price_int| whose window sum a kernel's int64 surely holds."""
    return (2**63 - 1) // slow_periods


def reasoning(side: int, fast_periods: int, slow_periods: int, average: str = "SMA") -> str:
    """Return what happened in words."""
    where = "above" if side > 0 else "below"
    return f"{average} {fast_periods} crossed {where} {average} {slow_periods}"


def take_side(state: Any, out: Any, side: int, quantity: float, price: float) -> int:
    """Give a kernel's state a side; return its step's code: 1 where it changed, and `out` says it.

    A side of 0 is a tie, or an average that still warms, and the first side is no signal.
    """
    before = state.side
    if side in (0, before):
        return 0
    state.side = side
    if before == 0:
        return 0
    out.side = side
    out.confidence = 1.0
    out.quantity = quantity
    out.price = price
    return 1


class SmaCross:
    """The processor form; its own state is the side each instrument is on."""

    def __init__(self, fast_periods: int, slow_periods: int, position_size: float) -> None:
        self.fast_periods = fast_periods
        self.slow_periods = slow_periods
        self.position_size = position_size
        self._sides: dict[int, int] = {}

    def get_required_history_length(self) -> int:
        """Return the window of the slow average."""
        return self.slow_periods

    def supports_instrument(self, token: int) -> bool:
        """Say yes: any instrument has a price."""
        return True

    def get_strategy_name(self) -> str:
        """Return ``sma_cross``."""
        return NAME

    def snapshot(self) -> dict[str, Any]:
        """Return the sides by token."""
        return {str(token): side for token, side in self._sides.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._sides = {int(token): side for token, side in state.items()}

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Signal where the fast average moved to the other side of the slow one."""
        prices = history.price_int.tolist()  # Python integers: their sums are exact
        if abs(prices[-1]) > price_int_max(self.slow_periods):  # where the kernel stops, too
            raise OverflowError(f"price_int {prices[-1]}: {self.slow_periods} of them pass int64")
        fast_sum = sum(prices[-self.fast_periods :])
        side = compare_ratios(fast_sum, self.fast_periods, sum(prices), self.slow_periods)
        before = self._sides.get(tick.instrument_token, 0)
        if side in (0, before):
            return None
        self._sides[tick.instrument_token] = side
        if before == 0:
            return None
        return SignalResult(
            "BUY" if side > 0 else "SELL",
            1.0,
            self.position_size,
            tick.price,
            reasoning(side, self.fast_periods, self.slow_periods),
        )


def create(parameters: Mapping[str, Any]) -> SmaCross:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    return SmaCross(**completed(parameters))
