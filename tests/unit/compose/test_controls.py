"""Controls about strategies in a run: journaled, kept, carried out again by every proof and start.

A real paper run over a recording; its source also brings the controls, as an operator would.
"""

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import polars as pl
import pytest

import parity as pt
from parity.analysis import frames
from parity.analysis.report import report_of
from parity.analysis.results import results_of
from parity.compose import feeds, modes, proofs
from parity.compose.feeds import Feed
from parity.compose.kept import introduce
from parity.compose.modes import Finished
from parity.model.errors import ConfigError, ParityError, RecordingCorrupt
from parity.recording.reader import Recording, open_recording
from parity.recording.runs import RunFolder, RunWriter
from parity.settings.strategies import load_strategies
from parity.sources.arrivals import Arrivals, Note
from parity.sources.paced import PacedSource
from parity.sources.synthetic import make_recording

TICKS = 6_000
SPEAKS = """
import parity as pt

@pt.strategy("late", history={history})
def late(tick, history, *, drop=0.0002):
    if 1 - tick.price / history[0].price > drop:
        return pt.SignalResult("BUY", 0.8, 1, tick.price, "late")
    if tick.price / history[0].price - 1 > drop:
        return pt.SignalResult("SELL", 0.8, 1, tick.price, "late")
"""
ROWS = """
strategies:
  - strategy_name: mom
    strategy_type: momentum
    instruments: all
    parameters: {lookback_periods: 5, threshold: 0.0003, position_size: 1}
  - strategy_name: kernel
    strategy_type: momentum_kernel
    instruments: all
    parameters: {lookback_periods: 5, threshold: 0.0004, position_size: 1}
"""


class Controlled(PacedSource):
    """A recording at a pace, with an operator who sends controls before given rows."""

    asked: ClassVar[dict[int, list[tuple[str, Any]]]] = {}
    writer: ClassVar[RunWriter]
    stop_at: ClassVar[int] = 1 << 40

    def _cut(self, rows: int) -> Iterator[Arrivals]:
        for arrived in super()._cut(250):
            first = int(arrived.records["offset"][0])
            if first >= self.stop_at:
                raise Killed("killed")
            notes = [
                Note(row - first, verb, self._detail(detail))
                for row, asked in sorted(self.asked.items())
                if first <= row < first + len(arrived.records)
                for verb, detail in asked
            ]
            yield arrived._replace(notes=[*arrived.notes, *notes])

    def _detail(self, detail: dict[str, Any]) -> dict[str, Any]:
        if "file" not in detail:
            return detail
        (spec,) = [
            one
            for one in load_strategies([detail["file"]])
            if one.strategy_id == detail["strategy_id"]
        ]
        strategy = introduce(self.writer, spec)
        return {"strategy_id": detail["strategy_id"], "strategy": strategy, "reason": "by hand"}


class Killed(ParityError):
    """As if the process had died: nothing is sealed."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, rows, and two files of one strategy."""
    folder = tmp_path_factory.mktemp("controls")
    make_recording(folder / "recording", ticks=TICKS)
    (folder / "rows.yaml").write_text(ROWS)
    for name, history in (("new", 4), ("newer", 9)):
        (folder / name).mkdir()
        (folder / name / "late.py").write_text(SPEAKS.format(history=history))
    (folder / "mom.yaml").write_text(
        "strategy_name: mom\nstrategy_type: momentum\ninstruments: all\n"
        "parameters: {lookback_periods: 12, threshold: 0.0003, position_size: 2}\n"
    )
    return folder


def asked(base: Path) -> dict[int, list[tuple[str, Any]]]:
    """Return what the operator asks for, by row."""
    new = {"strategy_id": "late", "file": base / "new" / "late.py"}
    newer = {"strategy_id": "late", "file": base / "newer" / "late.py"}
    return {
        500: [("strategy_added", new), ("strategy_paused", {"strategy_id": "kernel"})],
        1_200: [("strategy_replaced", {"strategy_id": "mom", "file": base / "mom.yaml"})],
        2_001: [("strategy_resumed", {"strategy_id": "kernel", "reason": "looked at it"})],
        2_500: [("strategy_paused", {"strategy_id": "late", "resume_sec": 20.0})],
        3_300: [("strategy_replaced", newer), ("strategy_resumed", {"strategy_id": "nobody"})],
        4_100: [("strategy_flattened", {"strategy_id": "mom"})],
        5_000: [("strategy_stopped", {"strategy_id": "late"})],
        5_100: [("strategy_paused", {"strategy_id": "late"})],
    }


def paper(base: Path, run: Path, monkeypatch: Any, *, stop_at: int = 1 << 40) -> Finished:
    """Run on paper over the recording, with the operator."""
    table = open_recording(base / "recording").table

    class Mine(Controlled):
        pass

    Mine.asked, Mine.stop_at = asked(base), stop_at
    keep_writer = modes._paper_writer

    def paper_writer(*given: Any) -> RunWriter:
        Mine.writer = keep_writer(*given)
        return Mine.writer

    monkeypatch.setattr(modes, "_paper_writer", paper_writer)
    read = open_recording(base / "recording")
    monkeypatch.setattr(feeds, "source_of", lambda feed, table: Mine(read, feed.recording.name))
    try:
        feed = Feed(recording=base / "recording")
        specs = load_strategies([base / "rows.yaml"])
        return modes.paper(run, specs, feed, table=table, checkpoint_ticks=700)
    finally:
        monkeypatch.undo()


@pytest.fixture(scope="module")
def run(base: Path) -> Path:
    """A finished run with controls."""
    with pytest.MonkeyPatch.context() as patch:
        paper(base, base / "run", patch)
    return base / "run"


def test_an_added_strategy_begins_with_its_own_cash(base: Path, tmp_path: Path) -> None:
    """Its book, equity and share of it start where its block `paper` says."""
    (tmp_path / "late.py").write_text(SPEAKS.format(history=4))
    (tmp_path / "late.yaml").write_text(
        "{strategy_name: late, strategy_type: late, instruments: all, "
        "parameters: {paper: {cash: 5000, commission: 0}}}"
    )
    mine = {"strategy_id": "late", "file": tmp_path}
    with pytest.MonkeyPatch.context() as patch:
        asks = {500: [("strategy_added", mine)], 700: [("strategy_added", mine)]}
        patch.setitem(globals(), "asked", lambda base: asks)
        paper(base, tmp_path / "run", patch)
    (found,) = results_of([RunFolder(tmp_path / "run")])
    starts = {b.key[0]: b.start for b in found.books}

    own = Decimal(1_000_000)
    assert {"kernel": own, "late": Decimal(5000), "mom": own} == starts
    assert any(b.key[0] == "late" and b.entries for b in found.books)
    assert [] == found.unknown


def test_controls_are_read_once_and_only_for_who_came_with_one(
    base: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs there are; a strategy that the manifest has needs none of them."""
    plain = modes.backtest(
        base / "recording", load_strategies([base / "rows.yaml"]), out=tmp_path / "plain"
    ).run
    read, calls = Recording.controls, []
    monkeypatch.setattr(Recording, "controls", lambda self: calls.append(self) or read(self))
    results_of([plain, plain])
    without = len(calls)
    results_of([RunFolder(run), RunFolder(run)])

    # The reading of prices has them once, too.
    assert (1, 2) == (without, len(calls) - without)


def test_a_strategy_whose_control_is_pruned_is_told(base: Path, tmp_path: Path) -> None:
    """Nothing says any more with how much cash it began: the default is taken, and noted."""
    modes.backtest(
        base / "recording",
        load_strategies([base / "rows.yaml"], ["paper.cash=7000"]),
        out=tmp_path / "run",
    )
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["strategies"] = [
        k for k in manifest["strategies"] if k["config"]["strategy_id"] != "mom"
    ]
    file.write_text(json.dumps(manifest))
    made = RunFolder(tmp_path / "run")
    (found,) = results_of([made])
    starts = {b.key[0]: b.start for b in found.books}
    (note,) = report_of(made).values["notes"]

    assert {"kernel": Decimal(7000), "mom": Decimal(1_000_000)} == starts
    assert [("mom", "paper")] == found.unknown
    assert note.startswith("mom at paper came with a control that is pruned")


def moved(run: Path, name: str) -> list[tuple[str, str, str]]:
    """Return one strategy's transitions."""
    found = frames.lifecycle(run).filter(
        (pl.col("kind") == "transition") & (pl.col("strategy_id") == name)
    )
    return found.select("was", "now", "reason").rows()


def test_a_run_with_controls_replays_to_the_same_bytes(run: Path) -> None:
    """Added, replaced, paused, flattened and stopped in their places: verify says identical."""
    verdict = proofs.verify(run)
    report = RunFolder(run).manifest.report
    assert report is not None
    by_name = {e.strategy_id: e for e in report.executors}

    assert ("identical", None) == (verdict.verdict, verdict.first_divergence)
    assert verdict.covered["checkpoints"] > 0
    assert {"kernel", "late", "mom"} == {*by_name}
    assert all(e.signals > 0 and e.fills > 0 for e in by_name.values()), report
    assert ("PAUSED", "STOPPED") == (by_name["mom"].state, by_name["late"].state)
    assert {"strategy_paused": 1, "strategy_resumed": 1} == report.refused_controls
    assert moved(run, "late") == [
        ("INIT", "WARMUP", "by hand"),
        ("WARMUP", "ACTIVE", "warm"),
        ("ACTIVE", "PAUSED", "paused"),
        ("PAUSED", "ACTIVE", "resume_sec"),
        ("ACTIVE", "STOPPED", "by hand"),
        ("INIT", "WARMUP", "by hand"),
        ("WARMUP", "ACTIVE", "warm"),
        ("ACTIVE", "STOPPED", "stopped"),
    ]
    assert moved(run, "kernel")[-2:] == [
        ("ACTIVE", "PAUSED", "paused"),
        ("PAUSED", "ACTIVE", "looked at it"),
    ]
    refused = frames.lifecycle(run).filter(pl.col("kind") == "control_refused")
    assert ["strategy_resumed: unknown_strategy", "strategy_paused: not_allowed"] == refused[
        "reason"
    ].to_list()


@pytest.mark.parametrize("stop_at", [750, 1_500, 3_500, 5_250])
def test_a_killed_run_goes_on_with_the_strategies_it_had(
    base: Path, run: Path, tmp_path: Path, monkeypatch: Any, stop_at: int
) -> None:
    """Between any two controls: it is started as before, and says what the whole run said."""
    with pytest.raises(Killed):
        paper(base, tmp_path / "run", monkeypatch, stop_at=stop_at)
    paper(base, tmp_path / "run", monkeypatch)
    one, other = RunFolder(run).manifest.report, RunFolder(tmp_path / "run").manifest.report
    assert one is not None
    assert other is not None

    assert "identical" == proofs.verify(tmp_path / "run").verdict
    assert one.executors == other.executors
    assert one.refused_controls == other.refused_controls
    assert proofs.diff(run, tmp_path / "run").same


def test_what_a_control_brought_is_proved_by_its_kept_source(run: Path, tmp_path: Path) -> None:
    """An edited or missing source of a strategy that came later is corruption, with its name."""
    shutil.copytree(run, tmp_path / "run")
    (kept,) = {p for p in (tmp_path / "run" / "source").rglob("late.py") if "=9" in p.read_text()}
    kept.write_text(kept.read_text() + "\n# edited\n")
    manifest = tmp_path / "run" / "manifest.json"
    held = msgspec.json.decode(manifest.read_bytes())
    from parity.recording.runs import kept_files

    held["files"] = kept_files(tmp_path / "run")
    manifest.write_bytes(msgspec.json.encode(held))

    with pytest.raises(RecordingCorrupt, match=r"late\.py.*late is not what ran"):
        proofs.verify(tmp_path / "run")


def test_todays_code_meets_the_same_controls(base: Path, run: Path) -> None:
    """`replay` carries them out, too; over other strategies it says what it leaves out."""
    same = proofs.replay(run)
    others = proofs.replay(run, specs=load_strategies([base / "rows.yaml"]))
    changed = proofs.replay(run, overrides=["mom.threshold=0.0005"])

    assert ("identical", []) == (same.verdict, same.notes)
    assert same.covered["signals"] > others.covered["signals"]
    assert ["not compared: what 3 controls of the run added or replaced"] == others.notes
    assert "changed" == changed.verdict
    assert pt.open(run) is not None


def test_a_strategy_that_cannot_be_built_is_refused_before_the_journal(tmp_path: Path) -> None:
    """introduce() raises with the cure, and keeps nothing."""
    (tmp_path / "off.yaml").write_text(
        "strategy_name: off\nstrategy_type: momentum\ninstruments: all\nenabled: false\n"
    )
    (spec,) = load_strategies([tmp_path / "off.yaml"])

    class Nowhere:
        def keep_source(self, name: str, text: str) -> None:
            raise AssertionError(name)

    with pytest.raises(ConfigError, match="off: disabled"):
        introduce(Nowhere(), spec)  # type: ignore[arg-type] # nothing may be written
