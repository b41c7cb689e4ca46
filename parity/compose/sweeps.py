"""A sweep: variants of strategies side by side over one reading of a recording.

Each is a run of its own, with its own folder and engine, so that its digests are those of a single
run with these values, and it can be verified and compared like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from parity.compose.beginning import new_run_id
from parity.compose.modes import Finished, Reading, backtests
from parity.model.errors import ConfigError
from parity.recording.holding import is_bare

if TYPE_CHECKING:
    from pathlib import Path

    from parity.settings.drafts import StrategySpec
    from parity.settings.overrides import Override
    from parity.settings.variants import Variant

_LABEL_MAX: Final = 80  # characters of a label in a folder's name


class Swept(NamedTuple):
    """A variant that ran."""

    variant: Variant
    finished: Finished


def sweep(
    reading: Reading,
    variants: Sequence[Variant],
    specs_of: Callable[[Sequence[Override]], list[StrategySpec]],
    *,
    out: Path | None = None,
    runs_dir: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Swept]:
    """Run every variant.

    Args:
        reading: what they all read.
        variants: at least one.
        specs_of: gives the checked strategies of a variant's overrides; it reads no file.
        out: folder that the runs' folders are made in, new or empty; default one below runs_dir.
        runs_dir: where a sweep without `out` goes.
        progress: called with (ticks done, ticks of the recording).

    Raises:
        ConfigError: a value is wrong, or the folder is in use. Nothing is left then.
    """
    specs = [specs_of(variant.overrides) for variant in variants]  # all are checked before any runs
    folder = out or runs_dir / new_run_id()
    if not is_bare(folder, ()):
        raise ConfigError(f"{folder}: it is not empty", cure="name a new folder for the sweep")
    existed = folder.exists()
    folders = [folder / _name(number, v) for number, v in enumerate(variants, 1)]
    ids = [new_run_id() for _ in variants]
    try:
        finished = backtests(reading, list(zip(specs, folders, ids, strict=True)), progress)
    except BaseException:
        if not existed and folder.is_dir():
            folder.rmdir()  # the runs' own folders are gone already
        raise
    return [Swept(v, done) for v, done in zip(variants, finished, strict=True)]


def _name(number: int, variant: Variant) -> str:
    words = re.sub(r"[^A-Za-z0-9=._,+-]+", "_", variant.label.replace(", ", ","))
    return f"{number:03d}-{words[:_LABEL_MAX]}".rstrip("-._")
