"""The demo recording and its goldens: the same signals on every machine, or the test says which.

One golden must fail: with a parameter changed, the comparison has to name what moved.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import parity as pt
from parity.cli import app
from parity.proof.golden import golden_of, moved, read_golden, signals_text
from parity.sources.synthetic import make_recording

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "recordings" / "demo-golden"
RECORDING, STRATEGIES = ROOT / "recordings" / "demo", ROOT / "strategies" / "configs" / "demo.yaml"
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pt.Run:
    """The demo strategies over the demo recording."""
    return pt.backtest(RECORDING, STRATEGIES, out=tmp_path_factory.mktemp("golden") / "run")


def test_no_golden_is_left_over() -> None:
    """Every file beside the goldens is compared by a test here."""
    assert ["digests.json", "signals.csv"] == sorted(f.name for f in GOLDEN.iterdir())


def test_digests_are_the_golden_ones(run: pt.Run) -> None:
    """Counts and digests of each strategy, and of the run, are as checked in, byte for byte."""
    kept = read_golden(GOLDEN)
    made = golden_of("recordings/demo", "strategies/configs/demo.yaml", run.summary())

    for name, expected in kept.executors.items():
        assert expected == made.executors[name], name
    assert (GOLDEN / "digests.json").read_text() == made.text()


def test_signals_are_the_golden_ones(run: pt.Run) -> None:
    """Every approved signal is as checked in, to the last digit and in order."""
    golden = (GOLDEN / "signals.csv").read_text()

    assert golden.splitlines() == signals_text(run.folder).splitlines()
    assert golden == signals_text(run.folder)


def test_both_tiers_of_momentum_are_one(run: pt.Run) -> None:
    """The Python processor and the kernel have equal digests, decisions included."""
    made = golden_of("", "", run.summary()).executors

    assert made["momentum_py"] == made["momentum_kernel"]


def test_the_run_verifies(run: pt.Run) -> None:
    """The golden run replays to itself from its kept source."""
    verdict = pt.verify(run)

    assert "identical" == verdict.verdict
    assert 40_000 == verdict.covered["ticks"]


def test_a_changed_parameter_must_diverge(run: pt.Run, tmp_path: Path) -> None:
    """With one parameter moved a little, the goldens no longer hold, and diff names the place."""
    other = pt.backtest(
        RECORDING,
        STRATEGIES,
        overrides=["mean_reversion.z_entry=2.0000001"],
        out=tmp_path / "moved",
    )
    found = pt.diff(run, other)
    kept = read_golden(GOLDEN)
    texts = ((GOLDEN / "signals.csv").read_text(), signals_text(other.folder))
    lines = [*moved(kept, golden_of("", "", other.summary()), *texts)]

    assert {"mean_reversion", "run", "signals.csv"} >= {line.split(":")[0] for line in lines}
    assert any(line.startswith("mean_reversion: digests candidates ") for line in lines)
    assert not found.same
    assert found.first_divergence is not None
    assert "mean_reversion" == found.first_divergence.strategy_id
    assert "mean_reversion: parameters.z_entry 2.0 -> 2.0000001" == found.first_divergence.cause
    assert [c for c in found.changed if "z_entry" not in c] == []


RULE = """
import parity as pt

@pt.strategy("odd", history=1)
def odd(tick, history, *, each=7):
    if tick.price_int % each == 0:
        return pt.SignalResult("BUY", 0.5, 1, tick.price)
"""


def golden(*words: str | Path, code: int = 0) -> str:
    """Run `parity golden`; return all it said."""
    done = RUNNER.invoke(app, ["golden", *map(str, words)])
    assert code == done.exit_code, done.output
    return done.output


def test_a_golden_is_made_held_moved_and_kept_anew(tmp_path: Path) -> None:
    """It goes with its folder; a rule that changed is named with its first other signal."""
    desk = tmp_path / "desk"
    make_recording(desk / "rec", ticks=600)
    (desk / "odd.py").write_text(RULE)
    made = ("--recording", desk / "rec", "--strategies", desk / "odd.py")
    golden("update", desk / "goldens" / "odd", *made)
    desk = desk.rename(tmp_path / "elsewhere")
    kept = read_golden(desk / "goldens" / "odd")

    assert ("rec", "odd.py") == (kept.recording, kept.strategies)
    assert "same: 600 ticks, " in golden("check", desk / "goldens" / "odd")
    (desk / "odd.py").write_text(RULE.replace("each=7", "each=11"))
    said = golden("check", desk / "goldens" / "odd", code=1)
    assert "moved: 600 ticks" in said
    assert "odd: signals " in said
    assert "signals.csv:" in said
    found = json.loads(golden("update", desk / "goldens" / "odd", "--json"))
    assert (False, 600) == (found["same"], found["ticks"])
    assert f"{found['signals']} signals" in golden("check", desk / "goldens" / "odd")


TIMED = """
from parity import SignalResult
from parity.model.timers import Every

class Timed:
    timers = (Every(seconds=1), Every(seconds=1))

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "timed"

    def process_tick(self, tick, history):
        return None

    def on_timer(self, timer, history):
        confidence = 0.25 + timer.number / 2
        return SignalResult("BUY", confidence, 1, history[-1].price, "due")
"""


def test_each_signal_of_one_instant_has_its_own_confidence(tmp_path: Path) -> None:
    """Two timers of an instrument, due together, and said one after the other."""
    make_recording(tmp_path / "rec", ticks=600)
    (tmp_path / "timed.py").write_text(TIMED)
    made = ("--recording", tmp_path / "rec", "--strategies", tmp_path / "timed.py")
    golden("update", tmp_path / "golden", *made)
    text = (tmp_path / "golden" / "signals.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))

    assert len(rows) > 100
    assert ["0.25", "0.75"] * (len(rows) // 2) == [row["confidence"] for row in rows]


@pytest.mark.parametrize(
    "place", ["rec", "rec/golden", "goldens/rec", "momentum/of", "of/momentum"]
)
def test_a_golden_finds_what_it_names_whatever_its_folder_is_called(
    tmp_path: Path, place: str
) -> None:
    """Its recording's, one in there, called as that is, or as a strategy that is shipped."""
    make_recording(tmp_path / "rec", ticks=60)
    for _ in range(2):  # a new one, and one that is there
        made = ("--recording", tmp_path / "rec", "--strategies", "momentum")
        golden("update", tmp_path / place, *made)

        assert "same: 60 ticks" in golden("check", tmp_path / place)
    kept = read_golden(tmp_path / place)
    assert ("." if place == "rec" else "rec", "momentum") == (kept.recording, kept.strategies)


def test_what_is_no_golden_is_refused_by_name(tmp_path: Path) -> None:
    """None there, half of a new one, options that check does not take, one that is damaged."""
    assert "no golden" in golden("check", tmp_path, code=3)
    assert "no golden" in golden("update", tmp_path, code=3)
    assert "give both" in golden("update", tmp_path, "--strategies", "momentum", code=2)
    assert "go with update" in golden("check", GOLDEN, "--strategies", "momentum", code=2)
    shutil.copytree(GOLDEN, tmp_path / "copy")
    assert "recordings/demo" in golden("check", tmp_path / "copy", code=3)
    (tmp_path / "copy" / "digests.json").write_text("{}")
    assert "digests.json: no golden" in golden("check", tmp_path / "copy", code=2)
