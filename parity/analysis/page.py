"""The report of a run as one HTML page: no script, nothing fetched, pictures inside as SVG.

Every value is escaped. Dark and light follow the reader's system: the pictures' few colours are
named by the style sheet. Never here: a number that the report does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from parity.analysis import frames
from parity.analysis.live_page import live_sections
from parity.analysis.local import days_between, phases_text
from parity.analysis.markup import Cell, money, number, percent, section, table, text
from parity.analysis.plots import GRID, INK, PRICE_COLOUR, QUIET, plot_pnl, plot_run
from parity.analysis.report import Report, instruments_shown, price_line
from parity.model.errors import ConfigError, ParityError

if TYPE_CHECKING:
    from parity.recording.runs import RunFolder

_TONES: Final = {"identical": "good", "changed": "warn", "different": "bad"}
# What a colour of the pictures becomes on a dark page.
_DARK: Final = {
    INK: "#E4E7EB",
    QUIET: "#9AA3AE",
    PRICE_COLOUR: "#7C8794",
    GRID: "#343A42",
    "white": "#1D2126",
}
_STYLE: Final = """
:root{--ink:#22262B;--quiet:#6B7480;--line:#E6E8EB;--page:#F6F7F8;--card:#FFF;--bar:#0072B2;
--good:#1A7F4B;--warn:#B7791F;--bad:#C0392B;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#E4E7EB;--quiet:#9AA3AE;--line:#343A42;
--page:#15181C;--card:#1D2126;--bar:#56B4E9;--good:#4CC38A;--warn:#E0A84B;--bad:#F0776B}
DARK}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:14px/1.5 system-ui,sans-serif}
main{max-width:1260px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0;overflow-wrap:anywhere}h2{font-size:17px;margin:34px 0 10px}
p{margin:4px 0}.quiet{color:var(--quiet)}code{font:12.5px ui-monospace,monospace;
overflow-wrap:anywhere}
.badge{display:inline-block;padding:1px 10px;border-radius:99px;font-size:13px;font-weight:600;
color:var(--card);vertical-align:4px;margin-left:10px}
.good{background:var(--good)}.warn{background:var(--warn)}.bad{background:var(--bad)}
.none{background:var(--quiet)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:10px;
margin-top:18px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px}
.tile{padding:10px 14px}.tile b{display:block;font-size:19px;font-weight:600;
font-variant-numeric:tabular-nums}
.card{padding:14px 16px;overflow-x:auto;margin-bottom:12px}
.card svg{display:block;max-width:100%;height:auto}.card svg>rect{fill:transparent}
table{border-collapse:collapse;width:100%}
th{font-weight:500;color:var(--quiet);text-align:left;white-space:nowrap}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;
white-space:nowrap}td.id{overflow-wrap:anywhere;min-width:180px;max-width:280px}
tr.total td{font-weight:600;border-top:2px solid var(--line)}
.bar{display:block;height:10px;background:var(--bar);border-radius:2px;min-width:2px;
margin-top:6px}.barcell{width:34%}
"""


def page(run: RunFolder, report: Report) -> str:
    """Return the whole page.

    Raises:
        ConfigError: what draws the pictures is not installed.
    """
    values = report.values
    parts = [
        _head(values),
        _tiles(values),
        *_pnl(report),
        section("Strategies", _statistics(values)),
        *_prices(run),
        section("Drops by reason", _drops(values)),
        section("Lifecycle", _lifecycle(values)),
        *live_sections(values),
        *_sessions(report),
        section("What it was made of", _origin(values)),
    ]
    title = text(f"run {values['run_id']}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE.replace('DARK', _dark())}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _recoloured(light: str, dark: str) -> str:
    return "".join(f'svg [{name}="{light}" i]{{{name}:{dark}}}' for name in ("fill", "stroke"))


def _dark() -> str:
    """Return the rules that recolour pictures on a dark page."""
    return "".join(_recoloured(light, dark) for light, dark in _DARK.items())


def _head(values: Mapping[str, Any]) -> str:
    verdict = values["verdict"]
    word = "not verified" if verdict is None else str(verdict["verdict"])
    facts = [values["mode"], values["state"], f"started {values['started']}"]
    facts += [f"seed {values['seed']}", values["created_by"]]
    notes = "".join(f'<p class="quiet">{text(note)}</p>' for note in values["notes"])
    return (
        f"<h1>run {text(values['run_id'])}"
        f'<span class="badge {_TONES.get(word, "none")}">{text(word)}</span></h1>'
        f'<p class="quiet">{text(" · ".join(facts))}</p>{notes}'
    )


def _tiles(values: Mapping[str, Any]) -> str:
    total = values["statistics"]["total"]
    tiles: list[tuple[str, str]] = []
    if total is not None:
        tiles += [
            ("PnL", money(total["pnl"])),
            ("of it unrealised", money(total["unrealised"])),
            ("max. drawdown", money(total["max_drawdown"])),
            ("drawdown of maximum", percent(total["max_drawdown_fraction"])),
            ("hit rate", percent(total["hit_rate"])),
            ("trades", number(total["trades"])),
            ("commission", money(total["commission"])),
        ]
    counts = {name: values.get(name) for name in ("ticks", "signals", "fills")}
    tiles += [(name, number(count)) for name, count in counts.items()]
    tiles.append(("drops", number(sum(values.get("drops", {}).values()))))
    made = "".join(f'<div class="tile">{text(n)}<b>{text(v)}</b></div>' for n, v in tiles)
    return f'<div class="tiles">{made}</div>'


def _pnl(report: Report) -> list[str]:
    if not len(report.curves):
        return []
    return [section("PnL", svg(plot_pnl(report.curves), "pnl"))]


def _prices(run: RunFolder) -> list[str]:
    """Return a picture for each of the instruments of which most was said."""
    tokens, more = instruments_shown(run)
    signals, drops, fills = frames.signals(run.path), frames.drops(run.path), frames.fills(run.path)
    drawn = []
    for token in tokens:
        own = pl.col("instrument_token") == token
        try:
            symbol, line = price_line(run, token)
        except ParityError:
            return []  # the recording cannot be read; the notes say so
        shown = [frame.filter(own) for frame in (signals, drops, fills)]
        drawn.append(svg(plot_run(line, *shown, instrument=symbol), f"i{token}"))
    if more:
        drawn.append(f'<p class="quiet">and {more} more instruments, of which less was said</p>')
    return [section("Signals over price", *drawn)] if drawn else []


def svg(chart: Any, prefix: str) -> str:
    """Return a chart as SVG for a page; its ids get a prefix, so that several can stand there.

    Raises:
        ConfigError: what draws it is not installed.
    """
    try:
        import vl_convert
    except ImportError:
        raise ConfigError(
            "vl-convert-python, which draws the pictures, is not installed",
            cure="install parity with its extra: parity[analysis]",
        ) from None
    drawn: str = vl_convert.vegalite_to_svg(chart.to_dict())
    drawn = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', drawn)
    drawn = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", drawn)
    drawn = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', drawn)
    return f'<div class="card">{drawn[drawn.index("<svg") :]}</div>'


_STATISTICS: Final = {
    "pnl": "PnL",
    "unrealised": "unrealised",
    "max_drawdown": "drawdown",
    "max_drawdown_fraction": "of max.",
    "signals": "signals",
    "drops": "drops",
    "fills": "fills",
    "trades": "trades",
    "hit_rate": "hit rate",
    "turnover": "turnover",
    "exposure": "exposure",
    "time_in_market": "in market",
    "commission": "commission",
}
MONEY: Final = ("pnl", "realised", "unrealised", "max_drawdown", "commission")
PERCENT: Final = ("max_drawdown_fraction", "hit_rate", "exposure", "time_in_market")


def shown_statistic(name: str, value: Any) -> str:
    """Return a statistic in the form a person reads."""
    if name in MONEY:
        return money(value)
    if name in PERCENT:
        return percent(value)
    return number(value) if isinstance(value, int) or value is None else f"{value:.2f}"


def _statistics(values: Mapping[str, Any]) -> str:
    found = values["statistics"]
    if found["total"] is None:
        return '<p class="quiet">none: see the note above</p>'
    rows = [
        [("id", text(name)), *(("n", shown_statistic(k, row[k])) for k in _STATISTICS)]
        for name, row in found["strategies"].items()
    ]
    total = [("id", "total"), *(("n", shown_statistic(k, found["total"][k])) for k in _STATISTICS)]
    heads = [("", "strategy"), *(("n", head) for head in _STATISTICS.values())]
    return table(heads, rows, last=total if len(rows) > 1 else None)


def _drops(values: Mapping[str, Any]) -> str:
    by_reason = values["drops_by_strategy"]
    if not by_reason:
        return '<p class="quiet">nothing was dropped</p>'
    most = max(sum(own.values()) for own in by_reason.values())
    rows: list[list[Cell]] = []
    for reason, own in by_reason.items():
        total = sum(own.values())
        largest = sorted(own.items(), key=lambda item: -item[1])
        words = ", ".join(f"{name} {number(count)}" for name, count in largest[:4])
        words += f" and {len(own) - 4} more" if len(own) > 4 else ""
        bar = f'<span class="bar" style="width:{100 * total / most:.1f}%"></span>'
        cells = [("id", text(reason)), ("n", number(total)), ("barcell", bar)]
        rows.append([*cells, ("id", text(words))])
    return table([("", "reason"), ("n", "drops"), ("", ""), ("", "strategies")], rows)


def _lifecycle(values: Mapping[str, Any]) -> str:
    rows = [
        [
            ("id", text(one["strategy_id"])),
            ("", text(one["broker"])),
            ("", text(one["state"])),
            ("n", number(one["transitions"])),
            ("n", number(one["seq"])),
        ]
        for one in values["lifecycle"]
    ]
    heads = [("", "strategy"), ("", "broker"), ("", "state"), ("n", "transitions")]
    parts = [table([*heads, ("n", "last at seq")], rows)] if rows else []
    failures = values["failures"]
    if not failures["count"]:
        return "".join([*parts, '<p class="quiet">no strategy failed at any tick</p>'])
    rows = [
        [
            ("n", number(one["seq"])),
            ("id", text(one["strategy_id"])),
            ("n", text(one["instrument_token"])),
            ("id", text(one["reason"])),
        ]
        for one in failures["first"]
    ]
    heads = [("n", "seq"), ("", "strategy"), ("n", "instrument"), ("", "error")]
    head = f"<p><b>{number(failures['count'])} failed ticks</b>, the first of them:</p>"
    return "".join([*parts, head, table(heads, rows)])


def _sessions(report: Report) -> list[str]:
    """Return the days of the ticks, in local time; all other times of the page are UTC."""
    tables = []
    for one in report.values["sessions"]:
        days = one["days"] if report.span is None else days_between(one, *report.span)
        rows = [[("", d["day"]), ("", d["utc_offset"]), ("", text(phases_text(d)))] for d in days]
        heads = [("", text(one["calendar"])), ("", "UTC offset")]
        tables.append(table([*heads, ("", f"in {text(one['zone'])} time")], rows))
        if more := len(one["days"]) - len(days):
            tables[-1] += f'<p class="quiet">and {number(more)} more without ticks</p>'
    return [section("Sessions", *tables)] if tables else []


def _origin(values: Mapping[str, Any]) -> str:
    verdict = values["verdict"]
    facts: list[tuple[str, Any]] = [("run", values["run"])]
    facts += [(f"recording {name}", value) for name, value in values["recording"].items()]
    facts += [(f"digest of {name}", d) for name, d in values.get("digests", {}).items()]
    if verdict is not None:
        covered = ", ".join(f"{number(n)} {name}" for name, n in verdict["covered"].items())
        facts.append((f"verified {verdict['verified']}", f"{verdict['verdict']}: {covered}"))
        first = verdict["first_divergence"] or {}
        facts += [(f"first divergence: {name}", value) for name, value in first.items()]
    else:
        facts.append(("prove it", f"parity verify {values['run']}"))
    facts += [(f"skipped {one['strategy_id']}", one["reason"]) for one in values["skipped"]]
    facts += sorted(values["fingerprint"].items())
    rows = [[("", text(name)), ("", f"<code>{text(value)}</code>")] for name, value in facts]
    return table((), rows)
