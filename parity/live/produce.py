"""Ticks of a recording to a topic, in their order, at a pace: what a live run can then record.

Only what was delivered to executors is sent: a duplicate or skewed tick is left out and counted,
because its verdict does not travel and the reader would take it for a good one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.model.errors import ConfigError
from parity.model.ticks import SEQUENCER_BITS, UNDELIVERED, TickBatch
from parity.publishers.redpanda import TickProducer
from parity.sources.codecs.native import encode_batch

if TYPE_CHECKING:
    from parity.model.protocols import TickSource

_CHUNK_ROWS: Final = 4096
_TURN_S: Final = 0.01  # a pace is kept by sending what is due every turn


class Produced(msgspec.Struct, frozen=True):
    """What was sent: ticks delivered, ticks left out for their verdict, and the time it took."""

    ticks: int
    left_out: int
    bytes: int
    seconds: float


def produce(
    recording: TickSource,
    topic: str,
    *,
    bootstrap: str,
    pace: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
    create: bool = False,
    partitions: int = 1,
) -> Produced:
    """Send all ticks of a recording, keyed by instrument token, and wait for the reports.

    Args:
        recording: where the ticks come from.
        topic: where they go.
        bootstrap: the broker.
        pace: ticks a second; None is as fast as it goes.
        settings: librdkafka producer settings, passed through.
        progress: called with the number of ticks queued so far.
        create: create the topic where it is not there.
        partitions: of the topic; 1 sends to partition 0 by name, more let the key choose.

    Raises:
        ServiceDown: the broker does not answer, or did not take a message.
        ConfigError: a pace or a number of partitions below what makes sense.
    """
    if pace is not None and not pace > 0:
        raise ConfigError(f"pace: expected ticks a second above 0, was {pace}")
    if partitions < 1:
        raise ConfigError(f"partitions: expected at least 1, was {partitions}")
    started = time.monotonic()
    queued = left_out = size = 0
    only = 0 if partitions == 1 else None
    with TickProducer(bootstrap, topic, partition=only, settings=settings) as producer:
        if create:
            producer.create_topic(partitions)
        for batch in recording.batches():
            ticks, refused = _deliverable(batch.ticks)
            left_out += refused
            for piece in _pieces(ticks, pace):
                _wait_until(started + queued / pace if pace else 0.0)
                payloads = encode_batch(piece)
                keys = map(str, piece.column("instrument_token").tolist())
                producer.send(zip(keys, payloads, strict=True))
                queued += len(piece)
                size += sum(map(len, payloads))
                if progress is not None:
                    progress(queued)
    return Produced(producer.delivered, left_out, size, time.monotonic() - started)


def _deliverable(ticks: TickBatch) -> tuple[TickBatch, int]:
    records = ticks.to_records()
    kept = records[(records["flags"] & np.uint32(UNDELIVERED)) == 0]
    kept["flags"] &= np.uint32(~SEQUENCER_BITS & 0xFFFF_FFFF)
    return TickBatch.from_records(kept, ticks.table), len(records) - len(kept)


def _pieces(ticks: TickBatch, pace: float | None) -> Iterator[TickBatch]:
    rows = _CHUNK_ROWS if pace is None else max(1, min(_CHUNK_ROWS, int(pace * _TURN_S)))
    for lo in range(0, len(ticks), rows):
        yield ticks.slice(lo, min(lo + rows, len(ticks)))


def _wait_until(instant: float) -> None:
    left = instant - time.monotonic()
    if left > 0:
        time.sleep(left)
