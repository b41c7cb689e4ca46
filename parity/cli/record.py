"""`parity record`: the ticks of topics into a recording, without strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from parity.cli.console import counted, say, show, show_json, told
from parity.cli.options import (
    Codec,
    CodecTz,
    DeadLetters,
    ExitAtEnd,
    Json,
    KeepBytes,
    KeepDays,
    KeepRaw,
    Metrics,
    Partitions,
    RotateMb,
    RotateS,
    Servers,
    StartFrom,
    TableSource,
    Topics,
    feed_of,
    live_settings,
    partitions_of,
    retention_of,
    rotation_of,
    start_of,
    table_of,
)

EXAMPLE = (
    "Examples:\n\n"
    "parity record recordings/today --topics market.ticks --instrument-table recordings/demo\n\n"
    "parity record recordings/all --from earliest --exit-at-end --instrument-table nse.json\n\n"
    "parity record recordings/nse --topics kite.ticks --codec kite --tz Asia/Kolkata "
    "--instrument-table nse.json"
)


def command(
    recording: Annotated[
        Path,
        typer.Argument(metavar="REC", help="Folder of the recording; one that is open goes on."),
    ],
    topics: Topics = None,
    partitions: Partitions = None,
    codec: Codec = None,
    tz: CodecTz = None,
    dead_letters: DeadLetters = None,
    keep_raw: KeepRaw = None,
    start_from: StartFrom = "latest",
    exit_at_end: ExitAtEnd = False,
    instrument_table: TableSource = None,
    rotate_mb: RotateMb = None,
    rotate_s: RotateS = None,
    keep_days: KeepDays = None,
    keep_bytes: KeepBytes = None,
    metrics: Metrics = None,
    servers: Servers = None,
    as_json: Json = False,
) -> None:
    """Record ticks as they arrive, with their offsets, so that a SIGKILL loses none.

    SIGINT and SIGTERM end it and seal the recording; what takes longer is left to the next start.
    """
    begin, pins = start_of(start_from), {"partitions": partitions_of(partitions)}
    rotation, kept = (rotate_mb, rotate_s), (keep_days, keep_bytes)
    raw = (dead_letters, keep_raw)
    settings = live_settings(servers, topics, *rotation, *kept, codec, tz, *raw, metrics)
    table = table_of(instrument_table, recording)
    from parity.cli.logs import kept_in, log_to_stderr
    from parity.compose.modes import record

    log_to_stderr(settings.log_level)
    feed = feed_of(settings, begin, exit_at_end, **pins)
    with kept_in(recording), told("record") as tell:
        found = record(
            recording,
            feed,
            table=table,
            durability=settings.durability,
            rotation=rotation_of(settings),
            retention=retention_of(settings),
            metrics_port=settings.metrics_port,
            progress=None if tell is None else lambda now: tell(now.get("ticks", 0)),
        )
    if as_json:
        show_json({"recording": str(recording), **found})
    else:
        _show(recording, found)


def _show(recording: Path, found: dict[str, Any]) -> None:
    show(
        f"{counted(found.get('ticks', 0), 'tick')}, {counted(found.get('gaps', 0), 'gap')}, "
        f"{counted(found.get('quarantined', 0), 'undecodable message')}: {recording}"
    )
    if found.get("quarantined") and not found.get("ticks"):
        say(
            "warning: ",
            "not one message was a tick of these instruments; --codec says what messages are",
            style="yellow",
        )
    if found["dead_letters"] or found["dead_letters_open"]:
        waiting = f", {found['dead_letters_open']} not yet" if found["dead_letters_open"] else ""
        show(f"dead letters: {found['dead_letters']} sent{waiting}")
    if found["pruned_segments"]:
        show(
            f"pruned: {counted(found['pruned_segments'], 'segment')}, "
            f"{counted(found['pruned_bytes'], 'byte')}"
        )
    if found["pruning_failures"]:
        say("warning: ", f"pruning failed {found['pruning_failures']} times, see the log")
