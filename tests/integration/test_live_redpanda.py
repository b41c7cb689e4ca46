"""Ticks and signals through a broker: exact, in order, each once, and silence is named."""

import asyncio
import uuid
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from parity.live.produce import produce
from parity.model.effects import ApprovedSignal, Candidate
from parity.model.errors import ConfigError, ServiceDown
from parity.model.events import EventBatch
from parity.model.ticks import CATCH_UP, SKEWED, TickBatch
from parity.publishers import Receipt
from parity.publishers.redpanda import RedpandaPublisher, TickProducer
from parity.sources import synthetic
from parity.sources.arrivals import Arrivals
from parity.sources.codecs.native import NativeDecoder
from parity.sources.redpanda import RedpandaSource
from parity.testing.broker import Broker

TABLE, TICKS = synthetic.generate(ticks=3000)
FAST = {"fetch.wait.max.ms": 1}  # the mock answers a fetch only after its wait
pytestmark = pytest.mark.slow


class Ticks:
    """A recording of some ticks, in memory."""

    table = TABLE

    def __init__(self, records: np.ndarray = TICKS) -> None:
        self.records = records

    def batches(self) -> Iterator[EventBatch]:
        """Yield all ticks in two batches."""
        half = len(self.records) // 2
        for part in (self.records[:half], self.records[half:]):
            yield EventBatch(TickBatch.from_records(part, TABLE))


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of one partition, for one test."""
    name = f"ticks-{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 1)
    return name


def source(broker: Broker, topic: str, **options: object) -> RedpandaSource:
    """Return a source that ends at the end of the topic."""
    options = {"exit_at_end": True, "settings": FAST} | options
    return RedpandaSource(broker.bootstrap_servers, [topic], NativeDecoder(TABLE), **options)


async def drain(reader: RedpandaSource) -> list[Arrivals]:
    """Take until the end."""
    await reader.start()
    found = []
    try:
        while (arrived := await reader.take(0.2)) is not None:
            found.append(arrived)
    finally:
        await reader.close()
    return found


def together(found: list[Arrivals]) -> np.ndarray:
    """Return all ticks taken."""
    return np.concatenate([arrived.records for arrived in found])


def test_ticks_pass_through_a_topic_exactly(broker: Broker, topic: str) -> None:
    """What was produced is read with every column, every offset, and where to go on."""
    sent = produce(Ticks(), topic, bootstrap=broker.bootstrap_servers)
    found = asyncio.run(drain(source(broker, topic)))

    assert (3000, 0) == (sent.ticks, sent.left_out)
    ticks = together(found)
    ticks["flags"] &= ~np.uint32(CATCH_UP)  # of a topic that lay there for longer than a second
    for name in ("ts_event", "price_int", "quantity_int", "side", "trade_id", "flags"):
        assert TICKS[name].tolist() == ticks[name].tolist(), name
    assert list(range(3000)) == ticks["offset"].tolist()
    # a turn of silence has no position: the newest of those that have one counts
    assert {0: 3000} == {k: v for one in found for k, v in one.positions.items()}


def test_reading_goes_on_at_recorded_positions(broker: Broker, topic: str) -> None:
    """A source given positions reads from there to the end, and the streams keep their ids."""
    produce(Ticks(), topic, bootstrap=broker.bootstrap_servers)

    async def scenario() -> np.ndarray:
        reader = source(broker, topic, start={(topic, 0): 2990})
        await reader.connect()
        reader.name_streams({("elsewhere", 0): 0, (topic, 0): 1})

        assert [("elsewhere", 0), (topic, 0)] == reader.streams
        return together(await drain(reader))

    ticks = asyncio.run(scenario())
    assert list(range(2990, 3000)) == ticks["offset"].tolist()
    assert {1} == set(ticks["stream"].tolist())


def test_verdicts_do_not_travel(broker: Broker, topic: str) -> None:
    """A skewed tick is not produced: the reader would take it for a good one."""
    records = TICKS[:10].copy()
    records["flags"][3] |= SKEWED
    sent = produce(Ticks(records), topic, bootstrap=broker.bootstrap_servers)

    assert (9, 1) == (sent.ticks, sent.left_out)


def test_bad_messages_are_quarantined_in_place(broker: Broker, topic: str) -> None:
    """An undecodable message becomes a note between its neighbours, with its bytes and reason."""
    with TickProducer(broker.bootstrap_servers, topic, partition=0) as producer:
        good = b'{"instrument_token":900001,"price":"1.25","ts_event":%d}'
        messages = [good % 1, b"poison", b'{"price":"1"}', good % 2, b"\xff"]
        producer.send(("k", message) for message in messages)
    found = asyncio.run(drain(source(broker, topic)))

    assert [1, 2] == together(found)["ts_event"].tolist()
    before = 0
    notes = []
    for arrived in found:
        notes += [(before + note.row, note.detail) for note in arrived.notes]
        before += len(arrived.records)
    assert [(1, 1, b"poison"), (1, 2, b'{"price":"1"}'), (2, 4, b"\xff")] == [
        (row, detail["offset"], detail["payload"]) for row, detail in notes
    ]
    assert "was absent" in notes[1][1]["reason"]
    assert {0: 5} == {k: v for one in found for k, v in one.positions.items()}


def test_full_queue_stops_the_polling(broker: Broker, topic: str) -> None:
    """A loop that does not take loses nothing: the reader waits, then goes on."""
    produce(Ticks(), topic, bootstrap=broker.bootstrap_servers)

    async def scenario() -> np.ndarray:
        reader = source(broker, topic, queue_batches_max=1)
        await reader.start()
        await asyncio.sleep(0.3)

        assert 1 == len(reader._handover.queue)
        return together(await take_all(reader))

    async def take_all(reader: RedpandaSource) -> list[Arrivals]:
        found = []
        while (arrived := await reader.take(0.2)) is not None:
            found.append(arrived)
        await reader.close()
        return found

    assert list(range(3000)) == asyncio.run(scenario())["offset"].tolist()


def test_stop_keeps_what_was_read(broker: Broker, topic: str) -> None:
    """After a stop, what was read can still be taken; then comes the end."""
    produce(Ticks(), topic, bootstrap=broker.bootstrap_servers)

    async def scenario() -> list[int]:
        reader = source(broker, topic, exit_at_end=False)
        await reader.start()
        first = await reader.take(5)
        assert first is not None
        reader.stop()
        offsets = first.records["offset"].tolist()
        while (arrived := await reader.take(5)) is not None:
            offsets += arrived.records["offset"].tolist()
        await reader.close()
        return offsets

    offsets = asyncio.run(scenario())
    assert offsets == list(range(len(offsets)))


def test_silence_gives_an_empty_batch(broker: Broker, topic: str) -> None:
    """A topic without messages wakes the loop with nothing after the time it was given."""

    async def scenario() -> Arrivals | None:
        reader = source(broker, topic, exit_at_end=False)
        await reader.start()
        try:
            return await reader.take(0.05)
        finally:
            await reader.close()

    arrived = asyncio.run(scenario())
    assert arrived is not None
    assert (0, [], {}) == (len(arrived.records), arrived.notes, arrived.positions)


def test_broker_that_is_not_there_is_named() -> None:
    """Source, publisher and producer give up within their limit and name the address."""
    nowhere = "127.0.0.1:1"
    reader = RedpandaSource(nowhere, ["t"], NativeDecoder(TABLE), connect_limit_s=0.5)
    with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:1.*start the broker"):
        asyncio.run(reader.start())
    with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:1.*start the broker"):
        asyncio.run(RedpandaPublisher(nowhere, "r", connect_limit_s=0.5).start())
    with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:1.*start the broker"):
        TickProducer(nowhere, "t", connect_limit_s=0.5)


def test_positions_beyond_the_end_are_refused(broker: Broker, topic: str) -> None:
    """A topic that was created anew is told from one that goes on."""
    with pytest.raises(ConfigError, match="before the recorded position 5: it was created anew"):
        asyncio.run(source(broker, topic, start={(topic, 0): 5}).connect())


def test_wrong_setting_is_named(broker: Broker, topic: str) -> None:
    """A librdkafka setting that does not exist is a configuration error."""
    with pytest.raises(ConfigError, match=r"no\.such\.setting"):
        asyncio.run(source(broker, topic, settings={"no.such.setting": 1}).connect())


def signal(number: int) -> ApprovedSignal:
    """Return an approved signal."""
    said = Candidate(
        seq=number,
        strategy_id="dip",
        broker=f"b{uuid.uuid4().hex[:8]}",
        instrument_token=7,
        ts_event=1_736_154_000_000_000_000,
        ordinal=0,
        side=1,
        price=1.5,
        quantity=1.0,
        confidence=0.8,
        metadata={},
        reasoning="",
        record=b"",
        quantity_exact=Decimal(1),
    )
    return ApprovedSignal(said, number, f"id-{number}", b"")


def test_signals_are_read_back_by_run_and_number(broker: Broker) -> None:
    """Signals come to lie in order, and a restart finds those of its own run from the starts on."""
    first = signal(1)
    name = first.candidate.broker
    broker.create_topic(f"{name}.signals.raw", 1)

    async def scenario() -> None:
        publisher = RedpandaPublisher(broker.bootstrap_servers, "r1")
        other = RedpandaPublisher(broker.bootstrap_servers, "r2")
        await publisher.start()
        await other.start()
        starts = await publisher.ends([f"{name}.signals.raw"])
        assert {f"{name}.signals.raw": {0: 0}} == starts
        sent = [ApprovedSignal(first.candidate, n, f"id-{n}", b"") for n in range(1, 6)]
        receipts = await asyncio.gather(
            *(publisher.publish(s, strategy_id="dip", broker=name) for s in sent)
        )
        await other.publish(sent[0], strategy_id="dip", broker=name)

        places = {n: Receipt(f"{name}.signals.raw", 0, n - 1) for n in range(1, 6)}
        assert list(places.values()) == receipts
        assert places == await publisher.read_back("r1", starts)
        assert {5: places[5]} == await publisher.read_back("r1", {f"{name}.signals.raw": {0: 4}})
        assert [1] == list(await publisher.read_back("r2", starts))
        await publisher.close(5)
        await other.close(5)

    asyncio.run(scenario())
