"""Retention beside a run: applied by the sealer's thread, told to the loop as events to journal.

Never here: which segments go. What fails is logged and counted, and never stops the recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from parity.recording.retention import PRUNED, pruned_to
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.pruning import Retention
    from parity.recording.reader import Recording

_log = structlog.get_logger("parity.live.retention")


class Pruner:
    """Prunes when called, which is in the sealer's thread; the loop takes what it has to note.

    Args:
        folder: of the recording, whose journal this process holds.
        retention: what is to be held; None is all.
        clock: int ns UTC.

    Attributes:
        segments: how many went.
        bytes: that they took.
        failures: how often it failed.
    """

    def __init__(self, folder: Path, retention: Retention | None, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._retention = retention
        self._clock = clock
        self._done: deque[dict[str, Any]] = deque()
        self._held: list[str] = []
        self.segments = self.bytes = self.failures = 0

    def __call__(self) -> None:
        """Apply the policy; raises nothing."""
        if self._retention is None or not self._retention.policy:
            return
        try:
            now_ns = self._clock()
            pruned = self._retention.apply(self._folder, now_ns)
            held = [need.by for need in self._retention.held_back(self._folder, now_ns)]
        except Exception as error:  # whatever it is, recording goes on
            self.failures += 1
            _log.warning("pruning_failed", reason=str(error), failures=self.failures)
            return
        if pruned is not None:
            self.segments += pruned.segments
            self.bytes += pruned.bytes
            self._done.append(pruned.to_detail())
        if held != self._held:
            self._held = held
            if held:
                _log.warning("pruning_held_back", by=held[:5], count=len(held))

    def said(self, recorded: Recording) -> None:
        """Note what was pruned while nobody recorded, or a kill left without its event."""
        manifest = recorded.manifest
        events = (c.detail.get("last_seq", 0) for c in recorded.controls() if c.verb == PRUNED)
        if pruned_to(manifest) > max(events, default=0):
            (gone,) = (one for one in manifest.gone if one.reason == PRUNED)
            detail = {n: getattr(gone, n) for n in ("first_seq", "last_seq", "events", "bytes")}
            files = [[part.file, part.sha256] for part in gone.parts]
            self._done.append({**detail, "ticks": gone.ticks, "policy": gone.why, "files": files})

    def notes(self) -> list[Note]:
        """Return what was pruned since the last call, for the journal."""
        found: list[Note] = []
        while self._done:
            found.append(Note(0, PRUNED, self._done.popleft()))
        return found
