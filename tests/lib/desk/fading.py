"""A desk's own mean reversion: a slice of the history, statistics, positional arguments."""

from decimal import Decimal
from statistics import mean, pstdev
from typing import Any

from parity import MarketTick, SignalResult


class FadingProcessor:
    """Fades a price that is `z_entry` deviations off its mean."""

    def __init__(self, lookback: int, z_entry: float, size: int) -> None:
        self.lookback = int(lookback)
        self.z_entry = float(z_entry)
        self.size = int(size)

    def get_required_history_length(self) -> int:
        """The window."""
        return self.lookback

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """Its name."""
        return "fading"

    def process_tick(self, tick: MarketTick, history: list[MarketTick]) -> SignalResult | None:
        """Say BUY below the band and SELL above it."""
        if len(history) < self.lookback:
            return None
        prices = [float(one.last_price) for one in history[-self.lookback :]]
        z = (float(tick.last_price) - mean(prices)) / (pstdev(prices) or 1e-9)
        if abs(z) < self.z_entry:
            return None
        side = "BUY" if z < 0 else "SELL"
        price = Decimal(str(tick.last_price))
        return SignalResult(side, min(1.0, abs(z) / 3), self.size, price, f"z={z:.2f}", {"z": z})


def create_fading_processor(config: dict[str, Any]) -> FadingProcessor:
    """Make it of a configuration's parameters."""
    return FadingProcessor(
        lookback=config.get("lookback_periods", 20),
        z_entry=config.get("z_entry", 1.0),
        size=config.get("position_size", 100),
    )
