"""A loop whose clock leaps: an hour of waiting takes no time, and the same turns each time."""

import asyncio
from typing import Any


class LeapingLoop(asyncio.SelectorEventLoop):
    """Where nothing is ready its clock leaps to the next timer; give it to `asyncio.Runner`."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__()
        selector: Any = self._selector  # type: ignore[attr-defined]  # the loop's own
        look = selector.select

        def select(timeout: float | None = None) -> Any:
            ready = look(timeout if timeout is None else 0)
            if timeout and not ready:
                self._now_s += timeout
            return ready

        selector.select = select

    def time(self) -> float:
        """Return seconds since it was made."""
        return self._now_s
