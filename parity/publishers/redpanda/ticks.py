"""Ticks to a topic, keyed by instrument token: what `parity produce` sends.

Synchronous: producing a recording is a job of its own, with no loop beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from parity.model.errors import ServiceDown
from parity.publishers.redpanda.connection import (
    CONNECT_LIMIT_S,
    admin_of,
    no_answer,
    producer_of,
)

if TYPE_CHECKING:
    from types import TracebackType

    from confluent_kafka import KafkaError, Message

FLUSH_LIMIT_S = 30.0


class TickProducer:
    """Sends messages to one topic, idempotent and in order within a partition.

    Args:
        bootstrap_servers: where to connect.
        topic: where messages go.
        partition: sends all to one partition; None lets the key choose.
        settings: librdkafka producer settings, passed through.
        connect_limit_s: how long the first answer may take.

    Raises:
        ServiceDown: no broker answered within the limit.
        ConfigError: a librdkafka setting is refused.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        partition: int | None = None,
        settings: Mapping[str, Any] | None = None,
        connect_limit_s: float = CONNECT_LIMIT_S,
    ) -> None:
        from confluent_kafka import KafkaException

        self.delivered = 0
        self._servers = bootstrap_servers
        self._topic = topic
        self._to: dict[str, Any] = {} if partition is None else {"partition": partition}
        self._given = dict(settings or {})
        self._limit_s = connect_limit_s
        self._refused = ""
        own = {"linger.ms": 5, "compression.type": "lz4"}
        self._producer = producer_of(bootstrap_servers, own, self._given)
        try:
            self._producer.list_topics(timeout=connect_limit_s)
        except KafkaException as error:
            raise no_answer(bootstrap_servers, connect_limit_s, error, self._producer) from None

    def create_topic(self, partitions: int) -> None:
        """Create the topic; one that is there already stays as it is.

        Raises:
            ServiceDown: the broker refused or did not answer.
        """
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.cimpl import NewTopic

        admin = admin_of(self._servers, self._given)
        wanted = NewTopic(self._topic, num_partitions=partitions, replication_factor=-1)
        made = admin.create_topics([wanted], request_timeout=self._limit_s)[self._topic]
        try:
            made.result(self._limit_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServiceDown(f"topic {self._topic}: {error.args[0].str()}") from None
        except TimeoutError:
            raise ServiceDown(
                f"topic {self._topic}: not created within {self._limit_s:g} s"
            ) from None

    def send(self, keyed: Iterable[tuple[str, bytes]]) -> None:
        """Queue messages in order; waits while librdkafka's queue is full.

        Raises:
            ServiceDown: the broker did not take one of the messages sent so far.
        """
        produce, poll = self._producer.produce, self._producer.poll
        for key, payload in keyed:
            while True:
                try:
                    produce(
                        self._topic, payload, key=key, on_delivery=self._on_delivery, **self._to
                    )
                    break
                except BufferError:
                    poll(0.05)
        poll(0)
        self._check()

    def flush(self, limit_s: float = FLUSH_LIMIT_S) -> None:
        """Wait for all delivery reports; raises ServiceDown where some did not come."""
        left = self._producer.flush(limit_s)
        self._check()
        if left:
            raise ServiceDown(
                f"topic {self._topic} at {self._servers}: {left} messages without a delivery "
                f"report after {limit_s:g} s"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self._refused = self._refused or error.str()

    def _check(self) -> None:
        if self._refused:
            raise ServiceDown(
                f"topic {self._topic} at {self._servers}: a message was not delivered: "
                f"{self._refused}",
                cure=f"{self.delivered} were; produce into a new topic when the broker is well",
            )
