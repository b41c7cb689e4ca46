"""A live source behind a past: the ticks of warm-up first, flagged, then what is live.

The past is a recording, so where its reading is stands among the recorded positions as that of any
stream: a run that was killed amid its warm-up goes on there, one that is warm reads no more of it.
Where a live stream does not begin at the past's own offset, the first tick of each instrument says
by its trade id whether it follows; else a gap stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from parity.model import ticks as flag
from parity.sources.arrivals import Arrivals, LiveSource, Note, Place, Stream
from parity.sources.paced import PacedSource

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.recording.reader import Recording

    Ids = npt.NDArray[np.int64]

NAME: Final = "(warm-up)"  # of the stream; no topic can be called so
REASON: Final = "warm_up"

_log = structlog.get_logger("parity.sources.warmed")


class WarmedSource:
    """Hands over a past, then what a live source has.

    Args:
        past: the ticks of the warm-up.
        inner: the live source, not connected yet.
        begin: where its streams begin that have no recorded position.
        joined: streams that begin at the very offset behind the past.
        waiting: trade ids of the past by instrument, of instruments whose first live tick on
            another stream is still to come.

    Attributes:
        streams: those of the live source, and behind them the past.
    """

    def __init__(
        self,
        past: Recording,
        inner: LiveSource,
        *,
        begin: Mapping[Stream, int],
        joined: frozenset[Stream] = frozenset(),
        waiting: Mapping[int, Ids] | None = None,
    ) -> None:
        self.streams: list[Stream] = []
        self._warm = PacedSource(past, NAME)
        self._inner = inner
        self._begin = dict(begin)
        self._joined = joined
        self._joined_ids: set[int] = set()
        self._waiting = dict(waiting or {})
        self._live = self._stopped = False
        self._ticks = 0

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Start at recorded positions, else where the past ends; before `connect`."""
        self._warm.start_at(positions)
        self._inner.start_at({**self._begin, **positions})
        self._begin = {}

    async def connect(self) -> None:
        """Connect the live source, which begins where it joins the past."""
        if self._begin:
            self._inner.start_at(self._begin)
        await self._inner.connect()
        self.streams = [*self._inner.streams, *self._warm.streams]

    def topic_ids(self) -> Mapping[str, str]:
        """Return those of the live source."""
        return self._inner.topic_ids()

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """Take the dense ids of a recording."""
        self._warm.name_streams(ids)
        self._inner.name_streams(ids)
        self._joined_ids = {ids[stream] for stream in self._joined if stream in ids}

    def positions(self) -> dict[int, int]:
        """Return where each stream starts, the past included."""
        return {**self._inner.positions(), **self._warm.positions()}

    def places(self) -> list[Place]:
        """Return those of the live source."""
        return self._inner.places()

    async def start(self) -> None:
        """Start with the past; the live source is read when that is over."""
        await self._warm.start()

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return what comes next, as the live source does."""
        if not self._live:
            arrived = await self._warm.take(wait_s)
            if arrived is not None:
                arrived.records["flags"] |= np.uint32(flag.WARMUP)
                self._ticks += len(arrived.records)
                return arrived
            if self._stopped:
                return None
            await self._inner.start()
            self._live = True
            if self._ticks:  # none where a run goes on that is warm
                _log.info("warmed_up", ticks=self._ticks)
        arrived = await self._inner.take(wait_s)
        if arrived is None or not self._waiting or not len(arrived.records):
            return arrived
        return self._marked(arrived)

    def took(self, ns: int) -> None:
        """Tell the one that is read."""
        (self._inner if self._live else self._warm).took(ns)

    def stop(self) -> None:
        """Read no further; a past that is not over yet goes on with the next start."""
        self._stopped = True
        self._warm.stop()
        if self._live:
            self._inner.stop()

    async def close(self) -> None:
        """Let go of both."""
        await self._warm.close()
        await self._inner.close()

    def _marked(self, arrived: Arrivals) -> Arrivals:
        """Put a gap before the first tick of an instrument that cannot be told to follow."""
        tokens = arrived.records["instrument_token"]
        notes = []
        for token in sorted(self._waiting.keys() & set(tokens.tolist())):
            row = int(np.argmax(tokens == token))
            known = self._waiting.pop(token)
            if not self._follows(arrived.records[row], known):
                detail = {"instrument_token": token, "reason": REASON}
                notes.append(
                    Note(row, "gap", {"stream": int(arrived.records[row]["stream"])} | detail)
                )
        if not notes:
            return arrived
        notes = sorted([*arrived.notes, *notes], key=lambda note: note.row)
        return arrived._replace(notes=notes)

    def _follows(self, tick: Any, known: Ids) -> bool:
        if int(tick["stream"]) in self._joined_ids:
            return True
        if tick["flags"] & flag.NO_TRADE_ID or not len(known):
            return False
        # One that it has is a duplicate, and what is behind it in the stream follows.
        return bool((known == tick["trade_id"]).any()) or int(tick["trade_id"]) == known.max() + 1
