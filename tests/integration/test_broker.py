"""Brokers for tests: each kind works, each choice is explained, nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from real_kafka import need_kafka

from parity.testing.broker import Broker, BrokerError, kafka_jars, start, start_broker

GONE_LIMIT_S = 30.0
PRODUCE = 0  # the api_key of Kafka's protocol


@pytest.fixture(scope="module")
def mock() -> Broker:
    """One mock cluster for the tests of this file that do not stop it."""
    with start_broker(prefer="mock") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which brokers started by this test make their temporary ones."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def tools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH and an empty cache: the folder given is where a test puts its own programs."""
    folder = tmp_path_factory.mktemp("tools")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("PARITY_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("PARITY_REQUIRE_KAFKA", raising=False)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    """Put a shell script on the PATH of `tools`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def produce(broker: Broker, topic: str, values: list[bytes]) -> list[KafkaError | None]:
    """Write the values in order and return what the broker said of each."""
    reports: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda e, _: reports.append(e))
    assert producer.flush(20) == 0
    return reports


def consume(broker: Broker, topic: str, count: int) -> list[bytes]:
    """Read so many values from the start of partition 0."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "test",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 1,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=20)
    consumer.close()
    assert all(message.error() is None for message in messages)
    return [message.value() for message in messages]


def processes_of(folder: Path) -> list[str]:
    """The command lines of the processes that name the folder, this one's aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if str(folder) in line and entry.parent.name != str(os.getpid()):
            found.append(line)
    return found


def left_of(folder: Path) -> list[str]:
    """What is left of the brokers started with `folder`: processes and temporary folders."""
    return [*processes_of(folder), *map(str, folder.glob("parity-*"))]


def check_round_trip(broker: Broker, topic: str) -> None:
    """A hundred values come back in the order they were written."""
    broker.create_topic(topic)
    values = [b"%d" % n for n in range(100)]

    assert [None] * 100 == produce(broker, topic, values)
    assert values == consume(broker, topic, 100)


@pytest.mark.kafka
def test_kafka_keeps_a_topic_in_order(kafka_broker: Broker) -> None:
    """A real broker hands back what was written, in order."""
    check_round_trip(kafka_broker, "order.kafka")


def test_mock_keeps_a_topic_in_order(mock: Broker) -> None:
    """The mock hands back what was written, in order."""
    check_round_trip(mock, "order.mock")


@pytest.mark.kafka
def test_kafka_refuses_a_topic_of_another_size(kafka_broker: Broker) -> None:
    """Creating a topic twice is no error, unless the partitions differ."""
    check_topic_sizes(kafka_broker)


def test_mock_refuses_a_topic_of_another_size(mock: Broker) -> None:
    """The mock treats a second creation as a real broker does."""
    check_topic_sizes(mock)


def check_topic_sizes(broker: Broker) -> None:
    """The same topic twice is fine, another size of it is not."""
    broker.create_topic("sizes", 3)
    broker.create_topic("sizes", 3)

    with pytest.raises(BrokerError, match="topic sizes is there with 3 partitions, wanted 2"):
        broker.create_topic("sizes", 2)


@pytest.mark.parametrize("name", ["", "two words", "a\nstop", "..", "x" * 250])
def test_a_topic_name_is_checked(mock: Broker, name: str) -> None:
    """A name that no broker takes, or that would be another command, is refused."""
    with pytest.raises(BrokerError, match="not a topic name"):
        mock.create_topic(name)


def test_a_topic_has_partitions(mock: Broker) -> None:
    """A topic without partitions is refused."""
    with pytest.raises(BrokerError, match="expected at least 1 partition, was 0"):
        mock.create_topic("none", 0)


def test_stopping_the_mock_leaves_nothing(folder: Path) -> None:
    """After stop there is no process and no folder, and a second stop does nothing."""
    broker = start_broker(prefer="mock")

    assert len(left_of(folder)) == 2
    broker.stop()
    assert left_of(folder) == []
    broker.stop()
    with pytest.raises(BrokerError, match="was stopped"):
        broker.set_down()


@pytest.mark.kafka
@pytest.mark.slow
def test_kafka_comes_back_with_its_data_and_stops_without_a_trace(folder: Path) -> None:
    """A killed node comes back with what was stored; after stop nothing of it is left."""
    need_kafka()
    with start_broker(prefer="kafka") as broker:
        broker.create_topic("kept")
        produce(broker, "kept", [b"1", b"2"])
        broker.set_down()
        with pytest.raises(ConnectionRefusedError):
            connect(broker)
        broker.set_up()

        assert consume(broker, "kept", 2) == [b"1", b"2"]
        assert len(left_of(folder)) == 3  # the process between, Java, the folder
    assert left_of(folder) == []


def connect(broker: Broker) -> None:
    """Open a connection and close it."""
    host, port = broker.bootstrap_servers.split(":")
    socket.create_connection((host, int(port)), timeout=5).close()


OWNER = """
import json, sys, threading, time
from parity.testing.broker import start_broker
def start():
    print(json.dumps(start_broker(prefer=sys.argv[1]).bootstrap_servers), flush=True)
thread = threading.Thread(target=start)  # a broker lives longer than the thread that started it
thread.start()
thread.join()
time.sleep(600)
"""


@pytest.mark.parametrize(
    "kind", ["mock", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])]
)
def test_no_broker_survives_its_owner(folder: Path, kind: str) -> None:
    """An owner ended by SIGKILL takes the broker's processes and folder along."""
    if kind == "kafka":
        need_kafka()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, kind], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        servers = json.loads(owner.stdout.readline())
        connect(Broker(servers, "external", ""))
        assert processes_of(folder)
        owner.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + GONE_LIMIT_S
    while left_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_of(folder) == []


@pytest.mark.kafka
@pytest.mark.slow
def test_no_java_survives_the_process_between(folder: Path) -> None:
    """Java ends with the process that runs it, and stop still tidies up."""
    need_kafka()
    with start_broker(prefer="kafka") as broker:
        pid = int(broker.describe.rpartition("pid ")[2].rstrip(")"))
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + GONE_LIMIT_S
        while processes_of(folder) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert processes_of(folder) == []
    assert left_of(folder) == []


def test_the_mock_loses_and_keeps_on_demand(mock: Broker) -> None:
    """A produce request answered with an error is retried, and its value is there once."""
    mock.create_topic("faults")
    mock.push_errors(PRODUCE, KafkaError.REQUEST_TIMED_OUT, 2)

    assert produce(mock, "faults", [b"once"]) == [None]
    assert consume(mock, "faults", 1) == [b"once"]


def test_the_mock_goes_down_and_comes_up(folder: Path) -> None:
    """Down refuses connections, up accepts them again and has kept what was stored."""
    with start_broker(prefer="mock") as broker:
        broker.create_topic("kept")
        produce(broker, "kept", [b"1"])
        broker.set_down()
        with pytest.raises(ConnectionRefusedError):
            connect(broker)
        broker.set_up()

        assert consume(broker, "kept", 1) == [b"1"]


def test_a_refusal_of_the_mock_is_told(mock: Broker) -> None:
    """What librdkafka refuses reaches the owner as an error, and the mock lives on."""
    mock.set_round_trip(1)
    mock.set_round_trip(0)

    with pytest.raises(BrokerError, match="mock: ValueError"):
        mock.push_errors(PRODUCE, "word", 1)
    connect(mock)


def test_without_java_the_mock_is_taken_and_the_reason_told(tools: Path) -> None:
    """A fallback says why."""
    lines: list[str] = []
    with start_broker(progress=lines.append) as broker:
        assert broker.kind == "mock"
        assert broker.describe.startswith("mock cluster inside the confluent-kafka wheel (librdk")
    (line,) = lines
    assert line.startswith("java not found on PATH")
    assert line.endswith("using the mock cluster in the confluent-kafka wheel")


@pytest.mark.parametrize("by", ["argument", "environment", "preference"])
def test_a_required_kafka_is_not_replaced(
    tools: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """With Kafka required or named, its absence is an error that gives the reason."""
    how: dict[str, Callable[[], Broker]] = {
        "argument": lambda: start_broker(require="kafka"),
        "environment": start_broker,
        "preference": lambda: start_broker(prefer="kafka"),
    }
    if by == "environment":
        monkeypatch.setenv("PARITY_REQUIRE_KAFKA", "1")

    with pytest.raises(BrokerError, match="java not found on PATH") as raised:
        how[by]()
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("word", ["", "0", "1", " 1 ", "yes"])
def test_tests_require_kafka_where_the_broker_does(
    tools: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """One word, one meaning: a test of a real Kafka is skipped just where the mock may be taken."""
    monkeypatch.setenv("PARITY_REQUIRE_KAFKA", word)
    skipped = pytest.skip.Exception
    with pytest.raises((BrokerError, skipped), match="java not found") as raised:
        need_kafka()
    assert raised.type is (skipped if word in ("", "0") else BrokerError)


def test_contradictions_are_refused() -> None:
    """The mock cannot be what a required Kafka is, and unknown words are named."""
    with pytest.raises(BrokerError, match="contradicts"):
        start_broker(prefer="mock", require="kafka")
    with pytest.raises(BrokerError, match="was 'redpanda'"):
        start_broker(prefer="redpanda")


def test_an_external_broker_comes_first(mock: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """PARITY_BOOTSTRAP_SERVERS is taken as it is, and left alone."""
    monkeypatch.setenv("PARITY_BOOTSTRAP_SERVERS", mock.bootstrap_servers)
    with start_broker() as broker:
        assert (broker.kind, broker.bootstrap_servers) == ("external", mock.bootstrap_servers)
        with pytest.raises(BrokerError, match="down: not ours to do to external broker"):
            broker.set_down()
        with pytest.raises(BrokerError, match="push_errors: only the mock can"):
            broker.push_errors(PRODUCE, KafkaError.REQUEST_TIMED_OUT)
    connect(mock)


def test_an_external_broker_that_is_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a broker does not want another one."""
    (port,) = start._free_ports(1)
    monkeypatch.setenv("PARITY_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr(start, "EXTERNAL_LIMIT_S", 0.2)

    with pytest.raises(BrokerError, match=f"PARITY_BOOTSTRAP_SERVERS: 127.0.0.1:{port}: not ready"):
        start_broker()


def test_an_external_broker_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for the external broker without naming one says which variable to set."""
    monkeypatch.delenv("PARITY_BOOTSTRAP_SERVERS", raising=False)

    with pytest.raises(BrokerError, match="PARITY_BOOTSTRAP_SERVERS: is not set"):
        start_broker(prefer="external")


JAVA = """[ "$1" = -version ] && { echo 'openjdk version "17.0.1"' >&2; exit 0; }"""


def test_an_old_java_is_named(tools: Path) -> None:
    """A Java that cannot run Kafka is refused with its version."""
    put(tools, "java", """echo 'java version "1.8.0_402"' >&2""")

    with pytest.raises(BrokerError, match="java is version 8, Kafka needs 17"):
        start_broker(prefer="kafka")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[ERROR] no route to host'; exit 1", "mvn: ended with code 1: no route to host"),
        ("echo half > half.jar; /bin/sleep 60", "mvn: not done in 0.3 s"),
        ("exit 0", "mvn: copied no jar of Kafka"),
        (None, "mvn not found on PATH, and Kafka's jars are not in the cache"),
    ],
)
def test_maven_failing_is_told_and_leaves_nothing_half(
    tools: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    """Whatever Maven does, the mock is taken in bounded time and the cache holds no half."""
    monkeypatch.setattr(kafka_jars, "RESOLVE_LIMIT_S", 0.3)
    put(tools, "java", JAVA)
    if script is not None:
        put(tools, "mvn", script)
    lines: list[str] = []
    with start_broker(progress=lines.append) as broker:
        assert broker.kind == "mock"

    assert reason in lines[-1]
    assert [path for path in kafka_jars.cache_folder().rglob("*") if path.is_file()] == []


def test_jars_are_resolved_once(tools: Path) -> None:
    """A warm start never calls Maven; other coordinates in the cache make it resolve again."""
    jar = f"kafka_2.13-{kafka_jars.KAFKA_VERSION}.jar"
    put(tools, "mvn", f"echo jar > {jar}")
    told: list[str] = []
    libs = kafka_jars.kafka_jars(told.append)

    assert sorted(path.name for path in libs.iterdir()) == [jar, "pom.xml"]
    (tools / "mvn").unlink()
    assert kafka_jars.kafka_jars(told.append) == libs
    assert len(told) == 1

    (libs / "pom.xml").write_text("older")
    put(tools, "mvn", f"echo newer > {jar}")
    assert (kafka_jars.kafka_jars(told.append) / jar).read_text() == "newer\n"
    assert len(told) == 2


def test_a_kafka_that_ends_at_once_shows_its_log(tools: Path, folder: Path) -> None:
    """What Java said before it ended is in the error, and nothing is left of the attempt."""
    put(tools, "java", f"{JAVA}\necho 'Could not reserve enough space'; exit 3")
    put(tools, "mvn", f"echo jar > kafka_2.13-{kafka_jars.KAFKA_VERSION}.jar")

    with pytest.raises(BrokerError, match=r"ended with code 3\nCould not reserve enough space"):
        start_broker(prefer="kafka")
    assert left_of(folder) == []


def test_importing_the_brokers_is_light() -> None:
    """Importing the module loads no client library."""
    code = "import sys, parity.testing.broker; sys.exit('confluent_kafka' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
