"""The SMA cross in plain Python, for every peer whose strategies are Python.

Standard library alone: peers' Pythons run it, too. Over integers it is the rule of
`sma_cross_kernel`: running sums, compared by cross-multiplication; a tie keeps the side, and the
first side after warm-up is no signal. Never here: an engine.
"""

from __future__ import annotations

from collections import deque


class Cross:
    """The rule over one instrument's prices, as integers."""

    __slots__ = ("_fast", "_fast_sum", "_side", "_slow", "_slow_sum", "_window")

    def __init__(self, fast: int, slow: int) -> None:
        self._fast, self._slow = fast, slow
        self._fast_sum = self._slow_sum = self._side = 0
        self._window: deque[int] = deque()

    def take(self, price_int: int) -> int:
        """Return 1 or -1 where the fast average came to the other side, else 0."""
        window, fast, slow = self._window, self._fast, self._slow
        window.append(price_int)
        count = len(window)
        self._fast_sum += price_int
        self._slow_sum += price_int
        if count > fast:
            self._fast_sum -= window[-fast - 1]
            if count > slow:
                self._slow_sum -= window.popleft()
                count = slow
        if count < slow:
            return 0
        return self.sided(self._fast_sum * slow - self._slow_sum * fast)

    def sided(self, difference: float) -> int:
        """Return what to say of the fast average less the slow one."""
        before = self._side
        if difference > 0:
            self._side = side = 1
        elif difference < 0:
            self._side = side = -1
        else:
            return 0
        return side if before and side != before else 0
