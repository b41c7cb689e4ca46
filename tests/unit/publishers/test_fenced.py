"""The fenced publisher beside a producer that refuses: one signal is lost to it, never the run."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from signals import signal

from parity.model.effects import ApprovedSignal
from parity.model.errors import ServiceDown
from parity.publishers import NotPublished, Receipt
from parity.publishers.redpanda.fenced import FencedPublisher

TOPIC = "paper.signals.raw"
PATIENCE_S = 10.0


class Transactions:
    """A producer whose messages are reported with their commit.

    Args:
        refuse: told each message's bytes; what it returns is raised by produce().
        abort: what an abort raises.
    """

    def __init__(
        self,
        refuse: Callable[[bytes], BaseException | None],
        abort: BaseException | None = None,
    ) -> None:
        self.committed: list[list[bytes]] = []
        self.aborts = self.polls = 0
        self._refuse = refuse
        self._abort = abort
        self._open: list[tuple[bytes, Any]] | None = None
        self._offset = 0

    def begin_transaction(self) -> None:
        """Begin, as librdkafka does: not twice."""
        if self._open is not None:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._open = []

    def produce(self, topic: str, value: bytes, *, on_delivery: Any, **_: Any) -> None:
        """Take a message, or refuse it."""
        assert TOPIC == topic
        if (error := self._refuse(value)) is not None:
            raise error
        assert self._open is not None
        self._open.append((value, on_delivery))

    def poll(self, _: float) -> int:
        """Count."""
        self.polls += 1
        return 0

    def commit_transaction(self, _: float) -> None:
        """Report each message."""
        assert self._open is not None
        for _value, report in self._open:
            place = (lambda n: lambda: n)(self._offset)
            report(None, SimpleNamespace(topic=lambda: TOPIC, partition=lambda: 0, offset=place))
            self._offset += 1
        self.committed.append([value for value, _ in self._open])
        self._open = None

    def abort_transaction(self, _: float) -> None:
        """Forget the messages."""
        if self._abort is not None:
            raise self._abort
        self.aborts += 1
        self._open = None


def outcomes(producer: Transactions, *rounds: list[ApprovedSignal]) -> list[Any]:
    """Return receipt or error of each signal; those of a round are sent together."""

    async def scenario() -> list[Any]:
        publisher = FencedPublisher("nowhere", "r1")
        publisher._producer = producer  # type: ignore[assignment]  # stands for a broker's
        found: list[Any] = []
        for together in rounds:
            sent = [publisher.publish(s, strategy_id="dip", broker="paper") for s in together]
            async with asyncio.timeout(PATIENCE_S):
                found += await asyncio.gather(*sent, return_exceptions=True)
        return found

    return asyncio.run(scenario())


def too_large(value: bytes) -> BaseException | None:
    """Refuse what says so, as librdkafka refuses a message above `message.max.bytes`."""
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    return KafkaException(error) if b"very long" in value else None


def test_a_message_that_is_refused_before_it_is_sent_costs_itself_alone() -> None:
    """The transaction is ended, its other signals go alone, and the next one finds it closed."""
    producer = Transactions(too_large)

    found = outcomes(producer, [signal(1), signal(2, "very long"), signal(3)], [signal(4)])

    assert isinstance(found[1], NotPublished)
    assert "paper.signals.raw at nowhere: " in str(found[1])
    assert [Receipt(TOPIC, 0, n) for n in range(3)] == [found[0], found[2], found[3]]
    assert [1, 1, 1] == [len(some) for some in producer.committed]
    assert 2 == producer.aborts


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (KafkaError._FATAL, "start the run again"),
        (KafkaError._FENCED, "another runner took over"),
    ],
)
def test_a_producer_that_is_broken_for_good_is_no_refusal(code: int, words: str) -> None:
    """A fenced one sends nothing more, whatever an abort would say."""
    producer = Transactions(lambda _: KafkaException(KafkaError(code)))

    [error] = outcomes(producer, [signal(1)])

    assert isinstance(error, ServiceDown)
    assert not isinstance(error, NotPublished)
    assert words in str(error) + str(error.cure)
    assert 0 == producer.aborts


def test_a_refused_message_whose_transaction_cannot_be_ended_ends_the_run() -> None:
    """What lies open might still be committed: only a new start knows."""
    producer = Transactions(too_large, abort=KafkaException(KafkaError(KafkaError._TIMED_OUT)))

    [error] = outcomes(producer, [signal(1, "very long")])

    assert isinstance(error, ServiceDown)
    assert not isinstance(error, NotPublished)


def test_a_full_queue_is_waited_for() -> None:
    """Reports make room, and the message is offered again."""
    full = [BufferError("full"), BufferError("full"), None, None]
    producer = Transactions(lambda _: full.pop(0))

    found = outcomes(producer, [signal(1)], [signal(2)])

    assert [Receipt(TOPIC, 0, 0), Receipt(TOPIC, 0, 1)] == found
    assert 2 == producer.polls


def test_whatever_else_fails_is_told_to_who_waits() -> None:
    """Nobody waits for ever, and a later signal is answered, too."""
    producer = Transactions(lambda _: ValueError("odd bytes"))

    found = outcomes(producer, [signal(1), signal(2)], [signal(3)])

    assert [ServiceDown] * 3 == [type(error) for error in found]
    assert "ValueError('odd bytes')" in str(found[0])
