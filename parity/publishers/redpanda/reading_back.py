"""Reading a topic of ours back to its end: what has arrived there already is not sent again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import ServiceDown
from parity.publishers.redpanda.connection import client_of, report

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

Bounds = tuple[int, int]  # the first offset that is there, and the end
AGAIN_S: Final = 0.1  # between two questions of which the first found no leader
_SHARED: Final = ("sasl.", "ssl.", "security.")  # of a producer's settings, what a consumer needs


def consumer_of(servers: str, own: Mapping[str, Any]) -> Consumer:
    """Return a consumer that is assigned by hand and commits nothing."""
    from confluent_kafka import Consumer

    settings: dict[str, Any] = {
        "bootstrap.servers": servers,
        "group.id": "parity-read-back",  # librdkafka wants one; nothing is committed
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        **{k: v for k, v in own.items() if k.startswith(_SHARED)},
        "error_cb": report,
    }
    return client_of(Consumer, settings)


def bounds_of(consumer: Consumer, topic: str, limit_s: float) -> dict[int, Bounds]:
    """Return the bounds of each partition; of a topic that is not there none.

    Raises:
        KafkaException: no answer in time.
    """
    deadline = time.monotonic() + limit_s
    found = consumer.list_topics(timeout=limit_s).topics.get(topic)
    if found is None or found.error is not None:
        return {}
    return {p: _bounds(consumer, (topic, p), deadline) for p in found.partitions}


def _bounds(consumer: Consumer, place: tuple[str, int], deadline: float) -> Bounds:
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    while True:
        left_s = max(deadline - time.monotonic(), 0.1)
        try:
            return consumer.get_watermark_offsets(TopicPartition(*place), left_s)
        except KafkaException as raised:
            # While a partition's leader changes, the answer comes at once and is an error.
            passes = raised.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED
            if not passes or time.monotonic() + AGAIN_S >= deadline:
                raise
            time.sleep(AGAIN_S)


def read_to(
    consumer: Consumer, place: tuple[str, int, int], end: int, limit_s: float,
    each: Callable[[Message], None],
) -> None:  # fmt: skip
    """Read one partition from (topic, partition, offset) up to `end`.

    Raises:
        ServiceDown: nothing came for `limit_s`, or an error that the client cannot come back from;
            the last error is named.
    """
    from confluent_kafka import KafkaError, TopicPartition

    consumer.assign([TopicPartition(*place)])
    deadline, last = time.monotonic() + limit_s, ""
    while time.monotonic() < deadline:
        for message in consumer.consume(1000, timeout=0.1):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return  # its end may be a transaction's marker, which is no message
                last = f": {error.str()}"
                if error.fatal():
                    raise _stopped(place, end, last)
                continue
            deadline, last = time.monotonic() + limit_s, ""
            each(message)
            if (message.offset() or 0) + 1 >= end:
                return
    raise _stopped(place, end, last)


def _stopped(place: tuple[str, int, int], end: int, why: str) -> ServiceDown:
    return ServiceDown(
        f"{place[0]}[{place[1]}]: reading it back stopped before offset {end}{why}",
        cure="start again when the broker is well; nothing was sent",
    )
