"""Buys where the price is above the average price, and fails at an average of 102.00."""

import parity as pt


@pt.strategy("above", history=1)
def above(tick, history):
    """Take one tick."""
    average = tick.extension_exact("average_price")
    if average is None or tick.last_price <= average:
        return None
    if tick.extension_int("average_price") == 102_00:
        raise RuntimeError("an average of 102.00")
    said = {"average": str(average), "conditions": tick.extension("conditions")}
    return pt.SignalResult("BUY", 0.75, 1, tick.price, "above its average", said)
