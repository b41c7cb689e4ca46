"""`parity golden`: does today's code give what was checked in, or keep what it gives."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from parity.cli.console import counted, say, show, show_json
from parity.cli.options import Json
from parity.model.errors import ConfigError

EXAMPLE = (
    "Examples:\n\n"
    "parity golden check recordings/demo-golden\n\n"
    "parity golden update goldens/mine --recording recordings/mine --strategies dip.py"
)


class Verb(StrEnum):
    """What to do with a golden."""

    CHECK = "check"
    UPDATE = "update"


def command(
    verb: Annotated[Verb, typer.Argument(help="Hold it against today's code, or keep anew.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the golden.")],
    recording: Annotated[
        Path | None,
        typer.Option("--recording", metavar="REC", help="update: the recording it names."),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies", "-s", metavar="FILE", help="update: the file or strategy it names."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a golden, or update it: counts, digests and signals of a recording under strategies.

    It names both as seen from its folder or one above. check ends with 1 where anything moved.
    """
    if verb is Verb.CHECK and (recording, strategies) != (None, None):
        raise ConfigError(
            "--recording, --strategies: they go with update",
            cure="check takes what the golden names",
        )
    from parity.compose import goldens

    if verb is Verb.CHECK:
        outcome = goldens.check(folder)
    else:
        outcome = goldens.update(folder, recording, strategies)
    if as_json:
        found = outcome._asdict() | {"same": not outcome.moved}
        show_json({"format": 1, "golden": str(folder), "verb": verb.value, **found})
    else:
        covered = f"{counted(outcome.ticks, 'tick')}, {counted(outcome.signals, 'signal')}"
        word = "moved" if outcome.moved else "same"
        show(f"{word}: {covered}: {folder}")
        for line in outcome.moved:
            say(line)
    if outcome.moved and verb is Verb.CHECK:
        raise typer.Exit(1)
