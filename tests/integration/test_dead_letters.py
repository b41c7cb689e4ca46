"""Undecodable messages reach `<topic>.dlq` once, ever: across restarts, kills and runners."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from parity.live.dead_letters import DEAD_LETTERED
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.sources.synthetic import TABLE
from parity.testing.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = [pytest.mark.slow, pytest.mark.kafka]
GOOD = b'{"instrument_token":900001,"price":"1.25","ts_event":%d}'


@pytest.fixture
def topic(kafka_broker: Broker) -> str:
    """A topic of one partition; the one of its dead letters is not there yet."""
    name = f"ticks-{uuid.uuid4().hex[:10]}"
    kafka_broker.create_topic(name, 1)
    return name


@pytest.fixture
def record(cli: Cli, kafka_broker: Broker, topic: str, tmp_path: Path) -> Callable[..., Any]:
    """Record to the end of the topic, and return what the command says."""
    table = tmp_path / "table.json"
    table.write_text(json.dumps(TABLE.to_json()))

    def run(folder: Path, *options: str) -> Any:
        found = cli(*command(folder, kafka_broker, topic, table), "--exit-at-end", *options)
        assert 0 == found.returncode, found.stderr
        return json.loads(found.stdout)

    return run


def command(folder: Path, broker: Broker, topic: str, table: Path) -> list[str]:
    """Return the arguments of a recorder."""
    at = ["--bootstrap-servers", broker.bootstrap_servers, "--instrument-table", str(table)]
    return ["record", str(folder), "--topics", topic, "--from", "earliest", "--json", *at]


def send(broker: Broker, topic: str, messages: list[bytes]) -> None:
    """Send messages in order."""
    with TickProducer(broker.bootstrap_servers, topic, partition=0) as producer:
        producer.send(("k", message) for message in messages)


def letters(broker: Broker, topic: str) -> list[tuple[dict[str, str], bytes | None]]:
    """Return headers and bytes of all letters of a topic."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": uuid.uuid4().hex}
    consumer = Consumer(settings | {"auto.offset.reset": "earliest"})
    try:
        place = TopicPartition(f"{topic}.dlq", 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        found = []
        while len(found) < end:
            for message in consumer.consume(1000, timeout=1):
                headers = {k: v for k, v in message.headers() if k != "payload_hash"}
                found.append(({k: v.decode() for k, v in headers.items()}, message.value()))
    finally:
        consumer.close()
    return found


def test_a_letter_says_where_it_came_from_and_why(
    kafka_broker: Broker, topic: str, record: Callable[..., Any], tmp_path: Path
) -> None:
    """Topic, partition, offset and reason in headers, the bytes as they were; the journal tells."""
    send(kafka_broker, topic, [GOOD % 1, b"poison", GOOD % 2, b'{"price":"1"}', b"\xff"])
    found = record(tmp_path / "rec")
    sent = letters(kafka_broker, topic)

    assert (3, 3, 0) == tuple(
        found[n] for n in ("quarantined", "dead_letters", "dead_letters_open")
    )
    assert [("1", b"poison"), ("3", b'{"price":"1"}'), ("4", b"\xff")] == [
        (headers["offset"], payload) for headers, payload in sent
    ]
    with open_recording(tmp_path / "rec") as recording:
        controls = recording.controls()
        identity = recording.manifest.recording_id
    reasons = [c.detail["reason"] for c in controls if c.verb == "quarantine"]
    for (headers, _), reason in zip(sent, reasons, strict=True):
        assert (topic, "0", reason, identity) == tuple(
            headers[n] for n in ("topic", "partition", "reason", "recording_id")
        )
    told = [row for c in controls if c.verb == DEAD_LETTERED for row in c.detail["letters"]]
    assert [[0, 1, 0, 0], [0, 3, 0, 1], [0, 4, 0, 2]] == told
    assert 0 == record(tmp_path / "rec")["dead_letters"]
    assert 3 == len(letters(kafka_broker, topic))


def test_what_lies_there_is_not_sent_again(
    kafka_broker: Broker, topic: str, record: Callable[..., Any], tmp_path: Path
) -> None:
    """A kill between the broker's answer and the journal, and another recording of the topic."""
    send(kafka_broker, topic, [b"a", GOOD % 1, b"b"])
    silent = record(tmp_path / "rec", "--no-dead-letters")
    shutil.copytree(tmp_path / "rec", tmp_path / "before")  # as a kill would leave it
    first, again = record(tmp_path / "rec"), record(tmp_path / "before")
    send(kafka_broker, topic, [b"c"])
    other = record(tmp_path / "other")
    later = record(tmp_path / "rec")

    assert [0, 2, 2, 3, 1] == [one["dead_letters"] for one in (silent, first, again, other, later)]
    assert [b"a", b"b", b"c"] == [payload for _, payload in letters(kafka_broker, topic)]
    with open_recording(tmp_path / "before") as recording:
        (told,) = [c.detail for c in recording.controls() if c.verb == DEAD_LETTERED]
    assert (2, [[0, 0, 0, 0], [0, 2, 0, 1]]) == (told["found"], told["letters"])


def test_a_letter_too_large_for_its_headers_goes_without_its_bytes(
    kafka_broker: Broker, topic: str, record: Callable[..., Any], tmp_path: Path
) -> None:
    """A message at the client's limit leaves no room for ours: the letter says what it left out."""
    limit = 1_000_000
    large = b"x" * (limit - 100)
    send(kafka_broker, topic, [large, b"small"])
    found = record(tmp_path / "rec")
    sent = letters(kafka_broker, topic)

    assert (2, 0) == (found["dead_letters"], found["dead_letters_open"])
    assert {(None, str(len(large))), (b"small", None)} == {
        (payload, headers.get("payload_bytes_left_out")) for headers, payload in sent
    }


@pytest.fixture
def started() -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Start a command in a process of its own; what is left of it ends with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str]) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, "-m", "parity", *arguments], cwd=ROOT, **quiet)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _told(folder: Path) -> bool:
    """Say whether a recording tells of a letter yet."""
    if not (folder / "manifest.json").exists():
        return False
    with open_recording(folder) as recording:
        return any(control.verb == DEAD_LETTERED for control in recording.controls())


def test_kills_neither_lose_nor_double_a_letter(
    kafka_broker: Broker,
    topic: str,
    record: Callable[..., Any],
    started: Callable[[list[str]], subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    """Recorders killed with SIGKILL while poison streams in, then one that comes to the end."""
    kills = max(4, int(os.environ.get("PARITY_SOAK", "0")) // 20)
    seed = int(os.environ.get("PARITY_SEED") or random.randrange(2**32))
    print(f"repeat: PARITY_SEED={seed} PARITY_SOAK={os.environ.get('PARITY_SOAK', '0')}")
    draw = random.Random(seed)
    table, bad, at = tmp_path / "table.json", [], 0
    for kill in range(kills):
        process = started(command(tmp_path / "rec", kafka_broker, topic, table))
        began = time.monotonic()
        until = began + 1.5 + 2 * draw.random()  # some are killed while they start, not the first
        while time.monotonic() < until or (kill == 0 and not _told(tmp_path / "rec")):
            assert time.monotonic() < began + LIMIT_S
            messages = [draw.choice([GOOD % at, b"poison %d" % draw.randrange(99)])
                        for _ in range(draw.randrange(1, 6))]  # fmt: skip
            bad += [at + n for n, one in enumerate(messages) if one.startswith(b"poison")]
            at += len(messages)
            send(kafka_broker, topic, messages)
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = record(tmp_path / "rec")

    assert 0 == found["dead_letters_open"]
    counts = Counter(int(headers["offset"]) for headers, _ in letters(kafka_broker, topic))
    assert bad == sorted(counts)
    assert {1} == {*counts.values()}
    with open_recording(tmp_path / "rec") as recording:
        told = [row for c in recording.controls() if c.verb == DEAD_LETTERED
                for row in c.detail["letters"]]  # fmt: skip
    assert bad == sorted(row[1] for row in told)
