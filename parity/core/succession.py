"""One executor takes another's place: what goes on, and what begins anew.

Money, orders, counts, digests and what limits remember are the account's and go on. What the old
code saw and kept is not the new code's: histories, the processor, bars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.core.deadlines import NO_TOKEN
from parity.core.lifecycle import RESUME
from parity.core.paper_broker import ORDER_EXPIRY
from parity.model.values import Lifecycle

if TYPE_CHECKING:
    from parity.core.executor import Executor
    from parity.model.effects import Effect


def take_over(new: Executor, old: Executor, reason: str, seq: int) -> list[Effect]:
    """Let an executor begin at a barrier in the place of another of the same key.

    A pause stays, with its end; from every other state the new one begins.

    Args:
        new: it has processed nothing.
        old: it processes nothing any more.
        reason: for the transitions.
        seq: of the control.
    """
    was, until_ns = old.life.state, old.deadlines.due_of(NO_TOKEN, RESUME)
    paused_for = old.life.reason
    effects = [] if old.ended else old.changed(old.life.stop(reason, old.clock), seq)
    for ns, token, kind in old.deadlines.snapshot():
        if kind == ORDER_EXPIRY:
            new.deadlines.set(ns, token, kind)
    new.clock = old.clock
    new.candidates, new.decisions = old.candidates, old.decisions
    new.signals, new.fills, new.errors = old.signals, old.fills, old.errors
    new.drops = old.drops
    new.broker.restore(old.broker.snapshot())
    new.gate.take_over(old.gate)
    if new.bars is not None and old.bars is not None:
        new.bars.closed, new.bars.left_out = old.bars.closed, old.bars.left_out
    new.life.entered = old.life.entered + new.life.entered
    effects += new.begin(reason, seq)
    if was is Lifecycle.PAUSED:
        resume_ns = None if until_ns is None else until_ns - new.clock
        effects += new.changed(new.life.pause(paused_for, new.clock, resume_ns), seq)
    return effects
