"""The queue of an executor in a segment: what was found by detect and waits to be decided.

Here it gets its place, its moment and its name. Never here: a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import msgspec

from parity.core.found import NOT_DUE, Failed, Found, candidate_of
from parity.model.effects import Candidate, Failure

if TYPE_CHECKING:
    from parity.core.view import View

# What can be due at one row, in this order; BEGAN, WARMED and COOLED are of the lifecycle.
BEGAN, WARMED, FAILED, COOLED, SAID = range(5)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One thing in the queue of a segment, in the order of its first five values.

    Args:
        row: of the segment, at which it stands, or before which it is due.
        due_ns: its deadline; NOT_DUE of what belongs to the tick at the row.
        token: instrument of the deadline, else 0.
        turn: of what is told of the instrument then, else 0.
        kind: what it is.
    """

    row: int
    due_ns: int
    token: int
    turn: int
    kind: int
    what: Candidate | Failure | None


# Gives an entry's place among the others.
place_of: Final = attrgetter("row", "due_ns", "token", "turn", "kind")


class Namer:
    """Gives what one executor found its place in the queue, and its name.

    Args:
        key: strategy_id and broker.
        tokens: instrument token by dense id.
        proposed: its processor sees the portfolio, so what it says is no candidate of detect.
    """

    def __init__(self, key: tuple[str, str], tokens: Mapping[int, int], *, proposed: bool) -> None:
        self._key = key
        self._tokens = tokens
        self._proposed = proposed

    def place(self, of: Found | Failed, view: View) -> tuple[int, int, int, int]:
        """Return row, deadline, token and turn of the deadline, as an Entry has them."""
        if of.due_ns == NOT_DUE:
            return view.position(of.row), NOT_DUE, 0, 0
        return of.row, of.due_ns, self._tokens[of.dense], of.turn

    def entries(
        self, view: View, found: Sequence[Found], failed: Sequence[Failed], seq: int
    ) -> list[Entry]:
        """Return errors and candidates as entries, in the order of each.

        Args:
            view: where they were found.
            found: what is to become candidates.
            failed: errors.
            seq: of the event behind a deadline that no tick made due.
        """
        entries = []
        for wrong in failed:
            at, token, _, _ = self._moment(wrong, view, seq)
            what = Failure(at, *self._key, token, wrong.error)
            entries.append(Entry(*self.place(wrong, view), FAILED, what))
        if not found:
            return entries
        key, proposed, position = self._key, self._proposed, view.position
        token_of, segment, inst = self._tokens, view.segment, view.inst.item
        seqs, times, ordinals = segment.seq_at, segment.ts_event.item, segment.ordinal
        for one in found:
            if one.due_ns != NOT_DUE:
                said = candidate_of(one, key, self._moment(one, view, seq), proposed)
                entries.append(Entry(*self.place(one, view), SAID, said))
                continue
            row = position(one.row)
            moment = seqs(row), token_of[inst(one.row)], times(row), ordinals(row)
            said = candidate_of(one, key, moment, proposed)
            entries.append(Entry(row, NOT_DUE, 0, 0, SAID, said))
        return entries

    def _moment(self, of: Found | Failed, view: View, seq: int) -> tuple[int, int, int, int]:
        """Return seq, token, ts_event and ordinal of a tick, or of a deadline."""
        segment = view.segment
        if of.due_ns != NOT_DUE:
            at_seq = segment.seq_at(of.row) if len(segment) else seq
            return at_seq, self._tokens[of.dense], of.due_ns, -1
        at, token = view.position(of.row), self._tokens[view.inst.item(of.row)]
        seq, ts_event = segment.seq_at(at), segment.ts_event.item(at)
        return seq, token, ts_event, segment.ordinal(at)
