"""Deadlines: work of one executor that is due at an instant of its decide clock.

They run in the order (instant, token, kind), before the first event of the executor that brings its
clock there, each at its own instant. Values only; what is to be done is the executor's table from
kind to handler.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Final

import msgspec

from parity.core.view import Segment

NO_TOKEN: Final = 0  # of a deadline of the executor as a whole


class Due(msgspec.Struct, frozen=True, gc=False):
    """A deadline whose turn has come.

    Args:
        ns: its instant; what is decided at it is stamped with it, ordinal -1.
        token: instrument, or NO_TOKEN.
        kind: what is due.
        seq: of the event that made it due.
        row: it runs before this row of the segment; the last that has happened is row - 1.
        segment: of that row; an empty one where no tick made it due.
    """

    ns: int
    token: int
    kind: str
    seq: int
    row: int
    segment: Segment


class Deadlines:
    """The pending deadlines of one executor, at most one per (token, kind).

    Attributes:
        pending: (instant, token, kind), rising; to be looked at, not to be changed.
    """

    __slots__ = ("_at", "pending")

    def __init__(self) -> None:
        self.pending: list[tuple[int, int, str]] = []
        self._at: dict[tuple[int, str], int] = {}

    def set(self, due_ns: int, token: int, kind: str) -> None:
        """Let (token, kind) be due at an instant, in place of the one it had.

        One that lies behind the clock already is due at the executor's next event.
        """
        self.cancel(token, kind)
        self._at[token, kind] = due_ns
        insort(self.pending, (due_ns, token, kind))

    def cancel(self, token: int, kind: str) -> None:
        """Forget (token, kind), where it is pending."""
        due_ns = self._at.pop((token, kind), None)
        if due_ns is not None:
            del self.pending[bisect_left(self.pending, (due_ns, token, kind))]

    def due_of(self, token: int, kind: str) -> int | None:
        """Return the instant of (token, kind), or None where it is not pending."""
        return self._at.get((token, kind))

    def next_ns(self) -> int | None:
        """Return the earliest instant, or None where nothing is pending."""
        return self.pending[0][0] if self.pending else None

    def pop(self, before: tuple[int, int, str]) -> tuple[int, int, str] | None:
        """Take the first (instant, token, kind) where it comes before the given one, else None.

        One by one, for what a deadline does may set or cancel the others.
        """
        if not self.pending or self.pending[0] >= before:
            return None
        first = self.pending.pop(0)
        del self._at[first[1:]]
        return first

    def snapshot(self) -> list[list[Any]]:
        """Return what is pending as plain values."""
        return [list(one) for one in self.pending]

    def restore(self, state: list[list[Any]]) -> None:
        """Take back what snapshot() gave."""
        self.pending = [(ns, token, kind) for ns, token, kind in state]
        self._at = {(token, kind): ns for ns, token, kind in self.pending}
