"""What the engine asks of the shell: values only, in the order (seq, strategy_id, broker).

Made of plain values that were copied, so none can be part of a cycle: Python's garbage collector
need not look through them (gc=False), however many a run keeps.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

PAPER: Final = "paper_"  # begins the reason of a drop that the paper broker made of an order


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """What a processor said at one tick.

    Args:
        ordinal: position within consecutive ticks of equal (token, ts_event); -1 at a deadline.
        side: +1 BUY, -1 SELL, 0 HOLD.
        record: the canonical bytes that enter the candidate digest.
        proposed: by a processor that sees its portfolio; it enters the decision digest alone.
    """

    seq: int
    strategy_id: str
    broker: str
    instrument_token: int
    ts_event: int
    ordinal: int
    side: int
    price: float
    quantity: float
    confidence: float
    metadata: dict[str, Any]
    reasoning: str
    record: bytes
    quantity_exact: Decimal
    proposed: bool = False


class ApprovedSignal(msgspec.Struct, frozen=True, gc=False):
    """A candidate the validators passed; the only thing a publisher takes.

    Args:
        signal_no: number of the approved signal in the run, from 1 (header of its message).
        signal_id: stable id, the same in every replay.
        record: the canonical bytes that enter the decision digest.
        sized: the quantity to be ordered, where limits made it another than the candidate's.
    """

    candidate: Candidate
    signal_no: int
    signal_id: str
    record: bytes
    sized: Decimal | None = None

    @property
    def quantity_exact(self) -> Decimal:
        """The quantity to be ordered."""
        return self.candidate.quantity_exact if self.sized is None else self.sized


class DroppedSignal(msgspec.Struct, frozen=True, gc=False):
    """A candidate that was refused, with the stable reason.

    Args:
        seen: the values that decided, as JSON; they enter no digest. Text, because a run has many
            drops, and what Python's garbage collector has to look through costs more than they.
    """

    candidate: Candidate
    reason: str
    record: bytes
    seen: str = "{}"


class Fill(msgspec.Struct, frozen=True, gc=False):
    """A fill, or the end of a paper order without one (quantity 0 and a reason).

    Money is exact: price, quantity and commission are Decimals.

    Args:
        ordinal: of the tick; -1 where no tick brought it (an expiry, a cancellation).
        signal_id: of the signal that was ordered; of an exit, derived from it.
        kind: what was filled: a signal's "order", a position's "stop_loss" or "take_profit", an
            order to "flatten", or an order filled "outside".
    """

    seq: int
    strategy_id: str
    broker: str
    instrument_token: int
    ts_event: int
    ordinal: int
    side: int
    price: Decimal
    quantity: Decimal
    commission: Decimal
    signal_id: str
    reason: str
    record: bytes
    kind: str = "order"


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of an executor's lifecycle.

    Args:
        ts_event: the executor's decide clock, ns UTC; None before its first tick.
        reason: what made it: a word of our own, or what a control gave.
    """

    seq: int
    strategy_id: str
    broker: str
    was: str
    now: str
    ts_event: int | None = None
    reason: str = ""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A processor raised, or a kernel returned an error code; tick `seq` was skipped."""

    seq: int
    strategy_id: str
    broker: str
    instrument_token: int
    error: str


class ControlRefused(msgspec.Struct, frozen=True, gc=False):
    """A control that could not be carried out; it changed nothing.

    Args:
        strategy_id: whom it was about, "" where that is not known.
        broker: at which broker; "" is all of them.
        reason: a stable word.
        said: what decided.
    """

    seq: int
    strategy_id: str
    broker: str
    verb: str
    reason: str
    said: str = ""


Effect = ApprovedSignal | DroppedSignal | Fill | Transition | Failure | ControlRefused


def effect_seq(effect: Effect) -> int:
    """Return the seq an effect belongs to."""
    if isinstance(effect, ApprovedSignal | DroppedSignal):
        return effect.candidate.seq
    return effect.seq
