"""docs/indicators.md is what the code writes, and its examples run."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.analysis.indicator_plots import pictures, values
from parity.kernels.bar_rules import BAR_RULES
from parity.kernels.catalogue import INDICATORS, page

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "indicators.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_the_page_is_current() -> None:
    """Write it anew with `python -m parity.kernels.catalogue > docs/indicators.md`."""
    assert page() == PAGE


@pytest.mark.slow
def test_the_pictures_are_current() -> None:
    """Drawn anew they are the same, each number to a tenth of a pixel, and the page shows all."""
    drawn = pictures()
    kept = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs/indicators").iterdir()}

    assert set(INDICATORS) | set(BAR_RULES) == set(drawn) == set(kept)
    for name, svg in drawn.items():
        assert f"(indicators/{name}.svg)" in PAGE
        assert NUMBER.sub("#", svg) == NUMBER.sub("#", kept[name]), name
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (svg, kept[name])]
        np.testing.assert_allclose(*numbers, rtol=0, atol=0.1, err_msg=name)


@pytest.mark.slow
def test_a_picture_shows_what_the_indicator_says() -> None:
    """Every output of every indicator is drawn, and what is drawn is the column's."""
    for name, one in INDICATORS.items():
        frame = values(one)
        assert {"t", "close", *one.outputs} == set(frame.columns)
        assert all(frame[output].drop_nulls().len() > 60 for output in one.outputs), name
    closes = values(INDICATORS["sma"])
    np.testing.assert_allclose(closes["mean"], closes["close"].rolling_mean(20), rtol=1e-12)


@pytest.mark.slow
def test_the_examples_on_columns_run() -> None:
    """Their assertions hold."""
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)
    exec(BLOCKS[3], names)


# The page's kernel on bars as a processor, by the streams that the page tells of.
TIRED = """\
import parity as pt
from parity.kernels import rsi, volume_bars


class Tired:
    def __init__(self):
        self.streams = {}

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "tired"

    def _of(self, token):
        if token not in self.streams:
            self.streams[token] = volume_bars.stream(volume=5_000), rsi.stream(window=3)
        return self.streams[token]

    def process_tick(self, tick, history):
        bars, strength = self._of(tick.instrument_token)
        closed = bars.push(tick.ts_event, tick.price_int, tick.quantity_int, tick.side)
        if not closed:
            return None
        value = strength.push(closed[0].close)
        if not value < 35.0:
            return None
        return pt.SignalResult("BUY", 0.6, 1.0, tick.price, "sold out", {"rsi": value})

    def snapshot(self):
        return {str(t): [one.snapshot() for one in pair] for t, pair in self.streams.items()}

    def restore(self, state):
        self.streams = {}
        for token, pair in state.items():
            for one, plain in zip(self._of(int(token)), pair, strict=True):
                one.restore(plain)
"""


@pytest.mark.slow
def test_the_kernel_on_bars_is_what_streams_say(cli: Cli, tmp_path: Path) -> None:
    """Both pass check, and give the same candidates and decisions on the demo recording."""
    (tmp_path / "tired.py").write_text(TIRED)
    (tmp_path / "compiled.py").write_text(BLOCKS[4])

    one = alike(cli, tmp_path, "tired.py", "compiled.py")

    assert one["signals"] > 0


@pytest.mark.slow
def test_processor_and_kernel_of_the_page_are_one(cli: Cli, tmp_path: Path) -> None:
    """Both pass check, and give the same candidates and decisions on the demo recording."""
    for name, block in zip(("oversold", "compiled"), BLOCKS[1:3], strict=True):
        (tmp_path / f"{name}.py").write_text(block)

    one = alike(cli, tmp_path, "oversold.py", "compiled.py")

    assert one["signals"] > 0


def alike(cli: Cli, folder: Path, *files: str) -> dict[str, Any]:
    """Check and run two strategies; return what the first came to, which is the second's too."""
    demo = ROOT / "recordings" / "demo"
    options = [word for file in files for word in ("-s", file)]
    checked = cli("check", *files, "--json", cwd=folder)
    ran = cli("backtest", demo, *options, "--json", cwd=folder)

    assert 0 == checked.returncode, checked.stderr
    assert [] == json.loads(checked.stdout)["findings"]
    assert 0 == ran.returncode, ran.stderr
    one, other = json.loads(ran.stdout)["strategies"].values()
    assert 0 == one["errors"] == other["errors"]
    assert one["digests"] == other["digests"]
    return dict(one)
