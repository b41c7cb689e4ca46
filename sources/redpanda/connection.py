"""Connections to a broker: the consumer that reads, and how one that is silent is named.

Never here: a message, or what was recorded of a topic.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from parity.model.errors import ServiceDown, setting_refused

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

    from parity.sources.arrivals import Stream

Client = TypeVar("Client")
CONNECT_LIMIT_S: Final = 10.0
_AGAIN_S: Final = 0.1  # between two questions of which the first found no leader

SETTINGS: Final[dict[str, Any]] = {
    "group.id": "parity",  # librdkafka wants one; nothing is committed
    "enable.auto.commit": False,
    "enable.partition.eof": True,  # behind a partition's last message there may be holes
    "auto.offset.reset": "error",  # an offset that is gone is a gap event, never a silent jump
    "check.crcs": True,
    "statistics.interval.ms": 5000,  # how often librdkafka asks where partitions begin
    "fetch.queue.backoff.ms": 2,  # the default of 1000 throttles a catch-up to a fifth
    "max.poll.interval.ms": 86_400_000,  # back-pressure may stop the polling for long
}

_LIBRDKAFKA_LOG: Final = logging.getLogger("parity.librdkafka")
# Without a handler anywhere, Python prints warnings raw to the terminal.
_LIBRDKAFKA_LOG.addHandler(logging.NullHandler())


def consumer_of(
    servers: str, given: Mapping[str, Any], report: Callable[[KafkaError], None]
) -> Consumer:
    """Return a consumer that is assigned by hand and commits nothing.

    Args:
        servers: where to connect.
        given: librdkafka settings of the user, which go before ours.
        report: is told of its errors.

    Raises:
        ConfigError: a librdkafka setting is refused.
    """
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": servers, **SETTINGS, **given, "error_cb": report}
    return client_of(Consumer, settings)


def client_of(kind: Callable[..., Client], settings: Mapping[str, Any]) -> Client:
    """Return a client of librdkafka.

    Raises:
        ConfigError: a setting is refused.
    """
    from confluent_kafka import KafkaException

    try:
        return kind(dict(settings), logger=_LIBRDKAFKA_LOG)
    except KafkaException as error:
        raise setting_refused(error.args[0].str()) from None
    except (TypeError, ValueError) as error:  # what is to be a function or a mapping, and is text
        raise setting_refused(error) from None


def no_answer(servers: str, limit_s: float, reason: str) -> ServiceDown:
    """Return the error of a broker that did not answer in time, and why as far as is known."""
    return ServiceDown(
        f"Redpanda at {servers}: no answer within {limit_s:g} s: {reason}",
        cure="start the broker, or correct bootstrap.servers and the security settings",
    )


def bounds_of(consumer: Consumer, stream: Stream, limit_s: float) -> tuple[int, int]:
    """Return the first offset of a partition that is there, and where it ends.

    Raises:
        KafkaException: no answer in time.
    """
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    deadline = time.monotonic() + limit_s
    while True:
        left_s = max(deadline - time.monotonic(), _AGAIN_S)
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*stream), left_s)
        except KafkaException as raised:
            # While a partition's leader changes, the answer comes at once and is an error.
            passes = raised.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED
            if not passes or time.monotonic() + _AGAIN_S >= deadline:
                raise
            time.sleep(_AGAIN_S)
        else:
            return low, high


def offsets_since(
    consumer: Consumer, streams: Sequence[Stream], ms: int, limit_s: float
) -> dict[Stream, int | None]:
    """Return the first offset of each partition since a time of the broker; None where none is.

    Raises:
        KafkaException: no answer in time, or one of a partition without a leader.
    """
    from confluent_kafka import KafkaException, TopicPartition

    asked = [TopicPartition(*stream, ms) for stream in streams]
    found = consumer.offsets_for_times(asked, limit_s)
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    at = {(one.topic, one.partition): one.offset for one in found}
    return {stream: at[stream] if at[stream] >= 0 else None for stream in streams}
