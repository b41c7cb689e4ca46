"""A backtest that was made before: its run is given back, never made over.

Never here: an open run that goes on; a live one has its journal for that (parity.compose.modes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from parity.compose.beginning import other_configuration
from parity.model.errors import ConfigError
from parity.recording.runs import RunFolder, is_run

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.runs import RunManifest

_RECORDING: Final = {
    "content_hash": "the recording was",
    "instruments": "instruments were",
    "start_ns": "the start was",
    "end_ns": "the end was",
}


def made_before(folder: Path, fresh: RunManifest) -> RunFolder | None:
    """Return the run in a folder, which is the one that is asked for; None where there is no run.

    Args:
        folder: of the run.
        fresh: what its manifest would be now.

    Raises:
        ConfigError: it is a run of another configuration, code or recording, or did not end.
        RecordingCorrupt: a file of it is missing or edited.
    """
    if not is_run(folder):
        return None
    found = RunFolder(folder)
    then = found.manifest
    other = other_configuration(then, fresh) + _other_skipped(then, fresh)
    for name in _RECORDING:
        was, now = getattr(then.recording, name), getattr(fresh.recording, name)
        if was != now:
            other.append(f"{_RECORDING[name]} {was}, is {now}")
    if msgspec.to_builtins(then.settings) != msgspec.to_builtins(fresh.settings):
        other.append("it has other sessions")
    if other:
        raise ConfigError(
            f"{folder}: it holds a run of another configuration ({'; '.join(other)})",
            cure="name a new folder, or give it the configuration, code and libraries of then",
        )
    if then.state != "complete":
        raise ConfigError(
            f"{folder}: it holds this run, which did not come to its end",
            cure="remove the folder and run it again: a backtest begins at its first tick",
        )
    found.check_outputs()
    return found


def _other_skipped(then: RunManifest, now: RunManifest) -> list[str]:
    # Not why: a reason may name a place, and what was wrong once may be wrong otherwise.
    was, is_now = ({one["strategy_id"] for one in run.skipped} for run in (then, now))
    ran = {kept.config["strategy_id"] for run in (then, now) for kept in run.strategies}
    gone = [f"strategy {name} was skipped, is not there" for name in sorted(was - is_now - ran)]
    new = [f"strategy {name} was not there, is skipped" for name in sorted(is_now - was - ran)]
    return gone + new
