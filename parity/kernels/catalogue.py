"""Every indicator by name, and docs/indicators.md, which is made of nothing else.

`python -m parity.kernels.catalogue > docs/indicators.md` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from parity.kernels import extremes, flows, returns, smoothing, windows

if TYPE_CHECKING:
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
  value, `snapshot()` plain values, and `restore()` takes them back, into a stream of the same
  indicator and parameters only.
- **On bars** give the bars' columns; on ticks the price stands for high, low and close.

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


def named(name: str) -> Any:
    """Return an indicator, or the step or state of one, or None."""
    if name in INDICATORS:
        return INDICATORS[name]
    stem, _, part = name.rpartition("_")
    if stem not in INDICATORS or part not in ("step", "state"):
        return None
    return INDICATORS[stem].step if part == "step" else INDICATORS[stem].dtype


def page() -> str:
    """Return docs/indicators.md."""
    return "".join([_HEAD, *(part for one in INDICATORS.values() for part in _section(one))])


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


def _counted(count: int) -> str:
    return f"{count} values with the defaults" if count > 1 else "none: the first value counts"


def _wrapped(text: str) -> str:
    return f"{fill(text, 98, subsequent_indent='  ', break_on_hyphens=False)}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
