"""`parity paper`: real ticks, simulated fills; recorded while they are decided on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import told
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
    Overrides,
    PaperFills,
    Partitions,
    RotateMb,
    RotateS,
    Seed,
    Servers,
    Sessions,
    SkipInvalid,
    StartFrom,
    StrategyFiles,
    TableSource,
    Topics,
    VerifyAtEnd,
    WarmUpFrom,
    WarmUpTicks,
    feed_of,
    guard_of,
    live_settings,
    partitions_of,
    retention_of,
    rotation_of,
    specs_of,
    start_of,
    table_of,
    warm_up_of,
)
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.compose.feeds import Feed
    from parity.compose.modes import Finished
    from parity.model.instruments import InstrumentTable
    from parity.settings.drafts import StrategySpec
    from parity.settings.settings import Settings

EXAMPLE = (
    "Examples:\n\n"
    "parity paper runs/today --strategies my_strategies.yaml --instrument-table recordings/demo\n\n"
    "parity paper runs/today --strategies momentum --topics market.ticks --from earliest "
    "--exit-at-end --instrument-table nse.json\n\n"
    "parity paper runs/again --strategies momentum --recording recordings/demo --pace 5000"
)


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of the run; an open one is resumed.")
    ],
    strategies: StrategyFiles = None,
    overrides: Overrides = None,
    skip_invalid: SkipInvalid = False,
    topics: Topics = None,
    partitions: Partitions = None,
    codec: Codec = None,
    tz: CodecTz = None,
    dead_letters: DeadLetters = None,
    keep_raw: KeepRaw = None,
    paper_fills: PaperFills = None,
    start_from: StartFrom = "latest",
    warm_up: WarmUpFrom = None,
    warm_up_ticks: WarmUpTicks = None,
    exit_at_end: ExitAtEnd = False,
    instrument_table: TableSource = None,
    recording: Annotated[
        Path | None,
        typer.Option(
            "--recording",
            metavar="REC",
            help="Read this recording instead of topics; signals go into RUN/published.",
        ),
    ] = None,
    pace: Annotated[
        float | None, typer.Option("--pace", metavar="N", help="Ticks a second of --recording.")
    ] = None,
    seed: Seed = 0,
    sessions: Sessions = None,
    rotate_mb: RotateMb = None,
    rotate_s: RotateS = None,
    keep_days: KeepDays = None,
    keep_bytes: KeepBytes = None,
    metrics: Metrics = None,
    servers: Servers = None,
    verify: VerifyAtEnd = False,
    as_json: Json = False,
) -> None:
    """Run strategies on live ticks with paper fills; publish to paper.signals.raw and the fills.

    An open run of the same configuration goes on from its own recorded offsets. SIGINT and SIGTERM
    end it and seal its recording; with --verify it is proved then, and 1 means it was not. What
    takes longer than stop_s is left to the next start, and 130 says so.
    """
    begin, past = start_of(start_from), warm_up_of(warm_up, warm_up_ticks)
    more: dict[str, Any] = {"partitions": partitions_of(partitions), "warm_up": past}
    rotation, kept = (rotate_mb, rotate_s), (keep_days, keep_bytes)
    raw = (dead_letters, keep_raw)
    settings = live_settings(
        servers, topics, *rotation, *kept, codec, tz, *raw, metrics, paper_fills
    )
    specs = specs_of(strategies, overrides, skip_invalid=skip_invalid)
    of_topics = {"--topics": topics, "--codec": codec, "--tz": None if warm_up else tz,
                 "--dead-letters": dead_letters, "--keep-raw": keep_raw,
                 "--exit-at-end": exit_at_end or None, "--bootstrap-servers": servers,
                 "--partitions": partitions,
                 "--from": None if start_from == "latest" else start_from}  # fmt: skip
    _refuse_mixed(recording, pace, of_topics)
    table = table_of(instrument_table or recording, run / "recording")
    from parity.cli.logs import log_to_stderr
    from parity.compose.modes import paper
    from parity.compose.sessions import load_overlays

    log_to_stderr(settings.log_level)
    read = {"recording": recording, "pace": pace, "sessions": load_overlays(sessions)}
    feed = feed_of(settings, begin, exit_at_end, **read, **more)
    carry_out(paper, run, specs, feed, table, seed, settings, as_json, verify=verify)


def _refuse_mixed(
    recording: Path | None, pace: float | None, of_topics: Mapping[str, object]
) -> None:
    """Refuse options that would be passed over in silence."""
    if recording is None:
        if pace is not None:
            raise ConfigError("--pace: it goes with --recording", cure="name a recording")
        return
    given = [name for name, value in of_topics.items() if value is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: no topic is read where --recording names the ticks",
            cure=f"leave {'it' if len(given) == 1 else 'them'} out, or --recording",
        )


def carry_out(
    mode: Callable[..., Finished],
    run: Path,
    specs: Sequence[StrategySpec],
    feed: Feed,
    table: InstrumentTable,
    seed: int,
    settings: Settings,
    as_json: bool,
    *,
    verify: bool,
) -> None:
    """Run a live mode with strategies to its end, show what came of it, and prove it if asked."""
    from parity.cli.backtest import show_finished
    from parity.cli.logs import kept_in

    with kept_in(run), told(mode.__name__) as tell:
        finished = mode(
            run,
            specs,
            feed,
            table=table,
            seed=seed,
            checkpoint_ticks=settings.checkpoint_ticks,
            durability=settings.durability,
            rotation=rotation_of(settings),
            retention=retention_of(settings),
            guard=guard_of(settings),
            metrics_port=settings.metrics_port,
            progress=None if tell is None else lambda now: tell(now.get("ticks", 0)),
        )
    show_finished(finished, as_json, verify=verify)
