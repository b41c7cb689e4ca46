"""Approved signals as a runner offers them, for tests of what becomes of them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from parity.live.ledger import Ledger, LedgerHead, LedgerLine
from parity.model.effects import ApprovedSignal, Candidate


def signal(number: int, reasoning: str = "", **changed: Any) -> ApprovedSignal:
    """Return an approved signal, with what is changed of its candidate."""
    said = Candidate(
        seq=number,
        strategy_id="dip",
        broker="paper",
        instrument_token=7,
        ts_event=number,
        ordinal=0,
        side=1,
        price=1.5,
        quantity=1.0,
        confidence=0.8,
        metadata={},
        reasoning=reasoning,
        record=b"",
        quantity_exact=Decimal(1),
    )
    return ApprovedSignal(msgspec.structs.replace(said, **changed), number, f"id-{number}", b"")


def keep_ledger(run: Path) -> None:
    """Write a run's ledger of four signals: two delivered, one found later, number 3 dead."""
    ledger = Ledger(run / "deliveries" / "ledger.jsonl")
    ledger.begin(LedgerHead("r", {}))
    for number, state in enumerate(("delivered", "recovered", "dead", "delivered"), 1):
        ledger.append(LedgerLine(number, f"id-{number}", state=state, error="no" * (number == 3)))
    ledger.close()
