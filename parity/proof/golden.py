"""A golden: counts, digests and signals that strategies give over a recording, checked in.

A folder with `digests.json`, which names recording and strategies, and `signals.csv`. What moves
either is a change of what runs decide. Never here: running anything.
"""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, RecordingMissing
from parity.model.values import SIDE_NAMES
from parity.recording.named import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.recording.runs import RunFolder

SIGNALS: Final = "signals.csv"
COLUMNS: Final = (
    *("seq", "strategy_id", "instrument_token", "ts_event", "side", "price", "quantity"),
    *("confidence", "signal_id"),
)
_PLACE: Final = ("seq", "strategy_id", "broker", "instrument_token", "ts_event", "ordinal")
_OF_EXECUTOR: Final = ("candidates", "signals", "drops", "fills", "digests")


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """What `digests.json` holds.

    Args:
        recording: its folder, as seen from the golden's or from one above it.
        strategies: a file likewise, or the name of a shipped strategy.
        digests: of the run.
        executors: counts and digests by strategy.
    """

    format: int = 1
    recording: str
    strategies: str
    digests: dict[str, str]
    executors: dict[str, dict[str, Any]]

    def text(self) -> str:
        """Return the content of `digests.json`."""
        return json.dumps(msgspec.to_builtins(self), indent=1) + "\n"


def golden_of(recording: str, strategies: str, values: dict[str, Any]) -> Golden:
    """Return the golden of a run, of which `values` are what `backtest --json` prints."""
    executors = {
        name: {key: one[key] for key in _OF_EXECUTOR} for name, one in values["strategies"].items()
    }
    return Golden(
        recording=recording,
        strategies=strategies,
        digests=values["digests"],
        executors=executors,
    )


def read_golden(folder: Path) -> Golden:
    """Return what a folder's `digests.json` says.

    Raises:
        RecordingMissing: it is not there.
        ConfigError: it is no golden.
    """
    path = folder / GOLDEN
    if not path.is_file():
        raise RecordingMissing(
            f"{folder}: no golden: no {GOLDEN}",
            cure=f"make one: parity golden update {folder} --recording REC --strategies FILE",
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Golden)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: no golden: {error}", cure="restore it, or make it anew"
        ) from None


def signals_text(run: RunFolder) -> str:
    """Return the content of `signals.csv`: every approved signal, floats at their shortest text."""
    said: dict[tuple[Any, ...], deque[float]] = {}
    for row in run.rows("candidates"):
        said.setdefault(_place(row), deque()).append(row["confidence"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in run.rows("decisions"):
        if row["kind"] not in ("approved", "dropped"):
            continue
        confidence = said[_place(row)].popleft()  # each candidate has one verdict, in its order
        if row["kind"] == "approved":
            more = {"side": SIDE_NAMES[row["side"]], "confidence": confidence}
            writer.writerow([(row | more)[name] for name in COLUMNS])
    return text.getvalue()


def found_from(folder: Path, name: str) -> Path | None:
    """Return what a golden names: from its folder, or one above; None where it is not there.

    The golden's own folder, whatever it is called, is it under the name "." alone.
    """
    here = folder.resolve()
    above = (here, *here.parents)
    places = (one / name for one in above)
    # Those above are there, or will be: a new golden is named before it is written.
    found = (place for place in places if place in above or place.exists())
    return next((place for place in found if place != here or name == "."), None)


def named_from(folder: Path, path: Path) -> str:
    """Return how a golden names a path: as seen from the nearest folder from where it is found."""
    wanted, here = path.resolve(), folder.resolve()
    for above in (here, *here.parents):
        if wanted.is_relative_to(above):
            name = str(wanted.relative_to(above))
            if found_from(folder, name) == wanted:
                return name
    return str(wanted)  # under each shorter name something else is nearer


def moved(was: Golden, now: Golden, signals_were: str, signals_are: str) -> Iterator[str]:
    """Yield what is not as it was, a line each: by strategy and value, and the first signal."""
    for name in sorted({*was.executors, *now.executors}):
        old, new = was.executors.get(name), now.executors.get(name)
        if old is None or new is None:
            yield f"{name}: {'is new' if old is None else 'is not there any more'}"
            continue
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                yield f"{name}: {key} {_words(old.get(key))} -> {_words(new.get(key))}"
    if was.digests != now.digests:
        yield f"run: digests {_words(was.digests)} -> {_words(now.digests)}"
    lines = zip_longest(signals_were.splitlines(), signals_are.splitlines())
    for number, (old_line, new_line) in enumerate(lines, 1):
        if old_line != new_line:
            yield f"{SIGNALS}:{number}: {old_line or 'none'} -> {new_line or 'none'}"
            return


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _PLACE)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        shown = {k: str(v)[:12] if isinstance(v, str) else v for k, v in value.items()}
        return ", ".join(f"{k} {v}" for k, v in sorted(shown.items())) or "none"
    return str(value)
