"""The SMA cross as a Python node of csp; run by the peer's Python, not by ours.

`struct` and `memory` are a node over tick structs with integer prices, from Parquet and from a
table in memory: the same exact rule as parity's. `own` is csp's own rolling mean (`csp.stats`, in
C++, on floats), an instrument at a time, and a node that compares the two. The outputs keep what a
node says. csp reads annotations as types, so they are not put off here.
"""

import time
from datetime import timedelta

import csp
import pyarrow.parquet as pq
from csp.adapters.parquet import ParquetReader

from benchmarks.peers import child
from benchmarks.peers.rule import Cross


class Tick(csp.Struct):
    """What the node over structs is shown."""

    instrument_token: int
    price_int: int
    price: float


class Signal(csp.Struct):
    """What a node says."""

    instrument_token: int
    side: int
    price: float


FIELDS = ("instrument_token", "price_int", "price")


@csp.node
def over_structs(tick: csp.ts[Tick], fast: int, slow: int) -> csp.ts[Signal]:
    """Apply the rule to all instruments."""
    with csp.state():
        s_crosses = {}
    if csp.ticked(tick):
        cross = s_crosses.get(tick.instrument_token)
        if cross is None:
            cross = s_crosses[tick.instrument_token] = Cross(fast, slow)
        side = cross.take(tick.price_int)
        if side:
            return Signal(instrument_token=tick.instrument_token, side=side, price=tick.price)


@csp.node
def over_means(
    fast: csp.ts[float], slow: csp.ts[float], price: csp.ts[float], token: int
) -> csp.ts[Signal]:
    """Compare the means that csp computed."""
    with csp.state():
        s_cross = Cross(1, 2)
    if csp.ticked(slow) and csp.valid(fast):
        side = s_cross.sided(fast - slow)
        if side:
            return Signal(instrument_token=token, side=side, price=price)


@csp.graph
def graph(source: object, form: str, tokens: object, fast: int, slow: int):
    """Read the file, or the table in memory, and let the nodes see every tick."""
    collapse = csp.PushMode.NON_COLLAPSING
    if form == "own":
        reader = ParquetReader(source, time_column="ts", symbol_column="instrument_token")
        for token in tokens:
            price = reader.subscribe(token, float, field_map="price", push_mode=collapse)
            means = [csp.stats.mean(price, n, min_window=n) for n in (fast, slow)]
            csp.add_graph_output(str(token), over_means(*means, price, token))
        return
    held = form == "memory"
    reader = ParquetReader(source, time_column="ts", read_from_memory_tables=held)
    fields = {name: name for name in FIELDS}
    ticks = reader.subscribe_all(Tick, field_map=fields, push_mode=collapse)
    csp.add_graph_output("all", over_structs(ticks, fast, slow))


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    path, form = asked["table"], asked["form"]
    ends = pq.read_table(path, columns=["ts"]).column("ts")
    first, last = (ends[n].as_py().replace(tzinfo=None) for n in (0, -1))
    tokens = [one["token"] for one in asked["instruments"]]
    second = timedelta(seconds=1)
    source = pq.read_table(path, columns=["ts", *FIELDS]) if form == "memory" else path
    given = (
        source,
        form,
        tokens,
        asked["fast"],
        asked["slow"],
    )
    csp.run(graph, *given, starttime=first - second, endtime=first)  # what a process pays once
    begin = time.process_time()
    outputs = csp.run(graph, *given, starttime=first - second, endtime=last + second)
    seconds = time.process_time() - begin
    sides = [said.side for kept in outputs.values() for _, said in kept]
    child.tell(seconds, sides.count(1), sides.count(-1))


main()
