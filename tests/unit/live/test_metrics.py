"""What Prometheus is served: every name, parsed by a small parser of our own, and nothing else."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.live.metrics import BOUNDS_NS, Endpoint, text_of
from parity.live.notify import Notifier
from parity.live.operator import SILENT_S, WAITS_S, Operating, Operator, Parts, Seen
from parity.live.runner import Strategies
from parity.model.effects import ApprovedSignal, Candidate
from parity.model.values import StrategyConfig
from parity.recording.journal import JournalWriter
from parity.recording.writer import create_recording
from parity.sources.arrivals import Place
from parity.sources.synthetic import TABLE, generate

SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
Key = tuple[str, frozenset[tuple[str, str]]]


def parsed(text: str) -> tuple[dict[str, str], dict[Key, float]]:
    """Return kinds by family and values by (name, labels); refuse what the format forbids."""
    kinds: dict[str, str] = {}
    found: dict[Key, float] = {}
    family = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in kinds, f"{family} stands twice"
            kinds[family] = kind
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, inner, value = match.groups()
        labels = dict(_labels(inner or ""))
        allowed = {family}
        if kinds[family] == "histogram":
            allowed = {f"{family}{end}" for end in ("_bucket", "_sum", "_count")}
        assert name in allowed, f"{name} stands under {family}"
        assert kinds[family] != "counter" or float(value) >= 0
        key = (name, frozenset(labels.items()))
        assert key not in found, f"{key} stands twice"
        found[key] = float(value)
    return kinds, found


def _labels(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, text[at:]
        yield match[1], re.sub(r'\\[\\"n]', lambda m: UNESCAPED[m[0]], match[2])
        at = match.end()


def value(found: dict[Key, float], name: str, **labels: str) -> float:
    """Return the one value of a name and labels."""
    return found[name, frozenset(labels.items())]


class Quiet:
    """Says nothing."""

    def process_tick(self, tick: Any, history: Any) -> None:
        """Say nothing."""

    def get_required_history_length(self) -> int:
        """One tick."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """The name."""
        return "quiet"


class Source:
    """Two partitions, one of which the broker has said nothing of."""

    def places(self) -> list[Place]:
        """Return them."""
        return [Place("market.ticks", 0, 90, 40, 100), Place("market.ticks", 1, 7, None, None)]


class Deliveries:
    """What became of signals and fills."""

    unsettled = 2
    waits_s = 0.0
    dead = 1
    counts = {"delivered": 5, "recovered": 0, "dead": 1}  # noqa: RUF012  # nobody changes it
    fill_counts = {"delivered": 4, "recovered": 3, "dead": 0}  # noqa: RUF012  # as above


NAME = 'odd"name\\ of\na strategy'


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """An operator of a run with one strategy, some ticks and one signal."""
    create_recording(tmp_path, TABLE, created_by="test", streams=[("market.ticks", 0)])
    journal = JournalWriter(tmp_path)
    _, ticks = generate(ticks=100)
    journal.append(ticks, (), {})
    tokens = tuple(int(token) for token in TABLE.tokens)
    config = StrategyConfig(strategy_id=NAME, strategy_type="quiet", instrument_tokens=tokens)
    asked: Any = SimpleNamespace(inference_count=7)
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", Quiet, model=asked)])
    strategies: Any = Strategies(engine, None, Deliveries())  # type: ignore[arg-type] # unused
    source: Any = Source()
    operating = Operating(tmp_path, kinds={NAME: "ml"}, models={NAME: True, "lost": False})
    made = Operator(operating, Parts(tmp_path, source, journal, strategies, None))
    for ns in (900, 1_000_000, 3_000_000_000):
        made.telemetry.stages["publish"].add(ns)
    ticks["ts_recv"] = ticks["ts_event"] + 1_500_000_000
    made._seen = lambda: Seen(100, {"gap": 2, "quarantine": 0}, ticks)
    said = Candidate(1, NAME, "paper", 1, 1, 0, -1, 1.0, 1.0, 1.0, {}, "", b"", None)  # type: ignore[arg-type] # unused
    made.approved([ApprovedSignal(said, 1, "id", b"")])
    yield made
    journal.close()


def test_every_name_is_served_with_its_value(operator: Operator) -> None:
    """A scrape parses, and says what the run's state says."""
    kinds, found = parsed(operator.metrics())
    run = {"service": "parity", "broker": "shared"}

    assert 100 == value(found, "trading_events_processed_total", **run, event_type="tick")
    assert 2 == value(found, "trading_events_processed_total", **run, event_type="gap")
    own = {"strategy_id": NAME, "broker": "paper"}
    assert 1 == value(found, "trading_signals_generated_total", **own, signal_type="SELL")
    assert 0 == value(found, "trading_signals_generated_total", **own, signal_type="BUY")
    own = {"strategy": NAME, "broker": "paper"}
    assert 1 == value(found, "signals_total", **own, kind="ml", side="SELL")
    assert 0 == value(found, "strategy_state", **own)
    assert 7 == value(found, "ml_inferences_total", **own)
    assert 1 == value(found, "ml_model_load_success_total", strategy_id=NAME)
    assert 1 == value(found, "ml_model_load_failure_total", strategy_id="lost")
    assert 1 == value(found, "trading_dlq_messages_total", **run)
    assert 2 == value(found, "parity_deliveries_open")
    assert 5 == value(found, "parity_deliveries_total", state="delivered")
    assert 3 == value(found, "parity_fill_deliveries_total", state="recovered")
    assert 0 == value(found, "trading_pipeline_stage_healthy", stage="publisher", broker="shared")
    place = {"topic": "market.ticks", "partition": "0"}
    assert 10 == value(found, "parity_consumer_lag", **place)
    assert 50 == value(found, "parity_retention_headroom", **place)
    assert 1 == sum(name == "parity_consumer_lag" for name, _ in found)
    assert 1.5 == value(found, "parity_lag_seconds")
    assert 100 == value(found, "parity_last_seq") == value(found, "parity_unsynced_events")
    assert value(found, "parity_journal_bytes") > 10_000
    assert value(found, "parity_disk_free_bytes") > 0
    assert {
        "trading_processing_latency_seconds", "trading_errors_total",
        "trading_last_activity_timestamp_unix", "signals_dropped_total", "processor_errors_total",
        "latency_ms", "parity_fills_total",
    } <= {*kinds}  # fmt: skip


def test_a_histogram_is_one(operator: Operator) -> None:
    """Buckets rise to +Inf, which is the count; bounds are in the unit of the name."""
    kinds, found = parsed(operator.metrics())
    stages = {dict(labels)["stage"] for name, labels in found if name == "latency_ms_bucket"}

    assert {"process_tick", "journal", "sync", "deliver", "publish"} == stages
    for name, per, unit in (("latency_ms", {"stage": "publish"}, 1e6),
                            ("trading_processing_latency_seconds",
                             {"service": "parity", "event_type": "signal"}, 1e9)):  # fmt: skip
        assert "histogram" == kinds[name]
        buckets = sorted(
            (float(dict(labels)["le"]), n)
            for (one, labels), n in found.items()
            if one == f"{name}_bucket" and per.items() <= dict(labels).items()
        )
        assert [bound / unit for bound in BOUNDS_NS] == [le for le, _ in buckets[:-1]]
        counts = [n for _, n in buckets]
        assert (sorted(counts), 3.0) == (counts, value(found, f"{name}_count", **per))
        assert (float("inf"), 3.0) == buckets[-1]
        assert 1.0 == dict(buckets)[1_000 / unit]
        assert 2.0 == dict(buckets)[2_500_000 / unit]
        assert 3_001_000_900 / unit == value(found, f"{name}_sum", **per)


def test_a_source_that_never_brought_a_tick_is_not_well(operator: Operator) -> None:
    """Without a tick its silence counts from the start: a topic nobody can reach is seen, too."""
    operator._seen = lambda: Seen(0, {}, None)
    fresh = operator.status()
    operator._began -= SILENT_S
    later = operator.status()

    assert (True, False) == (fresh["healthy"]["source"], later["healthy"]["source"])
    assert fresh["silent_s"] is None is later["silent_s"], "there is no last tick"


def test_a_publisher_whose_reports_stay_away_is_not_well(operator: Operator) -> None:
    """Signals that nobody reports on are seen while they wait; they are dead much later."""
    strategies: Any = operator._parts.strategies
    deliveries = strategies.delivery
    deliveries.dead = 0
    fine = []
    for deliveries.waits_s in (0.0, 59.9, WAITS_S):
        fine.append(operator.status()["healthy"]["publisher"])

    assert [True, True, False] == fine


def test_a_disk_that_does_not_answer_hides_nothing_else(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk alone knows is unknown, without a row in the scrape; the rest is served."""

    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("parity.live.operator.shutil.disk_usage", refuse)
    monkeypatch.setattr("parity.live.operator._size", refuse)
    disk = operator.status()["disk"]
    _, found = parsed(operator.metrics())

    assert disk["free_bytes"] is None is disk["journal_bytes"]
    assert 0 == disk["pruning_failures"] == disk["synced_seq"]
    names = {name for name, _ in found}
    assert not {"parity_disk_free_bytes", "parity_journal_bytes"} & names
    assert {"parity_unsynced_events", "parity_pruned_bytes_total", "latency_ms_sum"} <= names


def test_a_recorder_is_scraped_too(operator: Operator) -> None:
    """Without strategies there are no families' rows of theirs, and it parses."""
    parts = operator._parts._replace(strategies=None)
    bare = Operator(Operating(parts.folder), parts)
    _, found = parsed(bare.metrics())

    assert not [name for name, _ in found if name.startswith(("strategy_", "signals_"))]
    assert 0 == value(found, "parity_deliveries_open")


@pytest.mark.parametrize(
    "text", ["a 1\n", "# TYPE a gauge\nb 1\n", "# TYPE a gauge\na{x=1} 1\n", "# TYPE a gauge\na 1"]
)
def test_the_parser_refuses_what_is_not_the_format(text: str) -> None:
    """The tests above can fail."""
    with pytest.raises((AssertionError, KeyError)):
        parsed(text)


def test_the_endpoint_answers_for_metrics_alone() -> None:
    """GET /metrics on the loopback; other paths, methods and nonsense get what they deserve."""

    def ask(port: int, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            with line.makefile("rb") as answer:
                return answer.read()

    async def main() -> list[bytes]:
        endpoint = Endpoint(lambda: "# nothing\n", 0)
        port = await endpoint.open()
        other = Endpoint(lambda: "", port)
        with pytest.raises(OSError, match="in use"):
            await other.open()
        requests = (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                    b"POST /metrics HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"x" * 20_000, b"")  # fmt: skip
        answers = [await asyncio.to_thread(ask, port, request) for request in requests]
        await asyncio.sleep(0.05)
        await endpoint.close()
        return answers

    answers = asyncio.run(main())
    heads = [answer.split(b"\r\n")[0] for answer in answers]

    assert [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 405 Method Not Allowed",
            b"HTTP/1.1 404 Not Found", b"", b""] == heads  # fmt: skip
    head, body = answers[0].split(b"\r\n\r\n")
    assert b"# nothing\n" == body
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b"Content-Length: 10" in head


def test_a_scrape_that_fails_is_a_500() -> None:
    """Who scrapes is told at once, the log says why, and the next one is served."""
    texts: list[str] = []

    async def main() -> list[bytes]:
        endpoint = Endpoint(lambda: texts.pop(), 0)
        port = await endpoint.open()
        answers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            answers.append((await asyncio.wait_for(reader.read(), 10)).split(b"\r\n")[0])
            writer.close()
            texts.append("# nothing\n")
        await endpoint.close()
        return answers

    with capture_logs() as logs:
        answers = asyncio.run(main())

    assert [b"HTTP/1.1 500 Internal Server Error", b"HTTP/1.1 200 OK"] == answers
    assert [("metrics_failed", "IndexError: pop from empty list")] == [
        (line["event"], line["reason"]) for line in logs
    ]


def test_text_of_counts_what_it_is_given(operator: Operator) -> None:
    """Drops are summed over strategies by reason."""
    seen = operator.status()
    (one,) = seen["strategies"]
    two = [one | {"drops": {"cooldown": 3}}, one | {"broker": "b", "drops": {"cooldown": 4}}]
    _, found = parsed(text_of(seen | {"strategies": two}, operator.telemetry.stages))

    assert 7 == value(found, "signals_dropped_total", reason="cooldown")


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    """READY, a pulse with WATCHDOG and a status line, STOPPING: as datagrams, in that order."""
    address = f"@parity-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(10)
        notifier = Notifier(address, 0.1)
        notifier.tell("READY=1")
        notifier.tell("WATCHDOG=1", status="running: 5 ticks")
        notifier.tell("STOPPING=1")
        told = [manager.recv(4096) for _ in range(3)]

    assert [b"READY=1", b"WATCHDOG=1\nSTATUS=running: 5 ticks", b"STOPPING=1"] == told
    assert 0.05 == notifier.every_s


def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """No address is nobody; a socket that is not there is logged, and that is all."""
    Notifier().tell("READY=1")
    notifier = Notifier(str(tmp_path / "absent"))
    notifier.tell("READY=1")
    notifier.tell("STOPPING=1")

    assert notifier._failed
