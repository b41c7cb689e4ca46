"""Ticks from Redpanda (or Kafka): one reader thread owns the consumer, the loop takes batches.

The reader polls, looks for skipped offsets and hands over whole batches through a bounded deque
and an eventfd; a full deque stops the polling, so nothing is dropped. The loop decodes. Behind the
head the reader merges partitions first, see `parity.sources.backlog`. Partitions
are assigned to explicit offsets: the consumer group is a name only, and what was recorded is what
says where to go on.

Never here: seq, ts_recv, a commit, or a decision about what a tick means.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from parity.model.errors import ConfigError, ParityError, ServiceDown
from parity.sources import placing
from parity.sources.arrivals import Arrivals, Decoder, EventDecoder, Note, Place, Stream
from parity.sources.backlog import Backlog
from parity.sources.decoding import BROKER_MS_MAX, Messages, decode_messages, read_ahead
from parity.sources.portions import Portions, cut, pieces
from parity.sources.redpanda.connection import (
    CONNECT_LIMIT_S,
    bounds_of,
    consumer_of,
    no_answer,
    offsets_since,
)
from parity.sources.redpanda.handover import Handover
from parity.sources.redpanda.inquiry import Inquiry, TopicWatch

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

BATCH_MESSAGES_MAX: Final = 1000
QUEUE_BATCHES_MAX: Final = 64
_POLL_S: Final = 0.1
_MARKS_S: Final = 1.0  # between looks at where partitions begin and end
_NO_END: Final = 2**63
_AWAY: Final = ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE", "_TIMED_OUT")

_log = structlog.get_logger("parity.sources.redpanda")


class RedpandaSource:
    """Reads partitions of topics from explicit offsets, in arrival order or merged behind the head.

    Args:
        bootstrap_servers: where to connect.
        topics: what to read; all partitions of each, unless `partitions` says which.
        decoder: reads one message.
        events: topics of events beside those of ticks, and who reads one message of each. Without
            positions they start at their ends: what was filled before a run is not the run's.
        start: "earliest", "latest", or positions (partitions not in them start at the earliest).
        partitions: pins this reader to some partitions of every topic of ticks.
        exit_at_end: end at the offsets that were the ends at the start.
        settings: librdkafka settings, passed through (SASL, TLS, fetch.wait.max.ms …).
        connect_limit_s: how long the first answer may take.
        queue_batches_max: batches between the reader thread and the loop.
        keep_raw: the codec's name and zone, where payloads are to be kept.
        kept: how much of a partition is kept while others are behind: `messages_max`, `bytes_max`.

    Attributes:
        streams: (topic, partition) by dense id; known after `connect`, or given by `name_streams`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topics: Sequence[str],
        decoder: Decoder,
        *,
        events: Mapping[str, EventDecoder] | None = None,
        start: str | Mapping[Stream, int] = "earliest",
        partitions: Sequence[int] | None = None,
        exit_at_end: bool = False,
        settings: Mapping[str, Any] | None = None,
        connect_limit_s: float = CONNECT_LIMIT_S,
        queue_batches_max: int = QUEUE_BATCHES_MAX,
        keep_raw: Mapping[str, Any] | None = None,
        **kept: int,
    ) -> None:
        if isinstance(start, str) and start not in ("earliest", "latest"):
            raise ConfigError(
                f"start: expected 'earliest', 'latest' or recorded positions, was {start!r}"
            )
        self.streams: list[Stream] = []
        self._servers = bootstrap_servers
        self._events = dict(events or {})
        self._readers: dict[int, EventDecoder] = {}  # by stream, of topics of events
        self._topics = (*topics, *self._events)
        self._decoder = decoder
        self._start = start
        self._partitions = partitions
        self._exit_at_end = exit_at_end
        self._keep_raw = keep_raw
        self._settings = dict(settings or {})
        self._connect_limit_s = connect_limit_s
        self._handover = Handover(queue_batches_max)
        self._portions = Portions(BATCH_MESSAGES_MAX)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._consumer: Consumer | None = None
        self._inquiry: Inquiry | None = None
        self._watch = TopicWatch(None, {})
        self._topic_ids: dict[str, str] = {}
        self._failure: ParityError | None = None
        self._last_error = ""
        self._outages = 0
        self._lost_at = 0.0  # by the monotonic clock; 0 while a broker is there
        self._ids: dict[Stream, int] = {}
        self._next: dict[int, int] = {}  # stream -> the offset expected next
        self._taken: dict[int, int] = {}  # the same of what the loop took: what waits is behind
        self._ends: dict[int, int] = {}  # stream -> end offset at the start, with exit_at_end
        self._unfinished: set[int] = set()  # streams that have not reached it
        self._first_gaps: list[Note] = []
        self._marks: dict[int, tuple[int | None, int | None]] = {}  # stream -> low, high
        self._marks_due = 0.0
        self._decoding = threading.Lock()  # decoders remember texts, and behind the head both read
        self._backlog = Backlog(self._times, self._take_ends, self._hold, time.time, **kept)
        self._look_due = True  # for a backlog
        self._silent: set[Stream] = set()  # that did not say where they end, the last time
        self._read_out: dict[int, int] = {}  # stream -> its end when last it was read out

    # -- the loop's side

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """Start at recorded positions instead; before `connect`."""
        self._start = dict(positions)

    async def connect(self) -> None:
        """Find the partitions and where they start; `streams` is known afterwards.

        Raises:
            ServiceDown: no broker answered within the limit.
            ConfigError: a topic is not known, a librdkafka setting is refused, or recorded
                positions lie beyond the end of a partition.
        """
        if self._consumer is None:
            await asyncio.to_thread(self._connect)

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """Take the dense ids of a recording's manifest; between `connect` and `start`."""
        order = {old: ids[stream] for old, stream in enumerate(self.streams)}
        names = {new: stream for stream, new in ids.items()}
        self.streams = [names[n] for n in range(max(names, default=-1) + 1)]
        self._ids = {stream: ids[stream] for stream in self._ids}
        self._next = {order[old]: offset for old, offset in self._next.items()}
        self._ends = {order[old]: offset for old, offset in self._ends.items()}
        self._unfinished = {order[old] for old in self._unfinished}
        for note in self._first_gaps:
            note.detail["stream"] = order[note.detail["stream"]]

    def positions(self) -> dict[int, int]:
        """Return the offset each stream is read from next; before `start` only."""
        return dict(self._next)

    def topic_ids(self) -> Mapping[str, str]:
        """Return the topics' ids at the broker; after `connect`. Of some brokers there are none."""
        return self._topic_ids

    async def offsets_at(self, ms: int) -> dict[Stream, int]:
        """Return the first offset of each partition since then; after `connect`.

        Args:
            ms: of the broker's message times, since 1970.
        """
        from confluent_kafka import KafkaException

        consumer, ends = self._consumer, self._next
        assert consumer is not None
        asked = (consumer, [*self._ids], ms, self._connect_limit_s)
        try:
            at = await asyncio.to_thread(offsets_since, *asked)
        except KafkaException as error:
            raise self._down(error.args[0].str()) from None
        return {s: ends[self._ids[s]] if offset is None else offset for s, offset in at.items()}

    def places(self) -> list[Place]:
        """Return up to where each partition was taken, and what the broker had a moment ago."""
        none = (None, None)
        return [
            Place(*stream, self._taken.get(n, self._next[n]), *self._marks.get(n, none))
            for stream, n in self._ids.items()
        ]

    async def start(self) -> None:
        """Connect where that was not done yet, and start reading."""
        await self.connect()
        self._taken = dict(self._next)
        self._readers = {
            n: self._events[s[0]] for s, n in self._ids.items() if s[0] in self._events
        }
        self._handover.open()
        self._thread = threading.Thread(target=self._read, name="redpanda-reader", daemon=True)
        self._thread.start()

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return the next portion, decoded; an empty one after `wait_s`; None at the end.

        Raises:
            ServiceDown: the consumer cannot go on; after everything read before was taken.
        """
        handed = self._handover
        if handed.queue:
            await asyncio.sleep(0)  # behind the head too, signals and deliveries get their turn
        elif not handed.ended:
            await handed.wait(wait_s)
        if handed.queue:
            messages = handed.queue.popleft()
            size = self._portions.size(len(messages.payloads))
            if size < len(messages.payloads):
                messages, rest = cut(messages, size)
                handed.queue.appendleft(rest)
            handed.took()
            with self._decoding:
                arrived = decode_messages(self._decoder, messages, self._readers, self._keep_raw)
            self._taken.update(arrived.positions)
            return arrived
        if not handed.ended:
            return Arrivals(np.zeros(0, self._decoder.dtype), [], {})
        if self._failure is not None:
            raise self._failure
        return None

    def took(self, ns: int) -> None:
        """Let the next batch be as large as strategies are done with soon."""
        self._portions.took(ns)

    def stop(self) -> None:
        """Stop polling; what was read already can still be taken."""
        self._stopping.set()
        self._handover.took()

    async def close(self) -> None:
        """Stop, and close the consumer."""
        self.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        elif self._consumer is not None:
            await asyncio.to_thread(self._consumer.close)
        self._consumer = None
        self._handover.close()

    # -- connecting

    def _connect(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        consumer = consumer_of(self._servers, self._settings, self._report)
        try:
            limit_s = self._connect_limit_s
            cluster = consumer.list_topics(timeout=limit_s)
            asked = (self._topics, self._partitions, self._servers, self._events)
            streams = placing.partitions_of(cluster.topics, *asked)
            self._inquiry = Inquiry(self._servers, self._settings)
            if cluster.controller_id in cluster.brokers:  # who describes topics
                self._topic_ids = self._inquiry.topic_ids(self._topics, limit_s)
            self._watch = TopicWatch(self._inquiry, self._topic_ids)
            for stream in streams:
                self._place(stream, *bounds_of(consumer, stream, limit_s))
            consumer.assign(
                [TopicPartition(*stream, self._next[n]) for stream, n in self._ids.items()]
            )
        except KafkaException as error:
            consumer.close()
            raise self._down(error.args[0].str()) from None
        except ParityError:
            consumer.close()
            raise
        self._consumer = consumer
        if unnamed := sorted({*self._topics} - {*self._topic_ids}):
            _log.info("no_topic_ids", servers=self._servers, topics=unnamed)

    def _place(self, stream: Stream, low: int, high: int) -> None:
        n = len(self.streams)
        at = placing.start_of(self._start, stream, low, high, ours=stream[0] not in self._events)
        if at < low:
            self._first_gaps.append(placing.gap_of(0, n, at, low, "retention"))
            at = low
        self.streams.append(stream)
        self._ids[stream] = n
        self._next[n] = at
        if self._exit_at_end:
            self._ends[n] = high
            self._unfinished |= {n} if at < high else set()

    def _down(self, reason: str) -> ServiceDown:
        limit_s = self._connect_limit_s
        return no_answer(self._servers, limit_s, self._last_error or reason)

    # -- the reader thread's side

    def _read(self) -> None:
        consumer = self._consumer
        assert consumer is not None
        try:
            self._handover.put(Messages([], [], [], [], self._first_gaps))
            while not self._stopping.is_set() and (self._unfinished or not self._exit_at_end):
                if self._handover.full:
                    self._handover.wait_for_room(self._stopping, _POLL_S)
                    continue
                first = consumer.poll(_POLL_S)
                self._mark(consumer)
                if first is None:
                    continue
                self._check_topics()
                if self._lost_at and first.error() is None:
                    away_s = round(time.monotonic() - self._lost_at, 3)
                    _log.warning("broker_back", servers=self._servers, away_s=away_s)
                    self._lost_at = 0.0
                    self._look_due = True
                    self._check_topics(at_once=True)
                if self._look_due:
                    self._look_due = False
                    self._silent.clear()
                    self._backlog.look(self._in_order())
                    if self._stopping.is_set():
                        break  # ends are missing: nothing can be merged
                rest = consumer.consume(BATCH_MESSAGES_MAX - 1, timeout=0)
                self._pass_on(self._unpack(consumer, [first, *rest]))
        except ParityError as error:
            self._failure = error
        except Exception as error:  # the thread's last door: it must be seen by the loop
            self._failure = ServiceDown(f"reader of {self._servers} stopped: {error!r}")
        finally:
            consumer.close()
            self._handover.end()

    def _mark(self, consumer: Consumer) -> None:
        # By this thread, for it alone knows when the consumer is closed. What librdkafka has at
        # hand is asked for, never the broker.
        now = time.monotonic()
        if now < self._marks_due:
            return
        self._marks_due = now + _MARKS_S
        for n, place in zip(self._ids.values(), self._named(self._ids.values()), strict=True):
            low, high = consumer.get_watermark_offsets(place, cached=True)
            self._marks[n] = (low if low >= 0 else None, high if high >= 0 else None)
        self._check_topics()

    def _check_topics(self, *, at_once: bool = False) -> None:
        """End where a topic was made anew: what it has now is not what follows at an offset.

        What is kept of a backlog was not handed over, so it did not happen.
        """
        anew = self._watch.made_anew(at_once=at_once)
        if not anew:
            return
        rows = [(n, topic) for (topic, _), n in self._ids.items() if topic in anew]
        ids = self._topic_ids
        self._handover.put(Messages([], [], [], [], placing.made_anew(rows, ids, anew)))
        raise placing.was_made_anew(ids, anew)

    def _pass_on(self, read: Messages) -> None:
        for messages in self._backlog.pass_on(read, self._in_order()):
            for piece in pieces(messages, BATCH_MESSAGES_MAX):
                if piece is not read:  # for that there was room before it was read
                    while self._handover.full and not self._stopping.is_set():
                        self._handover.wait_for_room(self._stopping, _POLL_S)
                    if self._stopping.is_set():
                        return  # not handed over, so it did not happen: it is read again
                self._handover.put(piece)

    def _in_order(self) -> dict[int, int]:
        by_name = (n for _, n in sorted(self._ids.items()))
        return {n: max(self._next[n], self._read_out.get(n, 0)) for n in by_name}

    def _times(self, messages: Messages) -> tuple[list[int], Messages]:
        with self._decoding:
            return read_ahead(self._decoder, messages, self._readers)

    def _take_ends(self) -> dict[int, int]:
        if self._exit_at_end:
            return self._ends
        assert self._inquiry is not None
        ends = self._inquiry.ends([*self._ids], self._stopping.is_set, once=self._silent)
        self._silent = {*self._ids} - {*ends}
        return {self._ids[stream]: end for stream, end in ends.items()}

    def _hold(self, more: Iterable[int], less: Iterable[int]) -> None:
        assert self._consumer is not None
        self._consumer.pause(self._named(more))
        self._consumer.resume(self._named(less))

    def _named(self, streams: Iterable[int]) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(*self.streams[n]) for n in streams]

    def _unpack(self, consumer: Consumer, polled: Sequence[Message]) -> Messages:
        batch = Messages([], [], [], [], [])
        for message in polled:
            error = message.error()
            stream = self._ids.get((message.topic() or "", message.partition() or 0), -1)
            if error is not None:
                self._on_error(consumer, error, message, stream, batch)
                continue
            offset = message.offset() or 0
            end = self._ends.get(stream, _NO_END)
            if offset + 1 >= end:
                self._unfinished.discard(stream)
                if offset >= end:  # came in after the start: not asked for
                    self._read_out[stream] = max(end, self._read_out.get(stream, 0))
                    continue
            expected = self._next[stream]
            if offset > expected:
                gap = placing.gap_of(len(batch.offsets), stream, expected, offset, "skipped")
                batch.gaps.append(gap)
            self._next[stream] = offset + 1
            batch.payloads.append(message.value())
            batch.streams.append(stream)
            batch.offsets.append(offset)
            batch.broker_ms.append(min(max(message.timestamp()[1], 0), BROKER_MS_MAX))
        return batch

    def _on_error(
        self, consumer: Consumer, error: KafkaError, message: Message, stream: int, batch: Messages
    ) -> None:
        from confluent_kafka import KafkaError, TopicPartition

        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            self._unfinished.discard(stream)
            self._read_out[stream] = message.offset() or 0
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._check_topics(at_once=True)
            place = TopicPartition(*self.streams[stream])
            low, high = bounds_of(consumer, self.streams[stream], self._connect_limit_s)
            expected, row = self._next[stream], len(batch.offsets)
            placing.check_still_there(self.streams[stream], expected, low, high)
            batch.gaps.append(placing.gap_of(row, stream, expected, low, "retention"))
            self._next[stream] = low
            # Not by seek: the fetching of this partition has ended, which a seek cannot mend.
            consumer.incremental_unassign([place])
            consumer.incremental_assign([TopicPartition(place.topic, place.partition, low)])
            self._look_due = True
        elif error.fatal() or not error.retriable():
            raise ServiceDown(f"Redpanda at {self._servers}: {error.str()}")
        else:
            _log.warning("broker_error", servers=self._servers, error=error.str())

    def _report(self, error: KafkaError) -> None:
        # librdkafka reconnects by itself, and says so with every try; a fatal one ends the reader.
        # That all are down follows each try that failed, and hides why it did.
        if error.code() != error._ALL_BROKERS_DOWN or not self._last_error:
            self._last_error = error.str()
        if error.name() not in _AWAY:
            _log.warning("broker_error", servers=self._servers, error=error.str())
        elif self._consumer is not None and not self._lost_at:
            self._lost_at = time.monotonic()
            self._outages += 1
            _log.warning(
                "broker_lost", servers=self._servers, error=error.str(), outage=self._outages
            )
        if error.fatal():
            self._failure = ServiceDown(f"Redpanda at {self._servers}: {error.str()}")
            self.stop()
