"""Reading a topic back beside a consumer that fails: what it said is told to who waits."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from parity.model.errors import ServiceDown
from parity.publishers.redpanda.reading_back import bounds_of, read_to

PLACE = ("paper.signals.raw", 3, 5)


class Consumer:
    """Hands out what it was made with, an error or an offset at a time, and nothing after that."""

    def __init__(self, *parts: KafkaError | int) -> None:
        self._parts = list(parts)
        self.asked = 0

    def assign(self, places: Any) -> None:
        """Take any."""

    def consume(self, count: int, timeout: float) -> list[Any]:
        """Return the next part."""
        self.asked += 1
        if not self._parts:
            return []
        part = self._parts.pop(0)
        error, offset = (part, None) if isinstance(part, KafkaError) else (None, part)
        return [SimpleNamespace(error=lambda: error, offset=lambda: offset)]


def read(consumer: Any, limit_s: float) -> list[int]:
    """Read it to offset 8, and return the offsets that came."""
    offsets: list[int] = []
    read_to(consumer, PLACE, 8, limit_s, lambda message: offsets.append(message.offset() or 0))
    return offsets


def test_the_last_error_is_named() -> None:
    """Who waited in vain is told what the broker said last."""
    consumer = Consumer(
        KafkaError(KafkaError._TRANSPORT, "no line"),
        KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not for you"),
    )
    with pytest.raises(ServiceDown, match=re.escape("before offset 8: not for you")):
        read(consumer, 0.05)
    assert consumer.asked > 2, "an error that may pass is waited for"


def test_an_error_that_passed_is_not_named() -> None:
    """Once messages came again, what was wrong before explains no silence."""
    consumer = Consumer(KafkaError(KafkaError._TRANSPORT, "no line"), 5)
    with pytest.raises(ServiceDown, match="before offset 8; start again"):
        read(consumer, 0.05)


def test_a_fatal_error_is_not_waited_for() -> None:
    """What the client cannot come back from is said at once."""
    consumer = Consumer(KafkaError(KafkaError._FATAL, "gone for good", True), 5, 6, 7)
    with pytest.raises(ServiceDown, match="gone for good"):
        read(consumer, 60)
    assert 1 == consumer.asked


def test_errors_that_pass_cost_nothing() -> None:
    """Messages behind an error are read, to the end of what was asked for."""
    consumer = Consumer(KafkaError(KafkaError._TRANSPORT, "no line"), 5, 6, 7)
    assert [5, 6, 7] == read(consumer, 60)


class Leaderless:
    """Has a topic of one partition, whose bounds are told behind as many errors as are given."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)

    def list_topics(self, timeout: float) -> Any:
        """Return the one topic."""
        topic = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics={PLACE[0]: topic})

    def get_watermark_offsets(self, place: Any, timeout: float) -> tuple[int, int]:
        """Raise the next error, or return the bounds."""
        if self._codes:
            raise KafkaException(KafkaError(self._codes.pop(0)))
        return 5, 8


def test_bounds_are_asked_again_while_a_leader_changes() -> None:
    """A broker that is just choosing a leader answers at once, with an error that passes."""
    passing: Any = Leaderless(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION)
    assert {0: (5, 8)} == bounds_of(passing, PLACE[0], 30)


def test_bounds_are_not_asked_for_ever() -> None:
    """Neither what may not be read, nor a leader that does not come in time."""
    for codes, limit_s in (
        ([KafkaError.TOPIC_AUTHORIZATION_FAILED], 30),
        ([KafkaError.NOT_LEADER_FOR_PARTITION] * 99, 0.05),
    ):
        consumer: Any = Leaderless(*codes)
        with pytest.raises(KafkaException):
            bounds_of(consumer, PLACE[0], limit_s)
