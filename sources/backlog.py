"""When a reader is behind the head: the rounds of `CatchUp` until it is there.

A round begins at the start, where a connection came back, and where a partition was set anew. What
came to lie behind its ends meanwhile begins the next one, unless it is fresh: then arrival order
applies. While a round lasts, partitions of which enough is kept are held.

Never here: a broker or a clock of its own; whoever reads gives both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from parity.sources.catch_up import BYTES_MAX, MESSAGES_MAX, CatchUp
from parity.sources.decoding import Messages

FRESH_MS: Final = 1000  # younger is what the head has under way
_NOTHING: Final = Messages([], [], [], [], [])

_log = structlog.get_logger("parity.sources.backlog")


class Backlog:
    """Passes messages on: as they come at the head, merged behind it.

    Args:
        times: gives the time each message is merged by, and the messages with what was decoded.
        ends: takes the partitions' ends, by stream; one that does not answer is left out.
        hold: is told which streams are not to be read now, and which are again.
        now_s: this machine's time; a clock that is behind hides a backlog.
        messages_max: kept of one partition before it is held.
        bytes_max: the same in bytes.
    """

    def __init__(
        self,
        times: Callable[[Messages], tuple[Sequence[int], Messages]],
        ends: Callable[[], Mapping[int, int]],
        hold: Callable[[Iterable[int], Iterable[int]], None],
        now_s: Callable[[], float],
        *,
        messages_max: int = MESSAGES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._times = times
        self._ends = ends
        self._hold = hold
        self._now_s = now_s
        self._limits = {"messages_max": messages_max, "bytes_max": bytes_max}
        self._round: CatchUp | None = None
        self._held: frozenset[int] = frozenset()
        self._said = False

    def look(self, positions: Mapping[int, int]) -> None:
        """Begin a round, where none is under way; before anything read from there is passed on.

        Args:
            positions: the offset each stream is read from next, in the order of topic and
                partition.
        """
        if self._round is None:
            self._begin(positions, _NOTHING)

    def pass_on(self, messages: Messages, positions: Mapping[int, int]) -> Iterator[Messages]:
        """Yield what is next in order.

        Args:
            messages: as they were read.
            positions: as for `look`, behind `messages` and the holes that follow them.
        """
        if self._round is None:
            yield messages
            return
        self._add(self._round, messages)
        under_way: CatchUp | None = self._round
        while under_way is not None:
            for stream, position in positions.items():  # each round is told: its ends are others
                under_way.reach(stream, position)
            if under_way.behind and not self._said:
                self._said = True
                _log.info("catch_up")
            yield under_way.take()
            if not under_way.over:
                self._told(under_way.full)
                return
            rest = under_way.rest()
            if not under_way.behind:
                self._leave()
                yield rest
                return
            under_way = self._begin(positions, rest)

    def _begin(self, positions: Mapping[int, int], rest: Messages) -> CatchUp | None:
        starts = dict(positions)
        starts.update(zip(reversed(rest.streams), reversed(rest.offsets), strict=True))
        since_ms = int(self._now_s() * 1000) - FRESH_MS
        begun = self._round = CatchUp(starts, self._ends(), since_ms, **self._limits)
        self._add(begun, rest)
        if begun.over and not rest.payloads and not rest.gaps:
            self._leave()
        return self._round

    def _add(self, into: CatchUp, messages: Messages) -> None:
        times: Sequence[int] = [0] * len(messages.payloads)
        if into.merging:
            times, messages = self._times(messages)
        into.add(messages, times)

    def _leave(self) -> None:
        self._round = None
        self._told(frozenset())
        if self._said:
            self._said = False
            _log.info("caught_up")

    def _told(self, held: frozenset[int]) -> None:
        if held != self._held:
            was, self._held = self._held, held
            self._hold(sorted(held - was), sorted(was - held))
