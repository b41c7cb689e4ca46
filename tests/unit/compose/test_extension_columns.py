"""A backtest reads the extension columns that its strategies declare, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

import parity as pt
from parity.compose.beginning import columns_of
from parity.compose.plans import prepare
from parity.model.errors import ConfigError
from parity.recording.reader import open_recording
from parity.settings.strategies import load_strategies

ROOT = Path(__file__).resolve().parents[3]
FROZEN = ROOT / "recordings" / "format-1" / "sealed"
KERNEL = """
import numpy as np

from parity.model.kernel import KernelStrategy, out_dtype


def step(state, params, out, price_int, average, there):
    if not there:
        return 0
    out.side = 1 if price_int > average else -1
    out.confidence = 0.5
    out.quantity = 1.0
    out.price = 1.0
    out.average = average
    return 1


def create(parameters):
    return KernelStrategy(
        name="above",
        step=step,
        state=np.dtype([("none", "i8")], align=True),
        params=np.array((0,), np.dtype([("none", "i8")], align=True)),
        out=out_dtype(("average", "i8")),
        columns=("price_int", "average_price_int", "has_average_price"),
        extensions=("average_price",),
        history=1,
        describe=lambda said: ("", {"average": said["average"]}),
    )
"""
PROCESSOR = """
import parity as pt

@pt.strategy("above", history=1)
def above(tick, history):
    average = tick.extension_int("average_price")
    if average is None:
        return None
    side = "BUY" if tick.price_int > average else "SELL"
    return pt.SignalResult(side, 0.5, 1, 1.0, "", {"average": average})
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """One strategy in both tiers, as files, and a driver cache of their own."""
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path / "cache"))
    kernel, processor = tmp_path / "kernel.py", tmp_path / "processor.py"
    kernel.write_text(KERNEL)
    processor.write_text(PROCESSOR)
    return kernel, processor


def test_both_tiers_say_the_same_over_a_recording(files: tuple[Path, Path], tmp_path: Path) -> None:
    """One digest from a kernel, which reads three columns of one extension, and a processor."""
    kernel, processor = files
    prepared = prepare(load_strategies([kernel]))
    table = open_recording(FROZEN).table

    reports = [
        pt.backtest(FROZEN, file, out=tmp_path / f"run-{n}").folder.manifest.report
        for n, file in enumerate(files)
    ]

    digests = {r.executors[0].candidate_digest for r in reports if r is not None}
    assert len(digests) == 1
    assert [r.executors[0].candidates for r in reports if r is not None] == [5, 5]
    read = {table.columns.sources.get(n, n) for n in columns_of(prepared, table)}
    assert read & table.columns.extensions.keys() == {"average_price_int"}
    all_of = set(columns_of(prepare(load_strategies([processor])), table))
    assert table.columns.extensions.keys() <= all_of


def test_a_recording_without_the_column_is_refused(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Before anything of a run is written."""
    with pytest.raises(ConfigError, match="'average_price' is not in the instrument table"):
        pt.backtest(ROOT / "recordings" / "demo", files[0], out=tmp_path / "run")

    assert not (tmp_path / "run").exists()
