"""Ranges of seqs that are no longer there: the gap event that stands for one, and its words.

A `Gone` entry in the manifest, and a `gap` event that takes the last seq of the range, so that seq
goes on and the end stays the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.recording.holding import held
from parity.recording.journal import lock_journal
from parity.recording.manifest import MANIFEST, Gone, Manifest, Part, load_manifest

if TYPE_CHECKING:
    from pathlib import Path

LOST: Final = "lost"
GAP_SUFFIX: Final = "-gap.parquet"


def gap_file(gone: Gone) -> str:
    """Return the path of the part that holds the gap event of a range."""
    return f"events/{gone.last_seq:012d}{GAP_SUFFIX}"


def gap_event(gone: Gone) -> Control:
    """Return the event that stands for a range; it never arrived, so its ts_recv is 0."""
    names = ("reason", "first_seq", "last_seq", "events", "ticks", "noted", "why")
    detail = {name: getattr(gone, name) for name in names}
    return Control(seq=gone.last_seq, ts_recv=0, verb="gap", detail=detail)


def gap_part(folder: Path, gone: Gone) -> Part:
    """Write the gap event of a range as a part of its own."""
    from parity.recording.writer import event_part  # loads pyarrow, which opening does without

    return event_part(folder, [gap_event(gone)], file=gap_file(gone))


def refuse_gone(manifest: Manifest, folder: Path, needed_by: str) -> None:
    """Refuse a proof over a recording that no longer holds all that the run saw.

    Raises:
        RecordingCorrupt: naming each range, why it is gone, and what brings it back.
    """
    if manifest.gone:
        raise RecordingCorrupt(
            f"{folder}: {needed_by} saw what is no longer there: {words(manifest.gone)}",
            cure=_cure(manifest, folder),
        )


def not_covered(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return the warning of what is made from a recording that does not hold all it had."""
    return (f"{folder}: not covered: {words(manifest.gone)}",) if manifest.gone else ()


@contextmanager
def pruned_meanwhile(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Tell a reader that its parts went while it read, where that is why it cannot read one."""
    try:
        yield
    except RecordingCorrupt:
        now = load_manifest(folder).gone
        if now == manifest.gone:
            raise
        raise RecordingCorrupt(
            f"{folder}: {words(now)}; that was while it was being read", cure="open it again"
        ) from None


def _cure(manifest: Manifest, folder: Path) -> str:
    gone = manifest.gone
    if all(one.reason != LOST for one in gone):
        first = max(one.last_seq for one in gone) + 1
        held = "The recording holds no event any more"
        if first <= manifest.last_seq:
            held = (
                f"The recording still holds seq {first}..{manifest.last_seq}: a new run over it "
                f"(parity backtest {folder}) can be verified, this one not"
            )
        return (
            "what was pruned cannot be proved any more: prove a run before its recording is "
            f"pruned, or keep more of it (--keep-days, --keep-bytes). {held}"
        )
    return (
        "what is gone cannot be proved; a lost part comes back from a copy: put it in its "
        f"place and run parity repair {folder}"
    )


def words(gone: Sequence[Gone]) -> str:
    """Return ranges in words, the first few of many."""
    shown = "; ".join(one.said for one in gone[:5])
    return shown + (f"; and {len(gone) - 5} more ranges" if len(gone) > 5 else "")


@contextmanager
def alone(folder: Path) -> Iterator[Manifest]:
    """Give the manifest of a recording while no recorder and no run works on it.

    Raises:
        ConfigError: a recorder, a paper run or another repair is at work in it.
        RecordingMissing: there is none.
        RecordingCorrupt: its manifest cannot be trusted.
        DiskRefused: the disk refused a write meanwhile.
    """
    load_manifest(folder)  # before a lock is asked for, which would make the folder
    with ExitStack() as stack:
        stack.enter_context(held(folder))
        run = folder.absolute().parent
        if folder.name == "recording" and (run / MANIFEST).is_file():
            stack.enter_context(held(run))
        lock = lock_journal(folder)
        if lock >= 0:
            stack.callback(os.close, lock)
        yield load_manifest(folder)
