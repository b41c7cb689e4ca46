"""The check that a recording is read in order and whole: seq rises, and nothing is missing unseen.

Seqs that the manifest says are gone may be absent: exactly as many as it says,
and no others. Pure: seqs in, an error or nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parity.model.errors import RecordingCorrupt
from parity.recording.manifest import Manifest, Part, repair_cure

if TYPE_CHECKING:
    from pathlib import Path


class Order:
    """Holds what a reader sees against what the manifest promises.

    Args:
        path: of the recording, for errors.
        manifest: its parts, and what is gone.
        last_seq: the last seq that must come; None where a filter leaves events out, and only
            the rising of seq can be judged.
    """

    def __init__(self, path: Path, manifest: Manifest, last_seq: int | None) -> None:
        self._path = path
        self._manifest = manifest
        self._promised = last_seq
        starts = [p.first_seq for p in manifest.parts] + [g.first_seq for g in manifest.gone]
        self._first = min(starts, default=0)
        self._last = 0
        self._absent = 0

    def check(self, ticks: npt.NDArray[np.int64] | range, controls: Sequence[int]) -> None:
        """Take the next ticks, a range where they rise by one, and the controls among or before.

        Raises:
            RecordingCorrupt: seq does not rise, or one is missing that is not noted as gone.
        """
        if isinstance(ticks, range):
            if not controls and self._last and ticks[0] == self._last + 1:
                self._last = ticks[-1]
                return
            ticks = np.arange(ticks.start, ticks.stop)
        union = ticks
        if controls:
            union = np.sort(np.concatenate([ticks, np.array(controls, np.int64)]))
            self._check_steps(ticks, gaps=False)
        if len(union):
            self._check_steps(union, gaps=self._promised is not None)
            self._last = int(union[-1])

    def finish(self) -> None:
        """Refuse an end before the last promised seq, or fewer seqs than are noted as gone."""
        if self._promised is None:
            return
        if self._last != self._promised:
            raise self._ends("ends", self._last, self._promised)
        noted = sum(gone.events - 1 for gone in self._manifest.gone)  # each left its gap event
        if self._absent != noted:
            raise RecordingCorrupt(
                f"{self._path}: {self._absent} seqs are absent, its manifest says {noted}",
                cure=repair_cure(self._path),
            )

    def _check_steps(self, seqs: npt.NDArray[np.int64], *, gaps: bool) -> None:
        before = self._last
        if gaps and not before:
            before = (self._first or int(seqs[0])) - 1
        rising = not (seqs[1:] <= seqs[:-1]).any() and (not len(seqs) or seqs[0] > before)
        if rising and (not gaps or int(seqs[-1]) - before == len(seqs)):
            return
        whole = np.concatenate([[before], seqs])
        steps = np.diff(whole)
        for row in np.flatnonzero(steps != 1 if gaps else steps < 1).tolist():
            last, following = int(whole[row]), int(whole[row + 1])
            if following <= last or not self._is_gone(last + 1, following - 1):
                if not self._last and not row:
                    raise self._ends("starts", following, self._first)
                raise self._wrong(last, following)
            self._absent += following - last - 1

    def _is_gone(self, first: int, last: int) -> bool:
        for gone in self._manifest.gone:  # in the order of their first seqs
            if gone.first_seq <= first <= gone.last_seq:
                first = gone.last_seq + 1
        return first > last

    def _ends(self, verb: str, found: int, expected: int) -> RecordingCorrupt:
        return RecordingCorrupt(
            f"{self._path}: {verb} at seq {found}, expected {expected}",
            cure=repair_cure(self._path),
        )

    def _wrong(self, before: int, after: int) -> RecordingCorrupt:
        parts = self._manifest.parts
        named = [p.file for p in parts if p.first_seq <= after <= p.last_seq]
        return RecordingCorrupt(
            f"{self._path}: seq {after} follows seq {before}"
            + (f" in {', '.join(named)}" if named else ""),
            cure=repair_cure(self._path),
        )


def damaged(folder: Path, part: Part, what: str) -> RecordingCorrupt:
    """Return the error that names a part, its seq range and the cure."""
    return RecordingCorrupt(
        f"{folder / part.file} (seq {part.first_seq}..{part.last_seq}) {what}",
        cure=repair_cure(folder),
    )
