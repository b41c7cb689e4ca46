"""What enters the engine: ticks and sparse events, in one order by seq."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from parity.model.errors import InputRefused
from parity.model.ticks import TickBatch

HEARTBEAT: Final = "heartbeat"
RAW: Final = "raw"


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A journaled decision of the outside; a barrier that detect never crosses.

    Verbs so far: ``gap`` (a position was skipped), ``resumed`` (a runner went on after a stop or
    a kill), ``clock_step`` (the machine's clock was set; ours did not move), ``topic_made_anew``
    (what ended the run), ``pruned`` (by retention), ``quarantine`` (an undecodable or refused
    message; its detail holds stream, offset, reason and payload), ``dead_lettered`` (where such
    messages were sent to), ``publisher_failed`` (a signal or fill that a broker refused),
    ``heartbeat`` (nothing but its time), ``raw`` (the payloads of the messages behind it, for a
    codec that is mended later; the engine leaves it out), ``fill`` (an order filled outside; its
    time moves its executor's clock alone), ``policy_changed`` (the whole policy), and
    ``strategy_added``, ``strategy_replaced``, ``strategy_paused``, ``strategy_resumed``,
    ``strategy_stopped``, ``strategy_flattened`` (parity.core.controls).

    Where the detail holds ``ts_event`` (int ns UTC), the control moves decide clocks to that
    instant before anything else is done: of the strategy it is about, or of all where it is about
    none; a heartbeat moves detect clocks too.
    Never its `ts_recv`: a recording that is read at a pace is of another day.
    """

    seq: int
    ts_recv: int
    verb: str
    detail: dict[str, Any]

    @property
    def ts_event(self) -> int | None:
        """The instant it moves the clocks to, or None.

        Raises:
            InputRefused: it is no instant.
        """
        ns = self.detail.get("ts_event")
        if ns is not None and (type(ns) is not int or not 0 <= ns < 1 << 63):
            raise InputRefused(f"control {self.verb}: ts_event: expected int ns UTC, was {ns!r}")
        return ns


class EventBatch(msgspec.Struct, frozen=True):
    """A piece of the event stream: ticks and controls, each in rising seq."""

    ticks: TickBatch
    controls: tuple[Control, ...] = ()

    @property
    def last_seq(self) -> int:
        """The largest seq in the batch, 0 where it is empty."""
        return self.bounds()[1]

    def bounds(self) -> tuple[int, int]:
        """Return the first and the last seq in the batch, 0 and 0 where it is empty."""
        first = last = 0
        if len(self.ticks):
            seqs = self.ticks.seqs
            if isinstance(seqs, range):
                first, last = seqs[0], seqs[-1]
            else:
                first, last = seqs.item(0), seqs.item(-1)
        if self.controls:
            first = min(first or self.controls[0].seq, self.controls[0].seq)
            last = max(last, self.controls[-1].seq)
        return first, last
