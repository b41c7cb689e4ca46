"""Momentum as Python nodes of csp over the exported ticks; run by the peers' Python, not by ours.

Its Parquet reader drops nothing only in NON_COLLAPSING mode: ticks of one time are common here. csp
reads annotations as types, so they are not put off here.
"""

import json
import sys
import time
from collections import deque
from datetime import timedelta

import csp
import pyarrow.parquet as pq
from csp.adapters.parquet import ParquetReader


class Tick(csp.Struct):
    """What the node over structs is shown: the fields that parity's ticks hold at hand."""

    instrument_token: int
    price: float
    quantity: float
    side: int


FIELDS = ("instrument_token", "price", "quantity", "side")
FOUND = [0]


@csp.node
def over_structs(tick: csp.ts[Tick], lookback: int, threshold: float) -> csp.ts[float]:
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
            change = (price - start) / start
            if abs(change) > threshold:
                FOUND[0] += 1
                return change


@csp.node
def over_prices(price: csp.ts[float], lookback: int, threshold: float) -> csp.ts[float]:
    """Apply the rule to one instrument's prices."""
    with csp.state():
        s_window = deque(maxlen=lookback)
    if csp.ticked(price):
        s_window.append(price)
        if len(s_window) == lookback:
            start = s_window[0]
            change = (price - start) / start
            if abs(change) > threshold:
                FOUND[0] += 1
                return change


@csp.graph
def graph(source: object, form: str, tokens: object, lookback: int, thresholds: object):
    """Read the file, or the table in memory, and let every node see every tick."""
    collapse = csp.PushMode.NON_COLLAPSING
    if form != "price":
        held = form == "memory"
        reader = ParquetReader(source, time_column="ts", read_from_memory_tables=held)
        fields = {name: name for name in FIELDS}
        ticks = reader.subscribe_all(Tick, field_map=fields, push_mode=collapse)
        for number, threshold in enumerate(thresholds):
            said = over_structs(ticks, lookback, threshold)
            csp.add_graph_output(str(number), said, tick_count=1)
        return
    reader = ParquetReader(source, time_column="ts", symbol_column="instrument_token")
    for token in tokens:
        prices = reader.subscribe(token, float, field_map="price", push_mode=collapse)
        for number, threshold in enumerate(thresholds):
            said = over_prices(prices, lookback, threshold)
            csp.add_graph_output(f"{token}-{number}", said, tick_count=1)


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked, path = json.loads(sys.argv[1]), sys.argv[2]
    table = pq.read_table(path, columns=["ts", "instrument_token"])
    tokens = sorted(set(table.column("instrument_token").to_pylist()))
    first, last = (table.column("ts")[n].as_py().replace(tzinfo=None) for n in (0, -1))
    lookback, threshold = asked["rule"]
    thresholds = [threshold * (1 + n / 100) for n in range(asked["count"])]
    second = timedelta(seconds=1)
    held = asked["form"] == "memory"
    source = pq.read_table(path, columns=["ts", *FIELDS]) if held else path
    begin = time.process_time()
    csp.run(
        graph,
        source,
        asked["form"],
        tokens,
        lookback,
        thresholds,
        starttime=first - second,
        endtime=last + second,
    )
    print(json.dumps({"seconds": time.process_time() - begin, "signals": FOUND[0]}))


main()
