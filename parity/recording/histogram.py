"""How many ticks lie where in time, and how long things took: exact counts in few buckets.

Buckets of time begin at whole multiples of their width since 1970 UTC, so they have round labels.
They widen along a ladder where each width divides the next, so that widening loses nothing. Those
of durations are as wide as their values are large. Both take one pass and bounded memory.
Never here: a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MS: Final = 1_000_000
SECOND: Final = 1000 * MS
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
LADDER: Final = (
    MS, 10 * MS, 100 * MS, SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE,
    30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY,
    3640 * DAY,
)  # fmt: skip
BUCKETS_MAX: Final = 480
INSTRUMENTS_MAX: Final = 8  # more are counted together


class Histogram:
    """Counts of ticks by time and instrument.

    Args:
        instruments: how many there are; above INSTRUMENTS_MAX they are counted together.
    """

    def __init__(self, instruments: int) -> None:
        self.rows = instruments if instruments <= INSTRUMENTS_MAX else 1
        self._rung = 0
        self._counts: dict[int, Ints] = {}  # number of the bucket -> ticks by instrument

    @property
    def width_ns(self) -> int:
        """The width of a bucket."""
        return LADDER[self._rung]

    @property
    def apart(self) -> bool:
        """Whether instruments are counted apart."""
        return self.rows > 1

    def add(self, ts_event: Ints, dense: npt.NDArray[np.int32]) -> None:
        """Count ticks.

        Args:
            ts_event: their instants.
            dense: dense ids of their instruments.
        """
        if not len(ts_event):
            return
        first, last = int(ts_event.min()), int(ts_event.max())
        if self._counts:
            first = min(first, min(self._counts) * self.width_ns)
            last = max(last, (max(self._counts) + 1) * self.width_ns - 1)
        while last // self.width_ns - first // self.width_ns >= BUCKETS_MAX:
            self._widen()
        numbers = ts_event // self.width_ns
        low = int(numbers.min())
        span = int(numbers.max()) - low + 1
        keys = numbers - low
        if self.apart:
            keys = keys + dense.astype(np.int64) * span
        counts = np.bincount(keys, minlength=self.rows * span).reshape(self.rows, span)
        for at in np.flatnonzero(counts.any(axis=0)).tolist():
            known = self._counts.get(low + at)
            self._counts[low + at] = counts[:, at] + (0 if known is None else known)

    def _widen(self) -> None:
        self._rung += 1
        factor = LADDER[self._rung] // LADDER[self._rung - 1]
        wider: dict[int, Ints] = {}
        for number, counts in self._counts.items():
            known = wider.get(number // factor)
            wider[number // factor] = counts if known is None else known + counts
        self._counts = wider

    def within(self, buckets_max: int) -> tuple[int, list[tuple[int, list[int]]]]:
        """Return the counts in so few buckets; empty ones between are there, too.

        Returns:
            Width in ns, and (start in ns, ticks by instrument or of all) of each bucket.
        """
        if not self._counts:
            return self.width_ns, []
        rung, counts = self._rung, self._counts
        while max(counts) - min(counts) >= buckets_max and rung + 1 < len(LADDER):
            wider = Histogram(self.rows)
            wider._rung, wider._counts = rung, counts
            wider._widen()
            rung, counts = wider._rung, wider._counts
        width, none = LADDER[rung], np.zeros(self.rows, np.int64)
        return width, [
            (number * width, counts.get(number, none).tolist())
            for number in range(min(counts), max(counts) + 1)
        ]

    def to_json(self, tokens: list[int]) -> dict[str, Any]:
        """Return plain values: buckets that hold ticks, their starts in ns."""
        width, buckets = self.within(BUCKETS_MAX)
        return {
            "bucket_ns": width,
            "instruments": tokens if self.apart else None,
            "buckets": [
                {"start_ns": start, "ticks": sum(counts), "by_instrument": counts}
                if self.apart
                else {"start_ns": start, "ticks": sum(counts)}
                for start, counts in buckets
                if any(counts)
            ],
        }


SUB_BUCKETS: Final = 32  # in each power of two, so a bucket is at most 1/32 of its values wide
_EXACT: Final = 2 * SUB_BUCKETS  # below, each value has a bucket of its own
_SHIFT: Final = _EXACT.bit_length() - 1
NS_MAX: Final = 2**53 - 1  # 104 days; what is longer is counted there
_BUCKETS: Final = SUB_BUCKETS * (53 - _SHIFT) + _EXACT
_FOLDED_EACH: Final = 4096


class Durations:
    """How long something took, often: exact counts in buckets that widen with the value.

    Buckets are those of an HDR histogram with 32 to a power of two, so a quantile is at most
    1/32 above the exact one, and the largest value is exact. Sums of two are sums of counts.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._waiting: list[int] = []
        self._sum_ns = self._max_ns = 0
        # Called for every tick: a list takes a value in a tenth of what a bucket costs.
        self._append = self._waiting.append

    def add(self, ns: int) -> None:
        """Count one; below 0 is 0."""
        self._append(ns)
        if len(self._waiting) >= _FOLDED_EACH:
            self._fold()

    def _fold(self) -> None:
        if not self._waiting:
            return
        # In place of what another thread may append meanwhile: only what is taken is removed.
        taken = self._waiting[:]
        del self._waiting[: len(taken)]
        values = np.clip(np.array(taken, np.int64), 0, NS_MAX)
        self._sum_ns += int(values.sum())
        self._max_ns = max(self._max_ns, int(values.max()))
        _, bits = np.frexp(values.astype(np.float64))  # exact below 2^53
        shift = np.maximum(bits - _SHIFT, 0)
        self._counts += np.bincount(SUB_BUCKETS * shift + (values >> shift), minlength=_BUCKETS)

    @property
    def count(self) -> int:
        """How many were counted."""
        return int(self._counts.sum()) + len(self._waiting)

    @property
    def sum_ns(self) -> int:
        """All of them together."""
        self._fold()
        return self._sum_ns

    @property
    def max_ns(self) -> int:
        """The longest; 0 where there was none."""
        self._fold()
        return self._max_ns

    def quantile(self, share: float) -> int:
        """Return a value that at least this share does not exceed; 0 where there was none.

        Args:
            share: 0 < share ≤ 1, as 0.99.
        """
        self._fold()
        total = int(self._counts.sum())
        if not total:
            return 0
        rank = max(1, math.ceil(share * total))
        at = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_last_of(at), self._max_ns)

    def below(self, bounds_ns: Sequence[int]) -> list[int]:
        """Return how many lie in buckets that end at a bound or before, for each of them."""
        self._fold()
        lasts = np.array([_last_of(at) for at in range(_BUCKETS)])
        totals = np.concatenate([[0], np.cumsum(self._counts)])
        return [int(totals[np.searchsorted(lasts, bound, side="right")]) for bound in bounds_ns]

    def merge(self, kept: Mapping[str, Any]) -> None:
        """Add what another one counted, as its to_json() gave it.

        Raises:
            ValueError: it is not what to_json() gives.
        """
        self._fold()
        for at, count in kept["buckets"]:
            if not 0 <= at < _BUCKETS or count < 0:
                raise ValueError(f"bucket {at} with {count}")
            self._counts[at] += count
        self._sum_ns += int(kept["sum_ns"])
        self._max_ns = max(self._max_ns, int(kept["max_ns"]))

    def to_json(self) -> dict[str, Any]:
        """Return plain values: what is not 0, by the number of its bucket."""
        self._fold()
        full = np.flatnonzero(self._counts).tolist()
        return {
            "count": int(self._counts.sum()),
            "sum_ns": self._sum_ns,
            "max_ns": self._max_ns,
            "buckets": [[at, int(self._counts[at])] for at in full],
        }


def _last_of(bucket: int) -> int:
    """Return the largest value of a bucket."""
    if bucket < _EXACT:
        return bucket
    shift = bucket // SUB_BUCKETS - 1
    return int(((bucket - SUB_BUCKETS * shift + 1) << shift) - 1)
