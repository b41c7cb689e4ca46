"""A picture of each indicator and kind of bars, on synthetic ticks, for docs/indicators.md.

`python -m parity.analysis.indicator_plots docs/indicators` writes them anew. Never here: what is
drawn is what `parity.kernels` says, and nothing is computed beside it.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from parity.analysis.plots import COLOURS, PRICE_COLOUR, dressed
from parity.kernels.bar_rules import BAR_RULES
from parity.kernels.catalogue import INDICATORS
from parity.sources.synthetic import generate

if TYPE_CHECKING:
    import altair as alt

    from parity.kernels.cutting import BarColumns
    from parity.kernels.indicator import Indicator

WIDTH_PX: Final = 640
HEIGHT_PX: Final = 170
TICKS: Final = 5_000  # of both instruments
BAR_SEC: Final = 20
# What is in prices stands over the price; everything else has a panel of its own.
OVER_THE_PRICE: Final = (
    "ema", "sma", "rolling_mean", "rolling_min", "rolling_max", "bollinger", "donchian", "vwap",
)  # fmt: skip
OF_TICKS: Final = ("vwap", "cvd", "cvd_quote", "cvd_inverse")  # drawn at the end of each bar
_SURPLUS: Final = re.compile(r"(\.\d\d)\d+")  # a hundredth of a pixel is enough
_OF_BARS: Final = {
    "time_bars": {"seconds": 60},
    "tick_bars": {"ticks": 60},
    "volume_bars": {"volume": 40},
}


@cache
def _ticks() -> dict[str, Any]:
    table, records = generate(ticks=TICKS)
    one = next(iter(table))
    rows = records[records["instrument_token"] == one.token]
    names = {"price": "price_int", "quantity": "quantity_int"}
    columns = {n: rows[names.get(n, n)] for n in ("ts_event", "price", "quantity", "side")}
    units = {"unit": 10**one.price_scale, "quantity_unit": 10**one.quantity_scale}
    return {"columns": columns, "units": units}


@cache
def _bars(name: str, **parameters: Any) -> BarColumns:
    given = _ticks()
    named = {**given["units"], **parameters}
    found: BarColumns = BAR_RULES[name](*given["columns"].values(), **named)
    return found


def values(one: Indicator) -> pl.DataFrame:
    """Return `t` in ms, `close` and the outputs of an indicator, a row a bar of 20 seconds."""
    bars, units = _bars("time_bars", seconds=BAR_SEC), _ticks()["units"]
    unit, quantity_unit = units["unit"], units["quantity_unit"]
    inputs = {n: np.rint(getattr(bars, n) * unit).astype("i8") for n in ("high", "low", "close")}
    inputs |= {"value": inputs["close"] if one.largest is not None else bars.close}
    inputs |= {"price": inputs["close"], "quantity": np.rint(bars.volume * quantity_unit)}
    inputs["quantity"] = inputs["quantity"].astype("i8")
    last: Any = slice(None)
    if one.name in OF_TICKS:
        inputs |= _ticks()["columns"]
        last = np.cumsum(bars.count) - 1
    known = {name: value for name, value in units.items() if name in one.parameters}
    said = one(*(inputs[name] for name in one.inputs), **known)
    outputs = (said,) if len(one.outputs) == 1 else said
    columns = {name: values[last] for name, values in zip(one.outputs, outputs, strict=True)}
    ms = bars.end // 10**6
    return pl.DataFrame({"t": ms, "close": bars.close, **columns}).fill_nan(None)


def plot_indicator(one: Indicator) -> alt.TopLevelMixin:
    """Plot an indicator with its defaults, over the price or in a panel below it."""
    import altair as alt

    frame = values(one)
    price = _line(frame.select("t", y="close"), "price").mark_line(
        color=PRICE_COLOUR, strokeWidth=1.1
    )
    own = _outputs(frame, one)
    if one.name in OVER_THE_PRICE:
        return dressed(alt.layer(price, own).properties(width=WIDTH_PX, height=HEIGHT_PX))
    upper = price.properties(width=WIDTH_PX, height=HEIGHT_PX // 2)
    lower = own.properties(width=WIDTH_PX, height=HEIGHT_PX)
    return dressed(alt.vconcat(upper, lower, spacing=6).resolve_scale(x="shared"))


def plot_bars(name: str) -> alt.TopLevelMixin:
    """Plot a kind of bars as candles over the ticks that they are made of."""
    import altair as alt

    given, bars = _ticks(), _bars(name, **_OF_BARS[name])
    frame = pl.DataFrame(bars.columns()).with_columns(
        t=(pl.col("start") + pl.col("end")) // (2 * 10**6),
        rose=(pl.col("close") >= pl.col("open")),
    )
    frame = frame.select("t", "open", "high", "low", "close", "rose")
    ticks = pl.DataFrame(
        {
            "t": given["columns"]["ts_event"] // 10**6,
            "y": given["columns"]["price"] / given["units"]["unit"],
        }
    )
    line = _line(ticks.gather_every(6), "price").mark_line(
        color=PRICE_COLOUR, strokeWidth=0.7, opacity=0.6
    )
    colour = alt.Color("rose:N", legend=None, scale=alt.Scale(range=[COLOURS[1], COLOURS[2]]))
    base = alt.Chart(frame).encode(x=_time(), color=colour)
    wicks = base.mark_rule().encode(y=_value("low", "price"), y2="high:Q")
    bodies = base.mark_bar(size=7).encode(y=_value("open", "price"), y2="close:Q")
    return dressed(alt.layer(line, wicks, bodies).properties(width=WIDTH_PX, height=HEIGHT_PX))


def _outputs(frame: pl.DataFrame, one: Indicator) -> Any:
    import altair as alt

    long = frame.select("t", *one.outputs).unpivot(
        one.outputs, index="t", variable_name="output", value_name="y"
    )
    colours = COLOURS[: len(one.outputs)]
    legend = alt.Legend(title=None, orient="top") if len(one.outputs) > 1 else None
    colour = alt.Color(
        "output:N", scale=alt.Scale(domain=list(one.outputs), range=colours), legend=legend
    )
    title = "price" if one.name in OVER_THE_PRICE else one.name
    return _line(long.drop_nulls(), title).mark_line(strokeWidth=1.5).encode(color=colour)


def _line(frame: pl.DataFrame, title: str) -> Any:
    import altair as alt

    return alt.Chart(frame).encode(x=_time(), y=_value("y", title))


def _time() -> Any:
    import altair as alt

    axis = alt.Axis(grid=False, tickCount=8, format="%H:%M", labelOverlap=True)
    return alt.X("t:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def _value(name: str, title: str) -> Any:
    import altair as alt

    scale = alt.Scale(zero=False, nice=True)
    return alt.Y(f"{name}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4))


def pictures() -> dict[str, str]:
    """Return every picture as SVG, by its name."""
    import vl_convert

    charts = {name: plot_indicator(one) for name, one in INDICATORS.items()}
    charts |= {name: plot_bars(name) for name in BAR_RULES}
    found = {}
    for name, chart in charts.items():
        spec = chart.to_dict()
        spec["config"]["aria"] = False  # one description a mark would double the file
        found[name] = _SURPLUS.sub(r"\1", vl_convert.vegalite_to_svg(spec)) + "\n"
    return found


def main(folder: Path) -> None:
    """Write every picture into a folder."""
    folder.mkdir(exist_ok=True)
    for name, svg in pictures().items():
        (folder / f"{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
