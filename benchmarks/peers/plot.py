"""The plot of the crosses: ticks a second by system, from a file and from memory."""

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
BAR_PX: Final = 26


def plot(found: list[Found], ticks: int, subtitle: str) -> alt.TopLevelMixin:
    """Return the chart: one panel a start, fastest first, ticks a second on a logarithmic axis."""
    rows = [
        {
            "case": one.case.name + ("" if one.case.sums == "exact integers" else " (floats)"),
            "start": one.case.start,
            "whose": "other systems" if one.case.peer else "parity",
            "rate": ticks / one.seconds,
            "shown": f"{ticks / one.seconds / 1e6:.3g} M/s",
        }
        for one in found
    ]
    for row in rows:
        if row["case"].startswith("plain"):
            row["whose"] = "no system"
    whose = alt.Color(
        "whose:N",
        title=None,
        scale=alt.Scale(
            domain=["parity", "other systems", "no system"],
            range=[COLOURS[0], COLOURS[4], "#999999"],
        ),
        legend=alt.Legend(orient="bottom"),
    )
    low = min(row["rate"] for row in rows) / 2
    high = max(row["rate"] for row in rows) * 3
    panels = []
    for start, title in TITLES.items():
        mine = pl.DataFrame([row for row in rows if row["start"] == start])
        if not len(mine):
            continue
        mine = mine.with_columns(low=pl.lit(low))
        base = alt.Chart(mine).encode(
            y=alt.Y("case:N", sort=alt.SortField("rate", "descending"), title=None).axis(
                labelLimit=340, ticks=False, domain=False
            ),
        )
        x = alt.X("low:Q", title="ticks a second, CPU time, logarithmic").scale(
            type="log", domain=[low, high], nice=False
        )
        bars = base.mark_bar(height=BAR_PX * 0.68).encode(
            x=x.axis(format="~s", tickCount=5), x2="rate:Q", color=whose
        )
        text = base.mark_text(align="left", dx=5, fontSize=11).encode(x="rate:Q", text="shown:N")
        height = BAR_PX * mine["case"].n_unique()
        panels.append((bars + text).properties(title=title, width=WIDTH_PX, height=height))
    head = alt.TitleParams("The SMA 20/50 cross on the same ticks", subtitle=subtitle)
    return dressed(alt.vconcat(*panels, spacing=22, title=head))


def save(path: Path, found: list[Found], ticks: int, subtitle: str) -> None:
    """Write the plot; the name's ending says as what."""
    plot(found, ticks, subtitle).save(str(path))  # type: ignore[attr-defined] # of every chart
