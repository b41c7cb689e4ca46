"""What a row names and is not there: an instrument of another recording, a model elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.compose.feeds import Feed
from parity.compose.modes import backtest, paper
from parity.compose.plans import gather
from parity.model.errors import ConfigError, StrategyWarning
from parity.recording.holding import held
from parity.recording.reader import open_recording
from parity.settings.strategies import apply_overrides, load_rows, load_strategies
from parity.sources.synthetic import make_recording

TOKEN = 900001


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording, and rows of which the second names an instrument that it lacks."""
    make_recording(tmp_path / "recording", ticks=500)
    rows = [
        {"id": name, "strategy_type": "momentum", "instruments": tokens}
        for name, tokens in (("right", [TOKEN]), ("absent", [TOKEN, 5]))
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=0))
    return tmp_path


def test_an_absent_instrument_is_named_with_its_strategy(folder: Path) -> None:
    """Strategy, file and line, in every mode; and nothing is left of the run."""
    specs = load_strategies([folder / "rows.json"])
    said = rf"rows\.json:\d+: instruments: strategy absent: instrument token 5 .*{TOKEN}"
    with pytest.raises(ConfigError, match=said):
        backtest(folder / "recording", specs, out=folder / "run")
    with open_recording(folder / "recording") as recording:
        table = recording.table
    with pytest.raises(ConfigError, match=said):
        paper(folder / "run", specs, Feed(recording=folder / "recording"), table=table)

    assert not (folder / "run").exists()


def test_it_can_be_skipped(folder: Path) -> None:
    """With --skip-invalid the others run, and the run says what was left out and why."""
    with pytest.warns(StrategyWarning, match="absent"):
        run = pt.backtest(
            folder / "recording", folder / "rows.json", out=folder / "run", skip_invalid=True
        )
    (skipped,) = json.loads((run.path / "manifest.json").read_text())["skipped"]

    assert {"right"} == run.summary()["strategies"].keys()
    assert "absent" == skipped["strategy_id"]
    assert "instrument token 5 is not in the instrument table" in skipped["reason"]


def test_what_is_set_later_keeps_it_skippable(folder: Path) -> None:
    """A row of a set whose invalid rows are skipped is one of it whatever is set on it."""
    specs = load_strategies([folder / "rows.json"], skip_invalid=True)
    again = apply_overrides(specs, ["threshold=0.002"])
    finished = backtest(folder / "recording", again, out=folder / "run")

    assert [True, True] == [spec.skippable for spec in again]
    assert ["absent"] == [one["strategy_id"] for one in finished.skipped]


def test_the_instruments_of_a_run_are_read_once_and_held(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on opens its recording once, and never while another runner is at work."""
    opened: list[Path] = []

    def opening(path: Path, **how: Any) -> Any:
        opened.append(path)
        return open_recording(path, **how)

    monkeypatch.setattr("parity.compose.modes.open_recording", opening)
    specs = load_rows([{"id": "right", "strategy_type": "momentum", "instruments": [TOKEN]}])
    feed, run = Feed(recording=folder / "recording"), folder / "run"
    with open_recording(folder / "recording") as recording:
        table = recording.table
    for times in (0, 1):
        opened.clear()
        paper(run, specs, feed, table=table)
        assert times == opened.count(run / "recording")
    opened.clear()
    with held(run), pytest.raises(ConfigError, match="another runner is at work"):
        paper(run, specs, feed, table=table)
    assert [] == opened


def test_a_disabled_row_may_name_anything(folder: Path) -> None:
    """It does not run; a table keeps rows of other days."""
    off = {"id": "off", "strategy_type": "momentum", "instruments": [5], "enabled": False}
    right = {"id": "right", "strategy_type": "momentum", "instruments": [TOKEN]}
    specs = load_rows([right, off])
    finished = backtest(folder / "recording", specs, out=folder / "run")

    assert [{"strategy_id": "off", "reason": "disabled"}] == finished.skipped


@pytest.mark.slow
def test_the_report_says_what_was_skipped(folder: Path, cli: Any) -> None:
    """As `backtest` does: the strategy, the line and the reason."""
    made = cli("backtest", folder / "recording", "-s", folder / "rows.json", "--out",
               folder / "run", "--skip-invalid")  # fmt: skip
    told = cli("report", folder / "run")

    assert 0 == made.returncode, made.stderr
    for shown in (made.stdout, told.stdout):
        assert "skipped absent: invalid: " in shown
        assert "instrument token 5" in shown


def test_an_absent_model_is_told_what_ships() -> None:
    """The path of an older configuration leads to the file's name here."""
    row = {"id": "a", "strategy_type": "ml_momentum", "instruments": "all",
           "parameters": {"model_path": "models/momentum.onnx"}}  # fmt: skip
    (skipped,) = gather(load_rows([row])).skipped

    assert "did you mean 'momentum.onnx'? else put the model there" in skipped["reason"]
