"""Many files, one order: a merge by batches that holds one batch of each file at a time.

Rows are ordered by (time, file, row). A file that breaks the promised order is refused with the
row named; nothing is ever sorted inside a file, since that would invent an order.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Final

import msgspec
import numpy as np

from parity.recording.inspect import iso
from parity.sources.importers.shares import Shares
from parity.sources.importers.tables import Place, Records, TickFile

ROWS_MIN: Final = 8192  # of a batch that goes on; what comes after costs as much for one row


class OrderedFile(msgspec.Struct):
    """A file's numbered batches, checked to be in order by one column, and the one at its head.

    Args:
        by_id: whether they were sorted by id before.
        last: the head's last value of that column.
        span: from its first to its last.
    """

    file: TickFile
    batches: Iterator[Records]
    order: str
    by_id: bool = False
    head: Records | None = None
    last: int = -(2**63)
    span: int = 0

    def advance(self) -> bool:
        """Load the next batch that holds rows; False at the end of the file."""
        self.head = next((batch for batch in self.batches if len(batch)), None)
        if self.head is None:
            return False
        times = self.head[self.order]
        if times[0] < self.last or (times[1:] < times[:-1]).any():
            self._refuse(self.head, np.concatenate(([self.last], times[:-1])))
        self.last = int(times[-1])
        self.span = self.last - int(times[0])
        return True

    def _refuse(self, head: Records, before: Records) -> None:
        at = int(np.argmax(head[self.order] < before))
        other = "ts_recv" if self.order == "ts_event" else "ts_event"
        cure = f"name the order the file has (--order {other}), or sort it"
        cure += ": --sort id puts rows in the order of their trade ids"
        if self.by_id:
            cure = "its ids do not follow time either: mend the file, or sort it by time yourself"
        Place(self.file.path, self.order, int(head["seq"][at]) - 1, self.file.names).refuse(
            0,
            _shown(self.order, int(head[self.order][at])),
            f"expected rows in {self.order} order, not before "
            f"{_shown(self.order, int(before[at]))} of the row above",
            cure,
        )


def _shown(order: str, value: int) -> str:
    return str(value) if order == "trade_id" else iso(value)


def numbered(batches: Iterator[Records], place: int) -> Iterator[Records]:
    """Yield a file's records with their row (from 1) in `seq` and the file's place in `sub`."""
    first = 1
    for records in batches:
        records["seq"] = np.arange(first, first + len(records))
        records["sub"] = place
        first += len(records)
        yield records


def merge(files: Sequence[OrderedFile], shares: Shares | None = None) -> Iterator[Records]:
    """Yield the rows of all files ordered by (time, file, row), in batches.

    Args:
        files: to be merged.
        shares: told how many files there are whose rows interleave.
    """
    return _joined(_merged(files, shares or Shares()))


def _joined(batches: Generator[Records, None, None]) -> Iterator[Records]:
    """Yield small batches together: where blocks end by turns, most rounds have a few rows."""
    waiting: list[Records] = []
    rows = 0
    with closing(batches):
        for batch in batches:
            waiting.append(batch)
            rows += len(batch)
            if rows >= ROWS_MIN:
                yield batch if len(waiting) == 1 else np.concatenate(waiting)
                waiting, rows = [], 0
    if waiting:
        yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)


def _merged(files: Sequence[OrderedFile], shares: Shares) -> Generator[Records, None, None]:
    shares.files = max(1, len(files))
    try:
        live = [file for file in files if file.advance()]
        while live:
            if len(live) == 1:
                shares.files = 1
                yield _head(live[0])
                live[0].advance()
            else:
                yield _round(live, shares)
            live = [file for file in live if file.head is not None]
    finally:
        shares.files = 1


def _round(live: list[OrderedFile], shares: Shares) -> Records:
    # Rows up to the earliest end of a batch are complete: whatever comes later in any file is
    # later in the order. At that very time the files behind the one that ends have to wait,
    # because its next batch may go on with the same time.
    ends = [file.last for file in live]
    ending = int(np.argmin(ends))
    order = live[0].order
    pieces = []
    for number, file in enumerate(live):
        head = _head(file)
        until = ends[ending] + (number <= ending)
        cut = int(np.searchsorted(head[order], until))
        if cut:
            pieces.append(head[:cut])
            file.head = head[cut:]
    # A file whose next rows come within as long a time as this batch took is one among several.
    soon = ends[ending] + live[ending].span
    shares.files = sum(not len(_head(f)) or int(_head(f)[order][0]) <= soon for f in live)
    for file in live:
        if not len(_head(file)):
            file.advance()
    if len(pieces) == 1:
        return pieces[0]  # in order as it is: files that follow each other
    joined = np.concatenate(pieces)
    return np.asarray(joined[np.argsort(joined[order], kind="stable")])


def _head(file: OrderedFile) -> Records:
    if file.head is None:
        raise AssertionError(f"{file.file.path}: merged after its end")
    return file.head
