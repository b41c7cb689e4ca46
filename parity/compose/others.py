"""A run against another runner's published signals: which are compared, and where they come from.

Never here: how signals are paired; `proof.against` does.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from parity.analysis import frames
from parity.analysis.results import newest_of, span_of
from parity.model.errors import ConfigError, NothingCompared
from parity.model.values import SIDES
from parity.proof.against import Against, Said, Tolerance, hold_against
from parity.proof.messages import said_of
from parity.recording.runs import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


BEHIND: Final = "behind what the open run wrote"


def against(
    run: Path,
    other: str,
    tolerance: Tolerance,
    *,
    servers: str = "",
    librdkafka: Mapping[str, Any] | None = None,
) -> Against:
    """Hold a run's approved signals against a file's, or a topic's.

    Only what lies in the time of the run's ticks, and of instruments it is about, is compared; the
    rest is counted. The run's own messages in a topic are left out. Of an open run that is what it
    wrote: a message behind that, which has no partner yet, is counted too.

    Args:
        run: its folder.
        other: a file of JSON lines, or the name of a topic.
        tolerance: what still counts as one signal.
        servers: the broker of a topic.
        librdkafka: its settings.

    Raises:
        NothingCompared: the run saw no ticks, or wrote nothing yet, or neither side has a signal
            in their time.
        RecordingCorrupt: its recording is damaged.
        RecordingMissing: or gone.
        InputRefused: a message is no signal.
        ConfigError: there is no such file or topic.
        ServiceDown: the broker does not answer.
    """
    folder = RunFolder(run)
    folder.check_outputs()
    span = span_of(folder)
    if span is None:
        raise NothingCompared(f"{run}: it saw no ticks", cure="compare a run that saw some")
    written = _written(folder)  # before the signals: those of a part that comes now are more
    ours = _all_said(frames.signals(run))
    # A refusal by the paper broker is of an approved signal, which was published.
    drops = _all_said(frames.drops(run).filter(pl.col("signal_id") == ""))
    about = {one.instrument_token for one in (*ours, *drops)} | _tokens(folder)
    # A heartbeat behind the last tick may have made a signal due.
    end = max([span[1], *(one.ts_event for one in (*ours, *drops))])
    first, last = span[0] - tolerance.ts_event_ns, end + tolerance.ts_event_ns
    theirs: list[Said] = []
    left_out: Counter[str] = Counter()
    own = None if Path(other).is_file() else folder.manifest.run_id
    for payload, place in _messages(other, servers, librdkafka or {}):
        said = said_of(payload, place, own)
        if isinstance(said, str):
            left_out[said] += 1
        elif not first <= said.ts_event <= last:
            left_out["outside the run's time"] += 1
        elif said.instrument_token not in about:
            left_out["instruments the run is not about"] += 1
        else:
            theirs.append(said)
    return hold_against(
        ours,
        theirs,
        tolerance=tolerance,
        drops=drops,
        left_out=left_out,
        open_behind=None if written is None else (written, BEHIND),
    )


def _written(run: RunFolder) -> dict[int, int] | None:
    """Return by instrument up to which ts_event an open run's outputs are on disk.

    One partition may be far behind another in time. None of a complete run.

    Raises:
        NothingCompared: none of them are.
    """
    if run.manifest.state == "complete":
        return None
    flushed = run.flushed_seq()
    newest = newest_of(run, flushed) if flushed else {}
    if not newest:
        raise NothingCompared(
            f"{run.path}: the run is open and wrote nothing yet",
            cure="compare it behind its first checkpoint",
        )
    return newest


def _tokens(run: RunFolder) -> set[int]:
    """Return the instruments of the run's strategies; of one that takes all, those of its ticks."""
    named: set[int] = set()
    for kept in run.manifest.strategies:
        tokens = kept.config.get("instrument_tokens") or ()
        if not tokens:
            from parity.recording.reader import open_recording

            with open_recording(run.recording_path) as recording:
                return {int(token) for token in recording.table.tokens}
        named.update(int(token) for token in tokens)
    return named


def _all_said(frame: pl.DataFrame) -> list[Said]:
    exact = frame.with_columns(pl.col("ts_event").to_physical())  # datetime holds no ns
    return [_said(row) for row in exact.iter_rows(named=True)]


def _said(row: dict[str, Any]) -> Said:
    return Said(
        instrument_token=row["instrument_token"],
        side=SIDES[row["side"]],
        ts_event=row["ts_event"],
        strategy_id=row["strategy_id"],
        broker=row["broker"],
        price=row["price"],
        quantity=row["quantity"],
        confidence=row.get("confidence"),
        place=f"seq {row['seq']}",
        seq=row["seq"],
        reason=row.get("reason") or "",
    )


def _messages(
    other: str, servers: str, librdkafka: Mapping[str, Any]
) -> Iterable[tuple[bytes, str]]:
    path = Path(other)
    if path.is_file():
        lines = enumerate(path.read_bytes().split(b"\n"), 1)
        return ((line, f"{path}:{number}") for number, line in lines if line.strip())
    if "/" in other or path.suffix in (".json", ".jsonl", ".ndjson"):
        raise ConfigError(f"--against: no file {other}", cure="name a file, or a topic")
    from parity.publishers.redpanda.reading import messages_of

    return messages_of(servers, other, librdkafka)
