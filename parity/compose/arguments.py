"""What users pass to the Python face, made into what the rest takes, or refused by name.

Nothing is read or run here, except the files that strategies stand in.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parity.compose.plans import DISABLED
from parity.model.errors import ConfigError, StrategyWarning
from parity.recording.reader import Recording
from parity.settings.cells import spec_of_function
from parity.settings.strategies import Loaded, read_strategies
from parity.strategies.functional import FunctionStrategy

if TYPE_CHECKING:
    from parity.recording.runs import RunFolder

Strategy = FunctionStrategy | str | Path
Instant = int | datetime | None


def recorded(recording: Recording | str | Path) -> Path:
    """Return the folder of a recording, or raise ConfigError."""
    if isinstance(recording, Recording):
        return recording.path
    return folder_of(recording, "a recording", "open one: pt.open(…)")


def folder_of(given: str | Path, what: str, cure: str) -> Path:
    """Return a folder as a path; anything else raises ConfigError."""
    if not isinstance(given, str | Path):
        raise ConfigError(f"expected {what} or its folder, was {given!r}", cure=cure)
    return Path(given)


def strategies_of(strategies: Sequence[Strategy], *, skip_invalid: bool = False) -> Loaded:
    """Return strategies, read once; raises ConfigError for what is none, or stands twice.

    Args:
        strategies: functions, files, folders, or names of shipped strategies.
        skip_invalid: leave out rows that are wrong instead of refusing them all.
    """
    if not strategies:
        raise ConfigError("no strategies given", cure="pass a @pt.strategy function or a file")
    for one in strategies:
        if not isinstance(one, FunctionStrategy | str | Path):
            raise ConfigError(
                f"expected a @pt.strategy function, a file or a name, was {one!r}",
                cure="give each as an argument of its own; a class by the file it stands in",
            )
    made = [spec_of_function(one) for one in strategies if isinstance(one, FunctionStrategy)]
    files = [one for one in strategies if not isinstance(one, FunctionStrategy)]
    # Together: a row may name a strategy of a file beside it.
    return read_strategies(files, skip_invalid=skip_invalid, made=made)


def warn_of_skipped(runs: Sequence[RunFolder]) -> None:
    """Warn once of each strategy that runs were started without, unless it is only disabled."""
    found = {(s["strategy_id"], s["reason"]) for run in runs for s in run.manifest.skipped}
    for name, reason in sorted(found):
        if reason != DISABLED:
            warnings.warn(f"strategy {name} is skipped: {reason}", StrategyWarning, stacklevel=3)


def ns_of(instant: Instant, name: str) -> int | None:
    """Return an instant in ns UTC; one without a zone raises ConfigError."""
    if instant is None or isinstance(instant, int):
        return instant
    if instant.tzinfo is None:
        raise ConfigError(
            f"{name}: {instant.isoformat()} has no zone", cure="give it one: tzinfo=UTC"
        )
    whole = int(instant.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + instant.microsecond * 1000
