"""Cards: what a run, a recording or a verdict says of itself in a notebook, as HTML.

Built from the plain values that `--json` prints; so low a room because proofs have cards too. Every
value is escaped; no script, no style sheet, nothing fetched.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# Words and colours of a heading's mark; readable on light and dark pages.
_TONES: Final = {"good": "#1A7F4B", "bad": "#C0392B", "warn": "#B7791F", "plain": "#6B7480"}
VERDICT_TONES: Final = {"identical": "good", "different": "bad", "changed": "warn"}
ROWS_MAX: Final = 20
_CARD = (
    "display:inline-block;max-width:100%;overflow-x:auto;padding:10px 14px;margin:2px 0;"
    "border:1px solid rgba(127,127,127,.35);border-radius:6px;font:13px/1.5 system-ui,sans-serif"
)
_CELL = "padding:1px 14px 1px 0;text-align:left;vertical-align:top;border:0;background:none"
_FAINT = "opacity:.65;font-weight:400"


def card(
    title: str,
    facts: Iterable[tuple[str, Any]] = (),
    *,
    mark: str = "",
    tone: str = "plain",
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None,
) -> str:
    """Return a card as HTML.

    Args:
        title: what the card is about.
        facts: names and values, one line each; a value of None is left out.
        mark: one word beside the title.
        tone: the colour of the mark: good, bad, warn or plain.
        table: column names and rows below the facts; rows beyond ROWS_MAX are counted, not shown.
    """
    badge = f' <span style="color:{_TONES[tone]};font-weight:600">{_text(mark)}</span>'
    lines = [f"<div><b>{_text(title)}</b>{badge if mark else ''}</div>"]
    rows = [
        f'<tr><th style="{_CELL};{_FAINT}">{_text(name)}</th>'
        f'<td style="{_CELL}">{_text(value)}</td></tr>'
        for name, value in facts
        if value is not None
    ]
    lines += [f'<table style="border:0">{"".join(rows)}</table>'] if rows else []
    lines += [_table(*table)] if table and table[1] else []
    return f'<div style="{_CARD}">{"".join(lines)}</div>'


def run_card(summary: Mapping[str, Any], *, title: str = "run") -> str:
    """Return the card of a run from what `backtest --json` prints."""
    drops = summary.get("drops", {})
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(drops.items()))
    digests = summary.get("digests", {})
    facts = [
        ("ticks", summary.get("ticks")),
        ("signals", summary.get("signals")),
        ("dropped", f"{sum(drops.values()):,}" + (f" ({reasons})" if reasons else "")),
        ("fills", summary.get("fills")),
        *((f"{name} digest", _short(digest)) for name, digest in digests.items()),
    ]
    rows = [
        [name, s.get("signals"), _total(s.get("drops")), s.get("fills"), s.get("pnl")]
        for name, s in sorted(summary.get("strategies", {}).items())
    ]
    columns = ("strategy", "signals", "dropped", "fills", "PnL")
    return card(title, facts, table=(columns, rows))


def recording_card(summary: Mapping[str, Any], *, title: str = "recording") -> str:
    """Return the card of a recording from what `inspect --json` prints, or a part of it."""
    instruments = summary.get("instruments", [])
    gaps = summary.get("gaps")
    flags = {name: count for name, count in summary.get("flags", {}).items() if count}
    facts = [
        ("ticks", summary.get("ticks")),
        ("order", summary.get("order")),
        ("state", summary.get("state")),
        ("gaps", gaps),
        ("flags", ", ".join(f"{name} {number:,}" for name, number in flags.items()) or None),
    ]
    keys = ("symbol", "venue", "kind", "price_scale", "quantity_scale", "ticks", "first", "last")
    held = [key for key in keys if any(row.get(key) not in (None, "") for row in instruments)]
    rows = [
        [str(i.get("token", i.get("instrument_token"))), *(i.get(k) for k in held)]
        for i in instruments
    ]
    mark, tone = ("has gaps", "warn") if gaps else ("", "plain")
    columns = ["token", *(key.replace("_", " ") for key in held)]
    return card(title, facts, mark=mark, tone=tone, table=(columns, rows))


def verdict_card(verdict: Mapping[str, Any], *, title: str = "verify") -> str:
    """Return the card of a verdict from what `verify --json` prints."""
    word = str(verdict.get("verdict", ""))
    facts = [
        ("covered", _counts(verdict.get("covered"))),
        ("changed", ", ".join(map(str, verdict.get("changed") or ())) or None),
        *_divergence(verdict.get("first_divergence")),
    ]
    return card(title, facts, mark=word, tone=VERDICT_TONES.get(word, "bad"))


def difference_card(difference: Mapping[str, Any], *, title: str = "diff") -> str:
    """Return the card of a comparison from what `diff --json` prints."""
    same = difference.get("same") is True
    facts = [
        ("compared", _counts(difference.get("covered"))),
        ("changed", ", ".join(map(str, difference.get("changed") or ())) or None),
        *_divergence(difference.get("first_divergence")),
    ]
    mark, tone = ("same", "good") if same else ("different", "warn")
    return card(title, facts, mark=mark, tone=tone)


def _divergence(first: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    if not first:
        return []
    # Whatever the report names, in its order and as it stands: no thousands in a seq or a token.
    return [("first divergence", ""), *((name, str(value)) for name, value in first.items())]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f'<th style="{_CELL};{_FAINT}">{_text(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_text(value)}</td>' for value in row) + "</tr>"
        for row in rows[:ROWS_MAX]
    )
    more = len(rows) - ROWS_MAX
    rest = f'<div style="{_FAINT}">and {more:,} more</div>' if more > 0 else ""
    return f'<table style="border:0;margin-top:6px"><tr>{head}</tr>{body}</table>{rest}'


def _counts(counts: Mapping[str, int] | None) -> str | None:
    return ", ".join(f"{number:,} {name}" for name, number in (counts or {}).items()) or None


def _total(drops: Any) -> Any:
    return sum(drops.values()) if isinstance(drops, Mapping) else drops


def _short(digest: Any) -> str:
    text = str(digest)
    return f"{text[:16]}…" if len(text) > 20 else text


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return html.escape(str(value))
