"""How a live run is operated: who looks on, and how a strategy comes in through its door."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from parity.compose.kept import introduce
from parity.compose.plans import DISABLED, INVALID
from parity.model.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from parity.compose.shards import Admit
    from parity.live.notify import Notifier
    from parity.live.operator import Operating
    from parity.live.watchdog import Guard
    from parity.recording.runs import KeptStrategy, RunWriter


class Beside(NamedTuple):
    """Who looks on: a Prometheus endpoint, a watchdog, and a progress line, where wanted."""

    metrics_port: int | None = None
    guard: Guard | None = None
    progress: Callable[[dict[str, int]], None] | None = None


def operating_of(
    folder: Path, writer: RunWriter | None, metrics_port: int | None, admit: Admit | None = None
) -> Operating:
    """Return how a run or a recording is operated.

    Args:
        folder: which this process holds.
        writer: of the run; None of a recorder.
        metrics_port: of its endpoint; 0 is any that is free, None is none.
        admit: refuses strategies that are not for this run.
    """
    from parity.live.operator import Operating

    notifier = notifier_of(os.environ)
    if writer is None:
        return Operating(folder, metrics_port=metrics_port, notifier=notifier)

    def introduced(strategy_id: str, file: str, overrides: Sequence[str]) -> dict[str, Any]:
        return introduce_from(writer, strategy_id, file, overrides, admit)

    kinds = {kept.config["strategy_id"]: kind_of(kept) for kept in writer.manifest.strategies}
    models = {name: True for name, kind in kinds.items() if kind != "rules"}
    # A row is skipped that is disabled, or wrong, or whose model cannot be had.
    models |= {
        one["strategy_id"]: False
        for one in writer.manifest.skipped
        if one["reason"] != DISABLED
        and not one["reason"].startswith(INVALID)
        and one["strategy_id"] not in kinds
    }
    return Operating(folder, introduced, kinds, models, metrics_port, notifier)


def kind_of(kept: KeptStrategy) -> str:
    """Return rules, ml or hybrid, as metrics have it: by its model, and by what it is called."""
    if not kept.model_sha256:
        return "rules"
    return "hybrid" if kept.type_name.startswith("hybrid") else "ml"


def notifier_of(environment: Mapping[str, str]) -> Notifier:
    """Return who tells the service manager that started this process, if one did."""
    from parity.live.notify import Notifier

    watched = environment.get("WATCHDOG_USEC", "")
    mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    seconds = int(watched) / 1e6 if watched.isdecimal() and mine else 0.0
    return Notifier(environment.get("NOTIFY_SOCKET", ""), seconds)


def introduce_from(
    writer: RunWriter,
    strategy_id: str,
    file: str,
    overrides: Sequence[str],
    admit: Admit | None = None,
) -> dict[str, Any]:
    """Keep a strategy of a file in a run; return what a control carries of it.

    Raises:
        ConfigError: the file, the strategy or an override is wrong, or it is not for this run.
    """
    from parity.settings.strategies import load_strategies

    specs = load_strategies([file], overrides)
    found = {spec.strategy_id: spec for spec in specs}
    if strategy_id not in found:
        raise ConfigError(
            f"{file}: no strategy {strategy_id!r} in it", cure=did_you_mean(strategy_id, found)
        )
    return introduce(writer, found[strategy_id], admit)
