"""What users pass to the Python face, made into what the rest takes, or refused by name.

Nothing is read or run here, except the files that strategies stand in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from parity.model.errors import ConfigError
from parity.recording.reader import Recording
from parity.settings.cells import spec_of_function
from parity.settings.strategies import StrategySpec, load_strategies
from parity.strategies.functional import FunctionStrategy

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


def specs_of(strategies: Sequence[Strategy]) -> list[StrategySpec]:
    """Return checked strategies; raises ConfigError for what is none, or stands twice."""
    if not strategies:
        raise ConfigError("no strategies given", cure="pass a @pt.strategy function or a file")
    for one in strategies:
        if not isinstance(one, FunctionStrategy | str | Path):
            raise ConfigError(
                f"expected a @pt.strategy function, a file or a name, was {one!r}",
                cure="give each as an argument of its own; a class by the file it stands in",
            )
    found = [spec_of_function(one) for one in strategies if isinstance(one, FunctionStrategy)]
    files = [one for one in strategies if not isinstance(one, FunctionStrategy)]
    if files:  # together: a row may name a strategy of a file beside it
        found += load_strategies(files)
    ids = [spec.strategy_id for spec in found]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise ConfigError(f"strategy id {twice[0]!r} stands twice", cure="rename one of them")
    return found


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
