"""A desk's own momentum, written against the older contract: Decimals, datetimes, lists."""

from decimal import Decimal
from typing import Any

from parity import MarketTick, SignalResult


class RisingProcessor:
    """Follows a price that left the one of `lookback` ticks ago."""

    def __init__(self, lookback: int, threshold: float, size: int) -> None:
        self.lookback = int(lookback)
        self.threshold = float(threshold)
        self.size = int(size)

    def get_required_history_length(self) -> int:
        """The window."""
        return self.lookback

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """Its name."""
        return "rising"

    def process_tick(self, tick: MarketTick, history: list[MarketTick]) -> SignalResult | None:
        """Say BUY or SELL where the change is beyond the threshold."""
        if len(history) < self.lookback:
            return None
        begin = float(history[-self.lookback].last_price)
        here = float(tick.last_price)
        if begin <= 0.0:
            return None
        moved = (here - begin) / begin
        if abs(moved) <= self.threshold:
            return None
        side = "BUY" if moved > 0 else "SELL"
        return SignalResult(
            signal_type=side,
            confidence=min(1.0, abs(moved) * 5.0),
            quantity=self.size,
            price=Decimal(str(here)),
            reasoning=f"{moved:+.2%} by {tick.timestamp:%H:%M:%S}",
            metadata={"change": moved},
        )


def create_rising_processor(config: dict[str, Any]) -> RisingProcessor:
    """Make it of a configuration's parameters."""
    return RisingProcessor(
        lookback=config.get("lookback_periods", 20),
        threshold=config.get("threshold", 0.01),
        size=config.get("position_size", 100),
    )
