"""What both ports share: where librdkafka's own words go, and how a silent broker is named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.model.errors import ServiceDown

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

CONNECT_LIMIT_S: Final = 10.0
PRODUCER_SETTINGS: Final[dict[str, Any]] = {"enable.idempotence": True, "acks": "all"}
LIBRDKAFKA_LOG: Final = logging.getLogger("parity.librdkafka")

# Without a handler anywhere, Python prints warnings raw to the terminal.
LIBRDKAFKA_LOG.addHandler(logging.NullHandler())

_log = structlog.get_logger("parity.publishers.redpanda")


def report(error: KafkaError) -> None:
    """Log what librdkafka reports; that a broker is away, and each try to reach it, is no news."""
    from confluent_kafka import KafkaError

    away = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT)
    say = _log.debug if error.code() in away else _log.warning
    say("broker_error", error=error.str())


def no_answer(servers: str, limit_s: float, error: Exception) -> ServiceDown:
    """Return the error of a broker that did not answer in time."""
    return ServiceDown(
        f"Redpanda at {servers}: no answer within {limit_s:g} s: {error.args[0].str()}",
        cure="start the broker, or correct bootstrap.servers and the security settings",
    )
