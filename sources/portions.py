"""How many ticks the loop takes at once: as many as strategies are done with soon.

Between two turns of the loop a stop is noticed, a control answered, a signal sent. A thousand ticks
are nothing to most strategies; with one that needs 50 ms a tick they would hold the loop for most
of a minute. How events are cut into batches changes no byte of a run, so what a clock said may.

Never here: a clock, or a message dropped or moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from parity.sources.decoding import Messages

TURN_NS: Final = 100_000_000  # what strategies are to take of a turn
_FIRST: Final = 8  # of strategies that are not known yet


class Portions:
    """Learns how large a portion may be from how long the last one took.

    Args:
        most: messages, or ticks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = min(_FIRST, most)
        self._given = 0

    def size(self, ready: int) -> int:
        """Return how many of those that are ready the loop gets now; 0 of none."""
        self._given = min(ready, self._size)
        if ready:
            self._size = min(self._most, 2 * self._size)
        return self._given

    def took(self, ns: int) -> None:
        """Learn what strategies took for the last portion; without them nobody says."""
        if 0 < self._given * TURN_NS < self._size * ns:
            self._size = max(1, self._given * TURN_NS // ns)
        self._given = 0  # a source may be asked in vain before it is told of a turn again


def cut(messages: Messages, size: int) -> tuple[Messages, Messages]:
    """Return the first `size` of messages, and those that are left.

    A gap goes with the message behind it.
    """
    ours = [gap for gap in messages.gaps if gap.row < size]
    left = [gap._replace(row=gap.row - size) for gap in messages.gaps if gap.row >= size]
    payloads, streams, offsets, broker_ms, _, flag, ahead = messages
    first = None if ahead is None else ahead.of(slice(None, size))
    others = None if ahead is None else ahead.of(slice(size, None))
    return (
        Messages(
            payloads[:size], streams[:size], offsets[:size], broker_ms[:size], ours, flag, first
        ),
        Messages(
            payloads[size:], streams[size:], offsets[size:], broker_ms[size:], left, flag, others
        ),
    )


def pieces(messages: Messages, size: int) -> Iterator[Messages]:
    """Yield the same in pieces of at most `size` messages."""
    while len(messages.payloads) > size:
        piece, messages = cut(messages, size)
        yield piece
    yield messages
