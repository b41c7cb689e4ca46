"""How a run comes to its end: since when a stop is asked for, and when its time is over.

A stop has some seconds, whatever hangs and however slow the machine is. What is not done then is
left to the next start, which does it: nothing that was acted on is lost by leaving it.
Never here: what is to be done at the end.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.live.delivery import Delivery


class Ending:
    """The time of a stop.

    Args:
        stop: set where one is asked for.
        seal_s: how long after it the sealing of another piece may begin.
        now: seconds that only rise.
    """

    def __init__(
        self, stop: asyncio.Event, seal_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stop = stop
        self._seal_s = seal_s
        self._now = now
        self._asked_s: float | None = None

    def asked(self) -> bool:
        """Return whether a stop is asked for; its time runs from the first look that saw it."""
        if self._asked_s is None and self._stop.is_set():
            self._asked_s = self._now()
        return self._asked_s is not None

    def is_over(self) -> bool:
        """Return whether a stop is asked for, and what it may take is gone."""
        return self.asked() and self._now() - (self._asked_s or 0.0) >= self._seal_s

    async def give_up(self, delivery: Delivery, flush_s: float) -> None:
        """Let nobody wait for a publisher any more, so many seconds behind a stop."""
        await self._stop.wait()
        self.asked()
        await asyncio.sleep(flush_s)
        delivery.abandon()


def first_of(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Return the error that came first: one cause, one error; the group is how it travelled."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
