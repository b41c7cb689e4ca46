"""The same rule in parity's Python tier, and in a plain loop; a process of its own, as the peers.

From Parquet it reads the columns that `parity backtest` reads for processors, and its first
thousand ticks go through once before the clock starts: csp's graph has run by then, too. What the
engine returns is kept, as csp keeps its outputs.
"""

from __future__ import annotations

import time

from benchmarks import generate
from benchmarks.peers import child
from benchmarks.test_bench_python_tier import plain_loop
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine
from parity.core.history import market_ticks
from parity.model.effects import ApprovedSignal, DroppedSignal
from parity.recording.reader import open_recording


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    lookback, quantity, thresholds = asked["lookback"], asked["quantity"], asked["thresholds"]
    rule = {"lookback_periods": lookback, "position_size": quantity}
    plans = [
        generate.plan("momentum", rule | {"threshold": t}, f"momentum-{n}")
        for n, t in enumerate(thresholds)
    ]
    recording = open_recording(asked["recording"])
    columns = columns_of(Prepared(plans, [], [], {}, {}, {}), recording.table)
    first = next(iter(recording.batches(columns=columns, batch_rows=1000)))
    Engine(recording.table, plans).process(first)  # what a process pays once, for DuckDB and numba
    batches = []
    if asked["form"] != "parquet":
        batches = generate.fresh(list(recording.batches(columns=columns)))

    if asked["form"] == "loop":
        ticks = [t for batch in batches for t in market_ticks(batch.ticks)]
        loop = plain_loop(ticks, thresholds, lookback, quantity)
        begin = time.process_time()
        said = loop()
        seconds = time.process_time() - begin
        sides = [one[0] for one in said]
        child.tell(seconds, sides.count("BUY"), sides.count("SELL"))
        return
    begin = time.process_time()
    engine = Engine(recording.table, plans)
    effects = []
    for batch in batches or recording.batches(columns=columns):
        effects += engine.process(batch)
    engine.report()
    seconds = time.process_time() - begin
    decided = (ApprovedSignal, DroppedSignal)
    found = [one.candidate.side for one in effects if isinstance(one, decided)]
    child.tell(seconds, found.count(1), found.count(-1))


main()
