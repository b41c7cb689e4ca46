"""SIGINT and SIGTERM: the first asks the runner to stop, the second ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger("parity.live.supervisor")


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM, and exit at once at the second."""
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        if stop.is_set():
            # At once: the journal survives it, and the next start recovers.
            os._exit(INTERRUPTED)
        _log.info("stopping", signal=number.name)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
