"""All messages that a topic holds now, for those who compare: read once, to the ends as they are.

Nothing is committed, and what arrives later is not waited for. Never here: what a message means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from parity.model.errors import ConfigError
from parity.publishers.redpanda.connection import CONNECT_LIMIT_S, no_answer
from parity.publishers.redpanda.reading_back import bounds_of, consumer_of, read_to

if TYPE_CHECKING:
    from confluent_kafka import Message


def messages_of(
    servers: str, topic: str, settings: Mapping[str, Any] | None = None
) -> Iterator[tuple[bytes, str]]:
    """Yield each message's payload and its place, `topic[partition]@offset`, by partition.

    Args:
        servers: where to connect.
        topic: all of its partitions.
        settings: librdkafka settings; those of the connection are taken.

    Raises:
        ConfigError: there is no such topic.
        ServiceDown: the broker does not answer.
    """
    from confluent_kafka import KafkaException

    consumer = consumer_of(servers, settings or {})
    try:
        bounds = bounds_of(consumer, topic, CONNECT_LIMIT_S)
        if not bounds:
            raise ConfigError(
                f"topic {topic!r} is not at {servers}", cure="name a topic that is there, or a file"
            )
        for partition, (low, high) in sorted(bounds.items()):
            found: list[Message] = []
            if low < high:
                place = (topic, partition, low)
                read_to(consumer, place, high, CONNECT_LIMIT_S, found.append)
            for message in found:
                yield message.value() or b"", f"{topic}[{partition}]@{message.offset()}"
    except KafkaException as error:
        raise no_answer(servers, CONNECT_LIMIT_S, error) from None
    finally:
        consumer.close()
