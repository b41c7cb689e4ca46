"""Which executors a segment concerns: those on whose instruments a tick stands in it.

Looked up by instrument, so a tick costs the same however many strategies want others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.core.executor import Executor
    from parity.core.view import Segment


class Routes:
    """Executors by dense instrument id.

    Args:
        executors: in the order in which they are asked.
        instruments: how many the table has.
    """

    def __init__(self, executors: Sequence[Executor], instruments: int) -> None:
        self._executors = executors
        self._by_instrument: list[list[int]] = [[] for _ in range(instruments)]
        for number, executor in enumerate(executors):
            for dense in executor.tokens:
                self._by_instrument[dense].append(number)
        self._present: list[int] = []  # instruments of the last segment, and whom they concern
        self._concerned: list[Executor] = []

    def concerned(self, segment: Segment) -> Sequence[Executor]:
        """Return the executors a segment concerns, in their order."""
        present = segment.instruments
        if present != self._present:
            numbers = self._numbers(present)
            self._present = present
            self._concerned = [self._executors[number] for number in numbers]
        return self._concerned

    def _numbers(self, present: list[int]) -> Iterable[int]:
        if len(present) == 1:
            return self._by_instrument[present[0]]
        return sorted({number for dense in present for number in self._by_instrument[dense]})
