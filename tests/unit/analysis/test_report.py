"""The report: every number is the run's, and the page stands alone, escapes, and is well formed."""

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import parity as pt
from parity.analysis.frames import INSTANT
from parity.analysis.page import page
from parity.analysis.plots import LINE_POINTS_MAX, LINES_MAX, TOTAL, plot_pnl
from parity.analysis.report import exact_text, price_line, report_of
from parity.cli import app
from parity.compose.verdicts import FILE, kept_verdict
from parity.recording.runs import RunFolder
from parity.sources.synthetic import make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})
VOID = {"meta", "br", "hr", "img", "link", "input"}
ODD = """
import parity as pt

@pt.strategy("<i>odd & 'quoted'</i>", history=2)
def odd(tick, history, *, quantity=1):
    if tick.price_int % 50 == 0:
        raise KeyError("<b>no such thing</b>")
    if tick.price_int % 7 == 0:
        return pt.SignalResult("BUY", 0.5, quantity, tick.price, "")
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, and a run of a shipped strategy and one of odd words."""
    folder = tmp_path_factory.mktemp("report")
    make_recording(folder / "recording", ticks=2_000)
    (folder / "odd.py").write_text(ODD)
    sources = ("momentum", folder / "odd.py")
    pt.backtest(
        folder / "recording",
        *sources,
        overrides=("threshold=0.001", "momentum.risk.cooldown_sec=20"),
        out=folder / "run",
    )
    return folder


class Page(HTMLParser):
    """Reads a page: are its tags balanced, what is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag, its id and what it would fetch."""
        self.tags[tag] += 1
        found = dict(attributes)
        if "id" in found:
            self.ids.append(str(found["id"]))
        self.links += [str(v) for n, v in attributes if n in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag, which has to be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note the words."""
        self.words.append(data)


def test_numbers_are_those_of_the_run(base: Path) -> None:
    """Statistics, drops and failures in the report are those of the run's frames."""
    run = pt.open(base / "run")
    assert isinstance(run, pt.Run)
    values = report_of(run.folder).values
    shown = values["statistics"]
    total = run.statistics.row(-1, named=True)

    assert shown["total"] == {
        name: exact_text(value) if hasattr(value, "as_tuple") else value
        for name, value in total.items()
        if name not in ("strategy_id", "broker")
    }
    assert {"momentum", "<i>odd & 'quoted'</i>"} == {*shown["strategies"]}
    assert values["drops"] == {
        r: sum(own.values()) for r, own in values["drops_by_strategy"].items()
    }
    assert len(run.lifecycle.filter(pl.col("kind") == "failure")) == values["failures"]["count"]
    assert values["failures"]["count"] > 20 == len(values["failures"]["first"])
    json.dumps(values)


@pytest.mark.slow
def test_the_page_stands_alone(base: Path) -> None:
    """Well formed, no script, nothing fetched, ids of several pictures apart, words escaped."""
    run = RunFolder(base / "run")
    text = page(run, report_of(run))
    read = Page(text)
    words = " ".join(read.words)

    assert [] == read.open
    assert 0 == read.tags["script"] == read.tags["iframe"]
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"} >= {
        *re.findall(r"https?://[^\s\"'<)]+", text)
    }
    assert len(read.ids) == len({*read.ids})
    assert 3 == read.tags["svg"]  # PnL and two instruments
    assert "<i>odd & 'quoted'</i>" in words
    assert "<b>no such thing</b>" in words
    assert "not verified" in words
    report = run.manifest.report
    assert report is not None
    assert report.decision_digest in words


def test_without_prices_the_rest_is_told(base: Path, tmp_path: Path) -> None:
    """A run whose recording is gone has its counts and a note, and a page."""
    shutil.copytree(base / "run", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    report = report_of(run)

    assert report.values["statistics"] == {"total": None, "strategies": {}}
    assert report.values["drops_by_strategy"]
    (note,) = report.values["notes"]
    assert "prices" in note
    assert 0 == Page(page(run, report)).tags["svg"]


@pytest.mark.slow
def test_a_silent_run_and_one_without_ticks_have_a_page(base: Path) -> None:
    """Nothing said is shown as nothing, not as an error."""
    silent = pt.backtest(base / "recording", "momentum", overrides=("threshold=0.9",))
    none = pt.backtest(base / "recording", "momentum", start=2_000_000_000 * 10**9)
    for run, pictures in ((silent, 1), (none, 0)):
        read = Page(page(run.folder, report_of(run.folder)))
        assert pictures == read.tags["svg"]
        assert "nothing was dropped" in " ".join(read.words)


@pytest.mark.slow
def test_the_last_verdict_is_shown_while_the_run_is_the_same(base: Path, tmp_path: Path) -> None:
    """`verify` leaves its word beside the run; of a run that changed since it says nothing."""
    shutil.copytree(base, tmp_path / "copy")
    path = tmp_path / "copy" / "run"
    assert kept_verdict(path) is None
    assert 0 == RUNNER.invoke(app, ["verify", str(path)]).exit_code
    kept = kept_verdict(path)
    assert kept is not None
    report = report_of(RunFolder(path), kept)

    assert "identical" == report.values["verdict"]["verdict"]
    assert "identical" in " ".join(Page(page(RunFolder(path), report)).words)
    assert 0 == RUNNER.invoke(app, ["verify", str(path)]).exit_code  # it is no part of the run
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert kept_verdict(path) is None
    (path / FILE).write_text("{")
    assert kept_verdict(path) is None


@pytest.mark.slow
def test_the_command_prints_text_json_or_a_page(base: Path, tmp_path: Path) -> None:
    """Text names strategies and reasons; JSON has `format` first; --html writes the file only."""
    run, file = str(base / "run"), tmp_path / "deep" / "report.html"
    text = RUNNER.invoke(app, ["report", run])
    as_json = RUNNER.invoke(app, ["report", run, "--json"])
    as_page = RUNNER.invoke(app, ["report", run, "--html", str(file)])
    both = RUNNER.invoke(app, ["report", run, "--html", str(file), "--json"])
    folder = RUNNER.invoke(app, ["report", run, "--html", str(tmp_path)])

    assert (0, 0, 0, 2, 2) == tuple(one.exit_code for one in (text, as_json, as_page, both, folder))
    for word in ("momentum", "total", "cooldown", "hit rate", "KeyError", "digest of decisions"):
        assert word in text.stdout
    assert "format" == next(iter(json.loads(as_json.stdout)))
    assert "" == as_page.stdout
    assert file.read_text().startswith("<!doctype html>")
    assert 3 == RUNNER.invoke(app, ["report", str(tmp_path / "none")]).exit_code


def test_quotes_alone_are_plotted_at_their_mid(tmp_path: Path) -> None:
    """A feed without trades still has a line."""
    csv = tmp_path / "quotes.csv"
    csv.write_text(
        "ts_event,instrument_token,bid,ask,bid_quantity,ask_quantity\n"
        "2025-01-06T09:00:00Z,7,1.10,1.20,1,1\n2025-01-06T09:00:01Z,7,1.20,1.40,1,1\n"
    )
    pt.import_ticks(csv, to=tmp_path / "recording")
    run = pt.backtest(tmp_path / "recording", "momentum", overrides=())
    symbol, line = price_line(run.folder, 7)

    assert "7" == symbol
    assert [1.15, 1.30] == [round(price, 9) for price in line["price"]]


def curves(strategies: int, points: int) -> pl.DataFrame:
    """Return curves of several strategies, the later ones moving more, and their total."""
    names = [*(f"s{n:02d}" for n in range(strategies)), None]
    return pl.concat(
        pl.DataFrame(
            {
                "strategy_id": [name] * points,
                "broker": ["paper" if name else None] * points,
                "ts_event": [10**18 + 10**9 * at for at in range(points)],
                "equity": [1_000_000 + (number + 1) * at for at in range(points)],
            },
            schema_overrides={"strategy_id": pl.String, "broker": pl.String},
        )
        for number, name in enumerate(names)
    ).with_columns(pl.col("ts_event").cast(INSTANT), pl.col("equity").cast(pl.Decimal(38, 4)))


@pytest.mark.parametrize("strategies", [1, 5, 40])
def test_the_plot_of_pnl_stays_small(strategies: int) -> None:
    """Lines for those that moved most, the total beside them, and a bound on points."""
    spec = plot_pnl(curves(strategies, 3_000)).to_dict()
    rows = next(rows for rows in spec["datasets"].values() if "strategy_id" in rows[0])
    names = {row["strategy_id"] for row in rows}
    most = {f"s{n:02d}" for n in range(max(0, strategies - LINES_MAX), strategies)}

    assert names == (most | {TOTAL} if strategies > 1 else most)
    assert len(rows) <= LINE_POINTS_MAX
    assert {0.0} == {next(r["pnl"] for r in rows if r["strategy_id"] == name) for name in names}
    assert max(row["pnl"] for row in rows if row["strategy_id"] != TOTAL) == strategies * 2_999
