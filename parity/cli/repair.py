"""`parity repair`: mend a damaged recording from its journal, and note what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.cli.console import counted, say, show, show_json, table_of
from parity.cli.options import (
    Codec,
    CodecTz,
    Json,
    KeepBytes,
    KeepDays,
    TableSource,
    recording_path,
    retention_of,
    settings_of,
)
from parity.cli.options import table_of as table_given
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.recording.pruning import Pruned
    from parity.recording.repair import Finding
    from parity.recording.retention import Need

EXAMPLE = (
    "Examples:\n\nparity repair recordings/today --dry-run\n\n"
    "parity repair runs/today/recording\n\n"
    "parity repair recordings/today --prune --keep-days 30 --dry-run\n\n"
    "parity repair recordings/today --redecode recordings/today-again"
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


Redecode = Annotated[
    Path | None,
    typer.Option(
        "--redecode",
        metavar="NEW",
        help="Mend nothing; make a new recording from the payloads that --keep-raw kept.",
    ),
]


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
    redecode: Redecode = None,
    codec: Codec = None,
    tz: CodecTz = None,
    instrument_table: TableSource = None,
    keep_days: KeepDays = None,
    keep_bytes: KeepBytes = None,
    as_json: Json = False,
) -> None:
    """Make a damaged recording whole: rebuilt from its journal, or marked as lost by a gap.

    Damaged files are kept in REC/damaged. A journal that a kill left behind is sealed. A lost part
    comes back when its file is put in its place again and this is run once more. With --prune the
    oldest segments go, never one that a golden, a checkpoint or a backtest names. With --redecode
    every payload is decoded again, into a new recording; this one, and its runs, stay as they are.
    """
    import datetime as dt

    from parity.recording.gone import words
    from parity.recording.manifest import load_manifest
    from parity.recording.repair import FORMAT, is_damage, repair_recording

    path = recording_path(recording)
    if redecode is not None:
        _redecode(path, redecode, codec, tz, instrument_table, as_json=as_json)
        return
    if codec is not None or tz is not None or instrument_table is not None:
        raise ConfigError(
            "--codec, --tz and --instrument-table go with --redecode", cure="add --redecode NEW"
        )
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


def _redecode(
    path: Path,
    out: Path,
    codec: str | None,
    tz: str | None,
    instrument_table: Path | None,
    *,
    as_json: bool,
) -> None:
    import msgspec

    from parity.compose.beginning import created_by
    from parity.sources.redecode import describe, redecode

    table = None if instrument_table is None else table_given(instrument_table, path)
    made = redecode(path, out, created_by=created_by(), table=table, codec=codec, tz=tz)
    found = msgspec.to_builtins(made)
    if as_json:
        show_json({"format": 1, "recording": str(path), "out": str(out), **found})
        return
    show(f"{out}: {describe(found)}")
    show(f"{path} is as it was; its runs go on to be proved by it")


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
