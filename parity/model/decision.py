"""TradeDecision: what a strategy on symbols hands to the desk behind it, LONG or SHORT.

On the wire of ticks and signals a side is BUY or SELL; it becomes LONG or SHORT here and nowhere
else. Sizes are in USD, percentages fractions.
"""

from __future__ import annotations

import datetime as dt  # msgspec reads the field types when it decodes
from typing import Any, Final

import msgspec

from parity.model.errors import ConfigError

POSITION_SIDES: Final[dict[str, str]] = {"BUY": "LONG", "SELL": "SHORT"}


class TradeDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision to open a position.

    Args:
        side: LONG or SHORT; a BUY or SELL is turned into it.
        size_usd: above 0.
        confidence: 0..1.
        metadata: plain values: strategy_name, signal_strength, indicators and the like.

    Raises:
        ConfigError: naming the field that is wrong.
    """

    symbol: str
    side: str
    size_usd: float
    confidence: float
    strategy_id: str
    entry_price: float
    take_profit: float | None = None
    stop_loss: float | None = None
    timestamp: dt.datetime
    regime: str = ""
    reasoning: str = ""
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "side", POSITION_SIDES.get(self.side, self.side))
        checks = {
            "side": (self.side in POSITION_SIDES.values(), "LONG or SHORT"),
            "size_usd": (self.size_usd > 0, "a number > 0"),
            "confidence": (0 <= self.confidence <= 1, "0..1"),
            "entry_price": (self.entry_price > 0, "a number > 0"),
            "timestamp": (self.timestamp.tzinfo is not None, "a time with a zone"),
        }
        for name, (fine, expected) in checks.items():
            if not fine:
                raise ConfigError(
                    f"decision of {self.strategy_id}: {name}: expected {expected}, "
                    f"was {getattr(self, name)!r}"
                )
