"""A broker that speaks TLS, or wants a password: settings pass through, and a refusal says why."""

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
GUARDED = "ticks.with-password"
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


def with_password(broker: Broker, password: str) -> dict[str, str]:
    """The settings with which a client gives a password."""
    assert broker.sasl is not None
    return {
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": str(broker.sasl.ca),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": broker.sasl.username,
        "sasl.password": password,
    }


def environment(given: dict[str, str]) -> dict[str, str]:
    """Settings of librdkafka as variables of a command, which says all it can."""
    named = {f"PARITY_LIBRDKAFKA__{k.upper().replace('.', '_')}": v for k, v in given.items()}
    return named | {"PARITY_LIBRDKAFKA__DEBUG": "security", "PARITY_LOG_LEVEL": "DEBUG"}


def test_a_password_lets_in_and_is_written_down_nowhere(
    secured: Broker, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Produced, decided on, published and read back by SCRAM over TLS."""
    make_recording(tmp_path / "source", seed=7, ticks=300)
    assert secured.sasl is not None
    for name in (GUARDED, "paper.signals.raw", "paper.orders.filled"):
        secured.create_topic(name)
    secret = secured.sasl.password
    env = environment(with_password(secured, secret))
    at = ("--bootstrap-servers", secured.sasl.bootstrap_servers, "--json")
    run, sees = tmp_path / "run", ("--instrument-table", tmp_path / "source")
    options = ("-s", "momentum", *sees, "--from", "earliest", "--exit-at-end")
    produced = cli("produce", tmp_path / "source", "--topic", GUARDED, *at, env=env)
    decided = cli("paper", run, *options, "--topics", GUARDED, *at, env=env)

    for done in (produced, decided):
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ticks"] == 300
        assert secret not in done.stdout + done.stderr
    written = [path for path in run.rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_a_wrong_password_is_told_and_not_said(
    secured: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who reads and who produces end in time with code 4, why, and a cure, without the secret."""
    assert secured.sasl is not None
    at, given = secured.sasl.bootstrap_servers, with_password(secured, SECRET)
    given |= {"debug": "security"}
    decoder = NativeDecoder(generate(ticks=10)[0])
    source = RedpandaSource(at, [TOPIC], decoder, settings=given, connect_limit_s=LIMIT_S)
    with pytest.raises(ServiceDown, match="Authentication failed") as raised:
        asyncio.run(source.connect())
    with capture_logs() as logs, pytest.raises(ServiceDown) as refused:
        TickProducer(at, TOPIC, settings=given, connect_limit_s=LIMIT_S)

    for error in (raised.value, refused.value):
        assert error.exit_code == 4
        assert "security settings" in str(error)
    assert any("Authentication failed" in str(log.get("error")) for log in logs)
    said = f"{raised.value}{refused.value}{logs}{''.join(capfd.readouterr())}"
    assert SECRET not in said


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
