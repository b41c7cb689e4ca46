"""Catching up: partitions behind the head, merged into one order that no network decides.

A consumer behind the head gets partitions one after another, in chunks as they come. Between given
positions and ends their heads are merged by (time, topic, partition, offset): always the smallest
head goes first, so the order inside a partition stands, and of a partition that is not at its end
yet a head must be there before anything can go. What lies behind the ends waits, in arrival order.

The heads' merge of partitions whose times go back is the stable merge by each partition's largest
time so far; that one needs no loop over messages, and it is what is done here.

Never here: a broker, a clock, a codec; or a guess at a head that has not come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from parity.sources.decoding import Messages

if TYPE_CHECKING:
    from parity.sources.arrivals import Note

MESSAGES_MAX: Final = 20_000  # kept of one partition before it is held
BYTES_MAX: Final = 8 << 20
_NEVER: Final = -(2**63)


class CatchUp:
    """Merges partitions from where they are read to their ends, which were taken once.

    Args:
        positions: the offset each stream is read from next; in the order of topic and partition.
        ends: behind the last offset to merge, by stream; one without is merged up to nowhere.
        since_ms: broker time; where no stream's first message is older, nothing is merged.
        messages_max: of one stream before it is `full`.
        bytes_max: the same in bytes of payload.

    Attributes:
        behind: whether a first message was older; None as long as that is open.
        merging: whether more than one stream has something to merge.
    """

    def __init__(
        self,
        positions: Mapping[int, int],
        ends: Mapping[int, int],
        since_ms: int,
        *,
        messages_max: int = MESSAGES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._lanes = {
            stream: _Lane(stream, rank, at, ends.get(stream, at))
            for rank, (stream, at) in enumerate(positions.items())
        }
        self._open = {stream for stream, lane in self._lanes.items() if lane.open}
        self._first_open = {*self._open}  # whose first message is not known yet
        self._since_ms = since_ms
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._full: set[int] = set()
        self._beyond: list[_Row] = []
        self._count = 0
        self.merging = len(self._open) > 1
        self.behind: bool | None = None if self._open else False

    @property
    def over(self) -> bool:
        """Whether all is merged, or nothing is to be."""
        return self.behind is False or (self.behind is True and not self._open)

    @property
    def full(self) -> frozenset[int]:
        """Streams of which enough is kept: more of them is not to be read now."""
        for stream, lane in self._lanes.items():
            if lane.count >= self._messages_max or lane.bytes >= self._bytes_max:
                self._full.add(stream)
            elif lane.count <= self._messages_max // 2 and lane.bytes <= self._bytes_max // 2:
                self._full.discard(stream)
        return frozenset(self._full)

    def add(self, messages: Messages, times: Sequence[int]) -> None:
        """Take what came, and the time that each message is merged by."""
        gaps = iter(messages.gaps)
        gap = next(gaps, None)
        for row, (payload, stream, offset, broker_ms) in enumerate(zip(*messages[:4], strict=True)):
            while gap is not None and gap.row <= row:
                self._take_gap(gap)
                gap = next(gaps, None)
            lane = self._lanes[stream]
            taken = _Row(self._count, lane, payload, offset, broker_ms, lane.take_gaps())
            self._count += 1
            lane.count += 1
            lane.bytes += len(payload or b"")
            if stream in self._first_open:
                self._first_open.discard(stream)
                if offset < lane.end and broker_ms < self._since_ms:
                    self.behind = True
            if offset >= lane.end:
                self._beyond.append(taken)
            else:
                lane.add(taken, times[row])
            self.reach(stream, offset + 1)
        while gap is not None:
            self._take_gap(gap)
            gap = next(gaps, None)

    def reach(self, stream: int, position: int) -> None:
        """Take notice of a position, also where no message led to it: holes have none."""
        if position >= self._lanes[stream].end:
            self._first_open.discard(stream)
            self._open.discard(stream)
        if self.behind is None and not self._first_open:
            self.behind = False

    def take(self) -> Messages:
        """Return what stands, in its order; the rest waits for heads."""
        found: list[_Row] = []
        if self.behind:
            lanes = [self._lanes[stream] for stream in self._open]
            bound = min(((lane.newest, lane.rank) for lane in lanes), default=None)
            times: list[int] = []
            for lane in self._lanes.values():
                count = lane.up_to(bound)
                found += lane.rows[:count]
                times += lane.times[:count]
                lane.drop(count)
            # Stable, and lanes came by rank: ties keep rank and offset.
            order = np.argsort(np.array(times, np.int64), kind="stable")
            found = [found[n] for n in order.tolist()]
        return _together(found, catch_up=True)

    def rest(self) -> Messages:
        """Return what is not merged, in arrival order; once, when it is over."""
        rows = [row for lane in self._lanes.values() for row in lane.rows] + self._beyond
        rows.sort(key=lambda row: row.number)
        loose = [gap for lane in self._lanes.values() for gap in lane.take_gaps()]
        return _together(rows, loose)

    def _take_gap(self, gap: Note) -> None:
        # It stands before the stream's next message, wherever that goes.
        stream = gap.detail["stream"]
        self._lanes[stream].gaps.append(gap)
        self.reach(stream, gap.detail["next_offset"])


class _Row:
    """A message, and the gaps before it."""

    __slots__ = ("broker_ms", "gaps", "lane", "number", "offset", "payload")

    def __init__(
        self,
        number: int,
        lane: _Lane,
        payload: bytes | None,
        offset: int,
        broker_ms: int,
        gaps: Sequence[Note],
    ) -> None:
        self.number = number
        self.lane = lane
        self.payload = payload
        self.offset = offset
        self.broker_ms = broker_ms
        self.gaps = gaps


class _Lane:
    """What is kept of one stream."""

    __slots__ = ("bytes", "count", "end", "gaps", "newest", "open", "rank", "rows", "stream",
                 "times")  # fmt: skip

    def __init__(self, stream: int, rank: int, at: int, end: int) -> None:
        self.stream = stream
        self.rank = rank
        self.end = end
        self.open = at < end
        self.newest = _NEVER  # largest time so far, of what went too
        self.rows: list[_Row] = []
        self.times: list[int] = []  # largest so far, by row: never falling
        self.gaps: list[Note] = []  # before the next message
        self.count = self.bytes = 0  # of all that is kept, also behind the end

    def add(self, row: _Row, ns: int) -> None:
        self.newest = max(self.newest, ns)
        self.rows.append(row)
        self.times.append(self.newest)

    def up_to(self, bound: tuple[int, int] | None) -> int:
        """Return how many rows go before every head that may still come behind `bound`."""
        if bound is None:
            return len(self.rows)
        newest, rank = bound
        return (bisect_right if self.rank <= rank else bisect_left)(self.times, newest)

    def drop(self, count: int) -> None:
        self.count -= count
        self.bytes -= sum(len(row.payload or b"") for row in self.rows[:count])
        del self.rows[:count], self.times[:count]

    def take_gaps(self) -> Sequence[Note]:
        if not self.gaps:
            return ()
        gaps, self.gaps = self.gaps, []
        return gaps


def _together(
    rows: Sequence[_Row], loose: Sequence[Note] = (), *, catch_up: bool = False
) -> Messages:
    gaps = [gap._replace(row=at) for at, row in enumerate(rows) for gap in row.gaps]
    gaps += [gap._replace(row=len(rows)) for gap in loose]
    return Messages(
        [row.payload for row in rows],
        [row.lane.stream for row in rows],
        [row.offset for row in rows],
        [row.broker_ms for row in rows],
        gaps,
        catch_up,
    )
