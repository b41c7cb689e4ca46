"""Slices of real ticks: what a backtest of a slice says is what the whole said in its range."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import polars as pl
import pytest

pytestmark = [pytest.mark.data, pytest.mark.slow]
Cli = Callable[..., CompletedProcess[str]]
OWN = ["run_id", "seq", "signal_no", "signal_id"]


def ran(done: CompletedProcess[str]) -> dict[str, Any]:
    """Return what a command printed as JSON, after it ended well."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_slice_of_trades_and_quotes_says_what_the_whole_said(
    shared_data: Path, cli: Cli, tmp_path: Path
) -> None:
    """Trades and quotes of one market, a few minutes of them, with the warm-up the run needs."""
    files = [
        shared_data / f"binance_spot_BTCUSDT_20240808_{kind}.parquet"
        for kind in ("trades", "quotes")
    ]
    ran(cli("import", *files, tmp_path / "rec", "--json"))
    found = ran(cli("inspect", tmp_path / "rec", "--json"))
    first, last = (found["instruments"][0][name] for name in ("first", "last"))
    times = pl.Series([first, last]).str.to_datetime(time_unit="ns", time_zone="UTC").to_physical()
    start, end = (int(times[0] + (times[1] - times[0]) * part // 10) for part in (4, 6))
    strategy = ("-s", "momentum", "--set", "threshold=0.00005")
    ran(cli("backtest", tmp_path / "rec", *strategy, "--out", tmp_path / "whole", "--json"))
    where = ("--start", str(start), "--end", str(end))
    cut = ran(cli("export", tmp_path / "whole", tmp_path / "slice", *where, "--json"))
    ran(cli("backtest", tmp_path / "slice", *strategy, "--out", tmp_path / "part", "--json"))
    for name, more in (("whole", where), ("part", ())):
        out = tmp_path / f"{name}.parquet"
        ran(cli("export", tmp_path / name, out, "--what", "signals", *more, "--json"))
    whole, part = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "part"))

    assert 0 < cut["warm_up"] < cut["ticks"] < found["ticks"]
    assert len(whole) > 20
    assert whole.drop(OWN).equals(part.drop(OWN))
    assert ran(cli("verify", tmp_path / "part", "--json"))["verdict"] == "identical"
