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

_FAMILIES: Final = (smoothing, windows, extremes, returns, flows)
INDICATORS: Final[dict[str, Indicator]] = {
    one.name: one for family in _FAMILIES for one in family.INDICATORS
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
- **Gaps.** A row where an input is missing (null, NaN) has NaN and changes nothing: the next row
  goes on as if it had not been there. An infinity is refused.
- **Integers.** Most take exact integers (`price_int`) and the `unit`, 10 to the scale, that one
  of them is parts of; prices and quantities have each their own. A column of floats or Decimals
  is taken at its shortest decimal and says its unit itself. An integer of which the sums might
  not be exact is refused by name before anything is computed.
- **Exactness.** *Correctly rounded* is the float64 nearest to the true value: the sums are exact
  and divided once. *Float* is a fixed order of additions, multiplications, divisions and square
  roots, so the bits are the same on every machine; no other function of libm is called, and no
  fast-math.
- **In a kernel** the step is called with its own record in the state: `from parity.kernels import
  rsi_state, rsi_step`, `np.dtype([("rsi", rsi_state()), …])`, `rsi_step(state.rsi, 14,
  price_int)`. Zeros are a fresh state. It takes parameters first, in the order below, then
  inputs, and checks nothing.
- **In a processor** `rsi.stream(window=14)` is one instrument's: `push(tick.price_int)` gives the
  value, `snapshot()` plain values, `restore()` takes them back.
- **On bars** give the bars' columns; on ticks the price stands for high, low and close.
"""


def named(name: str) -> Any:
    """Return an indicator, or the step or state of one, or None."""
    if name in INDICATORS:
        return INDICATORS[name]
    if name.endswith(("_step", "_state")):
        for family in _FAMILIES:
            if hasattr(family, name):
                return getattr(family, name)
    return None


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
        "warm-up": f"{one.warm_up(one.parameters)} values with the defaults",
        "exactness": one.exactness,
        "differs": one.differs,
    }
    if one.largest is not None:
        told["largest integer"] = f"{one.largest(one.parameters)} with the defaults"
    yield from (_wrapped(f"- {what}: {text}") for what, text in told.items() if text)


def _wrapped(text: str) -> str:
    return f"{fill(text, 98, subsequent_indent='  ', break_on_hyphens=False)}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
