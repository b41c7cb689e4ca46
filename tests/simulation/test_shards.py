"""Three runners on six partitions are, together, the one run that reads all of them."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner
from waiting import LIMIT_S, until

from parity.cli import app
from parity.compose.feeds import Feed
from parity.compose.modes import live, paper, record
from parity.compose.proofs import verify
from parity.compose.warming import WarmUp
from parity.model.errors import ConfigError, RecordingMissing
from parity.model.instruments import InstrumentTable
from parity.model.ticks import DUPLICATE, WARMUP, TickBatch
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.settings.strategies import load_strategies
from parity.sources import synthetic
from parity.sources.codecs.fills import FillDecoder
from parity.sources.codecs.native import NativeDecoder, encode_batch
from parity.sources.pinned import PARTITIONERS, partition_of
from parity.sources.redpanda import RedpandaSource
from parity.testing.broker import Broker
from parity.testing.broker.admin import read_topic

ROOT = Path(__file__).resolve().parents[2]
TOKENS = range(900001, 900013)
SHARDS = ("0,1", "2-3", "5,4")
SIGNALS = "paper.signals.raw"
EACH = 2_000  # ticks of a market, half of which are taken for each instrument
pytestmark = pytest.mark.slow
Start = Callable[..., subprocess.Popen[bytes]]


class Desk(NamedTuple):
    """A topic with ticks on all six partitions, and where its runs are."""

    broker: Broker
    folder: Path
    topic: str
    table: InstrumentTable
    records: np.ndarray

    def rules(self, *partitions: int) -> Path:
        """Write a strategy for each of these partitions, on all instruments there."""
        rows = [
            {
                "strategy_id": f"p{partition}",
                "strategy_type": "mean_reversion" if partition % 2 else "momentum",
                "instruments": [t for t in TOKENS if partition_of(t, 6) == partition],
                "parameters": {"lookback_periods": 20, "position_size": 1}
                | ({"z_entry": 2.0} if partition % 2 else {"threshold": 0.002})
                | {"risk": {"cooldown_sec": 10}},
            }
            for partition in partitions
        ]
        path = self.folder / f"rules{''.join(map(str, partitions))}.json"
        path.write_text(json.dumps(rows))
        return path

    def produce(self, rows: slice = slice(None), **settings: str) -> None:
        """Send ticks as `parity produce` does: the key chooses the partition."""
        part = self.records[rows]
        with TickProducer(self.broker.bootstrap_servers, self.topic, settings=settings) as to:
            payloads = encode_batch(TickBatch.from_records(part, self.table))
            to.send((str(t), p) for t, p in zip(part["instrument_token"], payloads, strict=True))

    def run(self, name: str, rules: Path, **options: Any) -> None:
        """Run strategies on paper in this process, to the end of the topic."""
        feed = Feed([self.topic], self.broker.bootstrap_servers, "earliest", exit_at_end=True)
        specs = load_strategies([str(rules)], [])
        paper(self.folder / name, specs, feed._replace(**options), table=self.table)


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """Twelve instruments, each with a market of its own; the broker is the session's, or named."""
    broker: Broker = request.getfixturevalue(getattr(request, "param", "broker"))
    first = synthetic.TABLE.to_json()[0]
    table = InstrumentTable.from_json([first | {"token": t, "symbol": f"S{t}"} for t in TOKENS])
    pieces = []
    for token in TOKENS:
        _, records = synthetic.generate(seed=token, ticks=EACH)
        mine = records[records["instrument_token"] == 900001].copy()
        mine["instrument_token"] = token
        pieces.append(mine)
    records = np.concatenate(pieces)
    records = records[np.argsort(records["ts_event"], kind="stable")]
    (tmp_path / "table.json").write_bytes(msgspec.json.encode(table.to_json()))
    made = Desk(broker, tmp_path, f"shards-{uuid.uuid4().hex[:10]}", table, records)
    broker.create_topic(made.topic, 6)
    broker.create_topic(SIGNALS, 1)
    broker.create_topic("paper.orders.filled", 1)
    return made


@pytest.fixture
def start(desk: Desk) -> Iterator[Start]:
    """Start a command on a folder of the desk; it is ended with the test, whatever happens."""
    processes: list[subprocess.Popen[bytes]] = []

    def started(command: str, name: str, *options: str | Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "parity", command, desk.folder / name, "--json"]
        words += ["--bootstrap-servers", desk.broker.bootstrap_servers, "--from", "earliest"]
        words += ["--topics", desk.topic, "--instrument-table", desk.folder / "table.json"]
        with (desk.folder / f"{name}.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [*map(str, words), *map(str, options)],
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"NO_COLOR": "1"},
                )
            )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def said(desk: Desk, name: str) -> str:
    """Return what a command said."""
    return (desk.folder / f"{name}.log").read_text()


def diffed(desk: Desk, *names: str, code: int = 0) -> dict[str, Any]:
    """Return what `parity diff` says of the big run and shards."""
    shards = [word for name in names for word in ("--shard", str(desk.folder / name))]
    done = CliRunner().invoke(app, ["diff", str(desk.folder / "all"), *shards, "--json"])
    assert code == done.exit_code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout) if code < 2 else {"error": done.stderr}
    return found


def test_three_runners_together_are_one_big_run(desk: Desk, start: Start) -> None:
    """Side by side on six partitions: each executor's digests are those of one run over all."""
    desk.produce()
    running = {}
    for pins in SHARDS:
        rules = desk.rules(*sorted({int(n) for n in pins.replace("-", ",").split(",")}))
        options = ("--partitions", pins, "--strategies", rules, "--exit-at-end")
        running[f"s{pins[0]}"] = start("paper", f"s{pins[0]}", *options)
    desk.run("all", desk.rules(*range(6)))
    for name, process in running.items():
        assert 0 == process.wait(LIMIT_S), said(desk, name)
    found = diffed(desk, *running)

    assert found["same"], found
    assert (3, 6) == (found["covered"]["shards"], found["covered"]["partitions"])
    assert (len(desk.records), 6) == (found["covered"]["ticks"], found["covered"]["strategies"])
    assert min(found["covered"][name] for name in ("candidates", "signals", "fills")) > 0
    whole = RunFolder(desk.folder / "all").manifest
    shards = [RunFolder(desk.folder / name) for name in running]
    assert whole.report is not None
    big = {e.strategy_id: (e.candidate_digest, e.decision_digest) for e in whole.report.executors}
    reports = [one.manifest.report for one in shards]
    executors = [e for report in reports if report is not None for e in report.executors]
    assert big == {e.strategy_id: (e.candidate_digest, e.decision_digest) for e in executors}
    assert 6 == len(executors)
    assert min(e.signals for e in executors) > 0

    # Each run has its signals in the topic they share, once, and none has another's.
    messages = [h for _, h, _ in read_topic(desk.broker.bootstrap_servers, SIGNALS)]
    ids: list[str] = []
    for one in shards:
        mine = [h["signal_id"] for h in messages if h["run_id"] == one.manifest.run_id]
        approved = [r["signal_id"] for r in one.rows("decisions") if r["kind"] == "approved"]
        assert sorted(mine) == sorted(approved)
        ids += mine
    assert len(ids) == len({*ids}) == found["covered"]["signals"]

    part = diffed(desk, "s0", "s2", code=1)
    assert f"end of {desk.topic}[4]" in part["first_divergence"]["cause"]
    assert "both read" in diffed(desk, "s0", "s0", code=2)["error"]
    assert "it is no shard" in diffed(desk, "all", code=2)["error"]

    # A shard goes on as what it was, and as nothing else.
    desk.run("s0", desk.rules(0, 1), partitions=(0, 1))
    for other in ((0,), None):
        with pytest.raises(ConfigError, match="was to go on with") as refused:
            desk.run("s0", desk.rules(0), partitions=other)
        assert f"the partitions 0,1 of {desk.topic} (6)" in str(refused.value)


def live_rules(desk: Desk, *partitions: int) -> Path:
    """Write the strategies of these partitions for zerodha."""
    path = desk.rules(*partitions)
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row | {"zerodha_trading_enabled": True} for row in rows]))
    return path


def joined(desk: Desk, name: str, partitions: tuple[int, ...], begin: dict[int, int]) -> None:
    """Hold a run's recording against the topic: warm ticks, then each partition from its join."""
    with open_recording(desk.folder / name / "recording") as recording:
        assert not [c for c in recording.controls() if c.verb == "gap"]
        ticks = np.concatenate([batch.ticks.to_records() for batch in recording.batches()])
        streams = {(s.topic, s.partition): s.id for s in recording.manifest.streams}
    warm = (ticks["flags"] & WARMUP) != 0
    assert not (ticks["flags"] & DUPLICATE).any()
    assert warm.any()
    assert not warm[int(np.flatnonzero(~warm)[0]) :].any()
    mine = {t for t in TOKENS if partition_of(t, 6) in partitions}
    assert mine == {*ticks["instrument_token"].tolist()}
    for partition in partitions:
        ours = ticks[~warm & (ticks["stream"] == streams[desk.topic, partition])]
        tokens = [t for t in TOKENS if partition_of(t, 6) == partition]
        all_of_it = desk.records[np.isin(desk.records["instrument_token"], tokens)]
        assert [*range(begin[partition], len(all_of_it))] == ours["offset"].tolist()
        assert all_of_it["trade_id"][begin[partition] :].tolist() == ours["trade_id"].tolist()


@pytest.mark.parametrize(
    "desk", ["mock", pytest.param("kafka_broker", marks=pytest.mark.kafka)], indirect=True
)
def test_warmed_live_runners_of_shards_are_one_big_run(desk: Desk, start: Start) -> None:
    """Three on six partitions with --confirm, each joined behind one recording's own offsets."""
    desk = desk._replace(records=desk.records[:6_000])
    pinned = {"a": (0, 1), "b": (2, 3), "c": (4, 5)}
    half = len(desk.records) // 2
    for name in ("zerodha.signals.raw", "zerodha.orders.filled"):
        desk.broker.create_topic(name, 1)
    desk.produce(slice(0, half))
    past = desk.folder / "past"
    feed = Feed([desk.topic], desk.broker.bootstrap_servers, "earliest", exit_at_end=True)
    record(past, feed, table=desk.table)
    desk.produce(slice(half, None))
    with open_recording(past) as recording:
        begin = {p: at for (topic, p), at in recording.next_positions().items()}
    running = {
        name: start(
            "live", name, "--confirm", "--exit-at-end", "--warm-up", past, "--partitions",
            ",".join(map(str, pins)), "--strategies", live_rules(desk, *pins),
        )
        for name, pins in pinned.items()
    }  # fmt: skip
    specs = load_strategies([str(live_rules(desk, *range(6)))], [])
    live(desk.folder / "all", specs, feed._replace(warm_up=WarmUp(past)), table=desk.table)
    for name, process in running.items():
        assert 0 == process.wait(LIMIT_S), said(desk, name)
    found = diffed(desk, *running)

    assert found["same"], found
    assert (3, 6) == (found["covered"]["shards"], found["covered"]["partitions"])
    assert found["covered"]["signals"] > 50
    for name, pins in pinned.items():
        joined(desk, name, pins, begin)
        assert "identical" == verify(desk.folder / name).verdict
    messages = read_topic(desk.broker.bootstrap_servers, "zerodha.signals.raw")
    for name in (*pinned, "all"):
        run = RunFolder(desk.folder / name)
        sent = [h["signal_id"] for _, h, _ in messages if h["run_id"] == run.manifest.run_id]
        approved = [r["signal_id"] for r in run.rows("decisions") if r["kind"] == "approved"]
        assert sorted(approved) == sorted(sent)
        assert min(r["seq"] for r in run.rows("candidates")) > 0


def test_a_strategy_that_spans_shards_is_refused(desk: Desk) -> None:
    """By the partitions it needs and the instruments that are elsewhere; nothing is begun."""
    both = desk.folder / "both.json"
    row = {"strategy_id": "both", "strategy_type": "momentum", "instruments": [900002, 900007]}
    both.write_text(json.dumps([row]))
    everything = desk.folder / "everything.json"
    every = {"strategy_id": "each", "strategy_type": "momentum", "instruments": "all"}
    everything.write_text(json.dumps([every]))
    for rules, needs in ((both, "both needs 0,3: S900007"), (everything, "each needs 0,1,2,3,4,5")):
        with pytest.raises(ConfigError, match=needs) as refused:
            desk.run("s", rules, partitions=(0, 1))
        assert f"--partitions 0,1 of {desk.topic} (6)" in refused.value.message
        assert "give it to the runner that has them" in refused.value.cure
    with pytest.raises(ConfigError, match="has 6, 6 is not among them"):
        desk.run("s", desk.rules(0), partitions=(0, 6))
    assert not (desk.folder / "s").exists()


@pytest.mark.parametrize("partitioner", ["consistent_random", "murmur2_random"])
def test_instruments_are_where_the_producers_put_them(desk: Desk, partitioner: str) -> None:
    """What is computed is what librdkafka does; told otherwise, a run ends by name, sealed."""
    few = slice(0, 600)
    desk.produce(few, partitioner=partitioner)
    first = [t for t in TOKENS if partition_of(t, 6, partitioner) == 0]
    rules = desk.folder / "one.json"
    row = {"strategy_id": "one", "strategy_type": "momentum", "instruments": first}
    rules.write_text(json.dumps([row]))
    client = {"partitioner": partitioner}
    desk.run("right", rules, partitions=(0,), librdkafka=client)
    other = next(n for n in PARTITIONERS if PARTITIONERS[n] is not PARTITIONERS[partitioner])
    mine = [t for t in TOKENS if partition_of(t, 6, other) == 0]
    rules.write_text(json.dumps([row | {"instruments": mine}]))
    with pytest.raises(ConfigError, match=rf"instrument \d+ came on {desk.topic}\[0\]"):
        desk.run("wrong", rules, partitions=(0,), librdkafka={"partitioner": other})

    with open_recording(desk.folder / "right" / "recording") as kept:
        found = {int(t) for b in kept.batches() for t in b.ticks.column("instrument_token")}
        assert {*first} == found
    with open_recording(desk.folder / "wrong" / "recording") as kept:
        assert "sealed" == kept.manifest.state


def test_topics_of_fills_are_read_whole(desk: Desk) -> None:
    """What is pinned are the partitions of ticks: a fill may be on any partition of its topic."""
    fills = f"{desk.topic}.orders.filled"
    desk.broker.create_topic(fills, 2)
    source = RedpandaSource(
        desk.broker.bootstrap_servers,
        [desk.topic],
        NativeDecoder(desk.table),
        events={fills: FillDecoder("zerodha", desk.table)},
        partitions=(3, 5),
    )

    async def found() -> list[tuple[str, int]]:
        await source.connect()
        await source.close()
        return source.streams

    assert [(desk.topic, 3), (desk.topic, 5), (fills, 0), (fills, 1)] == asyncio.run(found())


@pytest.mark.kafka
def test_a_lost_assignment_ends_the_runner_sealed(
    desk: Desk, start: Start, kafka_broker: Broker
) -> None:
    """A topic that grows, or goes, ends its runner with 4 and all it read; a restart says 2."""
    from confluent_kafka.admin import AdminClient, NewPartitions

    desks = {"grown": desk, "deleted": desk._replace(topic=f"{desk.topic}-2")}
    desk.broker.create_topic(desks["deleted"].topic, 6)
    tokens = [t for t in TOKENS if partition_of(t, 6) in (0, 1)]
    goal = int(np.isin(desk.records["instrument_token"], tokens).sum())
    running = {}
    for name, one in desks.items():
        one.produce()
        running[name] = start("record", name, "--partitions", "0-1", "--topics", one.topic)

    def kept(name: str) -> int:
        try:
            with open_recording(desk.folder / name) as recording:
                return recording.tick_rows
        except RecordingMissing:  # not made yet
            return 0

    until(
        lambda: all(kept(name) == goal or p.poll() is not None for name, p in running.items()),
        lambda: "".join(said(desk, name) for name in running),
    )
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    futures = [*admin.create_partitions([NewPartitions(desk.topic, 8)]).values()]
    futures += admin.delete_topics([desks["deleted"].topic]).values()
    for future in futures:
        future.result(30)

    for name, process in running.items():
        assert 4 == process.wait(LIMIT_S), said(desk, name)
        assert "assignment_lost" in said(desk, name)
        assert goal == kept(name)
        with open_recording(desk.folder / name) as recording:
            assert "sealed" == recording.manifest.state
        feed = Feed([desks[name].topic], desk.broker.bootstrap_servers, "earliest", True)
        with pytest.raises(ConfigError, match=r"\(8\)|is not at"):
            record(desk.folder / name, feed._replace(partitions=(0, 1)), table=desk.table)
