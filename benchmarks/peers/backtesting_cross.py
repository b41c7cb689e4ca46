"""The SMA cross as a strategy of backtesting.py, a tick a bar; run by the peer's Python.

Its averages are pandas' rolling means over the whole column (as its documentation has them), its
`next` is called for every bar and keeps the crosses; an instrument after the other.
"""

import time
import warnings

import pandas as pd
import pyarrow.parquet as pq
from backtesting import Backtest, Strategy

from benchmarks.peers import child
from benchmarks.peers.rule import Cross


def mean(values, periods):
    """Return the rolling mean."""
    return pd.Series(values).rolling(periods).mean()


class SmaCross(Strategy):
    """The rule; orders are left out, as everywhere here."""

    fast = slow = 0
    kept: list = []  # noqa: RUF012 # the peer copies its strategies' attributes; this one is shared

    def init(self):
        """Compute the averages."""
        self.quick = self.I(mean, self.data.Close, self.fast)
        self.calm = self.I(mean, self.data.Close, self.slow)
        self.cross = Cross(1, 2)

    def next(self):
        """Look at one bar."""
        side = self.cross.sided(self.quick[-1] - self.calm[-1])
        if side:
            self.kept.append((side, self.data.Close[-1]))


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    read = pq.read_table(asked["table"], columns=["ts", "instrument_token", "price"])
    tokens, prices = (read.column(n).to_numpy() for n in ("instrument_token", "price"))
    at = read.column("ts").to_pandas()
    frames = []
    for one in asked["instruments"]:
        mine = tokens == one["token"]
        price = prices[mine]
        bars = {"Open": price, "High": price, "Low": price, "Close": price}
        frames.append(pd.DataFrame(bars, index=pd.DatetimeIndex(at[mine])))
    SmaCross.fast, SmaCross.slow = asked["fast"], asked["slow"]
    warnings.simplefilter("ignore")  # of prices above its cash: nothing is bought
    Backtest(frames[0][:500], SmaCross).run()  # what a process pays once
    SmaCross.kept.clear()
    begin = time.process_time()
    for frame in frames:
        Backtest(frame, SmaCross).run()
    seconds = time.process_time() - begin
    sides = [side for side, _ in SmaCross.kept]
    child.tell(seconds, sides.count(1), sides.count(-1))


main()
