"""run.why: what each validator saw, by a replay with the gates watched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

import parity as pt
from parity.compose.explain import explain
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.core.validators.checks import STAGES
from parity.model.effects import ApprovedSignal, Candidate, DroppedSignal
from parity.model.events import EventBatch
from parity.model.values import StrategyConfig
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.settings.strategies import load_strategies, spec_of
from parity.sources.synthetic import make_recording
from parity.testing.generators import TABLE, event_streams

if TYPE_CHECKING:
    from parity.core.validators.trace import Asked

ROWS = """
strategies:
  - strategy_name: dips
    strategy_type: momentum
    instruments: all
    risk_multiplier: 0.5
    max_position_size: 3
    parameters:
      threshold: 0.0005
      position_size: 1
      risk: {min_confidence: 0.01, cooldown_sec: 5, max_exposure: 200000, price_band: 0.02}
  - strategy_name: returns
    strategy_type: mean_reversion
    instruments: all
    parameters: {z_entry: 2.0, position_size: 1, risk: {duplicate_sec: 60, max_signals_per_day: 9}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording and a run of two strategies over it."""
    folder = tmp_path_factory.mktemp("explain")
    make_recording(folder / "recording", ticks=1_500)
    (folder / "rows.yaml").write_text(ROWS)
    pt.backtest(folder / "recording", folder / "rows.yaml", out=folder / "run")
    return folder


def some_seqs(run: pt.Run) -> list[int]:
    """Return a seq of each drop reason, of signals, and of fills."""
    drops = run.drops.unique("reason", keep="first", maintain_order=True)
    found = [*drops["seq"], *run.signals["seq"].head(2), *run.fills["seq"].head(2)]
    return sorted({int(seq) for seq in found})


def test_the_last_one_asked_gave_the_verdict(base: Path) -> None:
    """For each reason: the validators passed in order up to the one that dropped, the rest unasked.

    Verdict, reason and candidate are those that the run kept.
    """
    run = pt.open(base / "run")
    assert isinstance(run, pt.Run)
    order = [stage.check.__name__ for stage in STAGES]
    for seq in some_seqs(run):
        why = run.why(seq)
        kept = [d for d in why["decisions"] if d["kind"] in ("approved", "dropped")]
        assert [
            (d["strategy_id"], d["kind"], d["reason"] if d["kind"] == "dropped" else "")
            for d in kept
        ] == [(v["strategy_id"], v["verdict"], v["reason"]) for v in why["validators"]]
        assert [] == why["notes"]
        for one in why["validators"]:
            names = [a["validator"] for a in one["asked"]]
            verdicts = {a["verdict"] for a in one["asked"][:-1]}
            last = one["asked"][-1]["verdict"]
            assert names + one["not_asked"] == [n for n in order if n in names + one["not_asked"]]
            assert verdicts <= {"passed"}
            assert last == ("dropped" if one["reason"] else "passed")
            assert not (one["not_asked"] and one["verdict"] == "approved")


def test_what_was_seen_is_what_decided(base: Path) -> None:
    """The values beside a drop and those that the validator read are the same."""
    run = pt.open(base / "run")
    assert isinstance(run, pt.Run)
    seq = run.drops.filter(pl.col("reason") == "cooldown")["seq"][0]
    (one,) = [v for v in run.why(seq)["validators"] if v["reason"] == "cooldown"]
    (drop,) = [d for d in run.why(seq)["decisions"] if d.get("reason") == "cooldown"]
    seen, kept = one["asked"][-1]["seen"], json.loads(drop["seen"])

    assert kept["cooldown_ns"] == seen["cooldown_ns"] == 5_000_000_000
    assert kept["age_ns"] == seen["clock_ns"] - seen["last_signal_ns"]
    assert {"lifecycle": "ACTIVE"} == one["asked"][0]["seen"]


def test_it_is_shown_as_text_and_as_a_card(base: Path) -> None:
    """Every validator has its line, and the page escapes what it shows."""
    run = pt.open(base / "run")
    assert isinstance(run, pt.Run)
    why = run.why(int(run.drops["seq"][0]))
    for shown in (str(why), why._repr_html_()):
        for one in why["validators"]:
            assert all(asked["validator"] in shown for asked in one["asked"])
    json.dumps(why)  # plain values only


def test_nothing_decided_is_an_error(base: Path) -> None:
    """A seq at which nobody said anything is not explained by an empty answer."""
    with pytest.raises(pt.ConfigError, match="nothing was decided at seq 1499999"):
        explain(base / "run", 1_499_999)


def test_a_paper_run_is_explained_too(base: Path, tmp_path: Path) -> None:
    """Its own recording is replayed, with what it was told meanwhile."""
    feed = Feed(recording=base / "recording")
    with open_recording(base / "recording") as recording:
        table = recording.table
    paper(tmp_path / "run", load_strategies([base / "rows.yaml"]), feed, table=table)
    run = pt.open(tmp_path / "run")
    assert isinstance(run, pt.Run)
    why = run.why(int(run.drops["seq"][0]))

    assert [] == why["notes"]
    assert "dropped" in {v["verdict"] for v in why["validators"]}


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def test_without_its_recording_the_records_remain(copy: Path) -> None:
    """What the validators saw cannot be known then, and that is said."""
    run = pt.open(copy / "run")
    assert isinstance(run, pt.Run)
    shutil.rmtree(copy / "recording")
    why = run.why(int(run.drops["seq"][0]))

    assert [] == why["validators"]
    assert why["candidates"]
    (note,) = why["notes"]
    assert "cannot be known" in note


def test_a_replay_that_decides_otherwise_says_so(copy: Path) -> None:
    """A record that the replay does not give is doubtful, and named."""
    run = pt.open(copy / "run")
    assert isinstance(run, pt.Run)
    seq = int(run.drops["seq"][0])
    part = RunFolder(copy / "run").parts("decisions")[0]
    table = pq.read_table(part)
    edited = table.to_pylist()
    row = next(r for r in edited if r["seq"] == seq and r["kind"] == "dropped")
    row["record"] = b"x"
    pq.write_table(pa.Table.from_pylist(edited, schema=table.schema), part)
    (note,) = run.why(seq)["notes"]

    assert "decided otherwise" in note


def engine(watch: Callable[..., None] | None) -> Engine:
    """Return an engine of one strategy with limits."""
    limits = {"cooldown_sec": 2, "max_exposure": 50_000, "loss_streak_max": 2, "duplicate_sec": 9}
    config = StrategyConfig(
        strategy_id="m",
        strategy_type="momentum",
        parameters={"lookback_periods": 2, "threshold": 0.0, "risk": limits},
    )
    made = Engine(TABLE, prepare([spec_of(config)]).plans)
    if watch is not None:
        for executor in made.executors:
            executor.gate.watch(watch)
    return made


@given(event_streams())
def test_watching_changes_no_byte(stream: EventBatch) -> None:
    """Effects and state are the same; unwatched, a gate holds the validators themselves."""
    told: list[tuple[Candidate, Asked]] = []
    plain, watched = engine(None), engine(lambda *one: told.append(one))
    bare = {stage.check for stage in STAGES}

    effects = watched.process(stream)
    assert plain.process(stream) == effects
    assert plain.report() == watched.report()
    assert plain.executors[0].gate.stages == watched.executors[0].gate.stages
    assert {check for _, check in plain.executors[0].gate._steps} <= bare
    # Told is what each validator said to each candidate, up to the one that dropped it.
    stages, counted = watched.executors[0].gate.stages, 0
    for effect in (e for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)):
        own = [asked for candidate, asked in told if candidate is effect.candidate]
        counted += len(own)
        refused = own[-1].reason
        assert stages[: len(own)] == [asked.validator for asked in own]
        assert {""} >= {asked.reason for asked in own[:-1]}
        assert refused in ("", getattr(effect, "reason", ""))
        assert refused or len(own) == len(stages)
    assert counted == len(told)
    assert all(asked.seen for _, asked in told)
    assert msgspec.json.encode([asked for _, asked in told])  # plain values only
