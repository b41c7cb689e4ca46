"""A Ctrl-C that falls into a callback of C code: Python would report it and go on as before.

Loading a compiled kernel is such a moment. Nothing but that belongs here.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

AGAIN_S: Final = 0.02


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt that nobody could take once more, where somebody can.

    One that is still to be raised at the end is raised there: it reaches nothing behind.
    """
    before = sys.unraisablehook
    later: list[threading.Timer] = []

    def told(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            # Not at once: it would fall into this hook. Where it meets a callback again, again.
            again = (threading.main_thread().ident, signal.SIGINT)
            later.append(threading.Timer(AGAIN_S, signal.pthread_kill, again))
            later[-1].daemon = True
            later[-1].start()
        else:
            before(unraisable)

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = before
        waiting = [timer for timer in later if not timer.finished.is_set()]
        for timer in waiting:
            timer.cancel()
            timer.join()  # where it could not be cancelled any more, the signal comes here
    if waiting:
        raise KeyboardInterrupt
