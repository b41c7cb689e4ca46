"""What the owner of a broker asks it over the wire: does it answer, create a topic.

The only file of this folder that imports confluent_kafka, and only inside functions. Nothing here
starts or stops a process.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.limits import READY_LIMIT_S, TOPIC_LIMIT_S

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_POLL_S = 0.02
_LOG = logging.getLogger("parity.testing.broker")


def await_ready(
    bootstrap_servers: str, *, cluster_id: str | None = None, limit_s: float = READY_LIMIT_S
) -> None:
    """Wait until a broker answers a metadata request and knows a broker to send clients to.

    Args:
        bootstrap_servers: where to ask.
        cluster_id: what the cluster must call itself; None takes any.
        limit_s: how long to try.

    Raises:
        BrokerError: none answered in time, or another cluster did.
    """
    from confluent_kafka import KafkaException

    admin = _admin(bootstrap_servers)
    deadline = time.monotonic() + limit_s
    reason = "no broker in its metadata"
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            metadata = admin.list_topics(timeout=min(left_s, 5.0))
        except KafkaException as error:
            reason = str(error.args[0])
            continue
        if cluster_id is not None and metadata.cluster_id != cluster_id:
            raise BrokerError(
                f"{bootstrap_servers}: is cluster {metadata.cluster_id}, expected {cluster_id}",
                cure="another broker took the port; start again",
            )
        if metadata.brokers:
            return
        time.sleep(_POLL_S)
    raise BrokerError(f"{bootstrap_servers}: not ready after {limit_s:g} s: {reason}")


def request_topic(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """Ask the broker to create a topic; one that is there already stays as it is.

    A node that was frozen is fenced until its controller has heard from it, and is asked again.

    Raises:
        BrokerError: the broker refused or did not answer.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # not in its __all__

    # -1: the broker's own default, 1 on a node alone and what its owner chose elsewhere.
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=-1)
    admin = _admin(bootstrap_servers)
    fenced = (KafkaError.INVALID_REPLICATION_FACTOR, KafkaError._TIMED_OUT)
    deadline = time.monotonic() + READY_LIMIT_S
    while True:
        created = admin.create_topics([wanted], request_timeout=TOPIC_LIMIT_S)[topic]
        try:
            created.result(TOPIC_LIMIT_S)
        except KafkaException as error:
            if (code := error.args[0].code()) == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            if code in fenced and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise BrokerError(f"{bootstrap_servers}: topic {topic}: {error.args[0]}") from error
        except TimeoutError as error:
            raise BrokerError(
                f"{bootstrap_servers}: topic {topic}: not created in {TOPIC_LIMIT_S:g} s"
            ) from error
        return


def await_topic(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """Wait until every partition of a topic has a leader, so that clients need not.

    Raises:
        BrokerError: it did not get there in time, or has another number of partitions.
    """
    from confluent_kafka import KafkaException

    admin = _admin(bootstrap_servers)
    deadline = time.monotonic() + TOPIC_LIMIT_S
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            found = admin.list_topics(topic, timeout=left_s).topics[topic]
        except KafkaException:
            continue
        leaders = [partition.leader >= 0 for partition in found.partitions.values()]
        if found.error is None and leaders and all(leaders):
            if len(leaders) != partitions:
                raise BrokerError(
                    f"{bootstrap_servers}: topic {topic} is there with {len(leaders)} partitions,"
                    f" wanted {partitions}",
                    cure="choose another name or delete it",
                )
            return
        time.sleep(_POLL_S)
    raise BrokerError(f"{bootstrap_servers}: topic {topic}: no leader after {TOPIC_LIMIT_S:g} s")


def _admin(bootstrap_servers: str) -> AdminClient:
    from confluent_kafka.admin import AdminClient

    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
    }
    # Refused connections are what a start looks like; they belong in a log, not on the terminal.
    return AdminClient(settings, logger=_LOG)


def read_topic(bootstrap_servers: str, topic: str) -> list[tuple[str, dict[str, str], bytes]]:
    """Return every message of a topic's partitions, oldest first: (key, headers, value).

    Raises:
        BrokerError: the broker did not answer in time.
    """
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "parity-read-topic",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "enable.partition.eof": True,
        },
        logger=_LOG,
    )
    try:
        known = consumer.list_topics(topic, timeout=TOPIC_LIMIT_S).topics[topic].partitions
        ends = {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=TOPIC_LIMIT_S)
            for p in known
        }
        # Ends, not counts: the markers of transactions take offsets, too.
        unread = {p for p, (low, high) in ends.items() if low < high}
        consumer.assign([TopicPartition(topic, p, ends[p][0]) for p in unread])
        found: list[tuple[str, dict[str, str], bytes]] = []
        deadline = time.monotonic() + READY_LIMIT_S
        while unread and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if (refused := message.error()) is not None:
                if refused.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                continue
            key = (message.key() or b"").decode()
            pairs: list[tuple[str, bytes | None]] = list(message.headers() or [])  # type: ignore[arg-type]  # the stubs also allow a dict, which a consumer never gives
            headers = {name: (value or b"").decode() for name, value in pairs}
            found.append((key, headers, message.value() or b""))
    except KafkaException as error:
        raise BrokerError(f"{bootstrap_servers}: topic {topic}: {error.args[0]}") from error
    finally:
        consumer.close()
    if unread:
        raise BrokerError(f"{bootstrap_servers}: topic {topic}: {sorted(unread)} not read out")
    return found
