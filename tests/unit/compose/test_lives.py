"""What the start of a run says of it: its weakest life, who is left, and whose stack is whose."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parity.compose.feeds import Feed
from parity.compose.modes import live, paper
from parity.compose.operating import operating_of
from parity.compose.plans import prepare
from parity.live import watchdog
from parity.model.errors import ConfigError
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import load_strategies

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "recordings" / "demo"
ROWS = """
strategies:
  - {id: dip, strategy_type: momentum, instruments: all}
  - {id: wrong, strategy_type: momentum, instruments: all, parameters: {lookback_periods: -1}}
  - {id: gone, strategy_type: ml_momentum, instruments: all, zerodha_trading_enabled: true,
     parameters: {model_path: gone.onnx}}
"""


def specs(tmp_path: Path) -> list[StrategySpec]:
    """Return a row that is right, one that is wrong, and a broker's, whose model is not there."""
    (tmp_path / "rows.yaml").write_text(ROWS)
    return list(load_strategies([tmp_path / "rows.yaml"], skip_invalid=True))


@pytest.mark.parametrize(
    ("lives", "kept"),
    [(("os", "fdatasync"), "os"), (("fdatasync", "os"), "os"), (("fdatasync",) * 2, "fdatasync")],
)
def test_one_life_without_sync_is_enough(tmp_path: Path, lives: tuple[str, str], kept: str) -> None:
    """A run's manifest and its recording's say how its weakest life was kept."""
    table = open_recording(DEMO).table
    for durability in lives:
        given: dict[str, Any] = {"table": table, "durability": durability}
        paper(tmp_path / "run", load_strategies(["momentum"]), Feed(recording=DEMO), **given)

    assert kept == RunFolder(tmp_path / "run").manifest.settings["durability"]
    assert kept == load_manifest(tmp_path / "run" / "recording").durability


def test_a_live_run_looks_at_who_is_left(tmp_path: Path) -> None:
    """Where the only row at another broker is skipped nothing would be live: nothing is reached."""
    feed = Feed(bootstrap="127.0.0.1:1", topics=("market.ticks",))
    with pytest.raises(ConfigError, match="nothing would be live"):
        live(tmp_path / "run", specs(tmp_path), feed, table=open_recording(DEMO).table)

    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_wrong_row_is_no_model_that_failed(tmp_path: Path) -> None:
    """Metrics count models that did not load; a row that was left out may have none."""
    skipped = [
        *prepare(specs(tmp_path)).skipped,
        {"strategy_id": "off", "reason": "disabled"},
    ]
    writer: Any = SimpleNamespace(manifest=SimpleNamespace(strategies=[], skipped=skipped))

    assert ["gone", "off", "wrong"] == sorted(one["strategy_id"] for one in skipped)
    assert {"gone": False} == operating_of(tmp_path, writer, None).models


def test_a_kernel_that_a_control_brings_signs_its_stack(tmp_path: Path) -> None:
    """As those that a run begins with do."""
    plans = prepare(load_strategies(["momentum_kernel"])).plans
    (brought,) = watchdog.signing(lambda _: plans)({})

    assert "strategy momentum_kernel@paper" == brought.driver.__code__.co_name  # type: ignore[union-attr] # a function
