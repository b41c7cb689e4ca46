"""Dead letters of a run: each undecodable message to `<topic>.dlq` once, told in the journal.

The quarantine event in the journal is the decision. A thread of its own sends what was decided, and
a `dead_lettered` event says where each letter lies. A kill in between leaves letters without one:
the next start takes them up, and what lies in the topic already is found there, not sent again.

Never here: what is undecodable. A broker that takes no letters is said and waited for; it never
stops the recording, which holds the bytes in any case.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from parity.model.errors import ParityError
from parity.publishers.redpanda.letters import Interrupted, Letter
from parity.recording.manifest import load_manifest
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.events import Control
    from parity.publishers import Receipt
    from parity.recording.reader import Recording
    from parity.sources.arrivals import Stream

QUARANTINE: Final = "quarantine"
DEAD_LETTERED: Final = "dead_lettered"
HELD_BYTES_MAX: Final = 64 << 20  # of letters that wait; the next start takes up the others
_LETTER_BYTES: Final = 512  # what one takes besides its payload
_AT_ONCE: Final = 1000
_RETRY_S_MAX: Final = 30.0
_JOIN_S: Final = 1.0
_LOOK_S: Final = 0.01

_log = structlog.get_logger("parity.live.dead_letters")


class Box(Protocol):
    """Where letters are put; called in one thread."""

    def put(
        self, letters: Sequence[Letter], stopped: Callable[[], bool]
    ) -> list[tuple[Receipt, bool]]:
        """Return of each letter where it lies, and whether it lay there already."""


class DeadLetters:
    """Sends the letters of one recording in the order of its events.

    Args:
        box: given the recording's id, where letters go.

    Attributes:
        delivered: letters known to lie in their topic, told by this process.
        left: letters that came while too many were held; a later start takes them up.
    """

    def __init__(self, box: Callable[[str], Box]) -> None:
        self.delivered = self.left = 0
        self._make_box = box
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[tuple[int, Letter]] = deque()
        self._held = 0
        self._done: deque[dict[str, Any]] = deque()
        self._work = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def begin(self, folder: Path, recorded: Recording | None) -> None:
        """Start; of a recording that goes on first the letters of which nothing is known."""
        manifest = load_manifest(folder)
        self._streams = {stream.id: (stream.topic, stream.partition) for stream in manifest.streams}
        if recorded is not None:
            self.offer(_open_letters(recorded.controls()))
        box = self._make_box(manifest.recording_id)
        self._thread = threading.Thread(
            target=self._send, args=(box,), name="dead-letters", daemon=True
        )
        self._thread.start()

    def offer(self, controls: Iterable[Control]) -> None:
        """Take up the quarantined messages among events that are journaled."""
        for control in controls:
            if control.verb != QUARANTINE:
                continue
            said = control.detail
            cost = len(said["payload"]) + _LETTER_BYTES
            with self._work:
                # Once one is left all are: a stream's letters go in the order of its offsets.
                if self.left or self._held + cost > HELD_BYTES_MAX:
                    self.left += 1
                    continue
                topic, partition = self._streams[said["stream"]]
                letter = Letter(
                    topic, partition, said["offset"], said["reason"], said["payload"] or None
                )
                self._waiting.append((said["stream"], letter))
                self._held += cost
                self._work.notify()

    @property
    def open(self) -> int:
        """Letters that are not known to lie in their topic."""
        return len(self._waiting) + self.left

    def notes(self) -> list[Note]:
        """Return what is known since the last call, for the journal."""
        found: list[Note] = []
        while self._done:
            found.append(Note(0, DEAD_LETTERED, self._done.popleft()))
        return found

    async def settle(self, limit_s: float) -> None:
        """Wait until no letter waits or nobody sends them, at most `limit_s`."""
        thread, looks = self._thread, 0
        while self._waiting and thread is not None and thread.is_alive():
            if looks >= int(limit_s / _LOOK_S):
                break
            await asyncio.sleep(_LOOK_S)
            looks += 1
        if self.open:
            waited_s = round(looks * _LOOK_S, 2)
            _log.warning("dead_letters_open", count=self.open, waited_s=waited_s)

    def close(self) -> None:
        """Stop sending; what is open is taken up by the next start."""
        with self._work:
            self._stopping = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    # -- the thread

    def _send(self, box: Box) -> None:
        tries, pause_s = 0, 0.0
        while True:
            with self._work:
                if pause_s:
                    self._work.wait_for(lambda: self._stopping, pause_s)
                else:
                    self._work.wait_for(lambda: self._stopping or self._waiting)
                if self._stopping:
                    return
                some = [self._waiting[n] for n in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                places = box.put([letter for _, letter in some], lambda: self._stopping)
            except Interrupted:
                return
            except ParityError as error:
                tries += 1
                pause_s = min(_RETRY_S_MAX, 0.5 * 2.0 ** min(tries, 8))
                _log.warning("dead_letters_wait", reason=str(error), tries=tries, open=self.open)
                continue
            except Exception as error:  # the thread's last door: recording goes on without it
                _log.error("dead_letters_stopped", reason=repr(error), open=self.open)
                return
            tries, pause_s = 0, 0.0
            self._tell(some, places)

    def _tell(
        self, some: Sequence[tuple[int, Letter]], places: Sequence[tuple[Receipt, bool]]
    ) -> None:
        rows = [
            [stream, letter.offset, place.partition, place.offset]
            for (stream, letter), (place, _) in zip(some, places, strict=True)
        ]
        found = sum(there for _, there in places)
        self._done.append({"letters": rows, "found": found})
        self.delivered += len(rows)
        with self._work:
            for _, letter in some:
                self._waiting.popleft()
                self._held -= len(letter.payload or b"") + _LETTER_BYTES


def _open_letters(controls: Iterable[Control]) -> list[Control]:
    """Return the quarantined messages of which no event says where their letter lies.

    A message is quarantined once: its offset says which.
    """
    waiting: dict[tuple[int, int], Control] = {}
    for control in controls:
        if control.verb == QUARANTINE:
            waiting[control.detail["stream"], control.detail["offset"]] = control
        elif control.verb == DEAD_LETTERED:
            for stream, offset, _, _ in control.detail["letters"]:
                waiting.pop((stream, offset), None)
    return list(waiting.values())
