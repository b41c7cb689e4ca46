"""`parity backtest`: strategies over a recording, kept as a run that can be verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.cli.console import grouped, say, show, show_json, told
from parity.cli.options import (
    End,
    Json,
    Overrides,
    Seed,
    Sessions,
    SkipInvalid,
    Start,
    StrategyFiles,
    instant,
    recording_path,
    say_refused,
    settings_of,
    strategies_of,
    tokens_of,
)
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.compose.modes import Finished, Reading
    from parity.proof.replayer import Verdict
    from parity.settings.drafts import StrategySpec
    from parity.settings.overrides import Override

EXAMPLE = (
    "Examples:\n\n"
    "parity backtest recordings/demo --strategies momentum --set threshold=0.003\n\n"
    "parity backtest recordings/demo --strategies my_strategies.yaml --instruments 900001 "
    "--start 2025-01-06T09:30:00Z --out runs/first\n\n"
    "parity backtest recordings/demo --strategies momentum --set threshold=0.001,0.002,0.003 "
    "--set lookback_periods=10,20"
)

Instruments = Annotated[
    str | None,
    typer.Option(metavar="all|TOKEN,…", help="Instruments instead of those the strategies name."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Folder of the run, or of several; without it a new one below runs_dir.",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="use|build|off",
        help="The recording's Arrow cache: use it where there is one, build it first, or off.",
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        metavar="auto|tick|fused",
        help="One tick at a time, or whole batches of kernels only. It changes no byte.",
    ),
]


def command(
    recording: Annotated[Path, typer.Argument(metavar="REC", help="The recording to read.")],
    strategies: StrategyFiles = None,
    overrides: Overrides = None,
    skip_invalid: SkipInvalid = False,
    instruments: Instruments = None,
    start: Start = None,
    end: End = None,
    seed: Seed = 0,
    out: Out = None,
    cache: Cache = None,
    sessions: Sessions = None,
    engine: EngineName = "auto",
    as_json: Json = False,
) -> None:
    """Run strategies over a recording and keep what they decided as a run.

    Several values of a --set, apart by commas, make a variant of each, and several such --set one
    of each combination: they run side by side over one reading, each as a run of its own.
    """
    start_ns, end_ns = instant(start, "--start"), instant(end, "--end")
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"--end: {end} is not after --start {start}")
    settings = settings_of(cache=cache)
    path = recording_path(recording)
    tokens = None
    if instruments is not None:
        from parity.recording.reader import open_recording

        tokens = tokens_of(instruments, open_recording(path).table)
    from parity.compose.modes import Reading
    from parity.compose.sessions import load_overlays
    from parity.settings.variants import variants_of

    loaded = strategies_of(strategies, skip_invalid=skip_invalid)

    def specs(texts: Sequence[Override]) -> list[StrategySpec]:
        return _on(tokens, loaded.specs(texts))

    overlays = load_overlays(sessions)
    reading = Reading(
        path, seed, start_ns, end_ns, tokens or None, settings.cache, overlays, engine
    )
    variants = variants_of(overrides or [])
    if len(variants) > 1:
        from parity.cli.sweep import run_sweep

        run_sweep(reading, variants, specs, out, settings.runs_dir, as_json)
        return
    checked = specs(variants[0].overrides)
    say_refused(checked)
    finished = _run(reading, checked, out, settings.runs_dir)
    for warning in finished.warnings:
        say("warning: ", warning, style="yellow")
    _say_if_empty(finished, start, end)
    show_finished(finished, as_json)


def _run(
    reading: Reading, specs: Sequence[StrategySpec], out: Path | None, runs_dir: Path
) -> Finished:
    from parity.compose.modes import backtest

    with told("backtest") as tell:
        return backtest(
            reading.recording,
            specs,
            out=out,
            seed=reading.seed,
            start_ns=reading.start_ns,
            end_ns=reading.end_ns,
            instruments=reading.instruments,
            runs_dir=runs_dir,
            cache=reading.cache,
            sessions=reading.sessions,
            engine=reading.engine,
            progress=tell,
        )


def _say_if_empty(finished: Finished, start: str | None, end: str | None) -> None:
    report = finished.run.manifest.report
    if report is not None and report.ticks == 0:
        asked = f" from {start or 'the first'} to {end or 'the last'}" if start or end else ""
        say("warning: ", f"no tick was read{asked}; see: parity inspect REC", style="yellow")


def _on(tokens: tuple[int, ...] | None, specs: list[StrategySpec]) -> list[StrategySpec]:
    """Return the strategies on these instruments instead of their own."""
    if tokens is None:
        return specs
    import dataclasses

    import msgspec

    return [
        dataclasses.replace(
            spec, config=msgspec.structs.replace(spec.config, instrument_tokens=tokens)
        )
        for spec in specs
    ]


def show_finished(finished: Finished, as_json: bool, *, verify: bool = False) -> None:
    """Show a run that ended, and prove it, or say how that is done.

    Raises:
        typer.Exit: with 1, where it was to be proved and is not identical.
    """
    from parity.cli.runs import report_table, show_errors, show_skipped, totals

    run, report = finished.run, finished.run.manifest.report
    assert report is not None, "a mode returns complete runs only"
    verdict = None
    if verify:
        from parity.compose.verdicts import proved

        verdict = proved(run.path)
    if as_json:
        from parity.analysis.documents import backtest_json

        proof = {} if verdict is None else {"verify": verdict.to_json()}
        show_json({**backtest_json(run, finished.seconds), **proof})
        _end_with(verdict)
        return
    took = ""
    if finished.seconds > 0:  # else the run was there already
        rate = grouped(round(report.ticks / finished.seconds))
        took = f"; {finished.seconds:.2f} s, {rate} ticks/s"
    head, *more = totals(report)
    show(*report_table(report))
    show_skipped(finished.skipped)
    show_errors(run)
    show(f"{head}{took}", *more, f"run {run.path}")
    if verdict is None:
        say(f"prove it: parity verify {run.path}", style="dim")
        return
    from parity.cli.verify import show_verdict

    show_verdict(verdict, False)
    _end_with(verdict)


def _end_with(verdict: Verdict | None) -> None:
    if verdict is not None and verdict.verdict != "identical":
        raise typer.Exit(1)
