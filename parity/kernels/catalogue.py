"""Every indicator by name, and docs/indicators.md, which is made of nothing else.

`python -m parity.kernels.catalogue > docs/indicators.md` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from parity.kernels import extremes, flows, returns, smoothing, windows
from parity.kernels.bar_rules import BAR_RULES
from parity.kernels.bar_steps import bars_state

if TYPE_CHECKING:
    from parity.kernels.cutting import BarRule
    from parity.kernels.indicator import Indicator

INDICATORS: Final[dict[str, Indicator]] = {
    one.name: one
    for family in (smoothing, windows, extremes, returns, flows)
    for one in family.INDICATORS
}

_HEAD: Final = """\
# Indicators

<!-- Written by `python -m parity.kernels.catalogue > docs/indicators.md`, which a test checks. -->

Each indicator is one streaming step, and everything else is made from it: whole columns, kernels
and processors get the same bits at every row, from the first on, however the rows were cut and
through a restart. A reference in plain Python, written from the definition, holds it to that in
`make test`.

```python
import polars as pl
from parity.kernels import bollinger, sma

df = pl.DataFrame({"price": [10.5, 10.7, 10.6, 10.9]})
df = df.with_columns(mean=sma(df["price"], 2))
bands = bollinger(df["price"], 3, width=2.0)
assert df["mean"].to_list()[1:] == [10.6, 10.65, 10.75]
assert bands._fields == ("middle", "upper", "lower")
```

- **Columns.** First the inputs, then the parameters in the order below; numpy, polars, pandas or
  lists. The result is a float64 array, or a named tuple of them.
- **Warm-up.** A value is NaN until the row's warm-up is over, all outputs of an indicator at
  once; from then on never, but where the formula says so.
- **Gaps.** A row where an input is missing (null, NaN, masked) has NaN and changes nothing: the
  next row goes on as if it had not been there. An infinity, and what is no number, is refused.
- **Integers.** Most take exact integers (`price_int`) and the `unit`, 10 to the scale, that one
  of them is parts of; prices and quantities have each their own. A column of floats or Decimals
  is taken at its shortest decimal and says its unit itself. An integer of which the sums might
  not be exact is refused by name before anything is computed, and a running sum of quantities at
  the row where it would leave what is exact, wherever a column was cut.
- **Exactness.** *Correctly rounded* is the float64 nearest to the true value: the sums are exact
  and divided once. *Float* is a fixed order of additions, multiplications, divisions and square
  roots, so the bits are the same on every machine; no other function of libm is called, and no
  fast-math.
- **In a kernel** the step is called with its own record in the state, as below: parameters first,
  in the order of the page, units included, then inputs. It checks neither parameters nor
  sizes: hold the integers against `sma.largest({"window": 200})` first, kept in a parameter, and
  return an error code beyond it, as `sma_cross_kernel` does with a limit of its own.
  `rsi_state()` and `sma_state(200)` are dtypes of that record for these parameters; zeros are a
  fresh one.
- **In a processor** `rsi.stream(window=14)` is one instrument's: `push(tick.price_int)` gives the
  value (a quantity is `tick.quantity_int`), `snapshot()` plain values, and `restore()` takes them
  back, into a stream of the same indicator and parameters only.
- **Pictures** are of synthetic ticks in bars of 20 seconds, with the defaults; flows and VWAP are
  of the ticks. `python -m parity.analysis.indicator_plots docs/indicators` draws them.
- **Other libraries.** On real ticks all are TA-Lib's to 1e-9 where the definitions agree
  (`tests/data/test_indicators_talib.py`); the notes say where not. What TA-Lib has no function for
  (z-score, realised volatility, CVD) is held against its sums.
- **On bars** ([below](#bars)) give the bars' columns; on ticks the price stands for high, low and
  close.

As a processor, one stream an instrument; a history of 1 has it called from the first tick on:

```python
import parity as pt
from parity.kernels import rsi


class Oversold:
    \"\"\"Buy when an instrument's RSI comes back to `level` from below.\"\"\"

    def __init__(self, *, window=14, level=30.0, quantity=1.0):
        self.window = window
        self.level = level
        self.quantity = quantity
        self.streams = {}
        self.below = {}

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "oversold"

    def process_tick(self, tick, history):
        token = tick.instrument_token
        if token not in self.streams:
            self.streams[token] = rsi.stream(window=self.window)
        value = self.streams[token].push(tick.price_int)
        was, self.below[token] = self.below.get(token, False), value < self.level
        if not was or self.below[token]:
            return None
        return pt.SignalResult("BUY", 0.6, self.quantity, tick.price, "came back", {"rsi": value})

    def snapshot(self):
        streams = {str(token): stream.snapshot() for token, stream in self.streams.items()}
        return {"streams": streams, "below": {str(token): was for token, was in self.below.items()}}

    def restore(self, state):
        self.below = {int(token): was for token, was in state["below"].items()}
        self.streams = {}
        for token, plain in state["streams"].items():
            self.streams[int(token)] = rsi.stream(window=self.window)
            self.streams[int(token)].restore(plain)
```

The same as a kernel, with the same candidates bit for bit:

```python
import numpy as np

from parity.kernels import rsi_state, rsi_step
from parity.model.kernel import KernelStrategy, out_dtype

STATE = np.dtype([("rsi", rsi_state()), ("below", "i8")], align=True)
PARAMS = np.dtype([("window", "i8"), ("level", "f8"), ("quantity", "f8")], align=True)


def step(state, params, out, price_int, price):
    value = rsi_step(state.rsi, params.window, price_int)
    was = state.below
    state.below = 1 if value < params.level else 0
    if was == 0 or state.below == 1:
        return 0
    out.side = 1
    out.confidence = 0.6
    out.quantity = params.quantity
    out.price = price
    out.rsi = value
    return 1


def create(parameters):
    given = {"window": 14, "level": 30.0, "quantity": 1.0, **parameters}
    return KernelStrategy(
        name="oversold",
        step=step,
        state=STATE,
        params=np.array((given["window"], given["level"], given["quantity"]), PARAMS),
        out=out_dtype(("rsi", "f8")),
        columns=("price_int", "price"),
        history=1,
        describe=lambda candidate: ("came back", {"rsi": candidate["rsi"]}),
    )
```
"""


_BARS: Final = """\

# Bars

Ticks of one instrument as bars, in the same forms as an indicator: columns of a frame, a stream
for a processor, a step for a kernel, the same bars in all of them however the rows were cut. Bars
of time are those that `process_bar` is [told of](strategies.md#bars).

```python
from parity.kernels import rsi, time_bars

ticks = pl.DataFrame({
    "ts_event": [1_000_000_000, 4_000_000_000, 12_000_000_000, 31_000_000_000],
    "price": [10.5, 10.7, 10.6, 10.9],
    "quantity": [1.0, 2.0, 0.5, 1.0],
})
bars = time_bars(ticks["ts_event"], ticks["price"], ticks["quantity"], seconds=10, empty="flat")
frame = pl.DataFrame(bars.columns()).with_columns(rsi=rsi(bars.close, 2))
assert frame["open"].to_list() == [10.5, 10.6, 10.6]
assert frame["count"].to_list() == [2, 1, 0]
assert frame["partial"].to_list() == [True, False, False]
```

- A bar opens with its first tick, never with the close before. Only what has closed is given; at
  the end of the columns a bar is still open.
- Columns: `ts_event` (integers in ns UTC, or datetimes with a time zone; numpy's are UTC) in the
  order of arrival, `price`, `quantity` and, where there is one, `side`. A row that lacks one of the
  first three is as if it were not there; one without a side is on neither.
- A named tuple of columns: `start`, `end` (ns UTC), `open`, `high`, `low`, `close`, `count`,
  `volume`, `notional`, `vwap`, `buy`, `sell`, `partial`, and `left_out`, the number of late ticks,
  which are in no bar; `columns()` is all but that, by name. All sums are exact and divided once,
  correctly rounded; a volume beyond 2**53 is refused by name.
- In a processor `time_bars.stream(seconds=10)` is one instrument's: `push(tick.ts_event,
  tick.price_int, tick.quantity_int, tick.side)` gives a list of the bars that closed, in exact
  integers. `snapshot()` and `restore()` as above; volumes want `quantity_unit`.
- In a kernel the record is `bars_state()`, and the step returns how many bars closed: the first
  of them is `state.bars.closed`, and `closed.flat` ones at its close follow.

As a kernel, an RSI on bars of volume:

```python
import numpy as np

from parity.kernels import bars_state, rsi_state, rsi_step, volume_bars_step
from parity.model.kernel import KernelStrategy, out_dtype

STATE = np.dtype([("bars", bars_state()), ("rsi", rsi_state())], align=True)
PARAMS = np.dtype([("volume_int", "i8"), ("window", "i8"), ("level", "f8")], align=True)


def step(state, params, out, ts_event, price_int, quantity_int, side, price):
    closed = volume_bars_step(
        state.bars, params.volume_int, ts_event, price_int, quantity_int, side
    )
    if closed == 0:
        return 0
    value = rsi_step(state.rsi, params.window, state.bars.closed.close)
    if not value < params.level:
        return 0
    out.side = 1
    out.confidence = 0.6
    out.quantity = 1.0
    out.price = price
    out.rsi = value
    return 1


def create(parameters):
    given = {"volume_int": 5_000, "window": 3, "level": 35.0, **parameters}
    return KernelStrategy(
        name="tired",
        step=step,
        state=STATE,
        params=np.array((given["volume_int"], given["window"], given["level"]), PARAMS),
        out=out_dtype(("rsi", "f8")),
        columns=("ts_event", "price_int", "quantity_int", "side", "price"),
        history=1,
        describe=lambda candidate: ("sold out", {"rsi": candidate["rsi"]}),
    )
```
"""


def named(name: str) -> Any:
    """Return an indicator or a way to cut bars, or the step or state of one, or None."""
    if name in INDICATORS:
        return INDICATORS[name]
    if name in BAR_RULES:
        return BAR_RULES[name]
    if name == "bars_state":
        return bars_state
    stem, _, part = name.rpartition("_")
    if stem in BAR_RULES and part == "step":
        return BAR_RULES[stem].step
    if stem not in INDICATORS or part not in ("step", "state"):
        return None
    return INDICATORS[stem].step if part == "step" else INDICATORS[stem].dtype


def page() -> str:
    """Return docs/indicators.md."""
    indicators = (part for one in INDICATORS.values() for part in _section(one))
    return "".join([_HEAD, *indicators, _BARS, *(_bar_section(one) for one in BAR_RULES.values())])


def _section(one: Indicator) -> Iterator[str]:
    defaults = [f"{name}={value}" for name, value in one.parameters.items()]
    yield f"\n## {one.name}\n\n"
    yield _wrapped(f"`{one.name}({', '.join((*one.inputs, *defaults))})`: {one.title}.") + "\n"
    told = {
        "gives": ", ".join(one.outputs),
        "formula": one.formula,
        "source": one.source,
        "warm-up": _counted(one.warm_up(one.parameters)),
        "exactness": one.exactness,
        "note": one.note,
    }
    if one.largest is not None:
        told["largest integer"] = f"{one.largest(one.parameters)} with the defaults"
    yield from (_wrapped(f"- {what}: {text}") for what, text in told.items() if text)
    yield _picture(one.name)


def _bar_section(rule: BarRule) -> str:
    defaults = ", ".join(f"{name}={value!r}" for name, value in rule.parameters.items())
    said = f"`{rule.name}(ts_event, price, quantity, side=None, *, {defaults})`: {rule.title}."
    return (
        f"\n## {rule.name}\n\n{_wrapped(said)}\n{_wrapped(f'- {rule.rule}')}{_picture(rule.name)}"
    )


def _picture(name: str) -> str:
    return f"\n![{name} on synthetic ticks](indicators/{name}.svg)\n"


def _counted(count: int) -> str:
    return f"{count} values with the defaults" if count > 1 else "none: the first value counts"


def _wrapped(text: str) -> str:
    return f"{fill(text, 98, subsequent_indent='  ', break_on_hyphens=False)}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
