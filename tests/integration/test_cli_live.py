"""Commands that need a broker, as processes: produce, record, paper, and a broker that is dead."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

import parity
from parity.model.ticks import DUPLICATE
from parity.publishers.redpanda import TickProducer
from parity.sources.synthetic import make_recording
from parity.strategies import REGISTRY
from parity.testing.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
TICKS = 4_000  # the mock broker keeps 5 MiB of a partition
Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic recording."""
    folder = tmp_path_factory.mktemp("recordings") / "small"
    make_recording(folder, seed=7, ticks=TICKS)
    return folder


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of one partition that no other test uses, and where paper signals go."""
    name = f"cli.{uuid.uuid4().hex[:8]}"
    broker.create_topic(name)
    broker.create_topic("paper.signals.raw")
    broker.create_topic("paper.orders.filled")
    return name


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command in a process of its own; it is ended with the test, whatever happens."""
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "parity", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def test_paper_of_produced_ticks_equals_the_backtest(
    cli: Cli, broker: Broker, topic: str, recording: Path, tmp_path: Path
) -> None:
    """Produce, run on paper, verify: identical, and the candidates are the backtest's."""
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    sent = json.loads(cli("produce", recording, "--topic", topic, *at, "--json").stdout)
    rules = ("-s", "momentum", "--set", "threshold=0.002", "--set", "risk.cooldown_sec=30")
    run = ("paper", tmp_path / "run", *rules, "--topics", topic, *at, "--exit-at-end", "--json")
    paper = cli(*run, "--from", "earliest", "--instrument-table", recording)
    found = json.loads(paper.stdout)
    backtest = json.loads(
        cli("backtest", recording, *rules, "--out", tmp_path / "b", "--json").stdout
    )
    verdict = json.loads(cli("verify", tmp_path / "run", "--json").stdout)

    assert (TICKS, 0) == (sent["ticks"], sent["left_out"])
    assert 0 == paper.returncode, paper.stderr
    assert TICKS == found["ticks"]
    assert backtest["digests"]["candidates"] == found["digests"]["candidates"]
    assert "identical" == verdict["verdict"]
    assert found["signals"] == verdict["covered"]["deliveries"] > 0
    assert found["fills"] == verdict["covered"]["fill_deliveries"]
    again = cli(*run, "--set", "threshold=0.1")
    assert 2 == again.returncode
    assert "another configuration" in again.stderr


def test_extension_columns_travel_from_a_recording_to_another(
    cli: Cli, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Produced, recorded under a table from a JSON file, sealed: every value and every null."""
    frozen = ROOT / "recordings" / "format-1" / "sealed"
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    manifest = json.loads((frozen / "manifest.json").read_text())
    declared = {name: manifest[name] for name in ("instruments", "extensions")}
    (tmp_path / "table.json").write_text(json.dumps(declared))
    sent = json.loads(cli("produce", frozen, "--topic", topic, *at, "--json").stdout)
    options = ("--topics", topic, *at, "--from", "earliest", "--exit-at-end")
    table = ("--instrument-table", tmp_path / "table.json")
    recorded = cli("record", tmp_path / "rec", *options, *table)

    assert (9, 1) == (sent["ticks"], sent["left_out"])
    assert 0 == recorded.returncode, recorded.stderr
    columns = ["instrument_token", "price", "bid", "ts_event"]
    columns += [e["name"] for e in manifest["extensions"]]
    query = f"SELECT {', '.join(columns)} FROM ticks WHERE flags & {DUPLICATE} = 0 ORDER BY seq"
    found = parity.open(tmp_path / "rec").sql(query).fetchall()
    assert found == parity.open(frozen).sql(query).fetchall()
    assert 9 == len(found)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_recorder_seals_what_it_recorded(
    cli: Cli,
    broker: Broker,
    topic: str,
    start: Start,
    recording: Path,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    """SIGINT and SIGTERM are how a recorder ends: exit 0, the recording sealed; it can go on."""
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    copy = tmp_path / "rec"
    options = ("record", copy, "--topics", topic, *at, "--from", "earliest", "--json")
    process = start(*options, "--instrument-table", recording)
    assert 0 == cli("produce", recording, "--topic", topic, *at).returncode
    until(lambda: json.loads(cli("inspect", copy, "--json").stdout or "{}").get("ticks") == TICKS)
    process.send_signal(how)
    shown, said = process.communicate(timeout=180)

    assert 0 == process.returncode, said
    assert TICKS == json.loads(shown)["ticks"]
    found = json.loads(cli("inspect", copy, "--json").stdout)
    assert ("sealed", TICKS, "arrival") == (found["state"], found["ticks"], found["order"])
    assert 0 == cli("produce", recording, "--topic", topic, *at).returncode
    assert 0 == cli(*options, "--exit-at-end").returncode
    assert 2 * TICKS == json.loads(cli("inspect", copy, "--json").stdout)["ticks"]


def test_a_dead_broker_ends_with_4_in_bounded_time(
    start: Start, recording: Path, tmp_path: Path
) -> None:
    """Every command that needs a broker says which one is silent, once, within a minute."""
    dead = ("--bootstrap-servers", "127.0.0.1:1", "--json")
    table = ("--instrument-table", recording)
    processes = [
        start("produce", recording, *dead),
        start("record", tmp_path / "rec", *table, *dead),
        start("paper", tmp_path / "run", "-s", "momentum", *table, *dead),
    ]
    for process in processes:
        shown, said = process.communicate(timeout=180)
        last = said.strip().splitlines()

        assert (4, "") == (process.returncode, shown)
        assert any(line.startswith("error: Redpanda at 127.0.0.1:1: no answer") for line in last)
        assert "start the broker" in last[-1]
        assert len(last) < 20
    assert not (tmp_path / "rec").exists()


def test_a_setting_that_librdkafka_refuses_ends_with_2_and_a_cure(
    start: Start, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a name it does not know nor a value it does not take is a silent broker."""
    table = ("--instrument-table", recording)
    commands = [
        ("produce", recording),
        ("record", tmp_path / "rec", *table),
        ("paper", tmp_path / "run", "-s", "momentum", *table),
    ]
    given = ["NO_SUCH_SETTING", "SECURITY_PROTOCOL", "SESSION_TIMEOUT_MS"]
    processes = []
    for command, name in zip(commands, given, strict=True):
        with monkeypatch.context() as environment:
            environment.setenv(f"PARITY_LIBRDKAFKA__{name}", "nonsense")
            processes.append(start(*command, "--bootstrap-servers", "127.0.0.1:1", "--json"))
    for process, name in zip(processes, given, strict=True):
        shown, said = process.communicate(timeout=180)

        assert (2, "") == (process.returncode, shown), said
        assert "error: librdkafka settings: " in said
        assert name.lower().replace("_", ".") in said
        assert "mend or remove it where it is set" in said
    assert not (tmp_path / "rec").exists()


def test_doctor_says_whether_the_broker_answers(cli: Cli, broker: Broker) -> None:
    """Doctor names the broker it would use; a dead one is no fault of the machine."""
    alive = cli("doctor", "--json", "--bootstrap-servers", broker.bootstrap_servers)
    dead = cli("doctor", "--json", "--bootstrap-servers", "127.0.0.1:1")
    found = json.loads(alive.stdout)

    assert (0, 0) == (alive.returncode, dead.returncode)
    assert found["broker"]["answers"]
    assert not json.loads(dead.stdout)["broker"]["answers"]
    assert {name for name in REGISTRY if name.endswith("_kernel")} == {
        k["name"] for k in found["kernels"]
    }
    assert {"portable"} == {k["certificate"] for k in found["kernels"]}
    assert ["momentum.onnx"] == [m["name"] for m in found["models"]]


def test_a_run_is_held_against_a_topic(
    cli: Cli, broker: Broker, topic: str, recording: Path, tmp_path: Path
) -> None:
    """An old runner's topic: the same, then a difference with its offset; own messages left out."""
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    rules = ("-s", "momentum", "--set", "threshold=0.002")
    assert 0 == cli("produce", recording, "--topic", topic, *at).returncode
    options = ("--topics", topic, *at, "--exit-at-end", "--from", "earliest")
    run = cli("paper", tmp_path / "run", *rules, *options, "--instrument-table", recording)
    assert 0 == run.returncode, run.stderr
    alone = ("--recording", recording, "--no-paper-fills")
    assert 0 == cli("paper", tmp_path / "b", *rules, *alone).returncode
    (file,) = (tmp_path / "b" / "published").iterdir()
    said = [json.loads(line)["message"] for line in file.read_text().splitlines()]
    old = f"old.{uuid.uuid4().hex[:8]}"
    broker.create_topic(old)
    with TickProducer(broker.bootstrap_servers, old, partition=0) as producer:
        producer.send([("k", json.dumps(one).encode()) for one in said])
    same = cli("diff", tmp_path / "run", "--against", old, *at, "--json")
    with TickProducer(broker.bootstrap_servers, old, partition=0) as producer:
        producer.send([("k", json.dumps(said[0] | {"trace_id": "x"}).encode())])
    twice = cli("diff", tmp_path / "run", "--against", old, *at, "--json")
    own = cli("diff", tmp_path / "run", "--against", "paper.signals.raw", *at, "--json")
    none = cli("diff", tmp_path / "run", "--against", "no.such.topic", *at)

    assert (0, 1, 1, 2) == (same.returncode, twice.returncode, own.returncode, none.returncode)
    assert len(said) == json.loads(same.stdout)["covered"]["matched"] > 5
    first = json.loads(twice.stdout)["first_divergence"]
    assert f"{old}[0]@{len(said)}" in first["b"]
    assert len(said) <= json.loads(own.stdout)["left_out"]["the run's own"]
