"""Every verdict reached for real: identical, different, changed, corrupt, nothing compared."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import parity as pt
from parity.cli.verify import divergence_panel
from parity.compose import proofs
from parity.core.engine import SNAPSHOT_FORMAT
from parity.model.errors import NothingCompared, RecordingCorrupt
from parity.recording.runs import MANIFEST, RunFolder, RunWriter, kept_files, write_durably
from parity.sources.synthetic import make_recording

ROWS = """
strategies:
  - strategy_name: dips
    strategy_type: momentum
    instruments: all
    parameters: {lookback_periods: 5, threshold: 0.0005, position_size: 1}
  - strategy_name: returns
    strategy_type: mean_reversion
    instruments: all
    parameters: {z_entry: 2.0, position_size: 1}
"""
FRAGILE = """
import parity as pt

@pt.strategy("fragile", history=2)
def fragile(tick, history):
    if tick.price_int % 7 == 0:
        raise RuntimeError("seven")
    if tick.price_int % 5 == 0:
        return pt.SignalResult("BUY", 0.5, 1, tick.price)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording and a run of two strategies over it."""
    folder = tmp_path_factory.mktemp("proofs")
    make_recording(folder / "recording", ticks=3_000)
    (folder / "rows.yaml").write_text(ROWS)
    pt.backtest(folder / "recording", folder / "rows.yaml", out=folder / "run")
    return folder


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def edit_table(run: Path, stream: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrite the first part of a stream with its rows changed."""
    part = RunFolder(run).parts(stream)[0]
    table = pq.read_table(part)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
    mend_hashes(run)


def mend_hashes(run: Path) -> None:
    """Put today's file hashes into the manifest, as one who hides an edit would."""
    edit_manifest(run, lambda manifest: manifest.update(files=kept_files(run)))


def edit_manifest(run: Path, change: Callable[[Any], None]) -> None:
    """Rewrite a run's manifest."""
    manifest = msgspec.json.decode((run / MANIFEST).read_bytes())
    change(manifest)
    write_durably(run / MANIFEST, msgspec.json.encode(manifest))


def signal_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first row of an approved signal."""
    return next(row for row in rows if row["kind"] == "approved")


def test_an_untouched_run_is_identical(base: Path) -> None:
    """A run verifies, and says how much was compared."""
    verdict = proofs.verify(base / "run")

    assert ("identical", None) == (verdict.verdict, verdict.first_divergence)
    assert 3_000 == verdict.covered["ticks"]
    assert verdict.covered["signals"] > 10


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", 1.0),
        ("side", -1),
        ("quantity", 7.0),
        ("ts_event", 5),
        ("seq", 1),
        ("signal_id", "0" * 32),
        ("signal_no", 99_999),
    ],
)
def test_an_edited_decision_is_never_identical(copy: Path, column: str, value: Any) -> None:
    """Whatever column of the kept decisions is edited, verify names it: its cell or its place."""
    edit_table(copy / "run", "decisions", lambda rows: signal_row(rows).update({column: value}))
    verdict = proofs.verify(copy / "run")

    assert "different" == verdict.verdict
    assert verdict.first_divergence is not None
    assert "decisions" == verdict.first_divergence.stream


def test_an_edited_candidate_is_never_identical(copy: Path) -> None:
    """The table of candidates is compared like that of decisions."""
    edit_table(copy / "run", "candidates", lambda rows: rows[3].update(confidence=0.123))
    verdict = proofs.verify(copy / "run")

    assert verdict.first_divergence is not None
    assert ("different", "confidence", "0.123") == (
        verdict.verdict,
        verdict.first_divergence.field,
        verdict.first_divergence.a,
    )


@pytest.mark.parametrize("stream", ["candidates", "decisions"])
def test_an_edited_record_is_corrupt(copy: Path, stream: str) -> None:
    """Records that do not give the manifest's digest are not what was written."""

    def flip(rows: list[dict[str, Any]]) -> None:
        row = next(r for r in rows if r["record"])
        row["record"] = row["record"][:-1] + bytes([row["record"][-1] ^ 1])

    edit_table(copy / "run", stream, flip)

    with pytest.raises(RecordingCorrupt, match=stream):
        proofs.verify(copy / "run")


def test_lost_rows_are_corrupt(copy: Path) -> None:
    """A part that lost its last rows does not give the digest any more."""
    edit_table(copy / "run", "decisions", lambda rows: rows.__delitem__(slice(-5, None)))

    with pytest.raises(RecordingCorrupt, match="decisions"):
        proofs.verify(copy / "run")


def test_a_run_that_recorded_nothing_is_corrupt(copy: Path) -> None:
    """A run whose outputs are gone fails; no records to compare is no agreement."""
    for stream in ("candidates", "decisions"):
        for part in RunFolder(copy / "run").parts(stream):
            part.unlink()

    with pytest.raises(RecordingCorrupt, match="it is missing"):
        proofs.verify(copy / "run")

    mend_hashes(copy / "run")
    with pytest.raises(RecordingCorrupt, match="do not give"):
        proofs.verify(copy / "run")


def test_an_edited_file_is_named(copy: Path) -> None:
    """A file of a complete run that is not what it wrote is named before anything runs."""
    part = RunFolder(copy / "run").parts("decisions")[0]
    part.write_bytes(part.read_bytes() + b"x")

    with pytest.raises(RecordingCorrupt, match=rf"{part.name}: it is not what the run wrote"):
        proofs.verify(copy / "run")


@pytest.mark.parametrize("lost", ["report", "content_hash"])
def test_a_complete_run_without_its_marks_is_corrupt(copy: Path, lost: str) -> None:
    """Neither the report nor the recording's hash can be left out to get a check less."""

    def cut(manifest: Any) -> None:
        if lost == "report":
            manifest["report"] = None
        else:
            manifest["recording"]["content_hash"] = ""

    edit_manifest(copy / "run", cut)

    with pytest.raises(RecordingCorrupt, match="without its report or its recording's hash"):
        proofs.verify(copy / "run")


def test_an_open_run_is_compared_up_to_its_last_whole_part(copy: Path) -> None:
    """A kill between the two streams of one flush leaves a shorter run, not a different one."""
    run = copy / "run"
    [decisions] = RunFolder(run).parts("decisions")
    [candidates] = RunFolder(run).parts("candidates")
    at = 1_500
    for stream, part in (("decisions", decisions), ("candidates", candidates)):
        table = pq.read_table(part)
        first = table.filter(pc.less_equal(table["seq"], at))
        pq.write_table(first, run / stream / f"{at:020d}.parquet")
    decisions.unlink()  # the second flush wrote its candidates, and was killed
    table = pq.read_table(candidates)
    pq.write_table(table.filter(pc.greater(table["seq"], at)), candidates)
    edit_manifest(run, lambda m: m.update(state="open", report=None, files={}))
    verdict = proofs.verify(run)

    assert ("identical", at) == (verdict.verdict, verdict.covered["ticks"])
    assert any("open" in note for note in verdict.notes)


def test_an_edited_count_is_not_identical(copy: Path) -> None:
    """The report in the manifest is compared with that of the replay."""
    edit_manifest(copy / "run", lambda m: m["report"]["executors"][0].update(pnl="1000000"))
    verdict = proofs.verify(copy / "run")

    assert verdict.first_divergence is not None
    assert ("different", "report.executors[0].pnl") == (
        verdict.verdict,
        verdict.first_divergence.field,
    )


def test_a_strategy_cut_from_the_manifest_is_missed(copy: Path) -> None:
    """Records of a strategy that the manifest no longer names are not passed over."""
    edit_manifest(copy / "run", lambda m: m["strategies"].pop())
    verdict = proofs.verify(copy / "run")

    assert verdict.first_divergence is not None
    assert ("different", "returns") == (verdict.verdict, verdict.first_divergence.strategy_id)


def test_an_edited_parameter_is_different(copy: Path) -> None:
    """A run whose configuration was edited does not replay to what it holds."""

    def lower(manifest: Any) -> None:
        manifest["strategies"][0]["config"]["parameters"]["threshold"] = 0.0004

    edit_manifest(copy / "run", lower)
    verdict = proofs.verify(copy / "run")

    assert verdict.first_divergence is not None
    assert ("different", "dips") == (verdict.verdict, verdict.first_divergence.strategy_id)


def test_another_library_makes_it_changed(copy: Path) -> None:
    """With an unequal fingerprint unequal bytes are `changed`, and the report names the cause."""

    def older(manifest: Any) -> None:
        manifest["fingerprint"]["numba"] = "0.1"
        manifest["strategies"][0]["config"]["parameters"]["threshold"] = 0.0004

    edit_manifest(copy / "run", older)
    verdict = proofs.verify(copy / "run")

    assert "changed" == verdict.verdict
    assert verdict.first_divergence is not None
    assert "numba: 0.1 -> " in verdict.first_divergence.cause


def test_edited_kept_source_is_corrupt(copy: Path) -> None:
    """The source that a run kept is hashed: what is run again is what ran."""
    kept = copy / "run" / "source" / "shipped" / "momentum.py"
    kept.write_text(kept.read_text() + "\n# a remark\n")

    with pytest.raises(RecordingCorrupt, match=r"kept source of strategy dips is not what ran"):
        proofs.verify(copy / "run")


def test_missing_kept_source_is_corrupt(copy: Path) -> None:
    """Without the source nothing can be proved."""
    (copy / "run" / "source" / "shipped" / "momentum.py").unlink()

    with pytest.raises(RecordingCorrupt, match="kept source of strategy dips is missing"):
        proofs.verify(copy / "run")


def test_another_recording_is_corrupt(copy: Path) -> None:
    """A recording that is not the one the run read is refused before anything runs."""
    shutil.rmtree(copy / "recording")
    make_recording(copy / "recording", ticks=3_000, seed=9)

    with pytest.raises(RecordingCorrupt, match="not the recording"):
        proofs.verify(copy / "run")


def test_a_run_over_no_ticks_proves_nothing(base: Path, tmp_path: Path) -> None:
    """A backtest of a window without ticks is never verified."""
    empty = pt.backtest(
        base / "recording", base / "rows.yaml", start=1, end=2, out=tmp_path / "empty"
    )

    with pytest.raises(NothingCompared, match="nothing was compared"):
        pt.verify(empty)


def test_a_shorter_window_is_not_the_same(base: Path, tmp_path: Path) -> None:
    """Runs that agree as far as both went, one over fewer ticks, are not the same."""
    rows = tmp_path / "quiet.yaml"
    rows.write_text(ROWS.replace("0.0005", "0.9").replace("2.0", "50.0"))
    whole = pt.backtest(base / "recording", rows)
    end = int(whole.ticks["ts_event"].dt.epoch("ns")[2_000])
    part = pt.backtest(base / "recording", rows, end=end)
    found = pt.diff(whole, part)

    assert 0 == whole.summary()["signals"]
    assert not found.same
    assert found.first_divergence is not None
    assert ("ticks", "3000") == (found.first_divergence.field, found.first_divergence.a)
    assert "end_ns" in found.first_divergence.cause


def test_runs_without_a_strategy_in_common_are_refused(base: Path, tmp_path: Path) -> None:
    """There is nothing to compare between runs of different strategies."""
    other = pt.backtest(base / "recording", "low_frequency_demo", out=tmp_path / "other")

    with pytest.raises(NothingCompared, match="no strategy in common"):
        pt.diff(base / "run", other)


def test_a_changed_parameter_is_named_by_diff(base: Path) -> None:
    """`diff` names the first signal that moved, and the parameter that moved it."""
    other = pt.backtest(base / "recording", base / "rows.yaml", overrides=["dips.threshold=0.0006"])
    found = pt.diff(base / "run", other)

    assert not found.same
    assert found.first_divergence is not None
    assert "dips" == found.first_divergence.strategy_id
    assert "dips: parameters.threshold 0.0005 -> 0.0006" == found.first_divergence.cause


def test_replay_with_a_parameter_is_changed(base: Path) -> None:
    """`replay` runs other parameters over the run's recording and says `changed`."""
    verdict = pt.replay(base / "run", overrides=["dips.threshold=0.0006"])

    assert "changed" == verdict.verdict
    assert "identical" == pt.replay(base / "run").verdict


@pytest.mark.slow
def test_failures_are_part_of_the_proof(base: Path, tmp_path: Path) -> None:
    """A strategy that raises is counted, recorded, and raises at the same ticks when verified."""
    file = tmp_path / "fragile.py"
    file.write_text(FRAGILE)
    done = pt.backtest(base / "recording", file)
    failed = [r for r in done.folder.rows("decisions") if r["kind"] == "failure"]
    counted = done.summary()["strategies"]["fragile"]["errors"]

    assert len(failed) == counted > 10
    assert {"RuntimeError: seven"} == {r["reason"] for r in failed}
    assert "identical" == pt.verify(done).verdict

    edit_table(
        done.path,
        "decisions",
        lambda rows: rows.remove(next(r for r in rows if r["kind"] == "failure")),
    )
    assert "different" == pt.verify(done).verdict


def test_a_checkpoint_of_another_form_is_passed_over_aloud(copy: Path) -> None:
    """Its run is proved by what it said; in today's form a state that is another diverges."""
    run = copy / "run"
    for form, verdict in ((SNAPSHOT_FORMAT - 1, "identical"), (SNAPSHOT_FORMAT, "different")):
        writer = RunWriter(run, RunFolder(run).manifest, resume=True)
        writer.save_checkpoint(1_000, {"engine": {"format": form}, "sequencer": {}})
        mend_hashes(run)
        found = pt.verify(run)

        assert verdict == found.verdict
        assert int(form == SNAPSHOT_FORMAT) == found.covered["checkpoints"]
        assert (form < SNAPSHOT_FORMAT) == any("another form" in note for note in found.notes)
        assert (form == SNAPSHOT_FORMAT) == (found.first_divergence is not None)
        if found.first_divergence is not None:
            shown = Console(width=80)
            with shown.capture() as text:
                shown.print(divergence_panel(found.first_divergence, "a", "b"))
            assert "after  seq 1000" in text.get()
            assert "1970" not in text.get()
