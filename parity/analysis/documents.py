"""What a run says of itself as plain values: the JSON of `backtest`, `paper` and `inspect RUN`.

A stable interface: docs/json.md has every key, and a test holds both against each other. Never
here: a key that the page does not name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from parity.analysis.local import sessions_json
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.core.engine import ExecutorReport, RunReport
    from parity.recording.runs import RunFolder


def backtest_json(run: RunFolder, seconds: float | None) -> dict[str, Any]:
    """Return counts and digests of a complete run.

    Args:
        run: a complete one.
        seconds: how many it took; None where that is not known any more.

    Raises:
        ConfigError: it is still open.
    """
    report = run.manifest.report
    if report is None:
        raise ConfigError(
            f"{run.path}: the run is not complete", cure="start it again to go on with it"
        )
    return {
        "format": 1,
        **report_json(report),
        "ticks_per_second": round(report.ticks / seconds) if seconds else None,
        "run": str(run.path),
        "seconds": None if seconds is None else round(seconds, 6),
        "skipped": run.manifest.skipped,
    }


def run_json(run: RunFolder) -> dict[str, Any]:
    """Return what a run's manifest says; raises RecordingCorrupt where it cannot be so."""
    manifest = run.manifest
    found: dict[str, Any] = {
        "format": 1,
        "run": str(run.path),
        "run_id": manifest.run_id,
        "mode": manifest.mode,
        "state": manifest.state,
        "started": manifest.started,
        "created_by": manifest.created_by,
        "seed": manifest.seed,
        "recording": {
            "path": str(run.recording_path),
            "content_hash": manifest.recording.content_hash,
        },
        "last_seq": manifest.last_seq,
        "skipped": manifest.skipped,
        "sessions": sessions_json(run.sessions()),
        "fingerprint": manifest.fingerprint,
    }
    return found | (report_json(manifest.report) if manifest.report is not None else {})


def report_json(report: RunReport) -> dict[str, Any]:
    """Return counts and digests; a strategy at several brokers is `id@broker`."""
    times = Counter(one.strategy_id for one in report.executors)
    return {
        "ticks": report.ticks,
        "signals": report.signals,
        "drops": report.drops,
        "fills": report.fills,
        "digests": {
            "candidates": report.candidate_digest,
            "decisions": report.decision_digest,
        },
        "strategies": {name_of(one, times): _strategy(one) for one in report.executors},
    }


def name_of(one: ExecutorReport, times: Mapping[str, int]) -> str:
    """Return a strategy's name: its id, with the broker where it runs at several."""
    return f"{one.strategy_id}@{one.broker}" if times[one.strategy_id] > 1 else one.strategy_id


def _strategy(one: ExecutorReport) -> dict[str, Any]:
    return {
        "broker": one.broker,
        "state": one.state,
        "candidates": one.candidates,
        "signals": one.signals,
        "drops": one.drops,
        "fills": one.fills,
        "errors": one.errors,
        "pnl": one.pnl,
        "digests": {"candidates": one.candidate_digest, "decisions": one.decision_digest},
        "lifecycle": msgspec.to_builtins(one.lifecycle),
    }
