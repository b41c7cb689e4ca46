"""Rows of candidates as a run keeps them, for tests of what is compared."""

from typing import Any

from parity.core.digest import canonical, pack_head
from parity.testing.generators import ONE, SECOND_NS, START_NS

_HEAD = ("instrument_token", "ts_event", "ordinal", "side", "price", "quantity", "confidence")


def said(seq: int, **changed: Any) -> dict[str, Any]:
    """Return a candidate row at a seq, its record made of its fields."""
    row = {
        "seq": seq,
        "strategy_id": "dip",
        "broker": "paper",
        "instrument_token": ONE,
        "ts_event": START_NS + seq * SECOND_NS,
        "ordinal": 0,
        "side": 1,
        "price": 100.0,
        "quantity": 1.0,
        "confidence": 0.5,
        "metadata": "{}",
    } | changed
    head = pack_head(*(row[name] for name in _HEAD))
    return {**row, "record": head + canonical(row["metadata"])}
