"""Rows of a run's outputs: what a candidate and each effect are in `candidates/` and `decisions/`.

Never here: a file, or a decision.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from parity.model.effects import (
    ApprovedSignal,
    Candidate,
    ControlRefused,
    DroppedSignal,
    Effect,
    Failure,
    Fill,
)


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as a row of `candidates/`."""
    row = _identity(candidate)
    row.update(
        side=candidate.side,
        price=candidate.price,
        quantity=candidate.quantity,
        confidence=candidate.confidence,
        metadata=msgspec.json.encode(candidate.metadata).decode(),
        reasoning=candidate.reasoning,
        record=b"" if candidate.proposed else candidate.record,  # a part of no candidate digest
    )
    return row


def decision_row(effect: Effect) -> dict[str, Any]:
    """Return an effect as a row of `decisions/`."""
    if isinstance(effect, ApprovedSignal | DroppedSignal):
        candidate = effect.candidate
        row = _identity(candidate)
        row.update(side=candidate.side, price=candidate.price, quantity=candidate.quantity)
        if isinstance(effect, ApprovedSignal):
            row.update(kind="approved", signal_no=effect.signal_no, signal_id=effect.signal_id)
            if effect.sized is not None:
                row.update(quantity=float(effect.sized), quantity_exact=str(effect.sized))
        else:
            row.update(kind="dropped", reason=effect.reason, seen=effect.seen)
        row["record"] = effect.record
        return row
    if isinstance(effect, Fill):
        row = _identity(effect)
        row.update(
            kind="refused" if effect.reason else "fill",
            side=effect.side,
            price=float(effect.price),
            quantity=float(effect.quantity),
            price_exact=str(effect.price),
            quantity_exact=str(effect.quantity),
            commission_exact=str(effect.commission),
            reason=effect.reason or ("" if effect.kind == "order" else effect.kind),
            signal_id=effect.signal_id,
            record=effect.record,
        )
        return row
    row = {"seq": effect.seq, "strategy_id": effect.strategy_id, "broker": effect.broker}
    if isinstance(effect, Failure):
        row.update(kind="failure", instrument_token=effect.instrument_token, reason=effect.error)
    elif isinstance(effect, ControlRefused):
        row.update(kind="control_refused", reason=f"{effect.verb}: {effect.reason}")
        row["seen"] = json.dumps({"said": effect.said})
    else:
        row.update(kind="transition", reason=f"{effect.was} -> {effect.now}")
        row.update(ts_event=effect.ts_event, seen=json.dumps({"because": effect.reason}))
    return row


def _identity(effect: Candidate | Fill) -> dict[str, Any]:
    return {
        "seq": effect.seq,
        "strategy_id": effect.strategy_id,
        "broker": effect.broker,
        "instrument_token": effect.instrument_token,
        "ts_event": effect.ts_event,
        "ordinal": effect.ordinal,
    }
