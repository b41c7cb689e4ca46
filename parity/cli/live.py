"""`parity live`: real ticks, signals to the brokers' own topics, fills from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    live_settings,
    partitions_of,
    specs_of,
    start_of,
    table_of,
    warm_up_of,
)
from parity.cli.paper import carry_out
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.settings.drafts import StrategySpec

EXAMPLE = (
    "Examples:\n\n"
    "parity live runs/today --strategies my_strategies.yaml --instrument-table nse.json --confirm"
)


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of the run; an open one is resumed.")
    ],
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Say that signals are to go to the brokers' own topics."),
    ] = False,
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
    """Run strategies on live ticks, and publish to each one's broker: BROKER.signals.raw.

    What BROKER.orders.filled says was filled enters the portfolios; strategies at the paper broker
    are filled on paper. Without --confirm nothing is started. Else as `parity paper`.
    """
    begin, past = start_of(start_from), warm_up_of(warm_up, warm_up_ticks)
    more: dict[str, Any] = {"partitions": partitions_of(partitions), "warm_up": past}
    rotation, kept = (rotate_mb, rotate_s), (keep_days, keep_bytes)
    raw = (dead_letters, keep_raw)
    settings = live_settings(
        servers, topics, *rotation, *kept, codec, tz, *raw, metrics, paper_fills
    )
    specs = specs_of(strategies, overrides, skip_invalid=skip_invalid)
    if not confirm:
        raise ConfigError(
            f"live without --confirm would send {_destinations(specs)} "
            f"at {settings.bootstrap_servers}; nothing was started",
            cure="add --confirm, or use `parity paper`",
        )
    table = table_of(instrument_table, run / "recording")
    from parity.cli.logs import log_to_stderr
    from parity.compose.modes import live
    from parity.compose.sessions import load_overlays

    log_to_stderr(settings.log_level)
    feed = feed_of(settings, begin, exit_at_end, sessions=load_overlays(sessions), **more)
    carry_out(live, run, specs, feed, table, seed, settings, as_json, verify=verify)


def _destinations(specs: Sequence[StrategySpec]) -> str:
    pairs = [
        f"{spec.strategy_id} to {broker}.signals.raw"
        for spec in specs
        if spec.config.enabled and not spec.refused
        for broker in spec.config.active_brokers
    ]
    return ", ".join(pairs) or "nothing"
