"""What trading costs on paper: the block `paper` of a strategy's parameters.

Never here: an order, or money that moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from parity.model.parameters import in_ns

CASH: Final = Decimal(1_000_000)


class Terms(msgspec.Struct, frozen=True):
    """What trading costs on paper; fractions, not percent.

    Args:
        order_ttl_ns: age at which an order that waits expires; 0 never.
    """

    cash: Decimal = CASH
    slippage: Decimal = Decimal("0.0005")
    commission: Decimal = Decimal("0.001")
    allow_short: bool = False
    order_ttl_ns: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Terms:
        """Read the block `paper` of a strategy's parameters."""
        paper = dict(parameters.get("paper") or {})
        allow_short = bool(paper.pop("allow_short", False))
        ttl_ns = in_ns(paper.pop("order_ttl_sec", 0))
        money = {name: Decimal(str(value)) for name, value in paper.items()}
        return cls(**money, allow_short=allow_short, order_ttl_ns=ttl_ns)
