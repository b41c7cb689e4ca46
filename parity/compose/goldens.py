"""Goldens put together: a backtest of what a golden names, held against it or kept as it.

Never here: what a golden is made of.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from parity.analysis.documents import backtest_json
from parity.compose.modes import backtest
from parity.model.errors import ConfigError, RecordingMissing
from parity.proof.golden import (
    SIGNALS,
    Golden,
    found_from,
    golden_of,
    moved,
    named_from,
    read_golden,
    signals_text,
)
from parity.recording.named import GOLDEN
from parity.recording.runs import write_durably
from parity.settings.strategies import is_name, load_strategies


class Outcome(NamedTuple):
    """What today's code gives beside a golden: `moved` is empty where they are the same."""

    moved: list[str]
    signals: int
    ticks: int


def check(folder: Path) -> Outcome:
    """Run what a golden names, and say what moved.

    Raises:
        RecordingMissing: the golden or its recording is not there.
        ConfigError: it is no golden, or its strategies cannot run.
    """
    was = read_golden(folder)
    _, _, outcome = _made(folder, was)
    return outcome


def update(folder: Path, recording: Path | None = None, strategies: str | None = None) -> Outcome:
    """Run what a golden names, or is to name from now on, keep what comes out, say what moved.

    Raises:
        RecordingMissing: the golden, and no recording for a new one, or its recording.
        ConfigError: only one of both is given for a new one, or as check() does.
    """
    if (recording is None) != (strategies is None) and not (folder / GOLDEN).is_file():
        raise ConfigError(
            f"{folder}: a new golden names a recording and strategies",
            cure="give both: --recording REC --strategies FILE",
        )
    if (folder / GOLDEN).is_file() or recording is None:
        was = read_golden(folder)
    else:
        was = Golden(recording="", strategies="", digests={}, executors={})
    rec = was.recording if recording is None else named_from(folder, recording)
    rules = was.strategies
    if strategies is not None:
        there = Path(strategies).exists()
        rules = named_from(folder, Path(strategies)) if there else strategies
    named = Golden(recording=rec, strategies=rules, digests=was.digests, executors=was.executors)
    now, signals, outcome = _made(folder, named)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / SIGNALS, signals.encode())
    write_durably(folder / GOLDEN, now.text().encode())
    return outcome


def _made(folder: Path, was: Golden) -> tuple[Golden, str, Outcome]:
    recording = found_from(folder, was.recording)
    if recording is None:
        raise RecordingMissing(
            f"{folder}: the recording it names is not there: {was.recording}",
            cure="it is looked for from the golden's folder and from those above it",
        )
    rules = was.strategies
    if not is_name(rules):  # else a folder of that name, as of its golden, would come first
        rules = str(found_from(folder, rules) or rules)
    with tempfile.TemporaryDirectory(prefix="parity-golden-") as scratch:
        specs = load_strategies([rules])
        run = backtest(recording, specs, out=Path(scratch) / "run").run
        values = backtest_json(run, None)
        now = golden_of(was.recording, was.strategies, values)
        signals = signals_text(run)
    kept = folder / SIGNALS
    before = kept.read_text("utf-8") if kept.is_file() else ""
    return (
        now,
        signals,
        Outcome([*moved(was, now, before, signals)], values["signals"], values["ticks"]),
    )
