"""A backlog of several partitions: recorded in one order, however it comes, and through a kill."""

import asyncio
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from heads import Place, by_heads

from parity.live.start import start
from parity.model.ticks import CATCH_UP
from parity.recording.reader import open_recording
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder
from parity.sources.redpanda import RedpandaSource
from parity.testing.broker import Broker

CHILD = Path(__file__).with_name("catch_up_child.py")
TABLE = synthetic.TABLE
TOKEN = int(TABLE.tokens[0])
SIZES = (900, 300, 600)
OLD_MS = time.time_ns() // 1_000_000 - 600_000
SOON_MS = OLD_MS + 3_600_000  # fresh, however slow this machine is; brokers take an hour, no more
pytestmark = [pytest.mark.slow, pytest.mark.kafka]


def times() -> dict[int, list[Place]]:
    """Return offset and time in ms of each message; in the same minute, and back at places."""
    return {
        p: [(n, OLD_MS + n * 60_000 // size - (n % 7 == 0) * 500) for n in range(size)]
        for p, size in enumerate(SIZES)
    }


def payload(ms: int) -> bytes:
    """Return a tick."""
    return b'{"instrument_token":%d,"price":"1.25","ts_event":%d}' % (TOKEN, ms * 1_000_000)


@pytest.fixture
def topic(kafka_broker: Broker) -> str:
    """A topic of three partitions with a backlog; at one's end are the marks of a transaction."""
    from confluent_kafka import Producer

    name = f"behind-{uuid.uuid4().hex[:12]}"
    kafka_broker.create_topic(name, len(SIZES))
    servers = kafka_broker.bootstrap_servers
    # Idempotent, else a retry puts batches out of their order.
    made = {"bootstrap.servers": servers, "batch.num.messages": 40, "enable.idempotence": True}
    for partition, rows in times().items():
        producer = Producer(made | ({"transactional.id": name} if partition == 1 else {}))
        if partition == 1:
            producer.init_transactions(60)
            producer.begin_transaction()
        for n, ms in rows:
            # Every fiftieth cannot be decoded, and stands where the broker took it in.
            value = b"poison" if n % 50 == 9 else payload(ms)
            producer.produce(name, value, partition=partition, timestamp=ms)
        if partition == 1:
            producer.commit_transaction(60)
        assert 0 == producer.flush(60)
    return name


def add_fresh(servers: str, topic: str) -> None:
    """Produce a few ticks at the head."""
    from confluent_kafka import Producer

    refused: list[object] = []
    producer = Producer({"bootstrap.servers": servers})
    told = {"on_delivery": lambda error, _: error and refused.append(error)}
    for n in range(9):
        producer.produce(topic, payload(OLD_MS + n), partition=n % 3, timestamp=SOON_MS, **told)
    assert (0, []) == (producer.flush(60), refused)


def record(folder: Path, broker: Broker, topic: str, fetch: dict[str, Any], kept: int) -> None:
    """Record the backlog, and ticks of the head that come once it is recorded."""

    async def scenario() -> None:
        stop = asyncio.Event()
        backlog = len(merged()) - len(poison())
        before = 0
        if (folder / "manifest.json").exists():
            with open_recording(folder) as found:
                before = found.tick_rows

        def progress(counts: dict[str, int]) -> None:
            ticks = before + counts["ticks"]
            if ticks == backlog and not asked:
                asked.append(ticks)
                add_fresh(broker.bootstrap_servers, topic)
            if ticks == backlog + 9:
                stop.set()

        asked: list[int] = []
        decoder = NativeDecoder(TABLE)
        servers = broker.bootstrap_servers
        source = RedpandaSource(servers, [topic], decoder, settings=fetch, messages_max=kept)
        await start(folder, TABLE, source, created_by="test", stop=stop, progress=progress)

    asyncio.run(asyncio.wait_for(scenario(), 180))


def merged() -> list[Place]:
    """Return the backlog in order."""
    return by_heads(times())


def poison() -> list[Place]:
    """Return what cannot be decoded, in the order of the backlog."""
    return [(partition, n) for partition, n in merged() if n % 50 == 9]


def recorded(folder: Path) -> tuple[list[Place], list[bool]]:
    """Return partition and offset of all events by seq, and which ticks are flagged."""
    found: list[tuple[int, Place]] = []
    flags: list[bool] = []
    with open_recording(folder) as recording:
        assert [0, 1, 2] == [stream.partition for stream in recording.manifest.streams]
        for batch in recording.batches():
            columns = [batch.ticks.column(n).tolist() for n in ("seq", "stream", "offset")]
            found += [(seq, (stream, offset)) for seq, stream, offset in zip(*columns, strict=True)]
            flags += [bool(bits & CATCH_UP) for bits in batch.ticks.column("flags").tolist()]
            for control in batch.controls:
                assert control.verb in ("quarantine", "resumed", "gap"), control
                if control.verb == "quarantine":
                    place = (control.detail["stream"], control.detail["offset"])
                    found.append((control.seq, place))
    return [place for _, place in sorted(found)], flags


@pytest.mark.parametrize(
    ("fetch", "kept"),
    [({}, 20_000), ({"max.partition.fetch.bytes": 3000, "fetch.wait.max.ms": 5}, 50)],
)
def test_a_backlog_is_recorded_in_one_order(
    kafka_broker: Broker, topic: str, tmp_path: Path, fetch: dict[str, Any], kept: int
) -> None:
    """In large chunks, and in small ones with partitions held: the order of the heads, flagged."""
    record(tmp_path / "rec", kafka_broker, topic, fetch, kept)
    order, flags = recorded(tmp_path / "rec")

    whole = merged()
    assert whole == order[: len(whole)]
    ticks = len(whole) - len(poison())
    assert [True] * ticks + [False] * 9 == flags
    assert sorted(order) == sorted({*order})


def test_a_kill_amid_a_backlog_changes_no_order(
    kafka_broker: Broker, topic: str, tmp_path: Path
) -> None:
    """A recorder killed amid it goes on behind its last offsets, in the order it had begun."""
    where = (tmp_path / "rec", kafka_broker.bootstrap_servers, topic, "700")
    command = [sys.executable, str(CHILD), *map(str, where)]
    code = subprocess.run(command, check=False, capture_output=True, timeout=180).returncode
    with open_recording(tmp_path / "rec") as found:
        kept = found.tick_rows
    assert (-9, True) == (code, 700 <= kept < 1700)
    record(tmp_path / "rec", kafka_broker, topic, {}, 20_000)
    order, flags = recorded(tmp_path / "rec")

    whole = merged()
    assert whole == order[: len(whole)]
    assert [True] * (len(whole) - len(poison())) + [False] * 9 == flags
