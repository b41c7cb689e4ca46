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

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from parity.sources.decoding import Decoded, Messages
from parity.sources.portions import cut

if TYPE_CHECKING:
    import numpy.typing as npt

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
            stream: _Lane(rank, at, ends.get(stream, at))
            for rank, (stream, at) in enumerate(positions.items())
        }
        self._open = {stream for stream, lane in self._lanes.items() if lane.open}
        self._first_open = {*self._open}  # whose first message is not known yet
        self._since_ms = since_ms
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._full: set[int] = set()
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
        numbers = range(self._count, self._count + len(messages.payloads))
        self._count = numbers.stop
        came = _Batch(messages, np.array(times, np.int64), np.array(numbers, np.int64))
        gaps: dict[int, list[Note]] = {}
        for gap in messages.gaps:
            gaps.setdefault(gap.detail["stream"], []).append(gap)
        for stream, rows in _by_stream(messages.streams):
            lane, ours = self._lanes[stream], came.of(rows)
            offsets = ours.messages.offsets
            last = offsets[-1]
            if stream in self._first_open:
                self._first_open.discard(stream)
                if offsets[0] < lane.end and ours.messages.broker_ms[0] < self._since_ms:
                    self.behind = True
            lane.add(ours, rows, gaps.pop(stream, ()))
            self.reach(stream, last + 1)
        for stream, late in gaps.items():
            self._lanes[stream].gaps += late
        for gap in messages.gaps:
            self.reach(gap.detail["stream"], gap.detail["next_offset"])

    def reach(self, stream: int, position: int) -> None:
        """Take notice of a position, also where no message led to it: holes have none."""
        if position >= self._lanes[stream].end:
            self._first_open.discard(stream)
            self._open.discard(stream)
        if self.behind is None and not self._first_open:
            self.behind = False

    def take(self) -> Messages:
        """Return what stands, in its order; the rest waits for heads."""
        found: list[_Batch] = []
        if self.behind:
            lanes = [self._lanes[stream] for stream in self._open]
            bound = min(((lane.newest, lane.rank) for lane in lanes), default=None)
            for lane in self._lanes.values():
                found += lane.up_to(bound)
        # Stable, and lanes came by rank: ties keep rank and offset.
        return _together(found, [batch.times for batch in found], catch_up=True)

    def rest(self) -> Messages:
        """Return what is not merged, in arrival order; once, when it is over."""
        found = [batch for lane in self._lanes.values() for batch in (*lane.batches, *lane.beyond)]
        loose = [gap for lane in self._lanes.values() for gap in lane.gaps]
        return _together(found, [batch.numbers for batch in found], loose)


@dataclass(slots=True)
class _Batch:
    """Messages of one stream as they came, with the gaps before them."""

    messages: Messages
    times: npt.NDArray[np.int64]  # in a lane the largest so far: never falling
    numbers: npt.NDArray[np.int64]  # of arrival

    def of(self, rows: Sequence[int]) -> _Batch:
        """Return some of its messages, without gaps."""
        whole = self.messages
        if len(rows) == len(whole.payloads):
            return _Batch(whole._replace(gaps=[]), self.times, self.numbers)
        at = np.array(rows, np.int64)
        return _Batch(_picked([whole], rows, at), self.times[at], self.numbers[at])

    def cut(self, size: int) -> tuple[_Batch, _Batch]:
        """Return the first `size` messages, and those that are left."""
        ours, left = cut(self.messages, size)
        return (
            _Batch(ours, self.times[:size], self.numbers[:size]),
            _Batch(left, self.times[size:], self.numbers[size:]),
        )


class _Lane:
    """What is kept of one stream."""

    __slots__ = ("batches", "beyond", "bytes", "count", "end", "gaps", "newest", "open", "rank")

    def __init__(self, rank: int, at: int, end: int) -> None:
        self.rank = rank
        self.end = end
        self.open = at < end
        self.newest = _NEVER  # largest time so far, of what went too
        self.batches: deque[_Batch] = deque()
        self.beyond: list[_Batch] = []  # behind the end
        self.gaps: list[Note] = []  # before the next message
        self.count = self.bytes = 0  # of all that is kept, also behind the end

    def add(self, batch: _Batch, rows: Sequence[int], gaps: Sequence[Note]) -> None:
        """Take messages that were these rows of a poll, and the gaps of the stream in it."""
        placed = [gap._replace(row=0) for gap in self.gaps]
        placed += [gap._replace(row=bisect_left(rows, gap.row)) for gap in gaps]
        count = len(rows)
        self.gaps = [gap for gap in placed if gap.row == count]
        batch.messages.gaps[:] = [gap for gap in placed if gap.row < count]
        self.count += count
        self.bytes += _bytes(batch)
        ours = bisect_left(batch.messages.offsets, self.end)
        if ours < count:
            batch, beyond = batch.cut(ours)
            self.beyond.append(beyond)
        if ours:
            batch.times = np.maximum(np.maximum.accumulate(batch.times), self.newest)
            self.newest = int(batch.times[-1])
            self.batches.append(batch)

    def up_to(self, bound: tuple[int, int] | None) -> Iterator[_Batch]:
        """Yield what goes before every head that may still come behind `bound`, and let it go."""
        side: Literal["left", "right"] = "left"
        if bound is not None and self.rank <= bound[1]:
            side = "right"
        while self.batches:
            batch = self.batches.popleft()
            size = len(batch.times)
            if bound is not None:
                size = int(np.searchsorted(batch.times, bound[0], side))
            more = size < len(batch.times)
            if more:
                batch, left = batch.cut(size)
                self.batches.appendleft(left)
            self.count -= size
            self.bytes -= _bytes(batch)
            if size:
                yield batch
            if more:
                return


def _by_stream(streams: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """Return each stream and its rows."""
    if len({*streams}) == 1:
        return [(streams[0], range(len(streams)))]
    rows: dict[int, list[int]] = {}
    for row, stream in enumerate(streams):
        rows.setdefault(stream, []).append(row)
    return [*rows.items()]


def _bytes(batch: _Batch) -> int:
    return sum(len(payload or b"") for payload in batch.messages.payloads)


def _together(
    batches: Sequence[_Batch],
    keys: Sequence[npt.NDArray[np.int64]],
    loose: Sequence[Note] = (),
    *,
    catch_up: bool = False,
) -> Messages:
    """Return the messages of batches in the order of their keys, equal ones as they stand."""
    if not batches:
        return Messages([], [], [], [], [gap._replace(row=0) for gap in loose], catch_up)
    order = np.argsort(np.concatenate(keys), kind="stable")
    rows: list[int] = order.tolist()
    every = [batch.messages for batch in batches]
    gaps, base = [], 0
    stands = np.empty_like(order)
    stands[order] = np.arange(len(order))
    for messages in every:
        gaps += [gap._replace(row=int(stands[base + gap.row])) for gap in messages.gaps]
        base += len(messages.payloads)
    gaps.sort(key=lambda gap: gap.row)
    gaps += [gap._replace(row=len(rows)) for gap in loose]
    return _picked(every, rows, order)._replace(gaps=gaps, catch_up=catch_up)


def _picked(every: Sequence[Messages], rows: Sequence[int], at: npt.NDArray[np.int64]) -> Messages:
    """Return rows of several messages as if they were one; `at` are the same rows."""
    payloads = [one for messages in every for one in messages.payloads]
    streams = [one for messages in every for one in messages.streams]
    offsets = [one for messages in every for one in messages.offsets]
    broker_ms = [one for messages in every for one in messages.broker_ms]
    decoded = Decoded.together(every)
    return Messages(
        [payloads[row] for row in rows],
        [streams[row] for row in rows],
        [offsets[row] for row in rows],
        [broker_ms[row] for row in rows],
        [],
        decoded=None if decoded is None else decoded.of(at),
    )
