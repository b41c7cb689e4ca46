"""Retention: which sealed segments of a recording go when it is held too long or grows too large.

Pure: manifest, times, policy, now and what is needed in; a count out. Never here: a clock, a file.

Only ever the oldest, one behind the other, and whole: what is left begins at a seq and goes on
without a gap. The open journal is no sealed segment, so it never goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from parity.recording.manifest import Manifest, Part

PRUNED: Final = "pruned"
DAY_NS: Final = 86_400 * 10**9


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a recording is held; None sets no limit.

    Args:
        keep_days: a segment whose newest tick came before that many days ago goes.
        keep_bytes: of all sealed parts; the oldest go until the rest is not above.
    """

    keep_days: float | None = None
    keep_bytes: int | None = None

    def __bool__(self) -> bool:
        """Whether it sets any limit."""
        return self.keep_days is not None or self.keep_bytes is not None

    @property
    def words(self) -> str:
        """The policy in words, for messages and manifests."""
        said = []
        if self.keep_days is not None:
            said.append(f"{self.keep_days:g} days")
        if self.keep_bytes is not None:
            said.append(f"{self.keep_bytes} bytes")
        return f"keep {' and '.join(said)}" if said else "keep all"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one sealed segment; of an import, those that share seqs.

    Args:
        newest_ns: of its ticks and events, int ns UTC; 0 where nothing says.
    """

    first_seq: int
    last_seq: int
    parts: tuple[Part, ...]
    newest_ns: int = 0

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(part.bytes for part in self.parts)

    @property
    def ticks(self) -> int:
        """How many ticks its parts have."""
        return sum(part.rows for part in self.parts if part.kind == "ticks")


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Something that names this recording, and from which seq on it must stay."""

    by: str
    from_seq: int


def held_segments(manifest: Manifest, newest_of: Callable[[Part], int]) -> list[Held]:
    """Return the sealed segments that are there, oldest first.

    Args:
        manifest: of the recording; what it has pruned already is left out.
        newest_of: gives the newest instant in a part.
    """
    spans = [(p.first_seq, p.last_seq) for p in manifest.parts]
    spans += [(g.first_seq, g.last_seq) for g in manifest.gone]
    before = 0
    for segment in manifest.segments:
        spans += [(before + 1, segment.last_seq)] if segment.last_seq > before else []
        before = max(before, segment.last_seq)
    behind = pruned_to(manifest)
    found: list[Held] = []
    for first, last in _joined(spans):
        parts = tuple(p for p in manifest.parts if first <= p.first_seq <= last)
        if last > behind and parts:
            newest = max(map(newest_of, parts))
            found.append(Held(first_seq=first, last_seq=last, parts=parts, newest_ns=newest))
    return found


def pruned_to(manifest: Manifest) -> int:
    """Return the last seq that was pruned, 0 where nothing was."""
    return max((g.last_seq for g in manifest.gone if g.reason == PRUNED), default=0)


def pruned_ticks(manifest: Manifest) -> int:
    """Return how many ticks came before the first that is there; lost ones do not count."""
    return sum(g.ticks or 0 for g in manifest.gone if g.reason == PRUNED)


def choose(
    segments: Sequence[Held], policy: Policy, *, now_ns: int, needs: Iterable[Need] = ()
) -> int:
    """Return how many of the oldest segments go.

    Args:
        segments: oldest first.
        policy: what is to be held.
        now_ns: the instant that days are counted back from.
        needs: what names the recording; nothing from the least of their seqs on goes.
    """
    needed = min((need.from_seq for need in needs), default=None)
    left = sum(segment.bytes for segment in segments)
    count = 0
    for segment in segments:
        old = (
            policy.keep_days is not None and segment.newest_ns < now_ns - policy.keep_days * DAY_NS
        )
        large = policy.keep_bytes is not None and left > policy.keep_bytes
        if not (old or large) or (needed is not None and segment.last_seq >= needed):
            break
        left -= segment.bytes
        count += 1
    return count


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of seqs with those that share one joined, in order.

    >>> _joined([(11, 20), (1, 10), (5, 5), (18, 22)])
    [(1, 10), (11, 22)]
    """
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
