"""Pruning: what retention no longer holds leaves the disk, and the manifest and an event say so.

The manifest entry is the one moment that counts, as in sealing. Before it nothing is gone: a kill
leaves at most a gap event in a part that no manifest lists. After it all is gone: a kill leaves
files that nobody reads any more. The next pruning removes either.

All that was ever pruned is one range with one gap event, so that neither manifest nor folder grows
with the times it was done. Never here: which segments go, or a clock.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from parity.model.errors import RecordingCorrupt
from parity.recording import cache
from parity.recording.gone import GAP_SUFFIX, gap_part
from parity.recording.manifest import (
    Gone,
    Manifest,
    Part,
    load_manifest,
    repair_cure,
    update_manifest,
)
from parity.recording.named import needs_of
from parity.recording.retention import (
    PRUNED,
    Held,
    Need,
    Policy,
    choose,
    held_segments,
    pruned_to,
)

YOUNG: Final = 2**62  # the newest instant of ticks without one: no day is far enough from it


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was pruned at once, or would be: seqs, counts, bytes, and the files with their hashes.

    Args:
        events: how many seqs are gone.
        files: (path below the recording, sha256) each.
        policy: in words.
    """

    first_seq: int
    last_seq: int
    segments: int
    events: int
    ticks: int
    bytes: int
    policy: str
    files: list[tuple[str, str]]

    def to_detail(self) -> dict[str, Any]:
        """Return the detail of the journaled event `pruned`."""
        return {**msgspec.to_builtins(self), "files": [list(one) for one in self.files]}


class Retention(NamedTuple):
    """How much of a recording is held, and where to look for what names it.

    Args:
        policy: what is to be held.
        roots: folders in which goldens and runs lie.
        runs: whether what a backtest read is spared.
    """

    policy: Policy
    roots: tuple[Path, ...] = ()
    runs: bool = True

    def apply(self, folder: Path, now_ns: int, *, dry_run: bool = False) -> Pruned | None:
        """Prune a recording, or with `dry_run` say what would go; see prune()."""
        needs = self.needs(folder) if self.policy else []
        done = plan if dry_run else prune
        return done(folder, self.policy, now_ns=now_ns, needs=needs)

    def held_back(self, folder: Path, now_ns: int) -> list[Need]:
        """Return what keeps segments that the policy alone would not hold."""
        if not self.policy:
            return []
        alone = plan(folder, self.policy, now_ns=now_ns)
        needs = [] if alone is None else self.needs(folder)
        return [need for need in needs if alone is not None and need.from_seq <= alone.last_seq]

    def needs(self, folder: Path) -> list[Need]:
        """Return what names a recording."""
        return needs_of(folder, self.roots, runs=self.runs)


def plan(folder: Path, policy: Policy, *, now_ns: int, needs: Iterable[Need] = ()) -> Pruned | None:
    """Return what `prune` would do now, None where nothing goes; changes nothing.

    Arguments and errors as for prune().
    """
    return _planned(_chosen(folder, load_manifest(folder), policy, now_ns, needs), policy)


def prune(
    folder: Path, policy: Policy, *, now_ns: int, needs: Iterable[Need] = ()
) -> Pruned | None:
    """Remove the oldest segments that a policy no longer holds; finish what a kill interrupted.

    For whoever holds the journal of the recording, or has it alone.

    Args:
        folder: of the recording.
        policy: what is to be held.
        now_ns: int ns UTC; days are counted back from it, and it stands with what is gone.
        needs: what names the recording.

    Returns:
        What went, None where nothing had to.

    Raises:
        RecordingCorrupt: the manifest or a part cannot be read; nothing is gone then.
        OSError: the disk refused; it is all there, or noted as gone.
    """
    manifest = load_manifest(folder)
    _remove_left_over(folder, manifest)
    going = _chosen(folder, manifest, policy, now_ns, needs)
    planned = _planned(going, policy)
    if planned is None:
        return None
    gone = _entry(manifest, going, planned, now_ns)
    gap = gap_part(folder, gone)
    away = [part for held in going for part in held.parts]
    away += [p for p in manifest.parts if p.last_seq < planned.first_seq]  # the last gap event

    def without(now: Manifest) -> Manifest:
        parts = [p for p in now.parts if p not in away]
        later = [g for g in now.gone if g.last_seq > gone.last_seq]
        return msgspec.structs.replace(now, parts=[gap, *parts], gone=[gone, *later])

    update_manifest(folder, without)
    for part in away:
        _remove(folder, manifest, part)
    return planned


def times_of(folder: Path, part: Part) -> tuple[int, int]:
    """Return the first and the last instant in a part, int ns UTC; zeros where nothing says.

    That is `ts_recv`, and of ticks that have none `ts_event`, from the file's own statistics.

    Raises:
        RecordingCorrupt: the file cannot be read.
    """
    return _times(folder / part.file, part.sha256)


@functools.lru_cache(maxsize=65_536)
def _times(path: Path, sha256: str) -> tuple[int, int]:  # the hash tells versions apart
    try:
        held = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordingCorrupt(
            f"{path}: cannot be read: {str(error).splitlines()[0]}",
            cure=repair_cure(path.parent.parent),
        ) from None
    found: dict[str, tuple[int, int]] = {}
    for group in range(held.num_row_groups):
        for at in range(min(3, held.num_columns)):  # both lie among the first
            column = held.row_group(group).column(at)
            name, said = column.path_in_schema, column.statistics
            if name in ("ts_recv", "ts_event") and said is not None and said.has_min_max:
                least, most = cast("tuple[int, int]", (said.min, said.max))
                low, high = found.get(name, (least, most))
                found[name] = (min(low, least), max(high, most))
    for name in ("ts_recv", "ts_event"):
        first, last = found.get(name, (0, 0))
        if last > 0:
            return (first or last, last)
    return 0, 0


def held_of(folder: Path, manifest: Manifest) -> list[Held]:
    """Return the sealed segments of a recording with their times, oldest first."""

    def newest_of(part: Part) -> int:
        newest = times_of(folder, part)[1]
        return YOUNG if not newest and part.kind == "ticks" else newest

    return held_segments(manifest, newest_of)


def _chosen(
    folder: Path, manifest: Manifest, policy: Policy, now_ns: int, needs: Iterable[Need]
) -> list[Held]:
    if not policy:
        return []
    segments = held_of(folder, manifest)
    return segments[: choose(segments, policy, now_ns=now_ns, needs=needs)]


def _planned(going: Sequence[Held], policy: Policy) -> Pruned | None:
    if not going:
        return None
    first, last = going[0].first_seq, going[-1].last_seq
    return Pruned(
        first_seq=first,
        last_seq=last,
        segments=len(going),
        events=last - first + 1,
        ticks=sum(held.ticks for held in going),
        bytes=sum(held.bytes for held in going),
        policy=policy.words,
        files=[(part.file, part.sha256) for held in going for part in held.parts],
    )


def _entry(manifest: Manifest, going: Sequence[Held], planned: Pruned, now_ns: int) -> Gone:
    """Return the one range of all that is pruned now and was before."""
    before = [g for g in manifest.gone if g.last_seq <= planned.last_seq]
    lost = [g for g in before if g.reason != PRUNED]
    known = [g.ticks for g in before if g.ticks is not None]
    parts = [p for g in before if g.reason == PRUNED for p in g.parts]
    parts += [p for held in going for p in held.parts if not p.file.endswith(GAP_SUFFIX)]
    first = min([planned.first_seq, *(g.first_seq for g in before)])
    why = f"retention: {planned.policy}"
    if lost:
        why += f"; lost before: {', '.join(f'{g.first_seq}..{g.last_seq}' for g in lost[:5])}"
    return Gone(
        reason=PRUNED,
        first_seq=first,
        last_seq=planned.last_seq,
        events=planned.last_seq - first + 1,
        ticks=planned.ticks + sum(known) if len(known) == len(before) else None,
        bytes=planned.bytes + sum(g.bytes for g in before if g.reason == PRUNED),
        noted=dt.datetime.fromtimestamp(now_ns // 10**9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        why=why,
        parts=parts,
    )


def _remove_left_over(folder: Path, manifest: Manifest) -> None:
    for part in left_over(folder, manifest):
        _remove(folder, manifest, part)
    listed = {part.file for part in manifest.parts}
    for path in (folder / "events").glob(f"*{Path(GAP_SUFFIX).stem}.*"):  # or its .tmp
        if f"events/{path.name}" not in listed:
            path.unlink()


def left_over(folder: Path, manifest: Manifest) -> list[Part]:
    """Return the pruned parts whose files a kill left on the disk."""
    if not pruned_to(manifest):
        return []
    there = {
        f"{kind}/{path.name}" for kind in ("ticks", "events") for path in (folder / kind).glob("*")
    } - {part.file for part in manifest.parts}
    parts = [p for g in manifest.gone if g.reason == PRUNED for p in g.parts]
    return [part for part in parts if part.file in there]


def _remove(folder: Path, manifest: Manifest, part: Part) -> None:
    # The copy in the cache first: a part that is still there says that both may be.
    if part.kind == "ticks":
        cache.path_of(folder, manifest, part).unlink(missing_ok=True)
    (folder / part.file).unlink(missing_ok=True)
