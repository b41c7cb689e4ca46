"""When an executor is warm: at the tick with which one of its instruments has its history.

A count of ticks and nothing else, so it is known before anything is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.core.view import View


class Warmth:
    """Counts ticks by instrument until one is warm; after an error that cannot be undone, anew.

    Args:
        instruments: dense ids of the executor's instruments.
        length: ticks of one instrument that make it warm.
    """

    __slots__ = ("_instruments", "_length", "_seen")

    def __init__(self, instruments: Iterable[int], length: int) -> None:
        self._instruments = frozenset(instruments)
        self._length = length
        self._seen: dict[int, int] | None = {}  # None once warm: no count tells where batches ended

    @property
    def warm(self) -> bool:
        """Whether an instrument has its history, as far as was counted."""
        return self._seen is None

    def over(self, view: View, anew: Sequence[int]) -> list[tuple[int, bool]]:
        """Count a view; return the rows at which it becomes warm (True) or cold (False).

        Args:
            view: the ticks of the executor's kind.
            anew: rising rows behind which the processor begins anew.
        """
        changes: list[tuple[int, bool]] = []
        begin = 0
        for row in anew:
            self._count(view, begin, row + 1, changes)
            changes.append((row, False))
            self._seen, begin = {}, row + 1
        self._count(view, begin, len(view), changes)
        return changes

    def _count(self, view: View, lo: int, hi: int, changes: list[tuple[int, bool]]) -> None:
        if self._seen is None or lo >= hi:
            return
        warm: list[int] = []
        for dense in view.segment.instruments:
            if dense not in self._instruments:
                continue
            rows = view.rows_of(dense)
            rows = rows[rows.searchsorted(lo) : rows.searchsorted(hi)]
            missing = self._length - self._seen.get(dense, 0)
            if missing <= len(rows):
                warm.append(int(rows[missing - 1]))
            elif len(rows):
                self._seen[dense] = self._seen.get(dense, 0) + len(rows)
        if warm:
            self._seen = None
            changes.append((min(warm), True))

    def snapshot(self) -> dict[str, int] | None:
        """Return the counts; None once warm."""
        return None if self._seen is None else {str(d): n for d, n in sorted(self._seen.items())}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take back what snapshot() gave."""
        self._seen = None if state is None else {int(d): n for d, n in state.items()}
