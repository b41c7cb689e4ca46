"""The SMA cross as a numba loop over hftbacktest's trade feed; run by the peer's Python.

Each event is waited for and its trade taken, an instrument after the other. `memory` and `file`
(its own npz) round each price to whole price steps and sum integers; `floats` sums the prices as
they come. What is compiled is compiled before the clock.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hftbacktest import (
    BUY_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    event_dtype,
)
from numba import njit

from benchmarks.peers import child

NEVER = 2**62  # ns to wait for the next event: as long as it takes


@njit
def crosses(hbt, fast, slow, scale, exact, kept):
    """Apply the rule to every trade; return how many signals were kept.

    Prices are times `scale`, to whole numbers where exact.
    """
    window = np.zeros(slow)
    count = found = 0
    side = 0
    fast_sum = slow_sum = 0.0
    while hbt.wait_next_feed(False, NEVER) != 1:
        for trade in hbt.last_trades(0):
            price = trade.px
            if exact:
                price = np.rint(price * scale)  # and sums of whole numbers are exact below 2**53
            place = count % slow
            if count >= slow:
                slow_sum -= window[place]
            if count >= fast:
                fast_sum -= window[(count - fast) % slow]
            window[place] = price
            slow_sum += price
            fast_sum += price
            count += 1
            if count < slow:
                continue
            difference = fast_sum * slow - slow_sum * fast
            if not exact:
                difference = fast_sum / fast - slow_sum / slow
            now = 1 if difference > 0 else (-1 if difference < 0 else 0)
            if now == 0 or now == side:
                continue
            if side != 0:
                kept[found]["side"] = now
                kept[found]["price"] = trade.px
                kept[found]["at"] = trade.local_ts
                found += 1
            side = now
        hbt.clear_last_trades(0)
    return found


def feed(table, token):
    """Return one instrument's trades as the peer's events."""
    rows = table["instrument_token"] == token
    events = np.zeros(int(rows.sum()), event_dtype)
    sides = np.where(table["side"][rows] > 0, BUY_EVENT, SELL_EVENT)
    events["ev"] = EXCH_EVENT | LOCAL_EVENT | TRADE_EVENT | sides
    events["exch_ts"] = events["local_ts"] = table["ts"][rows]
    events["px"], events["qty"] = table["price"][rows], table["quantity"][rows]
    return events


def backtest(source, price_scale, quantity_scale):
    """Return the peer's engine over a feed: an array of events, or its own file."""
    asset = (
        BacktestAsset()
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .no_partial_fill_exchange()
        .tick_size(10.0**-price_scale)
        .lot_size(10.0**-quantity_scale)
        .last_trades_capacity(16)
        .data([source])
    )
    return HashMapMarketDepthBacktest([asset])


def run(source, scales, rule):
    """Run the rule once over a feed; return how many signals were kept."""
    hbt = backtest(source, *scales)
    found = crosses(hbt, *rule)
    hbt.close()  # one that stays open makes the next wait for its file without end
    return found


KEPT = np.dtype([("side", "i8"), ("price", "f8"), ("at", "i8")])


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    form, fast, slow = asked["form"], asked["fast"], asked["slow"]
    read = pq.read_table(asked["table"])
    table = {name: read.column(name).to_numpy() for name in read.column_names}
    table["ts"] = table["ts"].astype(np.int64)
    buy = sell = 0
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, one in enumerate(asked["instruments"]):
            events = feed(table, one["token"])
            scales = one["price_scale"], one["quantity_scale"]
            kept = np.zeros(len(events), KEPT)
            rule = (fast, slow, 10.0 ** scales[0], form != "floats", kept)
            run(events[:100].copy(), scales, rule)
            source = events
            if form == "file":
                source = str(Path(folder) / f"{number}.npz")
                np.savez_compressed(source, data=events)
            begin = time.process_time()
            found = run(source, scales, rule)
            seconds += time.process_time() - begin
            buy += (kept["side"][:found] == 1).sum()
            sell += (kept["side"][:found] == -1).sum()
    child.tell(seconds, buy, sell)


main()
