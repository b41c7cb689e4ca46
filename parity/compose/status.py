"""How a run or a recording does: what its runner says, and what its folder tells by itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from parity.analysis.deliveries import fates_of
from parity.compose.verdicts import kept_verdict
from parity.live.calling import ask
from parity.live.kept_log import last_error
from parity.model.effects import PAPER
from parity.model.errors import RecordingMissing, ServiceDown
from parity.recording.reader import open_recording
from parity.recording.runs import MANIFEST, RunFolder, is_run

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.runs import RunManifest


def status_of(folder: Path) -> dict[str, Any]:
    """Return what there is to be seen of a run or a recording, as plain values.

    Raises:
        RecordingMissing: there is neither.
        RecordingCorrupt: its manifest cannot be read.
        ConfigError: its socket belongs to another user.
    """
    if not folder.is_dir():
        raise RecordingMissing(f"{folder}: no run", cure="name the folder of a run or recording")
    now: dict[str, Any] | None
    try:
        now = ask(folder, {"verb": "status"})
        silent = ""
    except ServiceDown as error:
        now, silent = None, error.message
    found: dict[str, Any] = {
        "path": str(folder),
        "alive": now is not None,
        "said": silent,
        "free_bytes": shutil.disk_usage(folder).free,
        "last_error": last_error(folder),
        "now": now,
    }
    found |= _of_run(folder, lives=now is not None) if is_run(folder) else _of_recording(folder)
    if now is not None:
        found["strategies"], found["last_seq"] = now["strategies"], now["last_seq"]
        found["decided_seq"] = None  # it may be ahead of its disk
    return found


def _of_run(folder: Path, *, lives: bool) -> dict[str, Any]:
    run = RunFolder(folder)
    manifest = run.manifest
    strategies: list[dict[str, Any]] = []  # a living runner says them itself
    if not lives:
        strategies = _reported(manifest) if manifest.report is not None else _read(run)
    return {
        "kind": "run",
        "mode": manifest.mode,
        "state": manifest.state,
        "started": manifest.started,
        "last_seq": 0 if lives else _last_seq(run),  # nor is its journal read beside it
        "decided_seq": manifest.last_seq or run.flushed_seq(),
        "last_verify": kept_verdict(folder),
        "strategies": strategies,
        "deliveries": None if lives else fates_of(folder),
    }


def _of_recording(folder: Path) -> dict[str, Any]:
    recording = open_recording(folder)
    return {
        "kind": "recording",
        "mode": "record",
        "state": recording.manifest.state,
        "started": "",
        "last_seq": recording.last_seq,
        "decided_seq": None,
        "last_verify": None,
        "strategies": [],
        "deliveries": None,
    }


def _last_seq(run: RunFolder) -> int:
    """Return the last seq that is kept of a run: a killed one has more ticks than decisions."""
    own = run.path / "recording"
    if run.manifest.state == "complete" or not (own / MANIFEST).exists():
        return run.manifest.last_seq or run.flushed_seq()
    return open_recording(own).last_seq


def _reported(manifest: RunManifest) -> list[dict[str, Any]]:
    assert manifest.report is not None
    return [
        {
            "strategy_id": one.strategy_id,
            "broker": one.broker,
            "state": one.state,
            "reason": "" if one.lifecycle is None else one.lifecycle.reason,
            "signals": one.signals,
            "drops": one.drops,
            "fills": one.fills,
            "errors": one.errors,
        }
        for one in manifest.report.executors
    ]


def _read(run: RunFolder) -> list[dict[str, Any]]:
    """Return the strategies of a run without a report, from the decisions that are on disk."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def one(strategy_id: str, broker: str) -> dict[str, Any]:
        return found.setdefault(
            (strategy_id, broker),
            {
                "strategy_id": strategy_id,
                "broker": broker,
                "state": "INIT",
                "reason": "",
                "signals": 0,
                "drops": {},
                "fills": 0,
                "errors": 0,
            },
        )

    for kept in run.manifest.strategies:
        one(kept.config["strategy_id"], kept.broker)
    for row in run.rows("decisions"):
        mine = one(row["strategy_id"], row["broker"])
        kind = row["kind"]
        if kind == "approved":
            mine["signals"] += 1
        elif kind in ("dropped", "refused"):  # an order's refusal counts as a drop, as in reports
            reason = row["reason"] if kind == "dropped" else PAPER + row["reason"]
            mine["drops"][reason] = mine["drops"].get(reason, 0) + 1
        elif kind == "fill":
            mine["fills"] += 1
        elif kind == "failure":
            mine["errors"] += 1
        elif kind == "transition":
            mine["state"] = row["reason"].rpartition(" -> ")[2]
            mine["reason"] = msgspec.json.decode(row["seen"])["because"]
    return [found[key] for key in sorted(found)]
