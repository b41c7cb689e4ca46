"""docs/json.md is the schema of what commands print: real outputs are held against its tables."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from outside_run import run_with
from signals import keep_ledger
from typer.testing import CliRunner

import parity
from parity.cli import app
from parity.live.telemetry import Telemetry
from parity.publishers.envelope import iso_utc
from parity.sources.synthetic import make_recording

PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"
RUNNER = CliRunner(env={"NO_COLOR": "1"})
TEXTS = {
    "text": r"(?s).*",
    "decimal": r"-?\d+(\.\d+)?",
    "digest": r"[0-9a-f]{64}",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z",
}
Schema = Mapping[str, Mapping[str, tuple[str, bool]]]
FAILING = """
import parity as pt

@pt.strategy("odd", history=2)
def odd(tick, history, *, quantity=1):
    if tick.price_int % 50 == 0:
        raise KeyError("x")
    if tick.price_int % 7 == 0:
        return pt.SignalResult("BUY", 0.5, quantity, tick.price, "")
"""
WITHOUT_ITS_MODEL = """
strategies:
  - {strategy_name: momentum, strategy_type: momentum, instruments: all}
  - strategy_name: lost
    strategy_type: ml_momentum
    instruments: all
    parameters: {model_path: no_such.onnx}
"""


@cache
def schema() -> Schema:
    """Return key -> (type, may be absent) of every table, by its heading."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for title, body in re.findall(
        r"^##+ (.+?)\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        rows = re.findall(r"^\| `(\w+)`( \?)? \| (.+?) \|", body, re.MULTILINE)
        if rows:
            found[title] = {key: (type_, bool(mark)) for key, mark, type_ in rows}
    found["report"] = {**found["inspect RUN"], **found["report"]}
    return found


def faults(value: Any, type_: str, where: str = "$") -> Iterator[str]:
    """Yield what is not as the page says, each with its place."""
    if type_.endswith(" or null"):
        if value is not None:
            yield from faults(value, type_.removesuffix(" or null"), where)
    elif type_.startswith("list of "):
        if not isinstance(value, list):
            yield f"{where}: expected a list, was {value!r}"
            return
        for at, one in enumerate(value):
            yield from faults(one, type_.removeprefix("list of "), f"{where}[{at}]")
    elif type_.startswith("map of "):
        if not isinstance(value, dict):
            yield f"{where}: expected a map, was {value!r}"
            return
        for key, one in value.items():
            yield from faults(one, type_.removeprefix("map of "), f"{where}.{key}")
    elif type_ in TEXTS:
        if not (isinstance(value, str) and re.fullmatch(TEXTS[type_], value)):
            yield f"{where}: expected {type_}, was {value!r}"
    elif type_ in ("int", "float", "bool"):
        kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}
        if not isinstance(value, kinds[type_]) or (type_ != "bool" and isinstance(value, bool)):
            yield f"{where}: expected {type_}, was {value!r}"
    elif type_ != "any":
        yield from _of_table(value, type_, where)


def _of_table(value: Any, name: str, where: str) -> Iterator[str]:
    table = schema()[name]
    if not isinstance(value, dict):
        yield f"{where}: expected {name}, was {value!r}"
        return
    yield from (f"{where}.{key}: not on the page" for key in value.keys() - table.keys())
    for key, (type_, optional) in table.items():
        if key in value:
            yield from faults(value[key], type_, f"{where}.{key}")
        elif not optional:
            yield f"{where}.{key}: is missing"


def printed(*arguments: str | Path, code: int = 0) -> Any:
    """Run a command with --json; return what it printed."""
    done = RUNNER.invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.stderr
    assert done.stdout.startswith('{\n  "format": 1,')
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Any]]:
    """What the commands print of real recordings and runs, by the table it has to fit."""
    folder = tmp_path_factory.mktemp("json")
    rec, csv = folder / "rec", folder / "kite.csv"
    make_recording(rec, ticks=2_000)
    (folder / "odd.py").write_text(FAILING)
    csv.write_text(
        "ts_event,instrument_token,price,quantity,side\n"
        "2025-06-02T09:15:00Z,1,100.25,3,buy\n2025-06-02T09:15:01Z,2,7,1,\n"
    )
    imported = folder / "imported"
    printed("import", csv, imported)
    printed("import", *_extended(folder), folder / "extended")
    (folder / "rows.yaml").write_text(WITHOUT_ITS_MODEL)
    backtest = ("backtest", rec, "-s", "momentum", "-s", folder / "odd.py")
    printed("backtest", folder / "extended", "-s", "momentum", "--out", folder / "sessions")
    found = [
        ("backtest", printed(*backtest, "--set", "threshold=0.001", "--out", folder / "a")),
        ("backtest", printed(*backtest, "--set", "threshold=0.002", "--out", folder / "b")),
        ("backtest", printed("backtest", rec, "-s", folder / "rows.yaml", "--out", folder / "d")),
        *_golden(folder / "golden", rec),
        ("sweep", printed(*backtest, "--set", "threshold=0.001,0.9", "--out", folder / "c")),
        (
            "backtest",
            printed(
                *("paper", folder / "paper", "-s", "momentum", "--recording", imported, "--verify")
            ),
        ),
        ("verify", printed("verify", folder / "a")),
        ("verify", printed("verify", folder / "paper")),
        ("verify RUNS", printed("verify", folder / "a", folder / "none", folder / "b", code=3)),
        ("verify", printed("replay", folder / "a", "--set", "threshold=0.002")),
        ("diff", printed("diff", folder / "a", folder / "a")),
        ("diff", printed("diff", folder / "a", folder / "b", code=1)),
        ("inspect REC", printed("inspect", rec)),
        ("inspect REC", printed("inspect", imported)),
        ("inspect REC", printed("inspect", folder / "paper" / "recording")),
        ("inspect REC", printed("inspect", folder / "extended")),
        ("inspect RUN", printed("inspect", folder / "a")),
        ("inspect RUN", printed("inspect", folder / "d")),
        ("inspect RUN", printed("inspect", folder / "sessions")),
        ("report", printed("report", folder / "a")),
        ("report", printed("report", folder / "b")),
        ("report", printed("report", _live(folder / "live"))),
    ]
    found.append(
        ("diff AGAINST", printed("diff", folder / "a", "--against", _said(folder), code=1))
    )
    manifest = folder / "b" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state": "complete"', '"state": "open"', 1))
    opened = json.loads(manifest.read_text()) | {"report": None}
    manifest.write_text(json.dumps(opened))
    found.append(("inspect RUN", printed("inspect", folder / "b")))
    shutil.copytree(rec, folder / "damaged")
    (part,) = (folder / "damaged" / "ticks").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    found.append(("inspect REC, damaged", printed("inspect", folder / "damaged", code=3)))
    printed("repair", folder / "damaged")
    found.append(("inspect REC", printed("inspect", folder / "damaged")))
    found.append(("report", printed("report", folder / "a")))
    return found


def _golden(folder: Path, recording: Path) -> list[tuple[str, Any]]:
    """Return what is said of a golden that is new, and of one that holds."""
    names = ("--recording", recording, "--strategies", "momentum")
    made = printed("golden", "update", folder, *names)
    return [("golden", made), ("golden", printed("golden", "check", folder))]


def _live(folder: Path) -> Path:
    """Make a run that was filled outside, with a loop that was held up."""
    run_with(folder, {3: [{"quantity": 1, "fill_price": 100, "ts_event": 2**60}]})
    found = Telemetry()
    found.begin()
    found.mark("journal")
    found.collection("start", {"generation": 2})
    found.collection("stop", {"generation": 2})
    found.beat(20_000_000, 2**60, 3)
    found.save(folder)
    keep_ledger(folder)
    return folder


def _said(folder: Path) -> Path:
    """Write one signal of run `a` as another runner's message, under another name."""
    found = parity.open(folder / "a").signals
    row, ns = found.row(0, named=True), found["ts_event"].to_physical()[0]
    data = {name: row[name] for name in ("instrument_token", "price", "quantity", "confidence")}
    data |= {"strategy_id": "old", "signal_type": row["side"], "timestamp": iso_utc(ns)}
    path = folder / "said.jsonl"
    path.write_text(json.dumps(data) + "\n")
    return path


def _extended(folder: Path) -> tuple[str | Path, ...]:
    """Write ticks with an extension column and the table that declares it; return both, named."""
    instrument = {"token": 1, "symbol": "A", "price_scale": 2, "quantity_scale": 0}
    declared = {
        "instruments": [instrument | {"calendar": "NSE"}],
        "extensions": [{"name": "open", "kind": "price"}],
    }
    (folder / "table.json").write_text(json.dumps(declared))
    ticks = folder / "extended.csv"
    ticks.write_text("ts_event,instrument_token,price,quantity,open\n1700000000000000000,1,2,3,4\n")
    return ticks, "--instrument-table", folder / "table.json"


@pytest.mark.slow
def test_what_commands_print_is_what_the_page_says(outputs: list[tuple[str, Any]]) -> None:
    """Every key is on the page with its type, and every key of the page is there."""
    wrong = [(name, list(faults(value, name))) for name, value in outputs]

    assert [] == [(name, found) for name, found in wrong if found]
    assert {*schema()} >= {name for name, _ in outputs}


@pytest.mark.slow
def test_the_outputs_reach_every_table(outputs: list[tuple[str, Any]]) -> None:
    """A table that no output was held against would prove nothing."""
    reached: set[str] = set()

    def reach(value: Any, type_: str) -> None:
        type_ = type_.removesuffix(" or null")
        if value is None:
            return
        for head in ("list of ", "map of "):
            if type_.startswith(head):
                values = value.values() if isinstance(value, dict) else value
                for one in values:
                    reach(one, type_.removeprefix(head))
                return
        if type_ in schema():
            reached.add(type_)
            for key, one in value.items():
                reach(one, schema()[type_][key][0])

    for name, value in outputs:
        reach(value, name)

    assert set() == {*schema()} - reached


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"new": 1}, "$.new: not on the page"),
        ({"ticks": "7"}, "$.ticks: expected int, was '7'"),
        ({"ticks": True}, "$.ticks: expected int, was True"),
        ({"drops": {"cooldown": None}}, "$.drops.cooldown: expected int, was None"),
        ({"digests": {"candidates": "ab"}}, "$.digests.decisions: is missing"),
    ],
)
def test_a_planted_fault_is_seen(
    outputs: list[tuple[str, Any]], change: dict[str, Any], said: str
) -> None:
    """An unknown key, a wrong type and a missing key are named with their place."""
    _, value = outputs[0]

    assert said in list(faults({**value, **change}, "backtest"))
