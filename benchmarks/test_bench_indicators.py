"""Each indicator down a whole column, beside a bare loop over the same columns, and TA-Lib.

The bare loop reads the same inputs and writes the same outputs, and does nothing else: the least
that any column of values could take. TA-Lib's loops are C over floats, exact in nothing.
The fastest of the rounds counts, on both sides: a neighbour can only make a column slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import talib
from numba import njit

from benchmarks.generate import ROUNDS, TICKS
from benchmarks.report import Report, beside
from parity.kernels.bar_rules import BAR_RULES
from parity.kernels.bar_steps import bars_state
from parity.kernels.catalogue import INDICATORS

if TYPE_CHECKING:
    from parity.kernels.indicator import Indicator

PARAMETERS: Final = {"time_bars": {"seconds": 60}, "tick_bars": {}, "volume_bars": {"volume": 1e5}}
Columns = dict[str, Any]
# The same work by TA-Lib, with the same parameters as the defaults.
PEERS: Final[dict[str, Callable[[Columns], Any]]] = {
    "ema": lambda c: talib.EMA(c["value"], 20),
    "rsi": lambda c: talib.RSI(c["value"], 14),
    "macd": lambda c: talib.MACD(c["value"], 12, 26, 9),
    "atr": lambda c: talib.ATR(c["high"], c["low"], c["close"], 14),
    "adx": lambda c: (
        talib.ADX(c["high"], c["low"], c["close"], 14),
        talib.PLUS_DI(c["high"], c["low"], c["close"], 14),
        talib.MINUS_DI(c["high"], c["low"], c["close"], 14),
    ),
    "sma": lambda c: talib.SMA(c["value"], 20),
    "bollinger": lambda c: talib.BBANDS(c["value"], 20),
    "rolling_std": lambda c: talib.STDDEV(c["value"], 20),
    "rolling_min": lambda c: talib.MIN(c["value"], 20),
    "rolling_max": lambda c: talib.MAX(c["value"], 20),
    "donchian": lambda c: talib.DONCHIAN(c["high"], c["low"], 20),
    "stochastic": lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, 0, 3, 0),
    "roc": lambda c: talib.ROCP(c["value"], 10),
    "vwap": lambda c: talib.VWAP(c["price"], c["price"], c["price"], c["quantity"]),
    "obv": lambda c: talib.OBV(c["price"], c["quantity"]),
}


def columns() -> Columns:
    """Return a random walk as integers, with bars of a few units around it."""
    random = np.random.default_rng(11)
    value = 100_000 + np.cumsum(random.integers(-3, 4, TICKS))
    high, low = value + random.integers(0, 5, TICKS), value - random.integers(0, 5, TICKS)
    quantity, side = random.integers(1, 5_000, TICKS), random.integers(-1, 2, TICKS)
    at = np.cumsum(random.integers(0, 10**9, TICKS))
    walk = {"value": value, "price": value, "close": value, "high": high, "low": low}
    return {**walk, "quantity": quantity, "side": side, "ts_event": at}


@njit
def bare(inputs: Any, values: Any) -> None:
    """Read every input and write every output of each row."""
    for row in range(len(values)):
        total = inputs[0, row]
        for n in range(1, len(inputs)):
            total += inputs[n, row]
        for n in range(values.shape[1]):
            values[row, n] = total


@pytest.mark.parametrize("name", INDICATORS)
def test_bench_indicator(benchmark: Any, report: Report, name: str) -> None:
    """Nanoseconds a value, and the ratio to the bare loop and to TA-Lib."""
    one: Indicator = INDICATORS[name]
    given = columns()
    whole = np.array([given[n] for n in one.inputs], np.int64)
    inputs = whole if one.largest is not None else whole.astype(float)
    values = np.empty((TICKS, len(one.outputs)))
    references: dict[str, Callable[[], Any]] = {"bare": lambda: bare(inputs, values)}
    floats = {n: column.astype(float) for n, column in given.items()}
    if name in PEERS:
        references["TA-Lib"] = lambda: PEERS[name](floats)

    def whole_column() -> Any:
        return one.advance(one.zeros(), list(inputs), {})

    assert np.isfinite(whole_column()[-1]).all()
    seconds = beside(benchmark, whole_column, references, rounds=ROUNDS)
    own = min(seconds["subject"])
    told = [f"{min(seconds[of]) / own:.2f} × {of}" for of in references]
    report.say(f"indicator {name}", f"{own / TICKS * 1e9:.1f} ns/value, {', '.join(told)}")


@pytest.mark.parametrize("name", BAR_RULES)
def test_bench_bars(benchmark: Any, report: Report, name: str) -> None:
    """Nanoseconds a tick, and the ratio to the bare loop."""
    rule, given = BAR_RULES[name], columns()
    ticks = np.array([given[n] for n in ("ts_event", "price", "quantity", "side")])
    integers, out = rule.integers(PARAMETERS[name]), np.empty((TICKS, 1))

    def cut() -> Any:
        return rule.advance(np.zeros(1, bars_state()), ticks, integers)

    assert len(cut()) > TICKS // 1_000
    seconds = beside(benchmark, cut, {"bare": lambda: bare(ticks, out)}, rounds=ROUNDS)
    own = min(seconds["subject"])
    ratio = min(seconds["bare"]) / own
    report.say(name, f"{own / TICKS * 1e9:.1f} ns/tick, {ratio:.2f} × bare")
