"""The next-event merge: decisions of all executors in the order (seq, strategy_id, broker).

Asking each executor for its next row, and resuming only that one, gives the same order for every
batch size; deciding strategy by strategy would not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.core.executor import Executor


def merged(executors: Iterable[Executor]) -> Iterable[tuple[int, Executor]]:
    """Give (row, executor) for everything due in a segment; the consumer decides it at once."""
    heap = [(row, e.key, e) for e in executors if (row := e.next_row()) is not None]
    return _in_order(heap) if heap else ()


def _in_order(heap: list[tuple[int, tuple[str, str], Executor]]) -> Iterator[tuple[int, Executor]]:
    heapq.heapify(heap)
    while heap:
        row, key, executor = heap[0]
        yield row, executor
        following = executor.next_row()
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following, key, executor))
