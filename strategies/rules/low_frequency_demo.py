"""Low-frequency demo: at most one signal per instrument in `min_interval_seconds` of event time.

It shows that a chain works end to end without filling it: side by the token (even BUY, odd SELL)
or fixed, confidence 0.5, the last price. The daily count starts anew at UTC midnight of the tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import History

_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _NS

PARAMETERS: Final = {
    "min_interval_seconds": Parameter("int", 900, minimum=1, doc="seconds between signals"),
    "max_daily_signals_per_instrument": Parameter("int", None, minimum=1, doc="per UTC day"),
    "side": Parameter("str", "auto", choices=("BUY", "SELL", "auto"), doc="side of the signals"),
    "quantity": Parameter("float", 1, exclusive_minimum=0, doc="quantity of a signal"),
}


class LowFrequencyDemo:
    """The processor form; it remembers its last signal of each instrument."""

    def __init__(
        self,
        min_interval_seconds: int,
        max_daily_signals_per_instrument: int | None,
        side: str,
        quantity: float,
    ) -> None:
        self.interval_ns = min_interval_seconds * _NS
        self.daily_max = max_daily_signals_per_instrument
        self.side = side
        self.quantity = quantity
        self._last: dict[int, tuple[int, int]] = {}  # token: (ts_event, signals that day)

    def get_required_history_length(self) -> int:
        """Return 1: the current tick is enough."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Say yes: any instrument will do."""
        return True

    def get_strategy_name(self) -> str:
        """Return ``low_frequency_demo``."""
        return "low_frequency_demo"

    def snapshot(self) -> dict[str, Any]:
        """Return the last signal of each instrument."""
        return {str(token): list(last) for token, last in self._last.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._last = {int(token): (ts, count) for token, (ts, count) in state.items()}

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """Signal at the first tick behind the interval."""
        last = self._last.get(tick.instrument_token)
        today = 0
        if last is not None:
            if tick.ts_event - last[0] < self.interval_ns:
                return None
            today = last[1] if tick.ts_event // _DAY_NS == last[0] // _DAY_NS else 0
        if self.daily_max is not None and today >= self.daily_max:
            return None
        self._last[tick.instrument_token] = (tick.ts_event, today + 1)
        side = self.side
        if side == "auto":
            side = "SELL" if tick.instrument_token % 2 else "BUY"
        return SignalResult(side, 0.5, self.quantity, tick.price, "demo by the ticks' clock")


def create(parameters: Mapping[str, Any]) -> LowFrequencyDemo:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    return LowFrequencyDemo(**check_parameters(PARAMETERS, parameters))
