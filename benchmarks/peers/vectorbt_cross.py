"""The SMA cross over whole columns with vectorbt, signals alone; run by the peer's Python.

Its own moving averages and its own test for a cross, an instrument after the other. What numba
compiles is compiled before the clock.
"""

import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import vectorbt as vbt

from benchmarks.peers import child


def signals(prices, fast, slow):
    """Return where the fast average came above the slow one, and where below."""
    quick, calm = vbt.MA.run(prices, fast), vbt.MA.run(prices, slow)
    return quick.ma_crossed_above(calm).to_numpy(), quick.ma_crossed_below(calm).to_numpy()


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    fast, slow = asked["fast"], asked["slow"]
    read = pq.read_table(asked["table"], columns=["instrument_token", "price"])
    tokens, prices = (read.column(n).to_numpy() for n in read.column_names)
    series = [pd.Series(prices[tokens == one["token"]]) for one in asked["instruments"]]
    signals(pd.Series(np.arange(200.0)), fast, slow)
    begin = time.process_time()
    said = [signals(one, fast, slow) for one in series]
    seconds = time.process_time() - begin
    child.tell(seconds, sum(a.sum() for a, _ in said), sum(b.sum() for _, b in said))


main()
