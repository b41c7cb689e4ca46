"""The plot of the crosses: ticks a second by system and rate, from a file and from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import polars as pl

from parity.analysis.plots import COLOURS, dressed

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.crosses import Found

TITLES: Final = {"file": "From a file, end to end", "memory": "From memory"}
WIDTH_PX: Final = 560
BAR_PX: Final = 15  # two of them a case


def plot(found: list[Found], ticks: int, subtitle: str) -> alt.TopLevelMixin:
    """Return the chart: one panel a start, a bar for each case and rate, on a logarithmic axis.

    Fastest first, at the usual rate.
    """
    rows = [
        {
            "case": one.case.name + ("" if one.case.sums == "exact integers" else " (floats)"),
            "start": one.case.start,
            "whose": "other systems" if one.case.peer else "parity",
            "periods": "SMA {}/{}".format(*one.periods),
            "turn": -one.periods[1],
            "rate": ticks / one.seconds,
            "shown": f"{ticks / one.seconds / 1e6:.3g} M/s",
        }
        for one in found
    ]
    for row in rows:
        if row["case"].startswith("plain"):
            row["whose"] = "no system"
    legend = alt.Legend(orient="bottom")
    names = [row["periods"] for row in sorted(rows, key=lambda row: row["turn"])]
    names = list(dict.fromkeys(names))  # the usual rate first, in the full colour
    scale = alt.Scale(
        domain=["parity", "other systems", "no system"],
        range=[COLOURS[0], COLOURS[4], "#999999"],
    )
    whose = alt.Color("whose:N", title=None, scale=scale, legend=legend)
    faint = alt.Scale(domain=names, range=[1.0, 0.45][: len(names)])
    which = alt.Opacity("periods:N", title=None, scale=faint, legend=legend)
    low = min(row["rate"] for row in rows) / 2
    high = max(row["rate"] for row in rows) * 3
    panels = []
    for start, title in TITLES.items():
        mine = pl.DataFrame([row for row in rows if row["start"] == start])
        if not len(mine):
            continue
        mine = mine.with_columns(low=pl.lit(low))
        usual = mine.filter(pl.col("turn") == pl.col("turn").min().over("case"))
        order = usual.sort("rate", descending=True)["case"].to_list()
        base = alt.Chart(mine).encode(
            y=alt.Y("case:N", sort=order, title=None).axis(
                labelLimit=340, ticks=False, domain=False
            ),
            yOffset=alt.YOffset("periods:N", sort=names),
        )
        x = alt.X("low:Q", title="ticks a second, CPU time, logarithmic").scale(
            type="log", domain=[low, high], nice=False
        )
        bars = base.mark_bar(height=BAR_PX * 0.75).encode(
            x=x.axis(format="~s", tickCount=5), x2="rate:Q", color=whose, opacity=which
        )
        text = base.mark_text(align="left", dx=5, fontSize=10).encode(x="rate:Q", text="shown:N")
        height = BAR_PX * (len(names) + 0.4) * len(order)
        panels.append((bars + text).properties(title=title, width=WIDTH_PX, height=height))
    head = alt.TitleParams("The SMA cross on the same ticks, at two rates", subtitle=subtitle)
    return dressed(alt.vconcat(*panels, spacing=22, title=head))


def save(path: Path, found: list[Found], ticks: int, subtitle: str) -> None:
    """Write the plot; the name's ending says as what."""
    plot(found, ticks, subtitle).save(str(path))  # type: ignore[attr-defined] # of every chart
