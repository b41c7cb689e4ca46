"""`parity repair`: mend a damaged recording from its journal, and note what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.cli.console import counted, say, show, show_json, table_of
from parity.cli.options import (
    Json,
    KeepBytes,
    KeepDays,
    recording_path,
    retention_of,
    settings_of,
)
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.recording.pruning import Pruned
    from parity.recording.repair import Finding
    from parity.recording.retention import Need

EXAMPLE = (
    "Examples:\n\nparity repair recordings/today --dry-run\n\n"
    "parity repair runs/today/recording\n\n"
    "parity repair recordings/today --prune --keep-days 30 --dry-run"
)
DAMAGED = 3  # of a dry run: there is something to repair

_WORDS = {
    "rebuild": "rebuilt",
    "salvage": "its good frames sealed, the file set aside",
    "mark_lost": "marked lost",
    "set_aside": "set aside",
    "put_back": "put back",
    "seal": "sealed",
    "remove": "removed",
}


def command(
    recording: Annotated[Path, typer.Argument(metavar="REC", help="A recording at rest.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing; exit with 3 where something is damaged."),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Mend nothing; remove what the policy no longer holds."),
    ] = False,
    keep_days: KeepDays = None,
    keep_bytes: KeepBytes = None,
    as_json: Json = False,
) -> None:
    """Make a damaged recording whole: rebuilt from its journal, or marked as lost by a gap.

    Damaged files are kept in REC/damaged. A journal that a kill left behind is sealed. A lost part
    comes back when its file is put in its place again and this is run once more. With --prune the
    oldest segments go, never one that a golden, a checkpoint or a backtest names.
    """
    import datetime as dt

    from parity.recording.gone import words
    from parity.recording.manifest import load_manifest
    from parity.recording.repair import FORMAT, is_damage, repair_recording

    path = recording_path(recording)
    if prune:
        _prune(path, keep_days, keep_bytes, dry_run=dry_run, as_json=as_json)
        return
    if keep_days is not None or keep_bytes is not None:
        raise ConfigError("--keep-days and --keep-bytes go with --prune", cure="add --prune")
    noted = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    findings = repair_recording(path, noted=noted, dry_run=dry_run)
    gone = load_manifest(path).gone
    lost = sum(finding.lost_events for finding in findings)
    if as_json:
        import msgspec

        show_json(
            {
                "format": FORMAT,
                "recording": str(path),
                "dry_run": dry_run,
                "damaged": is_damage(findings),
                "lost_events": lost,
                "findings": msgspec.to_builtins(findings),
                "gone": msgspec.to_builtins(gone),
            }
        )
    else:
        _show(path, findings, lost, dry_run=dry_run)
        if gone:
            say("gone: ", words(gone), style="yellow")
    if dry_run and is_damage(findings):
        raise typer.Exit(DAMAGED)


def _show(path: Path, findings: list[Finding], lost: int, *, dry_run: bool) -> None:
    if not findings:
        show(f"{path}: nothing to repair")
        return
    table = table_of("file", "seq", "found", "would be" if dry_run else "is now")
    for one in findings:
        seqs = f"{one.first_seq}..{one.last_seq}" if one.first_seq else "-"
        done = _WORDS[one.remedy]
        if one.lost_events and one.remedy != "mark_lost":
            done += f", {counted(one.lost_events, 'event')} marked lost"
        table.add_row(one.file, seqs, one.problem, done)
    show(table)
    ending = "; nothing was changed" if dry_run else ""
    show(f"{counted(len(findings), 'finding')}, {counted(lost, 'event')} lost{ending}")


def _prune(
    path: Path, keep_days: float | None, keep_bytes: int | None, *, dry_run: bool, as_json: bool
) -> None:
    import time

    from parity.recording.gone import alone

    retention = retention_of(settings_of(keep_days=keep_days, keep_bytes=keep_bytes))
    if not retention.policy:
        raise ConfigError(
            "--prune: no policy says what goes", cure="give --keep-days N or --keep-bytes N"
        )
    now_ns = time.time_ns()
    with alone(path):
        pruned = retention.apply(path, now_ns, dry_run=dry_run)
        held_back = retention.held_back(path, now_ns)
    if as_json:
        import msgspec

        show_json(
            {
                "format": 1,
                "recording": str(path),
                "dry_run": dry_run,
                "policy": retention.policy.words,
                "pruned": None if pruned is None else pruned.to_detail(),
                "held_back": msgspec.to_builtins(held_back),
            }
        )
        return
    _show_pruned(path, pruned, held_back, dry_run=dry_run)


def _show_pruned(
    path: Path, pruned: Pruned | None, held_back: list[Need], *, dry_run: bool
) -> None:
    if pruned is None:
        show(f"{path}: nothing to prune")
    else:
        show(
            f"{path}: {'would prune' if dry_run else 'pruned'} "
            f"{counted(pruned.segments, 'segment')}, seq {pruned.first_seq}..{pruned.last_seq}, "
            f"{counted(pruned.ticks, 'tick')}, {counted(pruned.bytes, 'byte')} ({pruned.policy})"
        )
    for need in held_back:
        say("held back: ", f"from seq {need.from_seq} on it is named by {need.by}", style="yellow")
