"""Sealing behind the writer's back: ended segments become parts while the journal goes on.

A thread of the lowest urgency does it. It never touches the open segment, it changes the manifest
only through `update_manifest`, and whatever fails leaves the journal as it is: the next segment's
end tries again, and so does the sealing at the end of the run.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from parity.recording.journal import SEGMENT_BYTES_MAX
from parity.recording.sealing import seal_ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NICE: Final = 10
# While it works the writer waits at most this long for the interpreter; Python's own is 5 ms.
SWITCH_S: Final = 0.0005


class Rotation(NamedTuple):
    """When a segment of the journal ends, to become a part while the run goes on, or at its end.

    Args:
        bytes_max: of a segment.
        s_max: how long one is written to.
        stop_s: behind a stop, after which the next start seals what is not sealed yet.
    """

    bytes_max: int = SEGMENT_BYTES_MAX
    s_max: float = 3600.0
    stop_s: float = math.inf


class BackgroundSealer:
    """Seals what `wake` names, one segment after another; made and stopped by the writer's owner.

    Args:
        folder: of the recording.
        failed: called from the thread with what went wrong, once for each attempt.
        then: called from the thread behind each sealing; it must not raise.
    """

    def __init__(
        self, folder: Path, failed: Callable[[str], None], then: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._failed = failed
        self._then = then
        self._upto = 0
        self._woken = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)
        self._thread.start()

    def wake(self, number: int) -> None:
        """Say that the segments up to this number have ended; returns at once.

        Number 0 says no such thing, and only has `then` called.
        """
        with self._changed:
            self._upto = max(self._upto, number)
            self._woken = True
            self._changed.notify()

    def stop(self) -> None:
        """Leave what is not sealed yet, the segment in hand too, and end the thread.

        Its turn comes last on a busy machine: whoever waits for it seals that sooner by itself.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while (upto := self._next()) is not None:
            usual = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_S)
            try:
                self._seal(upto)
                if not self._stopping:
                    self._then()
            finally:
                sys.setswitchinterval(usual)

    def _seal(self, upto: int) -> None:
        try:
            seal_ended(self._folder, upto, stop=lambda: self._stopping)
        except Exception as error:  # whatever it is, the journal has it all
            self._failed(str(error))

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._woken)
            self._woken = False
            return None if self._stopping else self._upto
