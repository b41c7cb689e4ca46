"""Rebuild the goldens of recordings/demo: `python recordings/make_demo_golden.py [FOLDER]`.

`digests.json` holds counts and digests by strategy, `signals.csv` every approved signal, floats at
their shortest exact text. A change of either needs a reason in the changelog.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import parity as pt

HERE: Final = Path(__file__).resolve().parent
RECORDING: Final = HERE / "demo"
STRATEGIES: Final = HERE.parent / "strategies" / "configs" / "demo.yaml"
GOLDEN: Final = HERE / "demo-golden"
COLUMNS: Final = (
    "seq",
    "strategy_id",
    "instrument_token",
    "ts_event",
    "side",
    "price",
    "quantity",
    "confidence",
    "signal_id",
)


def digests_of(run: pt.Run) -> dict[str, Any]:
    """Return the content of digests.json for a run."""
    shown = run.summary()
    kept = ("candidates", "signals", "drops", "fills", "digests")
    return {
        "format": 1,
        "recording": "recordings/demo",
        "strategies": "strategies/configs/demo.yaml",
        "digests": shown["digests"],
        "executors": {
            name: {key: one[key] for key in kept} for name, one in shown["strategies"].items()
        },
    }


def signals_of(run: pt.Run) -> str:
    """Return the content of signals.csv for a run."""
    said = {
        (row["seq"], row["strategy_id"], row["broker"]): row["confidence"]
        for row in run.folder.rows("candidates")
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in run.folder.rows("decisions"):
        if row["kind"] == "approved":
            confidence = said[row["seq"], row["strategy_id"], row["broker"]]
            side = {1: "BUY", -1: "SELL"}[row["side"]]
            row = {**row, "side": side, "confidence": confidence}
            writer.writerow([row[name] for name in COLUMNS])
    return text.getvalue()


def main(arguments: list[str]) -> None:
    """Write both goldens to the folder named, or to recordings/demo-golden."""
    folder = Path(arguments[0]) if arguments else GOLDEN
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        run = pt.backtest(RECORDING, STRATEGIES, out=Path(scratch) / "run")
        (folder / "digests.json").write_text(json.dumps(digests_of(run), indent=1) + "\n")
        (folder / "signals.csv").write_text(signals_of(run))
    print(f"{folder}: goldens of {RECORDING.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
