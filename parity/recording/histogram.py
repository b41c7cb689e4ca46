"""How many ticks lie where in time: exact counts in few buckets, in one pass and bounded memory.

Buckets begin at whole multiples of their width since 1970 UTC, so they have round labels. They
widen along a ladder where each width divides the next, so that widening loses nothing.
"""

from __future__ import annotations

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
