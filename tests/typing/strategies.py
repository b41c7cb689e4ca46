"""The public face as users write it, for the type checker: `make lint` runs mypy over this file."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import parity as pt
from parity import (
    ExecutionContext,
    MarketTick,
    SignalResult,
    StrategyConfig,
    StrategyExecutor,
    StrategyProcessor,
    StrategyRunnerService,
)


class Older:
    """A processor of the older contract: lists, Decimals, datetimes."""

    def get_required_history_length(self) -> int:
        """Three."""
        return 3

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """Its name."""
        return "older"

    def process_tick(self, tick: MarketTick, history: list[MarketTick]) -> SignalResult | None:
        """Say BUY where the price rose."""
        if tick.last_price <= history[-3].last_price or tick.timestamp.year < 2000:
            return None
        return SignalResult("BUY", 0.5, 1, Decimal(str(tick.last_price)), "rose", {"n": 3})


processor: StrategyProcessor = Older()
config = StrategyConfig("one", "older", {}, ("paper",), (1,), Decimal(0), Decimal(1))
executor = StrategyExecutor(
    processor=processor, validator=None, config=config, context=ExecutionContext("paper")
)
tick = MarketTick(instrument_token=1, last_price=Decimal("1.5"), timestamp=datetime.now(UTC))
said: SignalResult | None = executor.on_tick(tick)
service = StrategyRunnerService()
service.register_from_config({"id": "two", "strategy_type": "momentum", "instruments": [1]})
signals: list[SignalResult] = service.on_market_tick(tick)
report: Any = pt.check("older.py")
