"""A Ctrl-C that falls into a callback of C code: Python would report it and go on as before.

Loading a compiled kernel is such a moment. Nothing but that belongs here.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

AGAIN_S: Final = 0.02


def keep_interrupts() -> Callable[[Any], object]:
    """Raise a KeyboardInterrupt that nobody could take once more, where somebody can.

    Returns:
        The `sys.unraisablehook` that was there before.
    """
    before = sys.unraisablehook

    def told(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            # Not at once: it would fall into this hook. Where it meets a callback again, again.
            later = threading.Timer(
                AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
            )
            later.daemon = True
            later.start()
        else:
            before(unraisable)

    sys.unraisablehook = told
    return before
