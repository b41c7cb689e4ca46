"""What a report's page says of a live run alone: deliveries, the reality gap, latency, stalls.

Empty for runs that were not live. Never here: a number that the report does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from parity.analysis.latency import span_text
from parity.analysis.markup import Cell, number, section, table, text
from parity.recording.inspect import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

STALLS_SHOWN: Final = 5
MEANS: Final = {
    "journal": "ts_recv to journaled",
    "decide": "candidates and decisions",
    "sync": "durable before a signal leaves",
    "deliver": "offered to the publisher's report",
    "publish": "ts_recv to the publisher's report",
    "checkpoint": "outputs and state to disk; holds the loop up",
}
_SPREAD: Final = ("p50_ns", "p99_ns", "p999_ns", "max_ns")


def live_sections(values: Mapping[str, Any]) -> list[str]:
    """Return the sections of a report's values; none where the run has neither."""
    found = []
    if values["deliveries"] is not None:
        found.append(section("Deliveries", *_deliveries(values["deliveries"])))
    if values["reality_gap"]:
        found.append(section("Reality gap", _gaps(values)))
    latency = values["latency"]
    if latency is not None:
        found.append(section("Latency", _stages(latency)))
        found.append(section("What held the loop up", *_stalls(latency)))
    return found


FATES: Final = ("signals", "fills")


def fate_words(counts: Mapping[str, int]) -> str:
    """Return how many have which state; those that always could be there stand also with 0.

    >>> fate_words({"delivered": 1200, "recovered": 0, "dead": 0})
    'delivered 1\u202f200, dead 0'
    """
    told = (f"{s} {number(n)}" for s, n in counts.items() if n or s != "recovered")
    return ", ".join(told)


def gap_rows(gap: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return what was filled outside and on paper as two rows of texts, for people."""
    return [
        (
            name,
            number(leg["filled"]),
            number(leg["missed"]),
            basis_points(leg["slippage_mean"]),
            basis_points(leg["slippage_max"]),
            "–" if leg["latency_ns_p50"] is None else span_text(leg["latency_ns_p50"]),
            "–" if leg["latency_ns_max"] is None else span_text(leg["latency_ns_max"]),
            f"{leg['commission']:,.2f}".replace(",", "\u202f"),
        )
        for name, leg in (("outside", gap["outside"]), ("paper", gap["paper"]))
    ]


GAP_HEADS: Final = (
    *("filled", "missed", "slippage", "largest", "delay p50", "longest", "commission"),
)


def gap_words(gap: Mapping[str, Any]) -> str:
    """Return what the two rows do not say."""
    words = [f"{number(gap['signals'])} signals"]
    if gap["price_gap_mean"] is not None:
        words.append(f"outside costs {basis_points(gap['price_gap_mean'])} more than paper")
    if gap["fills_without_signal"]:
        words.append(f"{number(gap['fills_without_signal'])} outside fills without a signal")
    if gap["not_simulated"]:
        words.append(f"{number(gap['not_simulated'])} are no market orders: not on paper")
    return ", ".join(words)


def basis_points(share: float | None) -> str:
    """Return a fraction in basis points; above 0 it is a cost.

    >>> basis_points(0.00125), basis_points(-0.00001), basis_points(None)
    ('12.50 bp', '-0.10 bp', '–')
    """
    return "–" if share is None else f"{share * 10_000:.2f} bp"


def _deliveries(out: Mapping[str, Any]) -> list[str]:
    rows: list[list[Cell]] = [
        [("id", name), ("", text(fate_words(out[name])))] for name in FATES if out[name]
    ]
    found = [table([], rows)]
    if out["dead"]:
        names = ("kind", "number", "strategy_id", "broker", "topic", "error")
        heads: list[Cell] = [("", "dead"), ("n", "number"), *(("", n) for n in names[2:])]
        shown: list[list[Cell]] = [
            [("n" if name == "number" else "", text(one[name] or "–")) for name in names]
            for one in out["dead"]
        ]
        found.append(table(heads, shown))
    return found


def _gaps(values: Mapping[str, Any]) -> str:
    parts = []
    for gap in values["reality_gap"]:
        heads: list[Cell] = [("", ""), *(("n", text(head)) for head in GAP_HEADS)]
        rows = [
            [("id", text(name)), *(("n", text(cell)) for cell in cells)]
            for name, *cells in gap_rows(gap)
        ]
        named = f"{gap['strategy_id']} at {gap['broker']}"
        parts.append(f"<p><b>{text(named)}</b> <span class=quiet>{text(gap_words(gap))}</span></p>")
        parts.append(table(heads, rows))
    return "".join(parts)


def _stages(latency: Mapping[str, Any]) -> str:
    heads: list[Cell] = [("", "stage"), ("n", "count")]
    heads += [("n", head) for head in ("p50", "p99", "p99.9", "max")]
    rows: list[list[Cell]] = []
    for name, one in latency["stages"].items():
        shown = [("n", text(span_text(one[key]))) for key in _SPREAD]
        means = f'<span class="quiet"> {text(MEANS.get(name, ""))}</span>'
        rows.append([("id", text(name) + means), ("n", number(one["count"])), *shown])
    return table(heads, rows)


def _stalls(latency: Mapping[str, Any]) -> list[str]:
    rows: list[list[Cell]] = [[("id", "pulse of 20 ms came late by"), *_spread(latency["late"])]]
    rows += [
        [("id", f"garbage collection, generation {text(n)}"), *_spread(one)]
        for n, one in latency["collections"].items()
    ]
    heads: list[Cell] = [("", ""), ("n", "count")]
    heads += [("n", head) for head in ("p50", "p99", "p99.9", "max")]
    found = [table(heads, rows)]
    if latency["stalls"]:
        heads = [
            ("", "stall"),
            ("n", "late by"),
            ("", "cause"),
            ("n", "of it"),
            ("n", "collections"),
        ]
        heads.append(("n", "behind seq"))
        shown: list[list[Cell]] = [
            [
                ("", text(iso(one["ts"]))),
                ("n", text(span_text(one["ns"]))),
                ("", text(one["cause"])),
                ("n", text(span_text(one["cause_ns"]))),
                ("n", text(span_text(one["collection_ns"]))),
                ("n", number(one["seq"])),
            ]
            for one in latency["stalls"][:STALLS_SHOWN]
        ]
        longest = f'<p class="quiet">{number(latency["stall_count"])} of 10 ms and more</p>'
        found.append(longest + table(heads, shown))
    return found


def _spread(one: Mapping[str, Any]) -> list[Cell]:
    shown: list[Cell] = [("n", text(span_text(one[key]))) for key in _SPREAD]
    return [("n", number(one["count"])), *shown]
