"""`parity control`: an operator's word to a run that goes on, journaled in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from parity.cli.console import counted, say, show, show_json
from parity.cli.options import Json, Overrides
from parity.model.errors import ConfigError

EXAMPLE = (
    "Examples:\n\nparity control runs/today pause momentum --reason 'news at 14:00'\n\n"
    "parity control runs/today resume momentum\n\n"
    "parity control runs/today flatten momentum --broker paper --reason 'end of day'\n\n"
    "parity control runs/today replace momentum --strategies my_strategies.yaml"
)


Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run that goes on at this moment.")
]
Verb = Annotated[
    str, typer.Argument(metavar="VERB", help="pause, resume, stop, flatten or replace.")
]
StrategyId = Annotated[str, typer.Argument(metavar="ID", help="The strategy's id.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the recording.")
]
AtBroker = Annotated[
    str, typer.Option("--broker", help="At this broker only. Default: at all of them.")
]
ResumeSec = Annotated[
    float | None,
    typer.Option(
        "--resume-sec",
        metavar="N",
        help="Let a pause end by itself N seconds later, by the strategy's own clock.",
    ),
]
Replacement = Annotated[
    str | None,
    typer.Option(
        "--strategies",
        "-s",
        metavar="FILE|FOLDER|NAME",
        help="Where replace finds the strategy of this id.",
    ),
]
WaitS = Annotated[
    float, typer.Option("--wait-s", metavar="N", help="How long to wait for the answer.")
]


def command(
    run: Run,
    verb: Verb,
    strategy: StrategyId,
    reason: Reason = "",
    broker: AtBroker = "",
    resume_sec: ResumeSec = None,
    strategies: Replacement = None,
    overrides: Overrides = None,
    wait_s: WaitS = 30.0,
    as_json: Json = False,
) -> None:
    """Ask a living run to pause, resume, stop, flatten or replace a strategy.

    What is granted is an event of the run's recording, before every tick that comes later, so a
    replay meets it at the same place. What is refused changes nothing, and ends with 2. Where no
    runner lives in RUN it ends with 4.
    """
    from parity.live.calling import ask
    from parity.live.door import VERBS
    from parity.model.errors import did_you_mean

    if verb not in VERBS:
        raise ConfigError(f"{verb}: no such control", cure=did_you_mean(verb, VERBS))
    if (verb == "replace") != (strategies is not None):
        raise ConfigError("--strategies: replace needs it, and nothing else does")
    if overrides and verb != "replace":
        raise ConfigError("--set: it goes with replace")
    if resume_sec is not None and verb != "pause":
        raise ConfigError("--resume-sec: it goes with pause")
    request: dict[str, Any] = {
        "verb": verb,
        "strategy_id": strategy,
        "broker": broker,
        "reason": reason,
    }
    if resume_sec is not None:
        request["resume_sec"] = resume_sec
    if strategies is not None:
        # The runner has a working folder of its own.
        there = Path(strategies)
        request["file"] = str(there.absolute()) if there.exists() else strategies
        request["overrides"] = overrides or []
    answer = ask(run, request, wait_s=wait_s)
    if as_json:
        show_json(answer)
    if not answer["accepted"]:
        said = f": {answer['said']}" if answer["said"] else ""
        raise ConfigError(
            f"{run}: {verb} of {strategy!r} was refused: {answer['reason']}{said}",
            cure=f"it changed nothing; see what there is: parity status {run}",
        )
    if not as_json:
        _show(verb, strategy, answer)


def _show(verb: str, strategy: str, answer: dict[str, Any]) -> None:
    show(f"{verb} {strategy}: event {answer['seq']} of the recording")
    for one in answer["changes"]:
        show(f"  {one['strategy_id']} at {one['broker']}: {one['was']} → {one['now']}")
    if not answer["changes"]:
        say(counted(0, "transition"), ": it is as it was", style="dim")
