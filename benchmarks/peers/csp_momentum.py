"""Momentum as Python nodes of csp over the exported ticks; run by the peer's Python, not by ours.

A node says what parity's processor says: side, confidence, quantity, price, the same text and the
change, as a struct that the graph's output keeps; and both decide by the same lines. Its Parquet
reader drops nothing only in NON_COLLAPSING mode: ticks of one time are common here. csp reads
annotations as types, so they are not put off here.
"""

import time
from collections import deque
from datetime import timedelta

import csp
import pyarrow.parquet as pq
from csp.adapters.parquet import ParquetReader

from benchmarks.peers import child


class Tick(csp.Struct):
    """What the node over structs is shown: the fields that parity's ticks hold at hand."""

    instrument_token: int
    price: float
    quantity: float
    side: int


class Signal(csp.Struct):
    """What a node says."""

    side: str
    confidence: float
    quantity: float
    price: float
    reasoning: str
    change: float


FIELDS = ("instrument_token", "price", "quantity", "side")


def signal(change: float, price: float, lookback: int, quantity: float) -> Signal:
    """Return what the rule says of a change past its threshold."""
    return Signal(
        side="BUY" if change > 0.0 else "SELL",
        confidence=min(1.0, 5.0 * abs(change)),
        quantity=quantity,
        price=price,
        reasoning=f"momentum {change:+.4%} over {lookback} ticks",
        change=change,
    )


@csp.node
def over_structs(
    tick: csp.ts[Tick], lookback: int, threshold: float, quantity: float
) -> csp.ts[Signal]:
    """Apply the rule to all instruments, one window each."""
    with csp.state():
        s_windows = {}
    if csp.ticked(tick):
        window = s_windows.get(tick.instrument_token)
        if window is None:
            window = s_windows[tick.instrument_token] = deque(maxlen=lookback)
        price = tick.price
        window.append(price)
        if len(window) == lookback:
            start = window[0]
            if start > 0.0:
                change = (price - start) / start
                if abs(change) > threshold:
                    return signal(change, price, lookback, quantity)


@csp.node
def over_prices(
    price: csp.ts[float], lookback: int, threshold: float, quantity: float
) -> csp.ts[Signal]:
    """Apply the rule to one instrument's prices."""
    with csp.state():
        s_window = deque(maxlen=lookback)
    if csp.ticked(price):
        s_window.append(price)
        if len(s_window) == lookback:
            start = s_window[0]
            if start > 0.0:
                change = (price - start) / start
                if abs(change) > threshold:
                    return signal(change, price, lookback, quantity)


@csp.graph
def graph(source: object, form: str, tokens: object, rule: object, thresholds: object):
    """Read the file, or the table in memory, and let every node see every tick."""
    collapse = csp.PushMode.NON_COLLAPSING
    lookback, quantity = rule
    if form != "price":
        held = form == "memory"
        reader = ParquetReader(source, time_column="ts", read_from_memory_tables=held)
        fields = {name: name for name in FIELDS}
        ticks = reader.subscribe_all(Tick, field_map=fields, push_mode=collapse)
        for number, threshold in enumerate(thresholds):
            said = over_structs(ticks, lookback, threshold, quantity)
            csp.add_graph_output(str(number), said)
        return
    reader = ParquetReader(source, time_column="ts", symbol_column="instrument_token")
    for token in tokens:
        prices = reader.subscribe(token, float, field_map="price", push_mode=collapse)
        for number, threshold in enumerate(thresholds):
            said = over_prices(prices, lookback, threshold, quantity)
            csp.add_graph_output(f"{token}-{number}", said)


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    path, form = asked["table"], asked["form"]
    table = pq.read_table(path, columns=["ts", "instrument_token"])
    tokens = sorted(set(table.column("instrument_token").to_pylist()))
    first, last = (table.column("ts")[n].as_py().replace(tzinfo=None) for n in (0, -1))
    second = timedelta(seconds=1)
    source = pq.read_table(path, columns=["ts", *FIELDS]) if form == "memory" else path
    rule = (asked["lookback"], asked["quantity"])
    given = (
        source,
        form,
        tokens,
        rule,
        asked["thresholds"],
    )
    csp.run(graph, *given, starttime=first - second, endtime=first)  # what a process pays once
    begin = time.process_time()
    outputs = csp.run(graph, *given, starttime=first - second, endtime=last + second)
    seconds = time.process_time() - begin
    sides = [said.side for kept in outputs.values() for _, said in kept]
    child.tell(seconds, sides.count("BUY"), sides.count("SELL"))


main()
