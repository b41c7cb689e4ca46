"""The small parts of the HTML pages: cards, tables, numbers as a person reads them.

Never here: what a page says.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

ROWS_MAX: Final = 60  # of a table; the rest is counted
Cell = tuple[str, str]  # class and HTML


def section(title: str, *parts: str) -> str:
    """Return a heading and its cards."""
    wrapped = [p if p.startswith('<div class="card">') else card(p) for p in parts]
    return f"<section><h2>{text(title)}</h2>{''.join(wrapped)}</section>"


def card(inner: str) -> str:
    """Return a framed part of the page."""
    return f'<div class="card">{inner}</div>'


def table(
    heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, last: Sequence[Cell] | None = None
) -> str:
    """Return a table; of many rows the first, and how many more there are.

    Args:
        heads: may be empty.
        rows: cells with their class and HTML.
        last: a row of totals.
    """
    shown = [f"<tr>{cells('td', row)}</tr>" for row in rows[:ROWS_MAX]]
    if last is not None:
        shown.append(f'<tr class="total">{cells("td", last)}</tr>')
    more = len(rows) - ROWS_MAX
    rest = f'<p class="quiet">and {more} more</p>' if more > 0 else ""
    head = f"<tr>{cells('th', heads)}</tr>" if heads else ""
    return f"<table>{head}{''.join(shown)}</table>{rest}"


def cells(tag: str, row: Iterable[Cell]) -> str:
    """Return a row's cells."""
    return "".join(
        f'<{tag} class="{kind}">{inner}</{tag}>' if kind else f"<{tag}>{inner}</{tag}>"
        for kind, inner in row
    )


def number(value: Any) -> str:
    """Return a count with its thousands apart, or a dash."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def money(exact: str) -> str:
    """Return an amount with two decimals."""
    return f"{Decimal(exact):,.2f}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """Return a share as percent, or a dash."""
    return "–" if share is None else f"{100 * share:.1f}\u202f%"


def text(value: Any) -> str:
    """Return a value, escaped."""
    return html.escape(str(value))
