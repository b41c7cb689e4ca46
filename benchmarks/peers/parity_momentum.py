"""The same rule in parity's Python tier, and in a plain loop; a process of its own, as the peers.

The kept recording of the benchmarks holds the ticks that were exported for the peers. From Parquet
the first batch is read once before the clock starts: csp's script has read its file by then, too.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks import generate
from benchmarks.test_bench_python_tier import plain_loop
from parity.core.engine import Engine
from parity.core.history import market_ticks


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = json.loads(sys.argv[1])
    lookback, threshold = asked["rule"]
    thresholds = [threshold * (1 + n / 100) for n in range(asked["count"])]
    plans = [
        generate.plan("momentum", {"lookback_periods": lookback, "threshold": t}, f"momentum-{n}")
        for n, t in enumerate(thresholds)
    ]
    recording = generate.recording(asked["ticks"])
    next(iter(recording.batches()))  # what a process pays once, for DuckDB and numba
    batches = []
    if asked["form"] != "parquet":
        batches = generate.fresh(list(recording.batches()))

    if asked["form"] == "loop":
        ticks = [t for batch in batches for t in market_ticks(batch.ticks)]
        loop = plain_loop(ticks, thresholds, lookback)
        begin = time.process_time()
        found = loop()
        seconds = time.process_time() - begin
    else:
        begin = time.process_time()
        engine = Engine(recording.table, plans)
        for batch in batches or recording.batches():
            engine.process(batch)
        found = sum(one.candidates for one in engine.report().executors)
        seconds = time.process_time() - begin
    print(json.dumps({"seconds": seconds, "signals": found}))


main()
