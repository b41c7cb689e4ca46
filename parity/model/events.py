"""What enters the engine: ticks and sparse events, in one order by seq."""

from __future__ import annotations

from typing import Any

import msgspec

from parity.model.ticks import TickBatch


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A journaled decision of the outside; a barrier that detect never crosses.

    Verbs so far: ``gap`` (a position was skipped), ``clock_step`` (ts_recv was re-anchored),
    ``resumed`` (a runner went on after a stop or a kill), ``quarantine`` (an undecodable or
    refused message; its detail holds stream, offset, reason and payload).
    """

    seq: int
    ts_recv: int
    verb: str
    detail: dict[str, Any]


class EventBatch(msgspec.Struct, frozen=True):
    """A piece of the event stream: ticks and controls, each in rising seq."""

    ticks: TickBatch
    controls: tuple[Control, ...] = ()

    @property
    def last_seq(self) -> int:
        """The largest seq in the batch, 0 where it is empty."""
        last = int(self.ticks.column("seq")[-1]) if len(self.ticks) else 0
        return max(last, self.controls[-1].seq if self.controls else 0)
