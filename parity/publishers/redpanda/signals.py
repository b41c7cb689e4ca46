"""Signals and paper fills to Redpanda, keyed by strategy and token, numbered in a header.

The producer is idempotent, so librdkafka's own retries double nothing; that does not survive a
restart, which is why `read_back` exists. produce() is called from the loop (it only queues), its
delivery reports come back by poll(0) on a timer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.model.errors import ConfigError, ServiceDown
from parity.publishers import Ends, NotPublished, Outgoing, Receipt, topic_for
from parity.publishers.envelope import encode_message, headers_of, key_of, number_in
from parity.publishers.redpanda.connection import CONNECT_LIMIT_S, no_answer, producer_of
from parity.publishers.redpanda.reading_back import bounds_of, consumer_of, read_to

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_TOPIC_LIMIT_S: Final = 3.0
_POLL_S: Final = 0.002  # a delivery report waits at most this long for the loop

_log = structlog.get_logger("parity.publishers.redpanda")


class RedpandaPublisher:
    """Sends approved signals and paper fills, each to one topic for each broker.

    Args:
        bootstrap_servers: where to connect.
        run_id: header of every message.
        settings: librdkafka producer settings, passed through.
        connect_limit_s: how long the first answer may take.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        run_id: str,
        *,
        settings: Mapping[str, Any] | None = None,
        connect_limit_s: float = CONNECT_LIMIT_S,
    ) -> None:
        self._servers = bootstrap_servers
        self._run_id = run_id
        self._own = dict(settings or {})
        self._connect_limit_s = connect_limit_s
        self._producer: Producer | None = None
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Connect by a metadata request of its own, so that no signal has to wait for it.

        Raises:
            ServiceDown: no broker answered within the limit.
            ConfigError: a librdkafka setting is refused.
        """
        from confluent_kafka import KafkaException

        settings = {
            "linger.ms": 0,
            # One at a time: a refused batch that a later one overtook comes back as a duplicate,
            # which is reported as sent and stands nowhere (seen on the mock).
            "max.in.flight.requests.per.connection": 1,
            "message.timeout.ms": 0,  # wait for the broker: a second send could be a second signal
        }
        producer = producer_of(self._servers, settings, self._own)
        try:
            await asyncio.to_thread(producer.list_topics, timeout=self._connect_limit_s)
        except KafkaException as error:
            raise no_answer(self._servers, self._connect_limit_s, error, producer) from None
        self._producer = producer

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Queue one signal or fill in order, and return when the broker has it.

        Raises:
            NotPublished: the broker refused.
            ServiceDown: the producer is broken for good; only a restart helps.
        """
        from confluent_kafka import KafkaException

        producer, topic = self._producer, topic_for(signal, broker)
        assert producer is not None, "publish before start"
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Receipt] = loop.create_future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if outcome.done():
                return
            if error is not None:
                outcome.set_exception(self._refusal(topic, error))
            elif (message.offset() or 0) < 0:  # called a duplicate: only reading back can tell
                outcome.set_exception(
                    ServiceDown(
                        f"{topic} at {self._servers}: a report without an offset",
                        cure="start the run again: it reads its output back",
                    )
                )
            else:
                place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                outcome.set_result(Receipt(*place))

        arguments: dict[str, Any] = {
            "value": encode_message(signal, self._run_id),
            "key": key_of(signal),
            "headers": headers_of(signal, self._run_id),
            "on_delivery": delivered,
        }
        while True:
            try:
                producer.produce(topic, **arguments)
                break
            except BufferError:  # back-pressure: reports make room
                producer.poll(0)
                await asyncio.sleep(_POLL_S)
            except KafkaException as error:
                raise self._refusal(topic, error.args[0]) from None
        self._under_way += 1
        if self._timer is None:
            self._timer = loop.call_later(_POLL_S, self._poll)
        try:
            return await outcome
        finally:
            self._under_way -= 1

    def _refusal(self, topic: str, error: KafkaError) -> ServiceDown:
        text = f"{topic} at {self._servers}: {error.str()}"
        if error.fatal() or error.code() == error._FATAL:
            return ServiceDown(text, cure="start the run again: it sends what is missing")
        return NotPublished(text)

    def _poll(self) -> None:
        self._timer = None
        if self._producer is not None:
            self._producer.poll(0)
            if self._under_way:
                self._timer = asyncio.get_running_loop().call_later(_POLL_S, self._poll)

    async def ends(self, topics: Sequence[str]) -> Ends:
        """Return where these topics end.

        Raises:
            ConfigError: a topic is not there, and the broker does not create it.
        """
        return await asyncio.to_thread(self._ends, topics)

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Read the topics from `starts` to their ends and return what they hold of a run."""
        return await asyncio.to_thread(self._read_back, run_id, starts)

    async def close(self, limit_s: float) -> None:
        """Wait at most `limit_s` for delivery reports."""
        if self._producer is None:
            return
        deadline = time.monotonic() + limit_s
        while len(self._producer) and time.monotonic() < deadline:
            self._producer.poll(0)
            await asyncio.sleep(_POLL_S)
        if left := len(self._producer):
            _log.warning("signals_without_report", count=left, waited_s=limit_s)
        self._producer = None
        if self._timer is not None:
            self._timer.cancel()

    # -- in a thread of their own: these wait

    def _ends(self, topics: Sequence[str]) -> Ends:
        from confluent_kafka import KafkaException

        for topic in topics:
            self._await_topic(topic)
        consumer = consumer_of(self._servers, self._own)
        try:
            return {
                t: {
                    p: high
                    for p, (_, high) in bounds_of(consumer, t, self._connect_limit_s).items()
                }
                for t in topics
            }
        except KafkaException as error:
            raise no_answer(self._servers, self._connect_limit_s, error) from None
        finally:
            consumer.close()

    def _await_topic(self, topic: str) -> None:
        # Asking a broker that creates topics by itself is what creates it.
        from confluent_kafka import KafkaException

        assert self._producer is not None, "ends before start"
        deadline = time.monotonic() + _TOPIC_LIMIT_S
        while True:
            try:
                found = self._producer.list_topics(topic, timeout=self._connect_limit_s)
            except KafkaException as error:
                raise no_answer(self._servers, self._connect_limit_s, error) from None
            if found.topics[topic].error is None and found.topics[topic].partitions:
                return
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"topic {topic!r}, where {_goes(topic)} go, is not at {self._servers}",
                    cure="create it: this broker does not by itself",
                )
            time.sleep(0.1)

    def _read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        from confluent_kafka import KafkaException

        consumer = consumer_of(self._servers, self._own)
        found: dict[int, Receipt] = {}

        def note(message: Message) -> None:
            headers = dict(message.headers() or ())
            if headers.get("run_id") == run_id.encode():
                place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                found.setdefault(number_in(headers), Receipt(*place))

        limit_s = self._connect_limit_s
        try:
            for topic, partitions in starts.items():
                for partition, (low, high) in bounds_of(consumer, topic, limit_s).items():
                    at = max(partitions.get(partition, 0), low)
                    if at < high:
                        read_to(consumer, (topic, partition, at), high, limit_s, note)
        except KafkaException as error:
            raise no_answer(self._servers, limit_s, error) from None
        finally:
            consumer.close()
        return found


def _goes(topic: str) -> str:
    return "signals" if topic.endswith(".signals.raw") else "paper fills"
