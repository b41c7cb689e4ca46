"""What both ports share: where librdkafka's own words go, and how a silent broker is named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from parity.model.errors import ServiceDown, setting_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import KafkaError, Producer
    from confluent_kafka.admin import AdminClient

Client = TypeVar("Client")
CONNECT_LIMIT_S: Final = 10.0
_PRODUCER_SETTINGS: Final[dict[str, Any]] = {"enable.idempotence": True, "acks": "all"}
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


def producer_of(
    servers: str, own: Mapping[str, Any], given: Mapping[str, Any] | None = None, **forced: Any
) -> Producer:
    """Return an idempotent producer; it has asked the broker for nothing yet.

    Args:
        servers: where to connect.
        own: what the port asks for.
        given: librdkafka settings of the user, which go before these.
        forced: settings that nobody may change.

    Raises:
        ConfigError: a librdkafka setting is refused.
    """
    from confluent_kafka import Producer

    settings = {
        "bootstrap.servers": servers,
        **_PRODUCER_SETTINGS,
        **own,
        **(given or {}),
        **forced,
    }
    return client_of(Producer, {**settings, "error_cb": report})


def client_of(kind: Callable[..., Client], settings: Mapping[str, Any]) -> Client:
    """Return a client of librdkafka.

    Raises:
        ConfigError: a setting is refused.
    """
    from confluent_kafka import KafkaException

    try:
        return kind(dict(settings), logger=LIBRDKAFKA_LOG)
    except KafkaException as error:
        raise setting_refused(error.args[0].str()) from None
    except (TypeError, ValueError) as error:  # what is to be a function or a mapping, and is text
        raise setting_refused(error) from None


def admin_of(servers: str, given: Mapping[str, Any]) -> AdminClient:
    """Return a client that makes topics, with the settings of a producer that it shares."""
    from confluent_kafka.admin import AdminClient

    shared = {name: value for name, value in given.items() if not name.startswith("queue.")}
    return client_of(AdminClient, {"bootstrap.servers": servers, **shared})


def no_answer(
    servers: str, limit_s: float, error: Exception, client: Producer | None = None
) -> ServiceDown:
    """Return the error of a broker that did not answer in time.

    Args:
        servers: where it was to be.
        limit_s: how long it had.
        error: what the call said, which is hardly more than that.
        client: whose own words of it are logged first: why each try to connect failed.
    """
    if client is not None:
        client.poll(0)
    return ServiceDown(
        f"Redpanda at {servers}: no answer within {limit_s:g} s: {error.args[0].str()}",
        cure="start the broker, or correct bootstrap.servers and the security settings",
    )
