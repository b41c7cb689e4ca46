"""What became of what a run published: counted by ledgers, the dead named by their letters."""

import json
from pathlib import Path

import pytest
from signals import keep_ledger, signal
from typer.testing import CliRunner

from parity.analysis.deliveries import DEAD_SHOWN, deliveries_of, fates_of
from parity.cli import app
from parity.compose.feeds import Feed
from parity.compose.modes import paper
from parity.live.buried import FILE, bury
from parity.live.ledger import FillLine, Ledger, LedgerHead
from parity.recording.reader import open_recording
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with a ledger of signals: two delivered, one found later, one dead."""
    keep_ledger(tmp_path)
    return tmp_path


def test_a_dead_signal_is_named_by_its_letter(run: Path) -> None:
    """A letter of what was sent after all is none of the dead; one that is torn is passed over."""
    for number in (2, 3):
        bury(run / "deliveries", signal(number), "r", "paper", "no", 3)
    with (run / "deliveries" / FILE).open("ab") as file:
        file.write(b'{"topic": "pap')

    found = deliveries_of(run)

    assert found == {
        "signals": {"delivered": 2, "recovered": 1, "dead": 1},
        "fills": None,
        "dead": [
            {
                "kind": "signal", "number": 3, "id": "id-3", "strategy_id": "dip",
                "broker": "paper", "topic": "paper.signals.raw", "tries": 3, "error": "no",
            }
        ],
    }  # fmt: skip


def test_the_ledger_says_who_is_dead_where_letters_are_gone(run: Path) -> None:
    """Of very many dead the first are named, and all of them counted, fills on paper too."""
    fills = Ledger(run / "deliveries" / "fills.jsonl", FillLine)
    fills.begin(LedgerHead("r", {}))
    for number in range(1, 31):
        fills.append(FillLine(number, f"f-{number}", state="dead", error="no"))
    fills.close()

    found = deliveries_of(run)

    assert found is not None
    assert (1, 30) == (found["signals"]["dead"], found["fills"]["dead"])
    assert DEAD_SHOWN == len(found["dead"])
    assert ("signal", "fill") == (found["dead"][0]["kind"], found["dead"][1]["kind"])
    assert found["dead"][0]["strategy_id"] is None


def test_what_publishes_nothing_has_no_fates(tmp_path: Path) -> None:
    """A backtest has no ledger."""
    assert fates_of(tmp_path) is None
    assert deliveries_of(tmp_path) is None


def test_report_and_status_of_an_ended_run_count_the_dead(tmp_path: Path) -> None:
    """As text, as JSON and on the page, from the folder alone."""
    run = tmp_path / "run"
    make_recording(tmp_path / "rec", seed=5, ticks=1_000)
    with open_recording(tmp_path / "rec") as read:
        table = read.table
    rows = load_strategies(["momentum"], ["threshold=0.0003"])
    paper(run, rows, Feed(recording=tmp_path / "rec"), table=table)
    ledger = run / "deliveries" / "ledger.jsonl"
    first, *lines = ledger.read_text().splitlines()
    assert len(lines) > 2
    dead = {**json.loads(lines[0]), "state": "dead", "error": "not <authorized>"}
    ledger.write_text("\n".join([first, json.dumps(dead), *lines[1:], ""]))

    report, status = (RUNNER.invoke(app, [verb, str(run)]).stdout for verb in ("report", "status"))
    shown = [json.loads(RUNNER.invoke(app, [verb, str(run), "--json"]).stdout)["deliveries"]
             for verb in ("report", "status")]  # fmt: skip
    RUNNER.invoke(app, ["report", str(run), "--html", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()

    assert {"delivered": len(lines) - 1, "recovered": 0, "dead": 1} == shown[0]["signals"]
    assert shown[1] == {name: shown[0][name] for name in ("signals", "fills")}
    assert f"signals out: delivered {len(lines) - 1}, dead 1" in report
    assert "not <authorized>" in report
    assert f"delivered {len(lines) - 1}, dead 1" in status
    assert "not &lt;authorized&gt;" in page
    assert "<h2>Deliveries</h2>" in page
