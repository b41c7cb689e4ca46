"""One runner of several: a source that reads some partitions, and ends where that no longer holds.

Ticks are keyed by instrument token, so an instrument is on the partition that the producers'
partitioner gives its key. Where the source sees otherwise, or the topics have other partitions than
at the start, it ends: what came before is whole, and what ended it is kept for whoever asks.

Never here: a connection, or a strategy.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.model.errors import ConfigError, ParityError, ServiceDown, did_you_mean

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.sources.arrivals import Arrivals, LiveSource, Place, Stream

WATCH_S: Final = 5.0  # between two looks at how many partitions the topics have
DEFAULT: Final = "consistent_random"  # librdkafka's own, and so that of `parity produce`

_log = structlog.get_logger("parity.sources.pinned")


def partition_of(token: int, partitions: int, partitioner: str = DEFAULT) -> int:
    """Return the partition of a topic on which an instrument's ticks are.

    Args:
        token: the instrument's; its decimal digits are the messages' key.
        partitions: how many the topic has.
        partitioner: one of PARTITIONERS, as librdkafka names them.

    >>> [partition_of(token, 6) for token in (900001, 900002, 900003)]
    [2, 0, 4]
    """
    return PARTITIONERS[partitioner](str(token).encode()) % partitions


def check_partitioner(name: object) -> str:
    """Return a partitioner's name; raises ConfigError for one that keeps no key in its place."""
    if name not in PARTITIONERS:
        raise ConfigError(
            f"librdkafka.partitioner: expected one of {', '.join(PARTITIONERS)}, was {name!r}",
            cure=f"name the one that the producers of the ticks have; "
            f"{did_you_mean(str(name), PARTITIONERS)}",
        )
    return str(name)


def _crc32(key: bytes) -> int:
    return zlib.crc32(key)


def _murmur2(key: bytes) -> int:
    # MurmurHash2 by Austin Appleby, 32 bits, with the seed and the sign bit of Kafka's Java client.
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


PARTITIONERS: Final[dict[str, Callable[[bytes], int]]] = {
    "consistent_random": _crc32,
    "consistent": _crc32,
    "murmur2_random": _murmur2,
    "murmur2": _murmur2,
}


class PinnedSource:
    """A source of some partitions of each topic of ticks.

    Args:
        source: reads these partitions and no others.
        counts: of each topic of ticks, how many partitions it had as the run began.
        look: returns the same as it is now, within a second or so, in a thread; 0 is a topic that
            is not there. ServiceDown says nothing: the source itself waits for a broker.
        partitioner: by which instruments have their partitions; None holds none against it.
        watch_s: between two looks.

    Attributes:
        streams: those of the source.
        ended: why the source ended before its time; None while it has not.
    """

    def __init__(
        self,
        source: LiveSource,
        counts: Mapping[str, int],
        look: Callable[[], Mapping[str, int]],
        *,
        partitioner: str | None = DEFAULT,
        watch_s: float = WATCH_S,
    ) -> None:
        self.ended: ParityError | None = None
        self._source = source
        self._counts = dict(counts)
        self._look = look
        self._partitioner = partitioner
        self._watch_s = watch_s
        self._right: set[tuple[int, int]] = set()  # (token, stream) pairs that are as they should
        self._watching: asyncio.Task[None] | None = None

    @property
    def streams(self) -> list[Stream]:
        """(topic, partition) by dense id."""
        return self._source.streams

    @streams.setter
    def streams(self, streams: list[Stream]) -> None:
        self._source.streams = streams

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Start at recorded positions."""
        self._source.start_at(positions)

    async def connect(self) -> None:
        """Find the streams."""
        await self._source.connect()

    def topic_ids(self) -> Mapping[str, str]:
        """Return the topics' ids."""
        return self._source.topic_ids()

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """Take the dense ids of a recording."""
        self._source.name_streams(ids)

    def positions(self) -> dict[int, int]:
        """Return where each stream starts."""
        return self._source.positions()

    def places(self) -> list[Place]:
        """Return where each partition is read and what the broker has."""
        return self._source.places()

    async def start(self) -> None:
        """Start reading, and looking at the topics."""
        await self._source.start()
        self._watching = asyncio.create_task(self._watch())

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return what came; None at the end, and where the source cannot go on: `ended` says why.

        A batch with an instrument on another partition than its own is not handed over at all.
        """
        try:
            arrived = await self._source.take(wait_s)
        except ServiceDown as error:  # what was read before has been taken
            self._end(error)
            return None
        if arrived is not None and self._partitioner is not None:
            wrong = self._wrong(arrived.records, self._partitioner)
            if wrong is not None:
                self._end(wrong)
                return None
        return arrived

    def took(self, ns: int) -> None:
        """Learn how long strategies took."""
        self._source.took(ns)

    def stop(self) -> None:
        """Read no further."""
        self._source.stop()

    async def close(self) -> None:
        """Let go of everything."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await self._source.close()

    def _end(self, why: ParityError) -> None:
        if self.ended is None:
            self.ended = why
            _log.error("assignment_lost", reason=why.message)
        self._source.stop()

    def _wrong(self, records: npt.NDArray[Any], partitioner: str) -> ConfigError | None:
        tokens, streams = records["instrument_token"], records["stream"]
        for token, stream in {*zip(tokens.tolist(), streams.tolist(), strict=True)} - self._right:
            topic, partition = self.streams[stream]
            own = partition_of(token, self._counts[topic], partitioner)
            if partition != own:
                return ConfigError(
                    f"instrument {token} came on {topic}[{partition}], and by the partitioner "
                    f"{partitioner} of {self._counts[topic]} partitions its ticks are on {own}",
                    cure="set librdkafka.partitioner to that of the topic's producers, whose key "
                    "must be the token alone; else read all partitions in one runner",
                )
            self._right.add((token, stream))
        return None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._watch_s)
            try:
                now = await asyncio.to_thread(self._look)
            except ServiceDown:
                continue
            for topic, count in self._counts.items():
                if now.get(topic, 0) != count:
                    self._end(_other_count(topic, count, now.get(topic, 0)))
                    return


def _other_count(topic: str, then: int, now: int) -> ServiceDown:
    if not now:
        return ServiceDown(
            f"topic {topic}: it is no longer there; all that was read of it is sealed",
            cure="create it, and begin new runs",
        )
    return ServiceDown(
        f"topic {topic}: it has {now} partitions, and had {then} at the start: instruments move "
        "to other partitions; all that was read is sealed",
        cure="begin new runs, with the partitions that their instruments have now",
    )
