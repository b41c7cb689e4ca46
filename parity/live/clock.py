"""The arrival clock: wall time once, monotonic from there, so that ts_recv never goes back.

A wall clock that is set under a run moves no `ts_recv`, and so no verdict and no heartbeat; it is
noted. Never here: an anchor that is taken anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from parity.sources.arrivals import Note

CLOCK_STEP: Final = "clock_step"
STEP_NS: Final = 1_000_000_000  # what the wall clock may be off before it is noted


def anchored_clock() -> Callable[[], int]:
    """Return a clock of int ns UTC, anchored now."""
    anchor = time.time_ns() - time.monotonic_ns()
    monotonic_ns = time.monotonic_ns
    return lambda: anchor + monotonic_ns()


class ClockSteps:
    """Notices that the machine's wall clock was set, or stood still with the machine.

    Args:
        wall: int ns UTC.
        monotonic: int ns that only rise.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._anchor = self._apart = wall() - monotonic()

    def notes(self) -> list[Note]:
        """Return a note where the wall clock moved by more than STEP_NS since the last one.

        `stepped_ns` is by how much, `apart_ns` how far it now is from the arrival clock.
        """
        before = self._monotonic()
        wall = self._wall()
        # Between two readings a process may stand still for long; only what lies outside of both
        # is a step.
        least, most = wall - self._monotonic(), wall - before
        if least - self._apart > STEP_NS:
            now = least
        elif most - self._apart < -STEP_NS:
            now = most
        else:
            return []
        stepped, self._apart = now - self._apart, now
        return [Note(0, CLOCK_STEP, {"stepped_ns": stepped, "apart_ns": now - self._anchor})]
