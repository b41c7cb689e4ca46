"""One picture of a run: the price, what was signalled, dropped and filled, and what it came to.

A plot stays small and hides nothing: of each pixel's ticks it keeps the first, lowest, highest and
last, and where markers are too many, one stands for several and the subtitle says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    import altair as alt

WIDTH_PX: Final = 860
HEIGHT_PX: Final = 360
PNL_HEIGHT_PX: Final = 200
MARKERS_MAX: Final = 800  # of signals, and again of drops and fills
LINES_MAX: Final = 6  # of PnL, beside the total: as many as there are colours
LINE_POINTS_MAX: Final = 4_500  # of all of them: the drawing library takes 5 000 rows
TOTAL: Final = "total"
# Okabe and Ito's palette, told apart by colour-blind readers; grey stays with price and drops.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, QUIET, PRICE_COLOUR, GRID = "#22262B", "#6B7480", "#8E97A3", "#E6E8EB"
# Words and shapes of the decisions; the last is a cross drawn with two strokes.
DECISIONS: Final = {
    "BUY": "triangle-up",
    "SELL": "triangle-down",
    "filled": "circle",
    "dropped": "M-.8,-.8L.8,.8M-.8,.8L.8,-.8",
}
# Markers grow smaller as they become many: (up to how many, area, px off the line). They stand off
# it, a BUY below and a SELL above, so that neither hides the price.
_SIZES: Final = ((80, 90, 12), (300, 50, 9), (MARKERS_MAX, 26, 7))
# Of long names in a legend both ends are shown: there they differ.
_SHORT: Final = (
    "length(datum.label) > 28 ? slice(datum.label, 0, 12) + '…' + slice(datum.label, -15)"
    " : datum.label"
)
# Up to which span in seconds the time axis is labelled how.
_TIME_FORMATS: Final = (
    (10, "%H:%M:%S.%L"),
    (900, "%H:%M:%S"),
    (2 * 86_400, "%H:%M"),
    (10 * 86_400, "%d %b %H:%M"),
)


def plot_run(
    ticks: pl.DataFrame,
    signals: pl.DataFrame,
    drops: pl.DataFrame,
    fills: pl.DataFrame | None = None,
    *,
    instrument: int | str,
    curves: pl.DataFrame | None = None,
) -> alt.TopLevelMixin:
    """Plot price, signals, drops and fills of one instrument over UTC time, and PnL below.

    Args:
        ticks: `ts_event` and `price`, as analysis.frames gives them.
        signals: approved signals: `ts_event, strategy_id, side, price, confidence`.
        drops: dropped candidates: `ts_event, strategy_id, side, price, reason`.
        fills: `ts_event, strategy_id, side, price`; None plots none.
        instrument: a token: only what is of this `instrument_token` is plotted; or a name for the
            title, where the frames hold one instrument only.
        curves: as analysis.results.equity gives them, of all instruments; None is no second panel.

    Returns:
        An altair chart; `.save("run.png")` and `.save("run.html")` need no browser.
    """
    import altair as alt

    name = str(instrument)
    fills = signals.clear() if fills is None else fills
    if isinstance(instrument, int):
        of_it = pl.col("instrument_token") == instrument
        ticks, signals, drops, fills = (f.filter(of_it) for f in (ticks, signals, drops, fills))
        name = ticks["symbol"][0] if len(ticks) else name
    priced = ticks.select("ts_event", "price").drop_nulls().sort("ts_event", maintain_order=True)
    line = thinned(priced, WIDTH_PX)
    made = merged(signals, ["strategy_id", "side"], MARKERS_MAX)
    lost = merged(drops, ["strategy_id", "reason"], MARKERS_MAX)
    done = merged(fills, ["strategy_id", "side"], MARKERS_MAX)
    marks = {"signal": (signals, made), "drop": (drops, lost), "fill": (fills, done)}
    filled = f", {_count(len(fills), 'fill')}" if len(fills) else ""
    heading = f"{name}: {_count(len(signals), 'signal')}, {len(drops):,} dropped{filled}"
    x = _time(priced)
    colour = _colour([*signals["strategy_id"], *fills["strategy_id"], *_drawn(curves)])
    shown = [*made["side"].unique(), *(["filled"] if len(done) else [])]
    shown += ["dropped"] if len(lost) else []
    shape = _shape([word for word in DECISIONS if word in shown])
    layers = [_price_layer(line, x)]
    layers += [_drop_layer(lost, x, shape)] if len(lost) else []
    layers += [_fill_layer(done, x, shape, colour)] if len(done) else []
    layers += _signal_layers(made, x, shape, colour) if len(made) else []
    title = alt.TitleParams(heading, subtitle=_subtitle(priced, len(line), marks), frame="group")
    chart = alt.LayerChart(layer=layers, width=WIDTH_PX, height=HEIGHT_PX, title=title)
    if curves is None or not len(curves):
        return dressed(chart)
    below = _pnl_chart(curves, x, colour)
    return dressed(alt.vconcat(chart, below, spacing=18).resolve_scale(color="shared"))


def plot_pnl(curves: pl.DataFrame) -> alt.TopLevelMixin:
    """Plot the profit of each strategy, and of all together, over UTC time.

    Args:
        curves: as analysis.results.equity gives them.
    """
    return dressed(_pnl_chart(curves, _time(curves.sort("ts_event")), _colour(_drawn(curves))))


def thinned(ticks: pl.DataFrame, buckets: int) -> pl.DataFrame:
    """Return at most 4 ticks of each time bucket: first, lowest, highest, last; in their order.

    A line through these covers the same pixels as a line through all of them.
    """
    if len(ticks) <= 4 * buckets:
        return ticks
    price, at = pl.col("price"), pl.col("at")
    kept = (
        ticks.with_columns(_bucket(buckets), at=pl.int_range(pl.len()))
        .group_by("bucket")
        .agg(
            first=at.first(),
            lowest=at.get(price.arg_min()),
            highest=at.get(price.arg_max()),
            last=at.last(),
        )
    )
    rows = pl.concat(kept[name] for name in ("first", "lowest", "highest", "last"))
    return ticks[rows.unique().sort()]


def merged(frame: pl.DataFrame, by: list[str], most: int) -> pl.DataFrame:
    """Return the rows with a `count` of 1 each, or where they are more than `most`, fewer.

    Then those alike in the columns `by` within a stretch of time become the first of them, which
    counts them all.
    """
    if len(frame) <= most:
        return frame.with_columns(count=pl.lit(1, pl.Int64))
    groups = frame.select(by).n_unique()
    return (
        frame.with_columns(_bucket(max(1, most // groups)))
        .group_by("bucket", *by, maintain_order=True)
        .agg(pl.all().exclude(by).first(), count=pl.len().cast(pl.Int64))
        .drop("bucket")
    )


def _bucket(buckets: int) -> pl.Expr:
    ns = pl.col("ts_event").to_physical()
    span = (ns.max() - ns.min()).clip(lower_bound=1)
    # Integers all the way: ns since the epoch are beyond what a float64 holds.
    return ((ns - ns.min()) // (span // buckets + 1)).alias("bucket")


def _subtitle(
    ticks: pl.DataFrame, drawn: int, marks: dict[str, tuple[pl.DataFrame, pl.DataFrame]]
) -> list[str]:
    if not len(ticks):
        return ["no ticks with a price"]
    first, last = ticks["ts_event"].dt.to_string("%Y-%m-%d %H:%M:%S").gather([0, -1])
    until = last[len("2000-01-01 ") :] if first[:10] == last[:10] else last
    lines = [f"{_count(len(ticks), 'tick')}, {first} – {until} UTC"]
    if drawn < len(ticks):
        lines[0] += f"; drawn are the first, lowest, highest and last of each pixel ({drawn:,})"
    standing = [
        f"{len(shown):,} marks stand for {_count(len(all_of_them), word)}"
        for word, (all_of_them, shown) in marks.items()
        if len(shown) < len(all_of_them)
    ]
    return [*lines, "; ".join(standing)] if standing else lines


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _prepared(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    # Vega counts milliseconds; a string would be read in the reader's own time zone.
    instant = pl.col("ts_event")
    exact = instant.dt.to_string("%Y-%m-%d %H:%M:%S%.9f UTC").alias("time")
    milliseconds = instant.dt.timestamp("ms").alias("t")
    shown = [exact] if columns else []
    text = [pl.col(name).cast(pl.String) for name in columns if name not in ("count", "confidence")]
    numbers = [pl.col(name) for name in columns if name in ("count", "confidence")]
    return frame.select(milliseconds, "price", *shown, *text, *numbers)


def _time(ticks: pl.DataFrame) -> Any:
    import altair as alt

    ns = ticks["ts_event"].to_physical()
    seconds = (ns.item(-1) - ns.item(0)) / 1e9 if len(ns) else 0.0
    label = next((f for most, f in _TIME_FORMATS if seconds <= most), "%Y-%m-%d")
    axis = alt.Axis(grid=False, tickCount=8, format=label, labelOverlap=True)
    return alt.X("t:T", title="time (UTC)", scale=alt.Scale(type="utc"), axis=axis)


def _price() -> Any:
    import altair as alt

    scale = alt.Scale(zero=False, nice=True, padding=14)
    return alt.Y("price:Q", title="price", scale=scale, axis=alt.Axis(tickCount=6))


def _price_layer(line: pl.DataFrame, x: Any) -> Any:
    import altair as alt

    mark = alt.Chart(_prepared(line)).mark_line(
        color=PRICE_COLOUR, strokeWidth=1.1, strokeJoin="round"
    )
    return mark.encode(x=x, y=_price())


def _shape(shown: list[str]) -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(DECISIONS), range=list(DECISIONS.values()))
    legend = alt.Legend(values=shown, symbolFillColor=INK, symbolStrokeColor=INK, symbolSize=90)
    return alt.Shape("decision:N", title="decision", scale=scale, legend=legend)


def _drop_layer(drops: pl.DataFrame, x: Any, shape: Any) -> Any:
    import altair as alt

    data = _prepared(drops, "strategy_id", "side", "reason", "count").with_columns(
        decision=pl.lit("dropped")
    )
    mark = alt.Chart(data).mark_point(
        filled=False, stroke=INK, strokeWidth=1.3, size=_size(len(drops))[0] / 2, opacity=0.42
    )
    tooltip = ["time", "strategy_id", "side", "reason", alt.Tooltip("price", format=""), "count"]
    return mark.encode(x=x, y=_price(), shape=shape, tooltip=tooltip)


def _fill_layer(fills: pl.DataFrame, x: Any, shape: Any, colour: Any) -> Any:
    import altair as alt

    data = _prepared(fills, "strategy_id", "side", "count").with_columns(decision=pl.lit("filled"))
    size = max(14, _size(len(fills))[0] // 3)
    mark = alt.Chart(data).mark_point(filled=False, size=size, strokeWidth=1.2, opacity=0.9)
    tooltip = ["time", "strategy_id", "side", alt.Tooltip("price", format=""), "count"]
    return mark.encode(x=x, y=_price(), color=colour, shape=shape, tooltip=tooltip)


def _signal_layers(signals: pl.DataFrame, x: Any, shape: Any, colour: Any) -> list[Any]:
    import altair as alt

    data = _prepared(signals, "strategy_id", "side", "confidence", "count").with_columns(
        decision=pl.col("side")
    )
    confidence = alt.Tooltip("confidence", format=".3f")
    tooltip = ["time", "strategy_id", "side", confidence, alt.Tooltip("price", format=""), "count"]
    layers = []
    size, offset = _size(len(signals))
    for side, y_offset in (("BUY", offset), ("SELL", -offset)):
        rows = data.filter(pl.col("decision") == side)
        mark = alt.Chart(rows).mark_point(
            filled=True, size=size, opacity=0.9, stroke="white", strokeWidth=0.5, yOffset=y_offset
        )
        layers.append(mark.encode(x=x, y=_price(), color=colour, shape=shape, tooltip=tooltip))
    return layers


def _colour(names: Iterable[str]) -> Any:
    import altair as alt

    # In order of their names, so that a strategy keeps its colour from plot to plot.
    known = sorted({*names} - {TOTAL})
    colours = [COLOURS[n % len(COLOURS)] for n in range(len(known))]
    if TOTAL in names:
        known, colours = [*known, TOTAL], [*colours, INK]
    scale = alt.Scale(domain=known, range=colours)
    legend = alt.Legend(labelExpr=_SHORT)
    return alt.Color("strategy_id:N", title="strategy", scale=scale, legend=legend)


# -- PnL -------------------------------------------------------------------------------------


def _drawn(curves: pl.DataFrame | None) -> list[str]:
    """Return which strategies have a line: those whose equity moved most, and the total."""
    if curves is None or not len(curves):
        return []
    equity = pl.col("equity").cast(pl.Float64)
    moved = (
        curves.drop_nulls("strategy_id")
        .group_by("strategy_id", "broker", maintain_order=True)
        .agg((equity.max() - equity.min()).alias("moved"))
        .sort(["moved", "strategy_id"], descending=[True, False])
    )
    names = moved["strategy_id"].unique(maintain_order=True).head(LINES_MAX).to_list()
    return [*names, TOTAL] if len(moved) > 1 else names


def _pnl_chart(curves: pl.DataFrame, x: Any, colour: Any) -> Any:
    import altair as alt

    names = _drawn(curves)
    whole = curves.select(
        "ts_event",
        pl.col("strategy_id").fill_null(TOTAL),
        *("broker", pl.col("equity").cast(pl.Float64).alias("price")),
    )
    drawn = whole.filter(pl.col("strategy_id").is_in(names))
    parts = drawn.partition_by("strategy_id", "broker", maintain_order=True)
    buckets = max(1, LINE_POINTS_MAX // (4 * len(parts)))
    gained = (own.with_columns(pl.col("price") - pl.col("price").first()) for own in parts)
    lines = pl.concat(thinned(own, buckets) for own in gained)
    data = _prepared(lines, "strategy_id", "broker").rename({"price": "pnl"})
    scale = alt.Scale(zero=False, nice=True, padding=8)
    y = alt.Y("pnl:Q", title="PnL", scale=scale, axis=alt.Axis(tickCount=5))
    tooltip = ["time", "strategy_id", "broker", alt.Tooltip("pnl", format=",.2f")]
    mark = alt.Chart(data).mark_line(strokeWidth=1.4, interpolate="step-after")
    zero = alt.Chart(pl.DataFrame({"pnl": [0.0]})).mark_rule(color=QUIET, strokeWidth=0.7)
    left_out = whole["strategy_id"].n_unique() - len({*names, TOTAL})
    subtitle = f"{left_out} more strategies moved less, and have no line" if left_out > 0 else ""
    title = alt.TitleParams(
        "PnL, positions marked at last prices", subtitle=subtitle, fontSize=14, frame="group"
    )
    # A strategy has one colour, and a line for each of its brokers.
    line = mark.encode(x=x, y=y, color=colour, detail="broker:N", tooltip=tooltip)
    layers = [zero.encode(y="pnl:Q"), line]
    return alt.LayerChart(layer=layers, width=WIDTH_PX, height=PNL_HEIGHT_PX, title=title)


def _size(markers: int) -> tuple[int, int]:
    return next(
        (area, offset) for most, area, offset in _SIZES if markers <= most or most == MARKERS_MAX
    )


def dressed(chart: Any) -> alt.TopLevelMixin:
    """Return a chart in the colours and type of all of ours."""
    configured: alt.TopLevelMixin = (
        chart.configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=17, color=INK, subtitleColor=QUIET, offset=14)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(
            titleFontWeight="normal",
            labelFontSize=12,
            symbolStrokeWidth=1.5,
            titleColor=INK,
            labelColor=INK,
            labelLimit=220,
        )
    )
    return configured
