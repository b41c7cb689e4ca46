"""`parity replay`: a run's recording with today's code or other parameters: what changes?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parity.cli.options import Json, Overrides, StrategyFiles, specs_of
from parity.cli.verify import show_verdict

EXAMPLE = (
    "Examples:\n\n"
    "parity replay runs/first --set momentum.threshold=0.003\n\n"
    "parity replay runs/first --strategies my_strategies.yaml --require-same-code"
)


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run whose recording is replayed.")
    ],
    strategies: StrategyFiles = None,
    overrides: Overrides = None,
    same_code: Annotated[
        bool,
        typer.Option("--require-same-code", help="Let a verdict of 'changed' end with 1."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Replay a run's recording with today's strategies, and say what they decide otherwise.

    Exit code 0 means identical, or changed where code or parameters changed; 1 different.
    """
    from parity.compose.proofs import replay

    if strategies:
        verdict = replay(run, specs=specs_of(strategies, overrides))
    else:
        verdict = replay(run, overrides=overrides or [])
    show_verdict(verdict, as_json)
    if verdict.verdict == "different" or (same_code and verdict.verdict == "changed"):
        raise typer.Exit(1)
