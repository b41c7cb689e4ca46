"""A Ctrl-C that is lost where it falls: in a callback of C code, or in code that drops every error.

Loading a compiled kernel is such a moment, and so is a library's look whether another one can be
imported: it takes the interrupt for the answer no, and goes on. Nothing but that belongs here.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from parity.model.errors import ParityError

AGAIN_S: Final = 0.02
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _Interrupt(KeyboardInterrupt):
    """A Ctrl-C that says when it is gone; while it is handled, or on its way, somebody has it."""

    def __init__(self, keeper: _Keeper, number: int) -> None:
        super().__init__()
        self.keeper: _Keeper | None = keeper
        self.number = number

    def __del__(self) -> None:
        if self.keeper is not None:
            self.keeper.again(self.number)


class _Keeper:
    """Raises interrupts, and again what was lost, until it is closed."""

    def __init__(self) -> None:
        self.open = 0  # of those raised, how many nobody has said to have heard
        self._hook = sys.unraisablehook
        self._closed = False
        self._later: list[threading.Timer] = []

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.open += 1
        raise _Interrupt(self, number)

    def told(self, unraisable: Any) -> None:
        """Take what a callback of C raised."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook(unraisable)
        elif unraisable.exc_type is not _Interrupt:  # ours says so itself, as it goes
            self.again(signal.SIGINT)

    def again(self, number: int) -> None:
        """Send a signal once more."""
        # Not at once: it would fall into what lost it. Where it is lost again, again.
        if not self._closed:
            call = (threading.main_thread().ident, number)
            self._later.append(threading.Timer(AGAIN_S, signal.pthread_kill, call))
            self._later[-1].daemon = True
            self._later[-1].start()

    def close(self) -> bool:
        """Send nothing more; returns whether something was still to be sent."""
        self._closed = True
        waiting = [timer for timer in self._later if not timer.finished.is_set()]
        for timer in waiting:
            timer.cancel()
            timer.join()  # where it could not be cancelled any more, the signal comes here
        return bool(waiting)


def heard(interrupt: KeyboardInterrupt) -> None:
    """Say that an interrupt ends here, and what comes behind it is meant to run."""
    if isinstance(interrupt, _Interrupt) and interrupt.keeper is not None:
        interrupt.keeper.open -= 1
        interrupt.keeper = None


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt that nobody took once more, where somebody can.

    One that is still to be raised at the end is raised there: it reaches nothing behind. So is one
    that a library made another error of.
    """
    keeper, hook = _Keeper(), sys.unraisablehook
    sys.unraisablehook = keeper.told
    # Another handler ignores it, or is somebody else's.
    ours = [n for n in _SIGNALS if signal.getsignal(n) is signal.default_int_handler]
    for number in ours:
        signal.signal(number, keeper.interrupt)
    try:
        yield
    except Exception as error:
        if keeper.open and not isinstance(error, ParityError):  # which knows what it says
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.unraisablehook = hook
        waiting = keeper.close()
        for number in ours:
            if signal.getsignal(number) == keeper.interrupt:
                signal.signal(number, signal.default_int_handler)
        if waiting:
            raise KeyboardInterrupt from None
