"""Sessions and ends of whole runs: kept in the manifest, used by proofs, told to the command."""

import datetime as dt
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

import parity as pt
from parity.compose import modes, proofs
from parity.compose.sessions import live_sessions, load_overlays
from parity.core.calendars import KNOWN, session_clock
from parity.model.errors import ConfigError
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.runs import RunFolder
from parity.settings.strategies import load_strategies

ALWAYS = """
import parity as pt

@pt.strategy("always")
def always(tick, history):
    return pt.SignalResult("BUY", 0.5, 1, tick.price)
"""
CLOSES = """
import parity as pt
from parity.model.bars import Bars


class Closes:
    def __init__(self):
        self.bars = Bars(seconds=60)

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "closes"

    def process_tick(self, tick, history):
        return None

    def process_bar(self, bar, history):
        return pt.SignalResult("BUY", 0.5, 1, bar.close)
"""
LOCAL = ("2025-06-02T09:10", "2025-06-02T09:15", "2025-06-02T15:29", "2025-06-02T15:30",
         "2025-06-07T11:00", "2025-06-07T11:59")  # fmt: skip
OVERLAY = {"NSE": {"2025-06-07": [["11:00", "11:30", "regular"]]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording of an NSE instrument, and strategies."""
    zone = ZoneInfo("Asia/Kolkata")
    rows = ["ts_event,price,quantity"]
    for number, local in enumerate(LOCAL):
        moment = dt.datetime.fromisoformat(local).replace(tzinfo=zone)
        rows.append(f"{int(moment.timestamp()) * 10**9},{100 + number}.05,1")
    (tmp_path / "ticks.csv").write_text("\n".join(rows) + "\n")
    instrument = {
        "token": 408065, "symbol": "INFY", "price_scale": 2, "quantity_scale": 0, "calendar": "NSE",
    }  # fmt: skip
    (tmp_path / "table.json").write_text(json.dumps([instrument]))
    (tmp_path / "always.py").write_text(ALWAYS)
    (tmp_path / "closes.py").write_text(CLOSES)
    (tmp_path / "overlay.json").write_text(json.dumps(OVERLAY))
    pt.import_ticks(
        tmp_path / "ticks.csv", to=tmp_path / "recording", instrument_table=tmp_path / "table.json"
    )
    return tmp_path


def run(folder: Path, name: str, kind: str = "always", **options: object) -> RunFolder:
    """Backtest one of the strategies; return its run."""
    specs = load_strategies([folder / f"{kind}.py"])
    done = modes.backtest(folder / "recording", specs, out=folder / name, **options)  # type: ignore[arg-type] # options of several types
    return done.run


def test_a_run_keeps_its_sessions_and_is_proved_with_them(folder: Path) -> None:
    """What is outside is dropped; the manifest has the table, and an overlay is in it."""
    plain = run(folder, "plain")
    other = run(folder, "other", sessions=load_overlays(folder / "overlay.json"))

    assert plain.manifest.report is not None
    assert other.manifest.report is not None
    assert {"session": 4} == {k: v for k, v in plain.manifest.report.drops.items() if v > 0}
    assert 3 == other.manifest.report.signals
    assert ["NSE"] == list(other.sessions())
    assert plain.sessions()["NSE"].rows != other.sessions()["NSE"].rows
    for one in (plain, other):
        assert "identical" == proofs.verify(one.path).verdict
        assert "identical" == proofs.replay(one.path).verdict


def test_sessions_are_shown_in_local_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`inspect` and `report` show days and phases with the offset; all other times stay UTC."""
    from parity.cli import inspect, report

    done = run(folder, "other", sessions=load_overlays(folder / "overlay.json"))
    for show in (lambda: inspect.command(done.path), lambda: report.command(done.path)):
        show()
        shown = capsys.readouterr().out
        assert "sessions of NSE" in shown
        assert "in Asia/Kolkata time" in shown
        assert re.search(r"2025-06-02 +│? *\+05:30 .*regular 09:15 to 15:30", shown), shown


def test_the_days_of_the_ticks_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a table of 400 days, as a live run keeps it, the few that its ticks lie in."""
    from parity.analysis.page import page
    from parity.analysis.report import report_of
    from parity.cli import inspect, report

    done = run(folder, "long")
    file = done.path / "manifest.json"
    manifest = json.loads(file.read_text())
    year = session_clock("NSE", dt.date(2025, 1, 1), dt.date(2026, 1, 31))
    manifest["settings"]["sessions"] = [year.to_json()]
    file.write_text(json.dumps(manifest))
    days = [f"2025-06-{day:02}" for day in range(2, 8)]  # from the first tick's to the last one's
    for show in (lambda: inspect.command(done.path), lambda: report.command(done.path)):
        show()
        shown = capsys.readouterr().out
        assert days == re.findall(r"^(\d{4}-\d\d-\d\d) ", shown, re.MULTILINE)
        assert "and 390 more days" in shown
    made = RunFolder(done.path)
    whole = page(made, report_of(made))
    assert days == re.findall(r">(\d{4}-\d\d-\d\d)<", whole)
    assert all(f">{name}<" in whole for name in made.manifest.fingerprint)
    shutil.rmtree(folder / "recording")
    inspect.command(done.path)
    shown = capsys.readouterr().out
    assert 14 == len(re.findall(r"^2025-01-\d\d ", shown, re.MULTILINE))
    assert "and 382 more days" in shown


def test_a_damaged_recording_hides_no_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part whose bytes changed, not its size, is named by report; both show what there is."""
    from parity.cli import inspect, report

    done = run(folder, "sound")
    (part,) = (folder / "recording" / "ticks").iterdir()
    data = bytearray(part.read_bytes())
    data[200:-400] = bytes([255]) * len(data[200:-400])
    part.write_bytes(data)
    for show in (inspect.command, report.command):
        show(done.path)
        shown = capsys.readouterr()
        assert "2025-06-02" in shown.out
    assert f"no statistics: they need the recording's prices: {part}" in shown.err


def test_bars_close_up_to_the_end_that_was_given(folder: Path) -> None:
    """Without an end the last bar stays open; with one it closes there, for proofs too."""
    zone = ZoneInfo("Asia/Kolkata")
    end_ns = int(dt.datetime(2025, 6, 2, 9, 17, tzinfo=zone).timestamp()) * 10**9
    without, ended = run(folder, "a", "closes"), run(folder, "b", "closes", end_ns=end_ns)

    assert without.manifest.report is not None
    assert ended.manifest.report is not None
    assert [5] == [e.bars for e in without.manifest.report.executors]
    assert [2] == [e.bars for e in ended.manifest.report.executors]
    assert "identical" == proofs.verify(ended.path).verdict
    assert "identical" == proofs.replay(ended.path).verdict


def test_a_wrong_file_of_sessions_is_refused(folder: Path) -> None:
    """A calendar that nobody uses, and what is no calendar, are named."""
    (folder / "list.json").write_text("[1]")
    (folder / "unused.json").write_text('{"NYSE": {"2025-06-07": []}}')

    (folder / "number.json").write_text('{"NSE": {"2025-06-07": 5}}')
    with pytest.raises(ConfigError, match=r"NSE: overlay of 2025-06-07: expected \[start, end"):
        run(folder, "n", sessions=load_overlays(folder / "number.json"))
    with pytest.raises(ConfigError, match="expected a calendar"):
        load_overlays(folder / "list.json")
    with pytest.raises(ConfigError, match="no instrument has the calendar 'NYSE'"):
        run(folder, "c", sessions=load_overlays(folder / "unused.json"))


def test_an_unknown_calendar_is_named(folder: Path) -> None:
    """By its name and the known ones, when the table comes in: nothing is imported."""
    table = (folder / "table.json").read_text().replace('"NSE"', '"NSEE"')
    (folder / "table.json").write_text(table)
    to = folder / "other"

    with pytest.raises(ConfigError, match="calendar 'NSEE' is not known; known are 24/7, NSE"):
        pt.import_ticks(folder / "ticks.csv", to=to, instrument_table=folder / "table.json")
    assert not to.exists()


def test_the_command_takes_the_file(
    folder: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`--sessions` reaches the run, and what is wrong with it ends with exit code 2."""
    given = ("--strategies", folder / "always.py", "--sessions", folder / "overlay.json")
    done = cli("backtest", folder / "recording", *given, "--out", folder / "run", "--json")
    (folder / "bad.json").write_text('{"NSE": {"2025-06-07": [["11", "12:00", "regular"]]}}')
    bad = ("--strategies", folder / "always.py", "--sessions", folder / "bad.json")
    refused = cli("backtest", folder / "recording", *bad, "--out", folder / "bad")

    assert 3 == json.loads(done.stdout)["signals"]
    assert 2 == refused.returncode
    assert "expected HH:MM" in refused.stderr


@pytest.mark.parametrize(("days", "told"), [(5, True), (390, True), (410, False)])
def test_a_live_run_is_told_where_a_calendar_ends(
    monkeypatch: pytest.MonkeyPatch, days: int, told: bool
) -> None:
    """With its last day and the cure, and only where it ends within the days ahead."""
    last = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)
    monkeypatch.setitem(KNOWN, "NSE", (KNOWN["NSE"][0], last))
    table = InstrumentTable([Instrument(token=1, symbol="INFY", price_scale=2, calendar="NSE")])
    with capture_logs() as lines:
        clocks = live_sessions(table, None, {})

    assert ["NSE"] == [*clocks]
    assert ([("calendar_ends", "NSE", last.isoformat())] if told else []) == [
        (line["event"], line["calendar"], line["last_day"]) for line in lines
    ]
    assert all("newer parity" in line["cure"] for line in lines)
