"""The demo recording and its goldens: the same signals on every machine, or the test says which.

One golden must fail: with a parameter changed, the comparison has to name what moved.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

import parity as pt

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
GOLDEN = RECORDINGS / "demo-golden"


def script() -> ModuleType:
    """Return recordings/make_demo_golden.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_demo_golden", RECORDINGS / "make_demo_golden.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = script()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pt.Run:
    """The demo strategies over the demo recording."""
    return pt.backtest(
        MAKE.RECORDING, MAKE.STRATEGIES, out=tmp_path_factory.mktemp("golden") / "run"
    )


def test_no_golden_is_left_over() -> None:
    """Every file beside the goldens is compared by a test here."""
    assert ["digests.json", "signals.csv"] == sorted(f.name for f in GOLDEN.iterdir())


def test_digests_are_the_golden_ones(run: pt.Run) -> None:
    """Counts and digests of each strategy, and of the run, are as checked in."""
    golden = json.loads((GOLDEN / "digests.json").read_text())
    made = MAKE.digests_of(run)

    for name, expected in golden["executors"].items():
        assert expected == made["executors"][name], name
    assert golden == made


def test_signals_are_the_golden_ones(run: pt.Run) -> None:
    """Every approved signal is as checked in, to the last digit and in order."""
    golden = (GOLDEN / "signals.csv").read_text()

    assert golden.splitlines() == MAKE.signals_of(run).splitlines()
    assert golden == MAKE.signals_of(run)


def test_both_tiers_of_momentum_are_one(run: pt.Run) -> None:
    """The Python processor and the kernel have equal digests, decisions included."""
    made = MAKE.digests_of(run)["executors"]

    assert made["momentum_py"] == made["momentum_kernel"]


def test_the_run_verifies(run: pt.Run) -> None:
    """The golden run replays to itself from its kept source."""
    verdict = pt.verify(run)

    assert "identical" == verdict.verdict
    assert 40_000 == verdict.covered["ticks"]


def test_a_changed_parameter_must_diverge(run: pt.Run, tmp_path: Path) -> None:
    """With one parameter moved a little, the goldens no longer hold, and diff names the place."""
    moved = pt.backtest(
        MAKE.RECORDING,
        MAKE.STRATEGIES,
        overrides=["mean_reversion.z_entry=2.0000001"],
        out=tmp_path / "moved",
    )
    found = pt.diff(run, moved)
    golden = json.loads((GOLDEN / "digests.json").read_text())

    assert golden != MAKE.digests_of(moved)
    assert not found.same
    assert found.first_divergence is not None
    assert "mean_reversion" == found.first_divergence.strategy_id
    assert "mean_reversion: parameters.z_entry 2.0 -> 2.0000001" == found.first_divergence.cause
    assert [c for c in found.changed if "z_entry" not in c] == []
