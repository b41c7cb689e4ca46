"""The law of reading: seq rises strictly, and without a filter nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from parity.model.errors import RecordingCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.manifest import Part
    from parity.recording.reader import Recording

RESTORE: Final = "restore it from a copy, or import its source again"


class Order:
    """Checks that seq rises strictly, and that nothing is missing where nothing was filtered."""

    def __init__(self, recording: Recording, *, gaps: bool) -> None:
        self._recording = recording
        self._gaps = gaps
        self._last = 0
        self._first = min((p.first_seq for p in recording.manifest.parts), default=0)

    def check(self, ticks: npt.NDArray[np.int64], controls: Sequence[int]) -> None:
        """Take the next ticks and the controls among or before them."""
        union = ticks
        if controls:
            union = np.sort(np.concatenate([ticks, np.array(controls, np.int64)]))
            if (ticks[1:] <= ticks[:-1]).any():
                raise self._wrong(ticks)
        if not len(union):
            return
        if union[0] <= self._last or (union[1:] <= union[:-1]).any():
            raise self._wrong(union)
        if self._gaps:
            if not self._last and self._first and int(union[0]) != self._first:
                raise self._ends("starts", int(union[0]), self._first)
            contiguous = int(union[-1]) - int(union[0]) == len(union) - 1
            if not contiguous or (self._last and int(union[0]) != self._last + 1):
                raise self._wrong(union)
        self._last = int(union[-1])

    def finish(self) -> None:
        """Refuse an end before the last seq the manifest or the journal promises."""
        if self._gaps and self._last != self._recording.last_seq:
            raise self._ends("ends", self._last, self._recording.last_seq)

    def _ends(self, verb: str, found: int, expected: int) -> RecordingCorrupt:
        return RecordingCorrupt(
            f"{self._recording.path}: {verb} at seq {found}, expected {expected}", cure=RESTORE
        )

    def _wrong(self, union: npt.NDArray[np.int64]) -> RecordingCorrupt:
        seqs = np.concatenate([[self._last], union]) if self._last else union
        steps = np.diff(seqs)
        row = int(np.argmax((steps != 1) if self._gaps else (steps < 1)))
        before, after = int(seqs[row]), int(seqs[row + 1])
        parts = self._recording.manifest.parts
        named = [p.file for p in parts if p.first_seq <= after <= p.last_seq]
        return RecordingCorrupt(
            f"{self._recording.path}: seq {after} follows seq {before}"
            + (f" in {', '.join(named)}" if named else ""),
            cure=RESTORE,
        )


def damaged(folder: Path, part: Part, what: str) -> RecordingCorrupt:
    """Return the error that names a part, its seq range and the cure."""
    return RecordingCorrupt(
        f"{folder / part.file} (seq {part.first_seq}..{part.last_seq}) {what}",
        cure=RESTORE,
    )
