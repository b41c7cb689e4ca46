"""Real ticks all the way: import, backtest, verify from another process, digests as goldens."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

pytestmark = [pytest.mark.data, pytest.mark.slow]
HERE = Path(__file__).parent
GOLDENS = json.loads((HERE / "goldens.json").read_text())
Cli = Callable[..., CompletedProcess[str]]


def ran(done: CompletedProcess[str]) -> dict[str, Any]:
    """Return what a command printed as JSON, after it ended well."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", sorted(GOLDENS))
def test_real_ticks_give_the_golden_digests(
    name: str, shared_data: Path, cli: Cli, tmp_path: Path
) -> None:
    """Importing, deciding and proving real ticks gives the digests of the golden, and identical."""
    golden = GOLDENS[name]
    files = [str(shared_data / f"{file}.parquet") for file in golden["files"]]
    recording, run = str(tmp_path / "recording"), str(tmp_path / "run")

    imported = ran(cli("import", *files, recording, "--json"))
    strategies = str(HERE / "strategies.yaml")
    backtest = ran(cli("backtest", recording, "--strategies", strategies, "--out", run, "--json"))
    verdict = ran(cli("verify", run, "--json"))

    assert golden["ticks"] == imported["ticks"] == backtest["ticks"]
    assert golden["digests"] == backtest["digests"]
    assert golden["signals"] == {n: s["signals"] for n, s in backtest["strategies"].items()}
    tiers = [backtest["strategies"][n]["digests"] for n in ("momentum_py", "momentum_kernel")]
    assert tiers[0] == tiers[1]
    assert verdict["verdict"] == "identical"
    assert verdict["covered"]["ticks"] == golden["ticks"]
