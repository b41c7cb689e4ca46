"""How far an import is: rows done, rows in all as far as can be told, and in which pass.

Never here: a clock, or what a person sees of it; the command line makes rates of these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.sources.importers.sample import Sample

# (rows done, rows in all or None, "pass 1 of 2"); the rows in all may be an estimate until the end
Progress = Callable[[int, int | None, str], None]


class Steps:
    """Tells how far the passes over files are.

    Args:
        progress: who wants to know, None for nobody.
        samples: the files that the first pass reads; where there are none, it is left out.
        sorts: whether a pass sorts the rows.
    """

    def __init__(
        self, progress: Progress | None, samples: Sequence[Sample], *, sorts: bool
    ) -> None:
        self._progress = progress
        self._passes = bool(samples) + sorts + 1
        self._at = 1
        self._sizes = {id(s): s.path.stat().st_size for s in samples}
        self._bytes = self._before = 0  # of the files that were surveyed

    def surveying(self, sample: Sample, rows: int) -> None:
        """Tell of the first pass that so many rows of a file were read."""
        size = self._sizes[id(sample)]
        share = sample.share(rows) if rows else 0.0
        read = self._bytes + size * (share or 0)
        done = self._before + rows
        known = share is not None and read > 0 and done > 0
        total = max(done, round(done * sum(self._sizes.values()) / read)) if known else None
        self._tell(done, total)

    def surveyed(self, sample: Sample, rows: int) -> None:
        """Tell of the first pass that a file is done."""
        self._bytes += self._sizes[id(sample)]
        self._before += rows

    def next_pass(self) -> None:
        """Tell that a pass is done, and the next begins."""
        self._at += 1

    def writing(self, rows: int, total: int) -> None:
        """Tell of a later pass that so many rows are done."""
        self._tell(rows, total)

    def _tell(self, done: int, total: int | None) -> None:
        if self._progress is not None:
            step = f"pass {self._at} of {self._passes}" if self._passes > 1 else ""
            self._progress(done, total, step)
