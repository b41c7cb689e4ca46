"""The goldens of real ticks: `python tests/lib/real_goldens.py` makes them anew.

Through the command line, each step a process of its own, into `tests/data/goldens.json`.

Kept are strategies, parameters, seed, versions, counts and digests; never a row of the data. A
change needs a reason in the changelog. Shared data: PARITY_SHARED_DATA, or ../shared/data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from parity.compose.fingerprint import fingerprint
from parity.settings.yaml import load_yaml

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = ROOT / "tests" / "data"
GOLDENS: Final = DATA / "goldens.json"
STRATEGIES: Final = DATA / "strategies"
SEED: Final = 7

RECORDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "spy_two_days": ("us_SPY_20131007_trades", "us_SPY_20131008_trades"),
    "btcusdt_spot_two_days": (
        "binance_spot_BTCUSDT_20240808_trades",
        "binance_spot_BTCUSDT_20240809_trades",
    ),
    "btcusdt_spot_and_perpetual": (
        "binance_spot_BTCUSDT_20240808_trades",
        "binance_spot_BTCUSDT_20240808_quotes",
        "binance_usdm_BTCUSDT_20240808_trades",
        "binance_usdm_BTCUSDT_20240808_quotes",
    ),
    "ltcusdt_12h": ("binance_spot_LTCUSDT_20250621_trades",),
    "eurusd_weekend": ("fxcm_EURUSD_20140501_20140505_quotes",),
    "ibm_one_sided": ("us_IBM_20131007_trades", "us_IBM_20131007_quotes"),
    "btcusd_inverse": (
        "binance_coinm_BTCUSD_PERP_20240808_trades",
        "binance_coinm_BTCUSD_PERP_20240808_quotes",
    ),
}


class Case(NamedTuple):
    """One backtest: which recording, which files of strategies, and which part of it."""

    recording: str
    strategies: tuple[str, ...] = ("rules", "models")
    start: str | None = None
    end: str | None = None


# A model costs a hundred rules' time, so the two largest recordings give it a part.
CASES: Final[Mapping[str, Case]] = {
    "spy_two_days": Case("spy_two_days", ("rules",)),
    "spy_models": Case("spy_two_days", ("models",), "2013-10-08T13:25:00Z", "2013-10-08T14:00:00Z"),
    "btcusdt_spot_two_days": Case("btcusdt_spot_two_days"),
    "btcusdt_spot_and_perpetual": Case("btcusdt_spot_and_perpetual"),
    "ltcusdt_12h": Case("ltcusdt_12h"),
    "eurusd_weekend": Case("eurusd_weekend", ("rules",)),
    "eurusd_models": Case(
        "eurusd_weekend", ("models",), "2014-05-02T16:00:00Z", "2014-05-05T02:00:00Z"
    ),
    "ibm_one_sided": Case("ibm_one_sided"),
    "btcusd_inverse": Case("btcusd_inverse"),
}


def command(*arguments: str | Path) -> dict[str, Any]:
    """Run a command in a process of its own; return what it printed as JSON.

    Raises:
        RuntimeError: it did not end well; with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "parity", *map(str, arguments), "--json"],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: exit {done.returncode}: {done.stderr}{done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def imported(name: str, data: Path, folder: Path) -> Path:
    """Import the files of a recording; return its folder, which is kept where there is one."""
    recording = folder / name
    if not recording.exists():
        command("import", *(data / f"{file}.parquet" for file in RECORDINGS[name]), recording)
    return recording


def run(case: Case, recording: Path, out: Path) -> dict[str, Any]:
    """Run a case's strategies over its recording; return what `backtest` says."""
    files = [part for name in case.strategies for part in ("-s", STRATEGIES / f"{name}.yaml")]
    part = [
        text
        for option, value in (("--start", case.start), ("--end", case.end))
        if value is not None
        for text in (option, value)
    ]
    return command("backtest", recording, *files, *part, "--seed", str(SEED), "--out", out)


def kept(case: Case, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a golden keeps of a backtest."""
    return {
        "files": list(RECORDINGS[case.recording]),
        "start": case.start,
        "end": case.end,
        "ticks": said["ticks"],
        "digests": said["digests"],
        "strategies": {
            name: {k: one[k] for k in ("candidates", "signals", "drops", "fills", "digests")}
            for name, one in sorted(said["strategies"].items())
        },
    }


def configured() -> dict[str, Any]:
    """Return type, kind of ticks and parameters of every strategy that is run, by name."""
    rows: list[dict[str, Any]] = []
    for path in sorted(STRATEGIES.glob("*.yaml")):
        rows += load_yaml(path).plain()["strategies"]
    return {
        row["strategy_name"]: {k: row[k] for k in ("strategy_type", "on", "parameters")}
        for row in rows
    }


def main() -> None:
    """Write the goldens."""
    data = Path(os.environ.get("PARITY_SHARED_DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cases = {}
        for name, case in CASES.items():
            recording = imported(case.recording, data, folder)
            cases[name] = kept(case, run(case, recording, folder / f"run_{name}"))
            print(name, cases[name]["ticks"], file=sys.stderr)
    whole = {
        "format": 1,
        "made_with": fingerprint(models=True),
        "seed": SEED,
        "strategies": configured(),
        "cases": cases,
    }
    GOLDENS.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
