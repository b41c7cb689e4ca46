"""The queue of an executor in a segment: what was found by detect and waits to be decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from parity.model.effects import Candidate, Failure

# What can be due at one row, in this order; BEGAN, WARMED and COOLED are of the lifecycle.
BEGAN, WARMED, FAILED, COOLED, SAID = range(5)


class Entry(NamedTuple):
    """One thing in the queue of a segment, in the order of its first four values.

    Args:
        row: of the segment, at which it stands, or before which it is due.
        due_ns: its deadline; NOT_DUE of what belongs to the tick at the row.
        token: instrument of the deadline, else 0.
        kind: what it is.
    """

    row: int
    due_ns: int
    token: int
    kind: int
    what: Candidate | Failure | None


def place_of(entry: Entry) -> tuple[int, int, int, int]:
    """Return its place among the others."""
    return entry[:4]
