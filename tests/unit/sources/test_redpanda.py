"""The reader of Redpanda, where a broker gives what no real one gives on demand.

The consumer is a stub here: leaderless partitions, commit marks at an end, a producer's odd times.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from waiting import LIMIT_S

from parity.model.errors import ConfigError, ServiceDown
from parity.publishers.redpanda import TickProducer
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder
from parity.sources.decoding import Messages
from parity.sources.portions import TURN_NS, Portions
from parity.sources.redpanda import RedpandaSource
from parity.sources.redpanda.connection import bounds_of
from parity.sources.redpanda.inquiry import Inquiry

TOKEN = int(synthetic.TABLE.tokens[0])


def message(partition: int, offset: int, ts: int | None, broker_ms: int = 1000) -> Any:
    """Return a message as librdkafka gives it; without a venue's time where `ts` is None."""
    venue = b"" if ts is None else b',"ts_event":%d' % ts
    payload = b'{"instrument_token":%d,"price":"1.25"%b}' % (TOKEN, venue)
    given = {"error": None, "topic": "t", "partition": partition, "offset": offset,
             "value": payload, "timestamp": (1, broker_ms)}  # fmt: skip
    return SimpleNamespace(**{name: (lambda one=one: one) for name, one in given.items()})


class Consumer:
    """Gives the polls it was made with."""

    def __init__(self, *polls: list[Any], high: int = 6) -> None:
        self._high = high
        self._polls = list(polls)
        self._rest: list[Any] = []

    def poll(self, wait_s: float) -> Any:
        """Return a poll's first message."""
        if not self._polls:
            time.sleep(min(wait_s, 0.01))
            return None
        first, *self._rest = self._polls.pop(0)
        return first

    def consume(self, count: int, timeout: float) -> list[Any]:
        """Return the others."""
        rest, self._rest = self._rest, []
        return rest

    def get_watermark_offsets(self, place: Any, *limit: float, cached: bool = False) -> Any:
        """Return where a partition begins and ends."""
        return 0, self._high

    def pause(self, places: list[Any]) -> None:
        """Go on with all."""

    resume = pause

    def close(self) -> None:
        """Close nothing."""


def source(
    consumer: Any, partitions: int = 1, *, exit_at_end: bool = False, silent: Sequence[int] = ()
) -> Any:
    """Return a source that is connected to the stubs."""
    found = RedpandaSource("x:1", ["t"], NativeDecoder(synthetic.TABLE), exit_at_end=exit_at_end)
    found._consumer = consumer
    found._inquiry = Inquiry("x:1", {})
    found._inquiry._admin = Answers(*silent, high=getattr(consumer, "_high", 6))
    for partition in range(partitions):
        found._place(("t", partition), 0, 6)
    return found


async def read_all(of: RedpandaSource, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Return the records up to the end, or those that are enough."""
    await of.start()
    found: list[Any] = []
    async with asyncio.timeout(LIMIT_S):
        while not enough(found) and (arrivals := await of.take(1.0)) is not None:
            found.extend(arrivals.records)
    await of.close()
    return found


@pytest.mark.parametrize("behind", [message(0, 6, 99), message(0, 5, 60)], ids=["mark", "message"])
def test_exit_at_end_loses_nothing_that_waits_for_a_hole(behind: Any) -> None:
    """A partition ends in a commit mark, and what was produced after the start comes with it."""
    ahead = [message(1, n, 10 * n + 500) for n in range(6)]
    last = [*(message(0, n, 10 * n) for n in range(5)), behind]
    reader = source(Consumer(ahead, last), 2, exit_at_end=True)

    read = asyncio.run(read_all(reader, lambda _: False))
    found = [(int(one["stream"]), int(one["offset"])) for one in read]
    ours = [(0, n) for n in range(5 if behind.offset() == 6 else 6)]
    assert [*ours, *((1, n) for n in range(6))] == found


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("broker_ms", [1_764_000_000_000_000, 2**63 - 1])
def test_a_producers_odd_times_end_no_reader(count: int, broker_ms: int) -> None:
    """Microseconds where Kafka wants milliseconds: the latest time there is, however many come."""
    odd = [[message(partition, n, None, broker_ms) for n in range(count)] for partition in (0, 1)]
    old = [message(2, n, None) for n in range(count)]
    reader = source(Consumer(*odd, old, high=count), 3)
    read = asyncio.run(read_all(reader, lambda found: len(found) == 3 * count))

    latest = (2**63 - 1) // 10**6 * 10**6
    times = {(int(one["stream"]), int(one["ts_event"])) for one in read}
    assert {(0, latest), (1, latest), (2, 10**9)} == times


def test_what_was_read_and_waits_is_behind() -> None:
    """A place stands where the loop took the last message, however far ahead the reader is."""
    ahead = [message(0, n, 10 * n) for n in range(6)]
    reader = source(Consumer(ahead))
    reader._portions = Portions(4)

    async def look() -> list[list[int | None]]:
        await reader.start()
        seen: list[list[int | None]] = []
        async with asyncio.timeout(LIMIT_S):
            while not seen or seen[-1][0] != 6:
                seen.append([reader.places()[0].next_offset, reader._next[0]])
                await reader.take(1.0)
            await reader.close()
        return seen

    seen = asyncio.run(look())
    assert [0, 4, 6] == list(dict.fromkeys(taken for taken, _ in seen))
    assert 6 == next(read for taken, read in seen if taken == 4)


@pytest.mark.parametrize("name", ["no.such.setting", "security.protocol", "stats_cb"])
def test_a_setting_that_librdkafka_refuses_is_named(name: str) -> None:
    """An unknown name, a value it does not take, and text where it wants a function."""
    reader = RedpandaSource("x:1", ["t"], NativeDecoder(synthetic.TABLE), settings={name: "odd"})
    with pytest.raises(ConfigError, match=f"{name}.*mend or remove it"):
        asyncio.run(reader.connect())
    with pytest.raises(ConfigError, match=f"{name}.*mend or remove it"):
        TickProducer("x:1", "t", settings={name: "odd"})


class Answers:
    """Answers where partitions end, as the broker's own client does: one future each."""

    def __init__(self, *silent: int, high: int = 6) -> None:
        self.silent = silent
        self.high = high
        self.asked: list[list[int]] = []
        self.stops: RedpandaSource | None = None

    def list_offsets(self, asked: Any, **how: Any) -> dict[Any, Future[Any]]:
        """Answer at once; of silent partitions there is no leader, of odd ones no answer at all."""
        self.asked.append(sorted(place.partition for place in asked))
        found: dict[Any, Future[Any]] = {place: Future() for place in asked}
        for place, future in found.items():
            if place.partition not in self.silent:
                future.set_result(SimpleNamespace(offset=self.high))
            elif not place.partition % 2:
                error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
                future.set_exception(KafkaException(error))
        if self.stops is not None:
            self.stops.stop()
        return found


def test_a_stop_ends_the_look_for_ends() -> None:
    """Nobody is asked again, and nothing is passed on unmerged."""
    reader = source(Consumer([message(8, 0, 10), message(0, 0, 5)]), 9, silent=[*range(1, 9)])
    answers = reader._inquiry._admin
    answers.stops = reader
    assert [] == asyncio.run(read_all(reader, lambda _: False))
    assert [[*range(9)]] == answers.asked


def test_partitions_that_are_silent_are_waited_for_together_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two without a leader and one at a broker that stands still: a second, then nothing."""
    waits: list[tuple[set[int], float]] = []

    def wait(answers: Any, limit_s: float) -> None:
        open_ones = {place for place, one in answers_of.items() if one in {*answers}}
        waits.append(({place.partition for place in open_ones}, limit_s))

    reader = source(Consumer(), 5, silent=[1, 2, 4])
    answers = reader._inquiry._admin
    answers_of: dict[Any, Future[Any]] = {}
    ask = answers.list_offsets

    def list_offsets(asked: Any, **how: Any) -> Any:
        answers_of.clear()
        answers_of.update(ask(asked, **how))
        return dict(answers_of)

    monkeypatch.setattr(answers, "list_offsets", list_offsets)
    monkeypatch.setattr("concurrent.futures.wait", wait)
    assert {0: 6, 3: 6} == reader._take_ends()
    first = len(waits)
    assert {0: 6, 3: 6} == reader._take_ends()

    assert ({*range(5)}, [*range(5)]) == (waits[0][0], answers.asked[0])
    assert first > 1
    assert all(which == {1, 2, 4} and limit_s <= 1 for which, limit_s in waits[1:first])
    assert [{0, 3}, {*range(5)}] == [which for which, _ in waits[first:]]
    assert waits[-1][1] <= 0.05  # those that were silent


def test_a_silent_turn_makes_no_portion_smaller() -> None:
    """A deadline that took long while nothing came is not the time of the few ticks before it."""

    async def portion(reader: RedpandaSource, ready: int, ns: int) -> int:
        rows = [*range(ready)]
        if rows:
            reader._handover.queue.append(
                Messages([b"x"] * ready, [0] * ready, rows, [1] * ready, [])
            )
        arrivals = await reader.take(0.0)
        assert arrivals is not None
        reader._handover.queue.clear()
        reader.took(ns)
        return len(arrivals.notes)

    async def read() -> list[int]:
        turns = [(1000, 1000)] * 8 + [(3, 1000), (0, TURN_NS // 2), (1000, 1000)]
        reader = source(Consumer())
        return [await portion(reader, ready, ns) for ready, ns in turns]

    assert [8, 16, 32, 64, 128, 256, 512, 1000, 3, 0, 1000] == asyncio.run(read())


def test_an_offset_that_a_broker_cannot_say_is_no_offset() -> None:
    """A partition's own error is told as that of a broker which does not answer."""

    def offsets_for_times(asked: list[Any], limit_s: float) -> list[Any]:
        error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
        kinds = {0: (3, None), 1: (-1001, error)}
        return [
            SimpleNamespace(topic=one.topic, partition=one.partition, offset=offset, error=failed)
            for one in asked
            for offset, failed in [kinds[one.partition]]
        ]

    consumer = SimpleNamespace(offsets_for_times=offsets_for_times)
    assert {("t", 0): 3} == asyncio.run(source(consumer).offsets_at(9))
    with pytest.raises(ServiceDown, match=r"no answer .* Broker: Leader not available"):
        asyncio.run(source(consumer, 2).offsets_at(9))


def test_bounds_are_asked_again_while_a_leader_changes() -> None:
    """A start beside an election waits for it, as long as for any answer, and no longer."""
    codes = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION]

    def answer(place: Any, limit_s: float) -> tuple[int, int]:
        if codes:
            raise KafkaException(KafkaError(codes.pop(0)))
        return 5, 8

    consumer: Any = SimpleNamespace(get_watermark_offsets=answer)
    assert (5, 8) == bounds_of(consumer, ("t", 0), 30)

    codes += [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(KafkaException):
        bounds_of(consumer, ("t", 0), 30)
    codes += [KafkaError.NOT_LEADER_FOR_PARTITION] * 99
    with pytest.raises(KafkaException):
        bounds_of(consumer, ("t", 0), 0.05)
