"""Classes of the older contract, `on_market_data(data, portfolio)`, completed to processors.

`data` is the tick, `portfolio` the strategy's, read-only; signals are returned or yielded. What
such a class does not say, a processor's other methods, gets the plainest answer.
"""

from __future__ import annotations

import types
from typing import Any


class _Plain:
    """What stands behind the class's own methods."""

    on_market_data: Any  # the class's own

    def process_tick(self, tick: Any, history: Any, portfolio: Any) -> Any:
        """Ask the class."""
        return self.on_market_data(tick, portfolio)

    def get_required_history_length(self) -> int:
        """Return 1: the class keeps its own past."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Say yes: the configuration names the instruments."""
        return True

    def get_strategy_name(self) -> str:
        """Return the class's name."""
        return type(self).__name__


def is_older(cls: type) -> bool:
    """Say whether a class has `on_market_data` and no `process_tick`."""
    asked = callable(getattr(cls, "on_market_data", None))
    return asked and not callable(getattr(cls, "process_tick", None))


def completed(cls: type) -> type:
    """Return the class with a processor's methods behind its own."""
    return types.new_class(cls.__name__, (cls, _Plain))
