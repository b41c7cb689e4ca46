"""A mock of the Kafka API: the one inside librdkafka, reached through ctypes.

`python -m parity.testing.broker.mock_cluster FOLDER` owns one and speaks the line protocol, so that
a consumer killed with SIGKILL does not take its broker along. Commands: ``topic NAME PARTITIONS``,
``down``, ``up``, ``errors API_KEY CODE COUNT``, ``rtt MILLISECONDS``, ``stop``.

It keeps 5 MiB a partition and drops the rest silently, knows no transactions and answers a waiting
fetch only after ``fetch.wait.max.ms``: never measure latency or durability on it.

No import of confluent_kafka belongs here: only the shared library in its wheel is loaded.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.line_protocol import Answer, Command, serve

_BROKER_ID = 1  # the mock numbers its brokers from 1, and we start one
_PRODUCER = 0  # rd_kafka_type_t; the mock needs a client to live in, of either type
_TOPIC_ALREADY_EXISTS = 36

_POINTER, _TEXT, _INT, _SHORT, _SIZE = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_int16,
    ctypes.c_size_t,
)
# name: (result, arguments), as in rdkafka.h and rdkafka_mock.h
_FUNCTIONS = {
    "rd_kafka_version_str": (_TEXT, []),
    "rd_kafka_err2str": (_TEXT, [_INT]),
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, _SIZE]),
    "rd_kafka_new": (_POINTER, [_INT, _POINTER, _TEXT, _SIZE]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "rd_kafka_mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "rd_kafka_mock_broker_set_down": (_INT, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (_INT, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (_INT, [_POINTER, ctypes.c_int32, _INT]),
    # The array form: the one with a variable argument list is not safe through ctypes everywhere.
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [_POINTER, _SHORT, _SIZE, ctypes.POINTER(_INT)],
    ),
}


class MockCluster:
    """A mock cluster of one broker on a free port of the loopback interface.

    Attributes:
        bootstrap_servers: where clients connect.
        version: the version of librdkafka.

    Raises:
        BrokerError: no librdkafka with the mock API was found, or it could not start.
    """

    def __init__(self) -> None:
        self._library = load_librdkafka()
        self.version = self._library.rd_kafka_version_str().decode()
        reason = ctypes.create_string_buffer(512)
        conf = self._library.rd_kafka_conf_new()
        # Errors only: it warns that this client itself has no broker to go to.
        self._library.rd_kafka_conf_set(conf, b"log_level", b"3", reason, len(reason))
        self._client: int | None = self._library.rd_kafka_new(_PRODUCER, conf, reason, len(reason))
        if not self._client:
            raise BrokerError(f"mock cluster: rd_kafka_new failed: {reason.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise BrokerError("mock cluster: rd_kafka_mock_cluster_new failed")
        self._set_group_delay()
        servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        self.bootstrap_servers = servers.decode()

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic; one that is there already stays as it is."""
        code = self._library.rd_kafka_mock_topic_create(
            self._cluster, topic.encode(), partitions, 1
        )
        if code != _TOPIC_ALREADY_EXISTS:
            self._check(code, f"create topic {topic}")

    def set_down(self) -> None:
        """Close every connection and refuse new ones; what is stored stays."""
        self._check(self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER_ID), "down")

    def set_up(self) -> None:
        """Accept connections again."""
        self._check(self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER_ID), "up")

    def set_round_trip(self, milliseconds: int) -> None:
        """Let every answer take this long."""
        code = self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER_ID, milliseconds)
        self._check(code, f"rtt {milliseconds}")

    def push_errors(self, api_key: int, code: int, count: int) -> None:
        """Answer the next `count` requests of the API with the error code."""
        codes = (ctypes.c_int * count)(*([code] * count))
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, count, codes)

    def close(self) -> None:
        """Destroy the cluster and the client it lives in; a second call does nothing."""
        if self._client:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._client = None

    def _set_group_delay(self) -> None:
        # The first join of a group waits 3 s by default. Not in every librdkafka we accept.
        try:
            set_delay = self._library.rd_kafka_mock_group_initial_rebalance_delay_ms
        except AttributeError:
            return
        set_delay.restype, set_delay.argtypes = None, [_POINTER, ctypes.c_int32]
        set_delay(self._cluster, 0)

    def _check(self, code: int, what: str) -> None:
        if code:
            reason = self._library.rd_kafka_err2str(code).decode()
            raise BrokerError(f"mock cluster: {what}: {reason}")


def load_librdkafka() -> ctypes.CDLL:
    """Load the librdkafka of the confluent-kafka wheel and declare what we call.

    Returns:
        The library.

    Raises:
        BrokerError: the package is missing, or its library has no mock API; says what was tried.
    """
    tried: list[str] = []
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            tried.append(f"{path.name}: {error}")
        else:
            return library
    raise BrokerError(
        "mock cluster: no librdkafka with the mock API in confluent-kafka"
        f" ({'; '.join(tried) or 'the package is not installed'})",
        cure="install a wheel of confluent-kafka 2.10 or newer: pip install 'parity[live]'",
    )


def _libraries() -> Iterator[Path]:
    spec = importlib.util.find_spec("confluent_kafka")  # finds, does not import
    for folder in (spec.submodule_search_locations if spec else None) or []:
        package = Path(folder)
        yield from sorted(package.parent.glob("confluent_kafka.libs/librdkafka*"))
        yield from sorted(package.glob(".dylibs/librdkafka*"))
        # Built from source: the symbols are found through what the extension is linked with.
        yield from sorted(package.glob("cimpl*.so"))


def main(arguments: Sequence[str]) -> None:
    """Own a mock cluster until the owner stops or dies; the argument is its temporary folder."""
    (folder,) = arguments
    clusters: list[MockCluster] = []

    def start() -> Answer:
        clusters.append(MockCluster())
        return {
            "bootstrap_servers": clusters[0].bootstrap_servers,
            "version": clusters[0].version,
        }

    def close() -> None:
        for cluster in clusters:
            cluster.close()

    serve(folder, start, _commands(clusters), close)


def _commands(clusters: list[MockCluster]) -> dict[str, Command]:
    def topic(name: str, partitions: str) -> Answer:
        clusters[0].create_topic(name, int(partitions))
        return {}

    def down() -> Answer:
        clusters[0].set_down()
        return {}

    def up() -> Answer:
        clusters[0].set_up()
        return {}

    def errors(api_key: str, code: str, count: str) -> Answer:
        clusters[0].push_errors(int(api_key), int(code), int(count))
        return {}

    def rtt(milliseconds: str) -> Answer:
        clusters[0].set_round_trip(int(milliseconds))
        return {}

    return {"topic": topic, "down": down, "up": up, "errors": errors, "rtt": rtt}


if __name__ == "__main__":
    main(sys.argv[1:])
