"""Waiting for what another process does; nothing here measures, a limit only ends what hangs."""

import time
from collections.abc import Callable

LIMIT_S = 180.0  # shared machines stand still for half a minute at times


def until(
    happened: Callable[[], object],
    words: Callable[[], str] = lambda: "did not happen in time",
    limit_s: float = LIMIT_S,
) -> None:
    """Wait until something is so; `words` says what there was instead."""
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, words()
        time.sleep(0.02)
