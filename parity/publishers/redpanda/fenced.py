"""Signals to Redpanda in transactions, so that one runner at a time can publish for a run.

A transactional id belongs to the producer that took it last: when a successor starts, the broker
ends whatever its predecessor had under way and refuses all it sends from then on, however long that
one stood still. What was sent and not committed is seen by readers of `read_uncommitted` alone.

Signals that wait together go in one transaction, in order; each costs a round trip more than
without. Never here: who is the rightful runner. It is who started last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from parity.model.errors import ServiceDown
from parity.publishers import Ends, NotPublished, Outgoing, Receipt, topic_for
from parity.publishers.envelope import encode_message, headers_of, key_of
from parity.publishers.redpanda.connection import CONNECT_LIMIT_S, no_answer, producer_of
from parity.publishers.redpanda.signals import RedpandaPublisher

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException, Message, Producer

_ROOM_S: Final = 0.1  # for reports that make room in a full queue
_TRY_S: Final = 1.0  # of a commit; tried again while the broker is away, until it is closed


class _Waiting(NamedTuple):
    """A signal or fill that is to be sent, and who is told."""

    signal: Outgoing
    topic: str
    outcome: asyncio.Future[Receipt]


class FencedPublisher:
    """Sends approved signals to one topic for each broker, in transactions of the run.

    Args:
        bootstrap_servers: where to connect.
        run_id: header of every message; names the transactional id, too.
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
        # It reads back and knows where topics end; it never sends.
        self._reader = RedpandaPublisher(
            bootstrap_servers, run_id, settings=settings, connect_limit_s=connect_limit_s
        )
        self._producer: Producer | None = None
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Connect, and fence whoever published for this run before.

        Raises:
            ServiceDown: no broker answered within the limit, or it has no transactions.
            ConfigError: a librdkafka setting is refused.
        """
        from confluent_kafka import KafkaException

        await self._reader.start()
        name = {"transactional.id": f"parity.{self._run_id}"}
        producer = producer_of(self._servers, {"linger.ms": 0}, self._own, **name)
        try:
            await asyncio.to_thread(producer.init_transactions, self._connect_limit_s)
        except KafkaException as error:
            raise no_answer(self._servers, self._connect_limit_s, error) from None
        self._producer = producer

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Send one signal or fill in order, and return when it is committed.

        Raises:
            NotPublished: the broker refused it.
            ServiceDown: another runner took over, or the producer is broken for good.
        """
        assert self._producer is not None, "publish before start"
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append(_Waiting(signal, topic_for(signal, broker), outcome))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return await outcome

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                # One that is refused takes its whole transaction with it: then each gets its own.
                for part in [batch] if await self._sent(batch) else [[one] for one in batch]:
                    if part is not batch:
                        await self._sent(part, alone=True)
        finally:
            self._sender = None

    async def _sent(self, batch: Sequence[_Waiting], *, alone: bool = False) -> bool:
        """Send a transaction and tell who waits; False where each is to be sent alone."""
        found: list[Receipt] = []
        error: ServiceDown | None = None
        try:
            found = await asyncio.to_thread(self._commit, batch)
        except ServiceDown as raised:
            if isinstance(raised, NotPublished) and not alone:
                return False
            error = raised
        except Exception as raised:  # nobody is to wait for ever
            error = ServiceDown(
                f"{batch[0].topic} at {self._servers}: {raised!r}",
                cure="start the run again: it sends what is missing",
            )
        for n, one in enumerate(batch):
            if one.outcome.done():  # nobody waits any more
                continue
            if error is None:
                one.outcome.set_result(found[n])
            else:
                one.outcome.set_exception(error)
        return True

    async def ends(self, topics: Sequence[str]) -> Ends:
        """Return where these topics end."""
        return await self._reader.ends(topics)

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Read the topics from `starts` to their ends and return what they hold of a run."""
        return await self._reader.read_back(run_id, starts)

    async def close(self, limit_s: float) -> None:
        """Wait at most `limit_s` for the transaction under way."""
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=limit_s)
        self._closing = True
        self._producer = None
        await self._reader.close(0)

    # -- in a thread of their own: these wait

    def _commit(self, batch: Sequence[_Waiting]) -> list[Receipt]:
        from confluent_kafka import KafkaException

        producer = self._producer
        if producer is None:
            raise ServiceDown(f"{self._servers}: closed")
        places: dict[int, Receipt] = {}
        try:
            producer.begin_transaction()
            try:
                for n, one in enumerate(batch):
                    self._produce(producer, one, partial(_note, places, n))
            except KafkaException as raised:
                self._refuse(producer, raised, batch[0].topic, unsent=True)
            self._until_committed(producer)
        except KafkaException as raised:
            self._refuse(producer, raised, batch[0].topic)
        if len(places) < len(batch):  # committed, and only reading back can tell where
            raise ServiceDown(
                f"{batch[0].topic} at {self._servers}: a commit without its reports",
                cure="start the run again: it reads its output back",
            )
        return [places[n] for n in range(len(batch))]

    def _produce(
        self, producer: Producer, one: _Waiting, note: Callable[[KafkaError | None, Message], None]
    ) -> None:
        signal, topic, _ = one
        value, headers = encode_message(signal, self._run_id), headers_of(signal, self._run_id)
        while True:
            try:
                producer.produce(
                    topic, value, key=key_of(signal), headers=dict(headers), on_delivery=note
                )
                return
            except BufferError:  # back-pressure: reports make room
                if self._closing:
                    raise
                producer.poll(_ROOM_S)

    def _until_committed(self, producer: Producer) -> None:
        from confluent_kafka import KafkaException

        while True:
            try:
                producer.commit_transaction(_TRY_S)
                return
            except KafkaException as raised:
                if not raised.args[0].retriable() or self._closing:
                    raise

    def _aborted(self, producer: Producer) -> bool:
        from confluent_kafka import KafkaException

        try:
            producer.abort_transaction(self._connect_limit_s)
        except KafkaException:
            return False
        return True

    def _refuse(
        self, producer: Producer, raised: KafkaException, topic: str, *, unsent: bool = False
    ) -> NoReturn:
        error: KafkaError = raised.args[0]
        text = f"{topic} at {self._servers}: {error.str()}"
        fenced = error.code() in (
            error._FENCED, error.PRODUCER_FENCED, error.INVALID_PRODUCER_EPOCH
        )  # fmt: skip
        # What librdkafka itself does not take (too large, say) leaves the transaction open, and
        # says of it nothing.
        lost = fenced or error.fatal() or error.code() == error._FATAL
        spoilt = error.txn_requires_abort() or (unsent and not lost)
        if spoilt and self._aborted(producer):
            raise NotPublished(text) from None
        if fenced:
            raise ServiceDown(
                f"{text}: another runner took over run {self._run_id}",
                cure="leave it to that one; this one has published nothing since",
            ) from None
        raise ServiceDown(text, cure="start the run again: it sends what is missing") from None


def _note(places: dict[int, Receipt], n: int, error: KafkaError | None, message: Message) -> None:
    if error is None:
        topic, partition = message.topic() or "", message.partition() or 0
        places[n] = Receipt(topic, partition, message.offset() or 0)
