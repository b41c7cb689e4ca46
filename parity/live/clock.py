"""The arrival clock: wall time once, monotonic from there, so that ts_recv never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable


def anchored_clock() -> Callable[[], int]:
    """Return a clock of int ns UTC, anchored now."""
    anchor = time.time_ns() - time.monotonic_ns()
    monotonic_ns = time.monotonic_ns
    return lambda: anchor + monotonic_ns()
