"""`parity produce`: the ticks of a recording to a topic, in their order, at a pace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parity.cli.console import counted, grouped, show, show_json, told
from parity.cli.options import Json, Servers, recording_path, settings_of

EXAMPLE = (
    "Examples:\n\n"
    "parity produce recordings/demo --topic market.ticks --create\n\n"
    "parity produce recordings/demo --pace 1000 --bootstrap-servers 127.0.0.1:9092"
)


def command(
    recording: Annotated[Path, typer.Argument(metavar="REC", help="The recording to send.")],
    topic: Annotated[
        str | None, typer.Option(help="Where the ticks go; the first of ticks_topics by default.")
    ] = None,
    pace: Annotated[
        float | None, typer.Option(metavar="TICKS/S", help="Ticks a second; as fast as it goes.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the topic where it is not there.")
    ] = False,
    partitions: Annotated[
        int, typer.Option(help="Partitions of the topic; with more than one the token chooses.")
    ] = 1,
    servers: Servers = None,
    as_json: Json = False,
) -> None:
    """Send the ticks of a recording to a topic, keyed by instrument token."""
    settings = settings_of(bootstrap_servers=servers)
    from parity.cli.logs import log_to_stderr
    from parity.live.produce import produce
    from parity.recording.reader import open_recording

    log_to_stderr(settings.log_level)
    source = open_recording(recording_path(recording))
    source.check_files()
    to = topic or settings.ticks_topics[0]
    total = source.tick_rows
    with told("produce") as tell:
        sent = produce(
            source,
            to,
            bootstrap=settings.bootstrap_servers,
            pace=pace,
            settings=settings.client_config(),
            progress=None if tell is None else lambda done: tell(done, total),
            create=create,
            partitions=partitions,
        )
    rate = round(sent.ticks / sent.seconds) if sent.seconds > 0 else 0
    if as_json:
        show_json(
            {
                "topic": to,
                "ticks": sent.ticks,
                "left_out": sent.left_out,
                "bytes": sent.bytes,
                "seconds": round(sent.seconds, 6),
                "ticks_per_second": rate,
            }
        )
        return
    left = f", {grouped(sent.left_out)} duplicate or skewed left out" if sent.left_out else ""
    show(
        f"{counted(sent.ticks, 'tick')} to {to} at {settings.bootstrap_servers} in "
        f"{sent.seconds:.2f} s ({grouped(rate)} ticks/s){left}"
    )
