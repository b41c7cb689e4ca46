"""Chooses and starts a broker of the Kafka API: an external one, a real Kafka, or the mock.

Every choice that is not the first is told with its reason. What the brokers need to run is in the
files beside this one; no code that depends on which kind was chosen belongs outside `Broker`.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from parity.testing.broker.admin import await_ready, await_topic, request_topic
from parity.testing.broker.errors import BrokerError
from parity.testing.broker.kafka_jars import KAFKA_VERSION, find_java, kafka_jars
from parity.testing.broker.limits import (
    ANSWER_LIMIT_S,
    EXTERNAL_LIMIT_S,
    FORMAT_LIMIT_S,
    MOCK_START_LIMIT_S,
    START_LIMIT_S,
)
from parity.testing.broker.owned_process import OwnedProcess

if TYPE_CHECKING:
    from types import TracebackType

BrokerKind = Literal["external", "kafka", "mock"]
Progress = Callable[[str], None]

_PORT_TRIES = 3
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class TlsListener:
    """Where a broker's clients speak TLS, and the file of the authority that they must trust."""

    bootstrap_servers: str
    ca: Path


@dataclass(frozen=True, slots=True)
class SaslListener:
    """Where clients speak TLS and give a password, by SCRAM-SHA-512."""

    bootstrap_servers: str
    ca: Path
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker of the Kafka API; leaving the ``with`` block stops it.

    Attributes:
        bootstrap_servers: where clients connect.
        kind: who answers there.
        describe: one line for people.
        tls: its other listener, where one was asked for.
        sasl: the third, which comes with it.
    """

    bootstrap_servers: str
    kind: BrokerKind
    describe: str
    tls: TlsListener | None = None
    sasl: SaslListener | None = None
    _process: OwnedProcess | None = field(default=None, repr=False, compare=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """Create a topic and wait until it can be written; the same one twice is no error.

        Args:
            topic: its name.
            partitions: how many partitions it must have.

        Raises:
            BrokerError: the name or number is impossible, it is there with another number of
                partitions, or the broker refused.
        """
        if not _TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
            raise BrokerError(
                f"topic {topic!r}: not a topic name",
                cure="use 1 to 249 letters, digits, '.', '_' and '-'",
            )
        if partitions < 1:
            raise BrokerError(f"topic {topic}: expected at least 1 partition, was {partitions}")
        if self.kind == "mock":  # it does not know the request that creates topics
            self._ask(f"topic {topic} {partitions}")
        else:
            request_topic(self.bootstrap_servers, topic, partitions)
        await_topic(self.bootstrap_servers, topic, partitions)

    def set_down(self) -> None:
        """Take the broker away from its clients as a crash would; what is stored stays.

        Raises:
            BrokerError: it is an external one.
        """
        self._ask("down")

    def set_up(self) -> None:
        """Bring it back on the same address and wait until it answers.

        Raises:
            BrokerError: it is an external one, or did not come back.
        """
        self._ask("up", limit_s=START_LIMIT_S + ANSWER_LIMIT_S)
        await_ready(self.bootstrap_servers)

    def freeze(self) -> None:
        """Let it neither answer nor close a connection, as a machine that stands still.

        Raises:
            BrokerError: it is an external one.
        """
        self._owned("freeze").freeze()

    def thaw(self) -> None:
        """Let a frozen one go on.

        Raises:
            BrokerError: it is an external one.
        """
        self._owned("thaw").thaw()

    def push_errors(self, api_key: int, code: int, count: int = 1) -> None:
        """Let the mock answer the next requests of one kind with an error.

        Args:
            api_key: the kind of request in Kafka's protocol; 0 is Produce, 1 is Fetch.
            code: the error, as in `confluent_kafka.KafkaError`.
            count: how many requests.

        Raises:
            BrokerError: it is not the mock.
        """
        self._only_mock("push_errors")
        self._ask(f"errors {api_key} {code} {count}")

    def set_round_trip(self, milliseconds: int) -> None:
        """Let the mock answer every request this much later.

        Raises:
            BrokerError: it is not the mock.
        """
        self._only_mock("set_round_trip")
        self._ask(f"rtt {milliseconds}")

    def stop(self) -> None:
        """Stop the broker and remove what it stored; an external one is left alone."""
        if self._process is not None:
            self._process.stop()

    def _only_mock(self, what: str) -> None:
        if self.kind != "mock":
            raise BrokerError(
                f"{what}: only the mock can, this is {self.describe}",
                cure="start_broker(prefer='mock')",
            )

    def _ask(self, line: str, *, limit_s: float = ANSWER_LIMIT_S) -> None:
        self._owned(line.split()[0]).request(line, limit_s=limit_s)

    def _owned(self, what: str) -> OwnedProcess:
        if self._process is None:
            raise BrokerError(
                f"{what}: not ours to do to {self.describe}",
                cure="start_broker(prefer='kafka') or start_broker(prefer='mock')",
            )
        return self._process


def start_broker(
    *,
    prefer: Literal["auto", BrokerKind] = "auto",
    require: Literal["kafka"] | None = None,
    tls: bool = False,
    progress: Progress | None = None,
) -> Broker:
    """Start a broker of the Kafka API, or connect to the one that is there.

    Args:
        prefer: ``auto`` takes the external broker that PARITY_BOOTSTRAP_SERVERS names, else starts
            Apache Kafka when Java and its jars can be had, else the mock in the confluent-kafka
            wheel. The other words take that one or fail.
        require: ``kafka`` refuses the mock. With ``auto``, PARITY_REQUIRE_KAFKA=1 says the same.
        tls: give it a TLS listener, too, and one that wants a password over TLS; with
            ``prefer="kafka"`` only.
        progress: told in one line each what takes a while, and why a broker was not taken.

    Returns:
        A broker that answers.

    Raises:
        BrokerError: the one asked for cannot be had; says why.

    Example:
        with start_broker(progress=print) as broker:
            broker.create_topic("market.ticks")
    """
    tell = progress or _silent
    if prefer not in ("auto", "external", "kafka", "mock"):
        raise BrokerError(f"prefer: expected auto, external, kafka or mock, was {prefer!r}")
    if tls and prefer != "kafka":
        raise BrokerError(f"tls: prefer={prefer!r} has no such listener", cure="prefer='kafka'")
    if prefer == "external" or (prefer == "auto" and _external_servers()):
        return _external()
    if prefer == "kafka":
        return _kafka(tell, tls=tls)
    mock_refused = require == "kafka" or (prefer == "auto" and kafka_required())
    if prefer == "mock":
        if mock_refused:
            raise BrokerError("prefer='mock' contradicts require='kafka'")
        return _mock()
    try:
        return _kafka(tell)
    except BrokerError as error:
        if mock_refused:
            raise
        # The first line only: the rest is the tail of a log.
        tell(f"{str(error).splitlines()[0]}; using the mock cluster in the confluent-kafka wheel")
        return _mock()


def _silent(line: str) -> None:
    """Tell nobody."""


def _external_servers() -> str:
    return os.environ.get("PARITY_BOOTSTRAP_SERVERS", "").strip()


def kafka_required() -> bool:
    """Return whether PARITY_REQUIRE_KAFKA says that the mock does not do."""
    return os.environ.get("PARITY_REQUIRE_KAFKA", "").strip() not in ("", "0")


def _external() -> Broker:
    servers = _external_servers()
    if not servers:
        raise BrokerError("PARITY_BOOTSTRAP_SERVERS: is not set", cure="set it to host:port")
    try:
        await_ready(servers, limit_s=EXTERNAL_LIMIT_S)
    except BrokerError as error:
        raise BrokerError(
            f"PARITY_BOOTSTRAP_SERVERS: {error.message}", cure="start that broker, or unset it"
        ) from error
    return Broker(servers, "external", "external broker from PARITY_BOOTSTRAP_SERVERS")


def _mock() -> Broker:
    process = OwnedProcess(
        "parity.testing.broker.mock_cluster", [], name="mock", hello_limit_s=MOCK_START_LIMIT_S
    )
    version = process.hello["version"]
    return Broker(
        process.hello["bootstrap_servers"],
        "mock",
        f"mock cluster inside the confluent-kafka wheel (librdkafka {version})",
        None,
        None,
        process,
    )


def _kafka(progress: Progress, *, tls: bool = False) -> Broker:
    java = find_java()
    jars = str(kafka_jars(progress))
    progress(f"starting Apache Kafka {KAFKA_VERSION}")
    for tries_left in reversed(range(_PORT_TRIES)):
        try:
            return _kafka_node(java, jars, tls=tls)
        except BrokerError as error:
            # A port that was free a moment ago can be another's by the time Java binds it.
            if tries_left == 0 or "Address already in use" not in str(error):
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _kafka_node(java: str, jars: str, *, tls: bool) -> Broker:
    port, controller_port, *others = _free_ports(4 if tls else 2)
    tls_port, sasl_port = others or [0, 0]
    cluster_id = _cluster_id()
    limit_s = FORMAT_LIMIT_S + START_LIMIT_S + ANSWER_LIMIT_S
    process = OwnedProcess(
        "parity.testing.broker.kafka_process",
        [java, jars, *map(str, (port, controller_port, tls_port, sasl_port)), cluster_id],
        name="kafka",
        hello_limit_s=limit_s,
    )
    servers = f"127.0.0.1:{port}"
    try:
        await_ready(servers, cluster_id=cluster_id)
    except BaseException as error:
        tail = process.log_tail()
        process.stop()
        if isinstance(error, BrokerError):
            raise BrokerError(f"kafka: {error}\n{tail}") from error
        raise
    described = f"Apache Kafka {KAFKA_VERSION} (KRaft, one node, pid {process.pid})"
    if not tls:
        return Broker(servers, "kafka", described, None, None, process)
    ca = Path(process.hello["ca"])
    who = process.hello["username"], process.hello["password"]
    listeners = (
        TlsListener(f"127.0.0.1:{tls_port}", ca),
        SaslListener(f"127.0.0.1:{sasl_port}", ca, *who),
    )
    return Broker(servers, "kafka", described, *listeners, process)


def _free_ports(count: int) -> list[int]:
    # All bound at once, so that no two are the same.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
