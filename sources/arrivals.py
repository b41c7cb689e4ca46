"""What a live source hands to the runner: decoded ticks, and the notes that stand between them.

Neither has a seq yet: order becomes a fact in the sequencer, and a note becomes a Control there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class Note(NamedTuple):
    """Something that happened between ticks, before record `row` of its Arrivals.

    `verb` and `detail` are those of the Control it becomes.
    """

    row: int
    verb: str
    detail: dict[str, Any]


class Arrivals(NamedTuple):
    """Ticks and notes in the order they came, and where each stream is read next."""

    records: npt.NDArray[Any]
    notes: list[Note]
    positions: dict[int, int]


Stream = tuple[str, int]  # topic and partition


class Place(NamedTuple):
    """A partition as it was lately; what the broker did not say yet is None.

    Args:
        next_offset: behind the last that was taken; what was read and waits is not.
        low: first offset that the broker still has.
        high: the offset behind its last.
    """

    topic: str
    partition: int
    next_offset: int
    low: int | None
    high: int | None


class LiveSource(Protocol):
    """A source that feeds a running engine; its methods are called in the order they stand here.

    Attributes:
        streams: (topic, partition) by dense id, known after `connect`.
    """

    streams: list[Stream]

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Start at recorded positions (the next offset of each stream)."""

    async def connect(self) -> None:
        """Find the streams, or raise ServiceDown within a bounded time."""

    def topic_ids(self) -> Mapping[str, str]:
        """Return the topics' ids at a broker, as far as it gives any; after `connect`."""

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """Take the dense ids of a recording."""

    def positions(self) -> dict[int, int]:
        """Return where each stream starts; kept before the first tick, so `latest` stays put."""

    def places(self) -> list[Place]:
        """Return where each partition is read and what the broker has; empty without a broker."""

    async def start(self) -> None:
        """Start reading."""

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return what came; nothing in it after `wait_s` of silence; None after the last."""

    def took(self, ns: int) -> None:
        """Learn how long strategies took for the last take; never told where there are none."""

    def stop(self) -> None:
        """Read no further; what was read already can still be taken."""

    async def close(self) -> None:
        """Let go of everything; a second call does nothing."""


class Decoder(Protocol):
    """Fills one tick record from one message, or raises Undecodable and writes nothing.

    Flags that only a sequencer gives, and NO_TS_RECV, are cleared whatever the message says.

    Attributes:
        dtype: of the records it fills: the `tick_dtype` of its instrument table.
        split: None where a message is one tick; else it gives the parts of a message (none of a
            heartbeat), each of which `decode_into` reads, or raises Undecodable for all of it.
        read_many: None, or what fills the records of payloads, streams, offsets and broker times in
            ms as `decode_into` would, where it can: it returns the rows that are left to that.
    """

    dtype: np.dtype[Any]

    @property
    def split(self) -> Callable[[bytes | None], Sequence[bytes]] | None:
        """What gives the parts of a message."""

    @property
    def read_many(self) -> Callable[..., Sequence[int]] | None:
        """What reads many messages at once."""

    def decode_into(
        self,
        payload: bytes | None,
        records: npt.NDArray[Any],
        row: int,
        stream: int = 0,
        offset: int = 0,
        broker_ns: int = 0,
    ) -> None:
        """Fill `records[row]`; `broker_ns` is ts_event where the message has no venue time."""


class EventDecoder(Protocol):
    """Reads one message of a topic of events; it is called once for each, in arrival order."""

    def read(self, payload: bytes | None, broker_ns: int) -> tuple[str, dict[str, Any]]:
        """Return verb and detail of the control it becomes, or raise Undecodable.

        `broker_ns` is the message's time at the broker.
        """
