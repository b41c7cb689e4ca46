"""A paper run that is warmed before it reads a topic: by what was recorded, by the topic's past."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from parity.compose.feeds import Feed
from parity.compose.modes import backtest, live, paper, record
from parity.compose.proofs import verify
from parity.compose.warming import WarmUp
from parity.model.ticks import DUPLICATE, WARMUP, TickBatch
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import load_strategies
from parity.sources import synthetic
from parity.sources.codecs.native import encode_batch
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TABLE, TICKS = synthetic.generate(seed=11, ticks=4_000)
CUT = 2_000
TOPICS = [f"{b}.{t}" for b in ("paper", "zerodha") for t in ("signals.raw", "orders.filled")]
RULES = ["threshold=0.001", "risk.cooldown_sec=0"]
KILLED_AMID = """
import os
from parity.cli import main
from parity.sources.warmed import WarmedSource

take, calls = WarmedSource.take, []
async def dying(self, wait_s):
    calls.append(1)
    if len(calls) == 2:  # what the first one gave is journaled
        os.kill(os.getpid(), 9)
    return await take(self, wait_s)
WarmedSource.take = dying
main()
"""


@pytest.fixture(scope="module")
def specs() -> list[StrategySpec]:
    """A strategy that says the same whatever it said before."""
    return load_strategies(["momentum"], RULES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, specs: list[StrategySpec]) -> list[bytes]:
    """What is said behind the cut by a run that read all from the start."""
    folder = tmp_path_factory.mktemp("whole")
    synthetic.make_recording(folder / "rec", seed=11, ticks=len(TICKS))
    rows = backtest(folder / "rec", specs, out=folder / "run").run.rows("candidates")
    return [row["record"] for row in rows if row["seq"] > CUT]


class Place:
    """A topic of one partition, and how a run reads it to its end."""

    def __init__(self, broker: Broker, folder: Path, specs: list[StrategySpec]) -> None:
        self.servers, self.run, self.specs = broker.bootstrap_servers, folder / "run", specs
        self.topic = f"warm.{uuid.uuid4().hex[:8]}"
        broker.create_topic(self.topic, 1)
        for name in TOPICS:
            broker.create_topic(name)
        self.feed = Feed([self.topic], self.servers, exit_at_end=True)

    def send(self, lo: int, hi: int) -> None:
        """Produce some of the ticks."""
        payloads = encode_batch(TickBatch.from_records(TICKS[lo:hi], TABLE))
        with TickProducer(self.servers, self.topic, partition=0) as producer:
            producer.send(("k", payload) for payload in payloads)

    def paper(self, source: str | Path) -> None:
        """Run to the topic's end, warmed."""
        feed = self.feed._replace(warm_up=WarmUp(source))
        paper(self.run, self.specs, feed, table=TABLE)

    def check(self, warm: int, upto: int, whole: list[bytes]) -> None:
        """Hold a run with so many ticks of warm-up against the topic and a whole run."""
        with open_recording(self.run / "recording") as recording:
            assert not [c for c in recording.controls() if c.verb == "gap"]
            ticks = np.concatenate([batch.ticks.to_records() for batch in recording.batches()])
        flags, run = ticks["flags"], RunFolder(self.run)
        assert [True] * warm + [False] * (upto - CUT) == ((flags & WARMUP) != 0).tolist()
        assert not (flags & DUPLICATE).any()
        assert [*range(CUT, upto)] == ticks["offset"][warm:].tolist()
        assert TICKS["trade_id"][CUT:upto].tolist() == ticks["trade_id"][warm:].tolist()
        assert max(r["seq"] for r in run.rows("decisions") if r["kind"] == "transition") <= warm
        said = [row["record"] for row in run.rows("candidates")]
        assert whole[: len(said)] == said
        assert upto == CUT or len(whole) == len(said) > 50
        assert "identical" == verify(self.run).verdict


@pytest.fixture
def place(broker: Broker, tmp_path: Path, specs: list[StrategySpec]) -> Place:
    """A place of one test's own, with the ticks up to the cut."""
    found = Place(broker, tmp_path, specs)
    found.send(0, CUT)
    return found


def test_a_run_joins_the_recording_it_is_warmed_from_by_offset(
    place: Place, whole: list[bytes], tmp_path: Path
) -> None:
    """A recorder stopped, ticks came, a run starts: from its first live tick as if it had run."""
    record(tmp_path / "rec", place.feed._replace(start_from="earliest"), table=TABLE)
    place.send(CUT, len(TICKS))
    place.paper(tmp_path / "rec")

    place.check(40, len(TICKS), whole)
    place.paper(tmp_path / "rec")  # it goes on, and is not warmed again
    place.check(40, len(TICKS), whole)


def test_a_run_is_warmed_by_the_last_messages_of_a_topic(place: Place, whole: list[bytes]) -> None:
    """As many as were asked for, then what comes behind them."""
    place.paper("broker:1700")
    place.check(1_700, CUT, whole)
    place.send(CUT, len(TICKS))
    place.paper("broker:1700")
    place.check(1_700, len(TICKS), whole)


def test_a_run_killed_amid_its_warm_up_goes_on_there(
    place: Place, whole: list[bytes], tmp_path: Path
) -> None:
    """That more has come to the topic meanwhile changes nothing of what was its past."""
    (tmp_path / "table.json").write_text(json.dumps({"instruments": TABLE.to_json()}))
    words = ["paper", str(place.run), "-s", "momentum", "--warm-up", f"broker:{CUT}"]
    words += [word for rule in RULES for word in ("--set", rule)]
    words += ["--topics", place.topic, "--bootstrap-servers", place.servers]
    words += ["--instrument-table", str(tmp_path / "table.json")]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AMID, *words],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert -signal.SIGKILL == done.returncode, done.stderr
    with open_recording(place.run / "recording") as recording:
        assert 0 < recording.tick_rows < CUT
    place.send(CUT, len(TICKS))
    place.paper(f"broker:{CUT}")

    place.check(CUT, len(TICKS), whole)


def test_a_run_is_warmed_by_the_last_hour_of_a_topic(
    kafka_broker: Broker, place: Place, whole: list[bytes]
) -> None:
    """By the broker's times, which a mock does not look up."""
    assert kafka_broker.bootstrap_servers == place.servers
    place.paper("broker:1h")
    place.check(CUT, CUT, whole)


def test_a_live_run_is_warmed_and_reads_no_older_fills(
    place: Place, whole: list[bytes], tmp_path: Path
) -> None:
    """Topics of fills begin at their ends, whatever the past says of the ticks' own."""
    rows = [{"id": "m", "strategy_type": "momentum", "instruments": TABLE.tokens.tolist()}]
    rows[0] |= {"parameters": {"threshold": 0.001}, "zerodha_trading_enabled": True}
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    with TickProducer(place.servers, "zerodha.orders.filled", partition=0) as producer:
        producer.send([("k", b"of another day")])
    feed = place.feed._replace(warm_up=WarmUp(f"broker:{CUT}"))
    live(place.run, load_strategies([tmp_path / "rows.json"]), feed, table=TABLE)

    place.check(CUT, CUT, whole)
    with open_recording(place.run / "recording") as recording:
        assert not recording.controls()
