"""A broker that speaks TLS: the client's own settings pass through, and a refusal says why."""

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_kafka import need_kafka
from structlog.testing import capture_logs

from parity.live.produce import produce
from parity.model.errors import ServiceDown
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.sources.codecs.native import NativeDecoder
from parity.sources.redpanda import RedpandaSource
from parity.sources.synthetic import generate, make_recording
from parity.testing.broker import Broker, BrokerError, start_broker

SECRET = "hunter2-of-the-key"
TOPIC = "market.ticks"
# Of one refusal librdkafka has two words: the first error of the handshake, or what it makes of it.
UNVERIFIED = "certificate (could not be verified|verify failed)"
LIMIT_S = 4.0  # the refusals below come in milliseconds; this is how long they are waited for
pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def secured() -> Iterator[Broker]:
    """A Kafka with a TLS listener and a topic."""
    need_kafka()
    with start_broker(prefer="kafka", tls=True) as broker:
        broker.create_topic(TOPIC)
        yield broker


def of(broker: Broker) -> dict[str, str]:
    """The settings with which a client gets in."""
    assert broker.tls is not None
    return {"security.protocol": "ssl", "ssl.ca.location": str(broker.tls.ca)}


def test_ticks_pass_through_tls_and_no_secret_is_written_down(
    secured: Broker, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Produced and recorded over TLS, by settings of the environment; nothing says the secret."""
    make_recording(tmp_path / "source", seed=7, ticks=300)
    assert secured.tls is not None
    at = secured.tls.bootstrap_servers
    produce(open_recording(tmp_path / "source"), TOPIC, bootstrap=at, settings=of(secured))
    given = of(secured) | {"ssl.key.password": SECRET, "debug": "security"}
    env = {
        f"PARITY_LIBRDKAFKA__{name.upper().replace('.', '_')}": v for name, v in given.items()
    } | {"PARITY_LOG_LEVEL": "DEBUG"}
    to, sees = tmp_path / "recording", ("--instrument-table", tmp_path / "source", "--json")
    options = ("--bootstrap-servers", at, "--from", "earliest", "--exit-at-end", *sees)
    recorded = cli("record", to, *options, env=env)

    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(recorded.stdout)["ticks"] == 300
    assert SECRET not in recorded.stdout + recorded.stderr
    written = [path for path in to.rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"security.protocol": "ssl"}, UNVERIFIED),
        ({}, "brokers are down"),  # librdkafka knows no more: a listener of TLS hangs up
    ],
)
def test_a_client_that_cannot_trust_is_told_why(
    secured: Broker, given: dict[str, str], word: str
) -> None:
    """Without the authority, or without TLS, it ends in time with code 4 and a cure."""
    assert secured.tls is not None
    at = secured.tls.bootstrap_servers
    decoder = NativeDecoder(generate(ticks=10)[0])
    source = RedpandaSource(at, [TOPIC], decoder, settings=given, connect_limit_s=LIMIT_S)

    with pytest.raises(ServiceDown, match=word) as raised:
        asyncio.run(source.connect())
    assert raised.value.exit_code == 4
    assert "security settings" in str(raised.value)


def test_a_producer_that_cannot_trust_is_told_why(secured: Broker) -> None:
    """What produces says it too: the log has the cause, the error the cure."""
    assert secured.tls is not None
    ssl = {"security.protocol": "ssl"}
    with capture_logs() as logs, pytest.raises(ServiceDown, match="security settings"):
        TickProducer(secured.tls.bootstrap_servers, TOPIC, settings=ssl, connect_limit_s=LIMIT_S)

    assert any(re.search(UNVERIFIED, log["error"]) for log in logs)


def test_only_a_kafka_of_ours_has_a_tls_listener() -> None:
    """Asked of any other broker it is refused, and nothing starts."""
    with pytest.raises(BrokerError, match="tls: prefer='mock' has no such listener"):
        start_broker(prefer="mock", tls=True)
