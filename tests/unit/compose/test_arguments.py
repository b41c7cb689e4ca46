"""What the Python face says to an argument of a wrong kind: never a traceback from inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity as pt
from parity.sources.synthetic import make_recording


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording and a run over it."""
    folder = tmp_path_factory.mktemp("arguments")
    make_recording(folder / "rec", ticks=2_000)
    pt.backtest(folder / "rec", "momentum", overrides=["threshold=0.001"], out=folder / "run")
    return folder


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda rec, run: pt.backtest(5, "momentum"), "expected a recording or its folder, was 5"),
        (lambda rec, run: pt.backtest(rec, 5), "a file or a name, was 5"),
        (lambda rec, run: pt.backtest(rec, ["momentum"]), "give each as an argument of its own"),
        (lambda rec, run: pt.backtest(rec, dict), "a class by the file it stands in"),
        (lambda rec, run: pt.strategy("x", history="3"), "history: expected 1 or more ticks"),
        (
            lambda rec, run: pt.StrategyRunnerService().register_from_config("momentum"),
            "row 1: expected a mapping with the keys of a configuration, was 'momentum'",
        ),
        (lambda rec, run: pt.check(dict), "a file or a name"),
        (lambda rec, run: pt.verify(rec), "expected a run or its folder, was Recording"),
        (lambda rec, run: pt.replay(None), "expected a run or its folder, was None"),
        (lambda rec, run: pt.diff(run, rec), "make one: pt.backtest"),
        (lambda rec, run: run.why("first"), "seq: expected an integer, was 'first'"),
        (lambda rec, run: run.why(1.5), "seq: expected an integer, was 1.5"),
        (lambda rec, run: run.plot("SYNC"), "symbol 'SYNC' stands 0 times .*900001"),
        (lambda rec, run: run.plot(1), "instrument token 1 is not in"),
        (
            lambda rec, run: pt.sweep(rec, "momentum", {"threshold": list(range(1001))}),
            "sweep: threshold: makes 1001 variants, at most 1000",
        ),
    ],
)
def test_an_argument_of_a_wrong_kind_is_named(
    base: Path, call: Callable[..., Any], said: str
) -> None:
    """The error says what was expected, what was given, and what to do."""
    with pytest.raises(pt.ConfigError, match=said):
        call(pt.open(base / "rec"), pt.open(base / "run"))


def test_what_a_notebook_has_at_hand_is_taken(base: Path) -> None:
    """A symbol for a token, numpy's integers for a seq, an array for values of a sweep."""
    run = pt.open(base / "run")
    assert isinstance(run, pt.Run)
    seq = run.signals["seq"].to_numpy()[0]
    frame, _ = pt.sweep(base / "rec", "momentum", {"threshold": np.array([0.001, 0.5])})

    assert run.why(seq) == run.why(int(seq))
    assert "sanity" in str(run.why(seq))
    assert "side BUY" in str(run.why(seq)) or "side SELL" in str(run.why(seq))
    assert run.plot("SYNA").to_dict() == run.plot(900001).to_dict()
    assert [len(run.signals), 0] == frame["signals"].to_list()


def test_a_parameter_that_no_manifest_can_keep_is_refused(base: Path, tmp_path: Path) -> None:
    """By the strategy and its name, before anything runs; it was a defect of ours before."""
    file = tmp_path / "odd.py"
    file.write_text(
        "import parity as pt\n\n\n"
        "@pt.strategy('odd')\ndef odd(tick, history, *, how=object()):\n    return None\n"
    )
    with pytest.raises(pt.ConfigError, match=r"odd: parameters\.how: expected a plain value"):
        pt.backtest(base / "rec", file)


def test_a_folder_of_runs_names_one_of_them(base: Path) -> None:
    """As a sweep leaves it; it is no run itself."""
    with pytest.raises(pt.ParityError, match=f"it holds runs: name one, {base / 'run'} say"):
        pt.verify(base)
