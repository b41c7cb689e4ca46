"""`parity repair`: mend a damaged recording from its journal, and note what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.cli.console import counted, say, show, show_json, table_of
from parity.cli.options import Json, recording_path

if TYPE_CHECKING:
    from parity.recording.repair import Finding

EXAMPLE = (
    "Examples:\n\nparity repair recordings/today --dry-run\n\nparity repair runs/today/recording"
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
    as_json: Json = False,
) -> None:
    """Make a damaged recording whole: rebuilt from its journal, or marked as lost by a gap.

    Damaged files are kept in REC/damaged. A journal that a kill left behind is sealed. A lost part
    comes back when its file is put in its place again and this is run once more.
    """
    import datetime as dt

    from parity.recording.gone import words
    from parity.recording.manifest import load_manifest
    from parity.recording.repair import FORMAT, is_damage, repair_recording

    path = recording_path(recording)
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
