"""Dead letters to Redpanda: what could not be decoded, to `<topic>.dlq`, each once.

A letter is known by where its message came from and by its bytes, so whoever sent it, and however
often a runner was killed in between, it is not sent again: the topic is read back to its end before
anything is sent. Two runners that meet the same message at the same moment may both send it.

Synchronous: it waits for the broker, in a thread of its own (`parity.live.dead_letters`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from parity.publishers import NotPublished, Receipt
from parity.publishers.redpanda.connection import (
    CONNECT_LIMIT_S,
    admin_of,
    no_answer,
    producer_of,
)
from parity.publishers.redpanda.reading_back import bounds_of, consumer_of, read_to

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

SUFFIX: Final = ".dlq"
_TOPIC_LIMIT_S: Final = 3.0
_POLL_S: Final = 0.05


class Letter(NamedTuple):
    """A message that could not be decoded: where it lay, why, and its bytes (None: it had none)."""

    topic: str
    partition: int
    offset: int
    reason: str
    payload: bytes | None


class Interrupted(Exception):
    """The caller asked to stop; what was sent without a report is found when reading back."""


class LetterBox:
    """Puts dead letters into the topics beside those they came from.

    Args:
        bootstrap_servers: where to connect.
        recording_id: header of every letter.
        settings: librdkafka producer settings, passed through.
        limit_s: how long an answer may take.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        recording_id: str,
        *,
        settings: Mapping[str, Any] | None = None,
        limit_s: float = CONNECT_LIMIT_S,
    ) -> None:
        self._servers = bootstrap_servers
        self._recording_id = recording_id
        self._own = dict(settings or {})
        self._limit_s = limit_s
        self._producer: Producer | None = None
        self._read: dict[tuple[str, int], int] = {}  # partition of letters -> offset read up to
        # by the stream they came from: offset -> (hash of the bytes, where the letter lies)
        self._seen: dict[tuple[str, int], dict[int, tuple[bytes, Receipt]]] = {}

    def put(
        self, letters: Sequence[Letter], stopped: Callable[[], bool] = lambda: False
    ) -> list[tuple[Receipt, bool]]:
        """Send what is not there yet; offsets of a stream must rise from call to call.

        Args:
            letters: at least one.
            stopped: asked while it waits.

        Returns:
            Of each letter where it lies, and whether it lay there already.

        Raises:
            ConfigError: a librdkafka setting is refused.
            ServiceDown: the broker does not answer.
            NotPublished: it refused a letter; the others may have been sent.
            Interrupted: `stopped` said so.
        """
        from confluent_kafka import KafkaException

        try:
            producer = self._connected()
            for topic in sorted({letter.topic for letter in letters}):
                self._find_topic(producer, topic + SUFFIX)
                self._read_back(topic + SUFFIX)
            missing = [letter for letter in letters if self._found(letter) is None]
            sent = self._send(producer, missing, stopped)
        except KafkaException as error:
            raise no_answer(self._servers, self._limit_s, error) from None
        places: list[tuple[Receipt, bool]] = []
        for letter in letters:
            found = self._found(letter)
            places.append((sent[letter], False) if found is None else (found, True))
        for letter in letters:  # none of a smaller offset will be asked for again
            seen = self._seen.get((letter.topic, letter.partition), {})
            for offset in [o for o in seen if o <= letter.offset]:
                del seen[offset]
        return places

    def _connected(self) -> Producer:
        if self._producer is None:
            # Without a limit of time it waits for the broker: a second send is a second letter.
            settings = {"linger.ms": 5, "message.timeout.ms": 0}
            self._producer = producer_of(self._servers, settings, self._own)
        return self._producer

    def _find_topic(self, producer: Producer, topic: str) -> None:
        """Wait for a topic to be there; a broker that does not create it by itself is asked to."""
        from confluent_kafka.cimpl import NewTopic

        deadline, asked = time.monotonic() + _TOPIC_LIMIT_S, False
        while True:
            found = producer.list_topics(topic, timeout=self._limit_s).topics[topic]
            if found.error is None and found.partitions:
                return
            if time.monotonic() > deadline:
                raise NotPublished(f"topic {topic!r} is not at {self._servers}: {found.error}")
            if not asked and found.error is not None and time.monotonic() > deadline - 2:
                admin = admin_of(self._servers, self._own)
                made = admin.create_topics([NewTopic(topic, 1, -1)], request_timeout=self._limit_s)
                made[topic].exception(self._limit_s)  # what is wrong shows when it is not there
                asked = True
            time.sleep(0.1)

    def _read_back(self, topic: str) -> None:
        consumer = consumer_of(self._servers, self._own)
        try:
            for partition, (low, high) in bounds_of(consumer, topic, self._limit_s).items():
                at = max(self._read.get((topic, partition), 0), low)
                if at < high:
                    read_to(consumer, (topic, partition, at), high, self._limit_s, self._note)
                self._read[topic, partition] = max(at, high)
        finally:
            consumer.close()

    def _note(self, message: Message) -> None:
        headers: dict[str, Any] = dict(message.headers() or ())
        try:
            topic = headers["topic"].decode()
            stream, offset = (topic, int(headers["partition"])), int(headers["offset"])
            said = bytes(headers["payload_hash"])
        except (KeyError, ValueError, TypeError, AttributeError):
            return  # somebody else's
        place = Receipt(message.topic() or "", message.partition() or 0, message.offset() or 0)
        self._seen.setdefault(stream, {})[offset] = (said, place)

    def _found(self, letter: Letter) -> Receipt | None:
        seen = self._seen.get((letter.topic, letter.partition), {}).get(letter.offset)
        return seen[1] if seen is not None and seen[0] == _hash(letter) else None

    def _send(
        self, producer: Producer, letters: Sequence[Letter], stopped: Callable[[], bool]
    ) -> dict[Letter, Receipt]:
        from confluent_kafka import KafkaException

        sent: dict[Letter, Receipt] = {}
        refused: list[tuple[Letter, KafkaError]] = []

        def send(letter: Letter, *, whole: bool) -> None:
            def delivered(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    refused.append((letter, error))
                    return
                place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                sent[letter] = Receipt(*place)

            value = letter.payload if whole else None
            topic, key = letter.topic + SUFFIX, f"{letter.partition}:{letter.offset}"
            headers = self._headers(letter, whole=whole)
            try:
                producer.produce(topic, value, key=key, headers=headers, on_delivery=delivered)
            except KafkaException as error:  # refused before it left, as what is too large is
                refused.append((letter, error.args[0]))

        self._each(producer, letters, lambda letter: send(letter, whole=True), stopped)
        # The broker took the message itself, so with our headers one may just be too large.
        too_large = [letter for letter, error in refused if error.code() == _too_large()]
        others = [(letter, error) for letter, error in refused if error.code() != _too_large()]
        refused.clear()
        self._each(producer, too_large, lambda letter: send(letter, whole=False), stopped)
        for letter, error in [*others, *refused]:
            if error.fatal() or error.code() == error._FATAL:
                self._producer = None  # broken for good; the next try begins with a new one
            raise NotPublished(f"{letter.topic}{SUFFIX} at {self._servers}: {error.str()}")
        return sent

    def _each(
        self,
        producer: Producer,
        letters: Sequence[Letter],
        send: Callable[[Letter], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Send letters and wait for their reports."""
        for letter in letters:
            while True:
                try:
                    send(letter)
                    break
                except BufferError:  # reports make room
                    producer.poll(_POLL_S)
        while len(producer):
            producer.poll(_POLL_S)
            if stopped():
                raise Interrupted

    def _headers(self, letter: Letter, *, whole: bool) -> list[tuple[str, str | bytes | None]]:
        headers = {
            "topic": letter.topic,
            "partition": str(letter.partition),
            "offset": str(letter.offset),
            "reason": letter.reason,
            "recording_id": self._recording_id,
        }
        if not whole:
            headers["payload_bytes_left_out"] = str(len(letter.payload or b""))
        return [*headers.items(), ("payload_hash", _hash(letter))]


def _hash(letter: Letter) -> bytes:
    # A topic that was made anew has other messages at the same offsets.
    return blake2b(letter.payload or b"", digest_size=16).digest()


def _too_large() -> int:
    from confluent_kafka import KafkaError

    code: int = KafkaError.MSG_SIZE_TOO_LARGE
    return code
