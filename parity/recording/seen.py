"""What a sequencer has seen: the last place in each stream, and the last trade ids of each token.

In arrays, so that a loop over few ticks, numpy over many and a compiled pass go on from the same.
Never here: a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

NEVER: Final = -(2**63)


class Streams:
    """The last (offset, sub) of each stream, by its place.

    Attributes:
        places: of the streams seen.
        ids: the stream of each place.
        offsets: the last one of each place; NEVER before the first.
        subs: the last one of each place.
    """

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.ids = np.zeros(0, np.int64)
        self.offsets = np.zeros(0, np.int64)
        self.subs = np.zeros(0, np.int64)

    def place(self, stream: int) -> int:
        """Return a stream's place; a new one gets one."""
        found = self.places.get(stream)
        if found is None:
            found = self.places[stream] = len(self.ids)
            self.ids = np.append(self.ids, stream)
            self.offsets = np.append(self.offsets, NEVER)
            self.subs = np.append(self.subs, NEVER)
        return found

    def is_new(self, stream: int, offset: int, sub: int) -> bool:
        """Return whether a message lies beyond the last one of its stream, and take it then."""
        place = self.places.get(stream)
        if place is None:
            place = self.place(stream)
        last = self.offsets.item(place)
        if offset < last or (offset == last and sub <= self.subs.item(place)):
            return False
        self.offsets[place], self.subs[place] = offset, sub
        return True

    def last(self, stream: int) -> tuple[int, int]:
        """Return the last (offset, sub) of a stream."""
        place = self.place(stream)
        return self.offsets.item(place), self.subs.item(place)

    def leave(self, stream: int, last: tuple[int, int]) -> None:
        """Take the last (offset, sub) of a stream."""
        place = self.place(stream)
        self.offsets[place], self.subs[place] = last

    def snapshot(self) -> dict[int, list[int]]:
        """Return the last (offset, sub) by stream."""
        return {stream: list(self.last(stream)) for stream in sorted(self.places)}

    def restore(self, state: Mapping[Any, Sequence[int]]) -> None:
        """Take back what snapshot() gave."""
        for stream, (offset, sub) in state.items():
            self.leave(int(stream), (offset, sub))


class TradeIds:
    """The last different trade ids of each instrument, oldest leaving first.

    Args:
        instruments: how many there are.
        kept: ids of each.

    Attributes:
        places: by dense id: where its ids are, or -1 before its first.
        rings: by place: the ids.
        counts: by place: of all ever kept; the ring holds the last ones.
        largest: by place: of all, also of those that left.
    """

    def __init__(self, instruments: int, kept: int) -> None:
        self._kept = kept
        self._used = 0
        self.places = np.full(instruments, -1, np.int64)
        self.rings = np.zeros((0, kept), np.int64)
        self.counts = np.zeros(0, np.int64)
        self.largest = np.zeros(0, np.int64)

    def place(self, dense: int) -> int:
        """Return where an instrument's ids are; a new one gets a place."""
        place: int = self.places.item(dense)
        if place < 0:
            place = self.places[dense] = self._used
            self._used += 1
            if self._used > len(self.rings):
                self._grow(max(4, 2 * len(self.rings)))
        return place

    def _grow(self, size: int) -> None:
        # Only what is there is copied: pages of a ring that nobody wrote to cost no memory.
        old, more = self.rings, size - len(self.rings)
        self.rings = np.zeros((size, self._kept), np.int64)
        for place, count in enumerate(self.counts.tolist()):
            self.rings[place, :count] = old[place, :count]
        self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])
        self.largest = np.concatenate([self.largest, np.full(more, NEVER)])

    def add(self, dense: int, trade_id: int) -> bool:
        """Return whether the id was seen; remember it if not."""
        place = self.places.item(dense)
        if place < 0:
            place = self.place(dense)
        count = self.counts.item(place)
        if trade_id > self.largest.item(place):  # the usual case, without a search
            self.largest[place] = trade_id
        elif (self.rings[place, :count] == trade_id).any():
            return True
        self.rings[place, count % self._kept] = trade_id
        self.counts[place] = count + 1
        return False

    def add_all(self, dense: int, ids: npt.NDArray[np.int64]) -> Any:
        """Do the same for many, in order."""
        place = self.place(dense)
        rising = ids.item(0) > self.largest[place] and bool((ids[1:] > ids[:-1]).all())
        if rising or self._are_new(place, ids):
            self.largest[place] = max(self.largest.item(place), ids.max())
            kept = ids[-self._kept :]
            at = self.counts.item(place) + len(ids) - len(kept)
            self.rings[place, np.arange(at, at + len(kept)) % self._kept] = kept
            self.counts[place] += len(ids)
            return False
        return self._add_each(place, ids.tolist())

    def _are_new(self, place: int, ids: npt.NDArray[np.int64]) -> bool:
        # Out of order, but none twice and none that is kept: none of them is seen.
        ordered = np.sort(ids)
        if (ordered[1:] == ordered[:-1]).any():
            return False
        older = ids[ids <= self.largest[place]]
        return not np.isin(older, self.rings[place, : self.counts[place]]).any()

    def _add_each(self, place: int, ids: list[int]) -> list[bool]:
        ring, count = self.rings[place], self.counts.item(place)
        known = set(ring[:count].tolist())
        seen = []
        for trade_id in ids:
            was = trade_id in known
            seen.append(was)
            if not was:
                at = count % self._kept
                if count >= self._kept:
                    known.discard(ring.item(at))
                ring[at] = trade_id
                known.add(trade_id)
                count += 1
        self.counts[place] = count
        self.largest[place] = max(self.largest.item(place), *ids)
        return seen

    def snapshot(self, tokens: npt.NDArray[np.int64]) -> dict[int, list[Any]]:
        """Return the largest id and what is kept, oldest first, by token."""
        found: dict[int, list[Any]] = {}
        for dense in np.flatnonzero(self.places >= 0).tolist():
            place, count = self.places.item(dense), self.counts.item(self.places[dense])
            ring = self.rings[place, :count].tolist()
            at = count % self._kept if count >= self._kept else 0
            found[tokens.item(dense)] = [self.largest.item(place), [*ring[at:], *ring[:at]]]
        return found

    def restore(self, dense: int, largest: int, ids: Sequence[int]) -> None:
        """Take back what snapshot() gave of one instrument."""
        place = self.place(dense)
        self.rings[place, : len(ids)] = ids
        self.counts[place] = len(ids)
        self.largest[place] = largest
