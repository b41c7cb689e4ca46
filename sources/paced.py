"""A recording as a live source: its ticks again, at a pace, for a paper run without a broker.

Only what was delivered to executors comes again: verdicts are made anew by the run that reads.
Gaps stand where they stood; heartbeats, fills and other controls belonged to the run that ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model.errors import ConfigError
from parity.model.events import EventBatch
from parity.model.ticks import NO_TS_RECV, SEQUENCER_BITS, UNDELIVERED
from parity.sources.arrivals import Arrivals, Note, Place, Stream
from parity.sources.portions import Portions

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.model.protocols import TickSource

_TURN_S: Final = 0.01  # a pace is kept by handing over what is due every turn
_BATCH_ROWS: Final = 1000
_OURS: Final = np.uint32(~(SEQUENCER_BITS | NO_TS_RECV) & 0xFFFF_FFFF)


class PacedSource:
    """Hands over the ticks of a recording in their order.

    Args:
        recording: where the ticks come from.
        name: of its one stream; the recording's name.
        pace: ticks a second; None is as fast as the loop takes them.
        first_row: of its first tick; the ticks before it were pruned.

    The offset of a tick is its row among all ticks that the recording ever had.
    """

    def __init__(
        self, recording: TickSource, name: str, *, pace: float | None = None, first_row: int = 0
    ) -> None:
        if pace is not None and not pace > 0:
            raise ConfigError(f"pace: expected ticks a second above 0, was {pace}")
        self.streams: list[Stream] = [(name, 0)]
        self._recording = recording
        self._pace = pace
        self._first_row = self._begin = first_row
        self._id = 0
        self._pieces: Iterator[Arrivals] = iter(())
        self._started = 0.0
        self._handed = 0
        self._portions = Portions(_BATCH_ROWS)
        self._stopped = False

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Start behind the rows that are recorded already."""
        self._first_row = positions.get(self.streams[0], self._begin)

    async def connect(self) -> None:
        """Nothing to find."""

    def topic_ids(self) -> Mapping[str, str]:
        """A recording has none."""
        return {}

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """Take the dense id of a recording."""
        self._id = ids[self.streams[0]]

    def positions(self) -> dict[int, int]:
        """Return the row the reading starts at."""
        return {self._id: self._first_row}

    def places(self) -> list[Place]:
        """Return nothing: there is no broker."""
        return []

    async def start(self) -> None:
        """Start the pace."""
        rows = _BATCH_ROWS
        if self._pace is not None:
            rows = max(1, min(rows, int(self._pace * _TURN_S)))
        self._pieces = self._cut(rows)
        self._started = time.monotonic()

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return what is due; nothing in it where `wait_s` ends before; None after the last."""
        if self._pace is not None:
            due_s = self._started + self._handed / self._pace - time.monotonic()
            if due_s > wait_s:
                await asyncio.sleep(wait_s)
                return None if self._stopped else self._nothing()
            if due_s > 0:
                await asyncio.sleep(due_s)
        else:
            await asyncio.sleep(0)  # signals and delivery get their turn
        if self._stopped:
            return None
        arrived = next(self._pieces, None)
        self._handed += 0 if arrived is None else len(arrived.records)
        return arrived

    def took(self, ns: int) -> None:
        """Let the next batch be as large as strategies are done with soon."""
        self._portions.took(ns)

    def stop(self) -> None:
        """End at the next take."""
        self._stopped = True

    async def close(self) -> None:
        """Let go of the recording."""
        self._pieces = iter(())

    def _cut(self, rows: int) -> Iterator[Arrivals]:
        row = self._begin
        for batch in self._whole():
            records, notes = self._records(batch, row)
            row += len(batch.ticks)
            lo, hi = 0, -1
            while hi < len(records):
                hi = lo + self._portions.size(min(rows, len(records) - lo))
                part = records[lo:hi].copy()
                mine = [
                    note._replace(row=note.row - lo)
                    for note in notes
                    if lo <= note.row < hi or note.row == len(records) == hi
                ]
                if len(part) or mine:
                    # What no strategy was shown behind the last tick is behind it with its gaps.
                    end = int(part["offset"][-1]) + 1 if hi < len(records) else row
                    yield Arrivals(part, mine, {self._id: end})
                lo = hi

    def _whole(self) -> Iterator[EventBatch]:
        """Yield batches; a gap behind the last tick comes with that tick, or it had no position."""
        waiting: EventBatch | None = None
        for batch in self._recording.batches():
            if waiting is not None and not len(batch.ticks):
                batch = EventBatch(waiting.ticks, (*waiting.controls, *batch.controls))
            elif waiting is not None:
                yield waiting
            waiting = batch
        if waiting is not None:
            yield waiting

    def _records(self, batch: EventBatch, first_row: int) -> tuple[npt.NDArray[Any], list[Note]]:
        records = batch.ticks.to_records()
        rows = np.arange(first_row, first_row + len(records))
        fresh = (rows >= self._first_row) & ((records["flags"] & np.uint32(UNDELIVERED)) == 0)
        notes = []
        for control in batch.controls:
            before = int(np.searchsorted(records["seq"], control.seq))
            behind = before == len(records) > 0  # the last tick: recorded with it
            fresh_from = self._first_row + 1 if behind else self._first_row
            if control.verb == "gap" and first_row + before >= fresh_from:
                row = int(fresh[:before].sum())
                notes.append(Note(row, "gap", {**control.detail, "stream": self._id}))
        records = records[fresh]
        records["offset"] = rows[fresh]
        records["stream"] = self._id
        records["sub"] = 0
        records["flags"] &= _OURS
        return records, notes

    def _nothing(self) -> Arrivals:
        return Arrivals(np.zeros(0, self._recording.table.tick_dtype), [], {})
