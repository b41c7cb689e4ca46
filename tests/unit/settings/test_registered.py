"""Strategies by entry point, rows of a caller, keys in both places, and invalid rows skipped."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.compose.modes import backtest
from parity.model.errors import ConfigError
from parity.settings.strategies import apply_overrides, load_rows, load_strategies
from parity.sources.synthetic import make_recording

MODULE = """
import parity as pt


class Steady:
    def __init__(self, *, length=3, size=1):
        self.length, self.size = length, size

    def get_required_history_length(self):
        return self.length

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "steady"

    def process_tick(self, tick, history):
        if tick.price_int == history[-2].price_int:
            return None
        return pt.SignalResult("BUY", 0.5, self.size, tick.price, "moved")
"""
BESIDE = (
    MODULE
    + """

class Slow(Steady):
    def process_tick(self, tick, history):
        return None


def create_quick_processor(config):
    return Steady(length=config.get("length", 3))


def make(config):
    return Steady(size=config.get("size", 1))


Other = Slow
"""
)
POINTS = """[parity.strategies]
desk_steady = desk_steady:Steady
twice = desk_steady:Steady
nothing = desk_steady:Nobody
gone = desk_gone:create
beside = desk_beside:Steady
maker = desk_beside:make
factory = desk_beside:create_quick_processor
"""
ROW: dict[str, Any] = {"strategy_type": "desk_steady", "instruments": [900001]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and two installed packages that register strategies."""
    for name, points in (("desk", POINTS), ("other", "[parity.strategies]\ntwice = other:make\n")):
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
    (tmp_path / "site" / "desk_steady.py").write_text(MODULE)
    (tmp_path / "site" / "desk_beside.py").write_text(BESIDE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path


def rows(folder: Path, *given: dict[str, Any]) -> Path:
    """Write rows as a table exports them."""
    path = folder / "rows.json"
    path.write_text(json.dumps([{"id": f"s{n}", **ROW, **one} for n, one in enumerate(given)]))
    return path


def refused(given: dict[str, Any]) -> str:
    """Return why a caller's row is refused."""
    with pytest.raises(ConfigError) as caught:
        load_rows([{"id": "a", **ROW, **given}])
    return str(caught.value)


def test_a_registered_strategy_runs_and_is_kept(folder: Path) -> None:
    """A row names it, the run keeps its text, and the run verifies when the package is gone."""
    make_recording(folder / "recording", ticks=2_000)
    path = rows(folder, {"parameters": {"length": 4}}, {"parameters": {"size": 2}})
    run = pt.backtest(folder / "recording", path, "desk_steady", out=folder / "run")
    shown = run.summary()["strategies"]

    assert {"s0", "s1", "Steady"} == shown.keys()
    assert all(one["signals"] and not one["errors"] for one in shown.values())
    (folder / "site" / "desk_steady.py").unlink()
    assert "identical" == pt.verify(run).verdict


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("beside", {"size": 3}), ("maker", {"size": 3}), ("factory", {"length": 4}),
        ("desk_beside.py:Steady", {"size": 3}), ("desk_beside.py:make", {"size": 3}),
        ("desk_beside.py:create_quick_processor", {"length": 4}),
        ("desk_beside.py:quick", {"length": 4}),
    ],
)  # fmt: skip
def test_what_is_named_is_meant_beside_factories(
    folder: Path, kind: str, given: dict[str, Any]
) -> None:
    """A class, a factory of any name, an alias: named, each is what it says, in the proof too."""
    make_recording(folder / "recording", ticks=500)
    file = folder / "site" / "desk_beside.py"
    (spec,) = load_rows([{"id": "a", "strategy_type": kind, "instruments": [900001],
                          "parameters": given}], [file] if ".py" in kind else [])  # fmt: skip
    run = backtest(folder / "recording", [spec], out=folder / "run").run
    file.unlink()

    assert given == {name: getattr(spec.build(), name) for name in given}
    assert "Steady" == type(spec.build()).__name__
    assert "identical" == pt.verify(run.path).verdict


def test_factories_come_first_where_nothing_is_named(folder: Path) -> None:
    """The classes beside them are parts of them; what is misspelt is told what there is."""
    file = folder / "site" / "desk_beside.py"
    alone = {"id": "a", "instruments": [900001]}
    (other,) = load_rows([{**alone, "strategy_type": "desk_beside.py:Other"}], [file])
    with pytest.raises(ConfigError, match=r"row a: strategy_type: .*: 'quik' .* mean 'quick'"):
        load_rows([{**alone, "strategy_type": "desk_beside.py:quik"}], [file])

    with pytest.raises(ConfigError, match=r"'Othr' is no strategy; did you mean 'Other'"):
        load_rows([{**alone, "strategy_type": "desk_beside.py:Othr"}], [file])
    assert ["quick"] == [one.strategy_id for one in load_strategies([file])]
    assert "Slow" == type(other.build()).__name__


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("desk_stead", "did you mean 'desk_steady'"),
        ("twice", "registered as desk_steady:Steady and as other:make"),
        ("nothing", "'Nobody' is no strategy; known are Steady"),
        ("gone", "desk_gone"),
        ("os:system", 'unknown strategy "os:system"'),
        ("desk_steady:Steady", "unknown strategy"),
    ],
)
def test_only_registered_names_are_taken(folder: Path, kind: str, words: str) -> None:
    """A row names an entry, never a module; two of a name, or one to nowhere, are refused."""
    assert words in refused({"strategy_type": kind})


def test_check_lists_what_is_registered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file it names the entries of installed packages beside what ships."""
    from parity.cli.check import command

    command(None, None, None, as_json=True)
    listed = json.loads(capsys.readouterr().out)["registered"]["parity.strategies"]

    points = ["beside", "desk_steady", "factory", "gone", "maker", "nothing", "twice"]
    assert points == listed


def test_a_file_and_a_package_of_one_name_are_refused(folder: Path) -> None:
    """Which of two is meant is never guessed; the file's full name says it."""
    file = folder / "mine.py"
    text = "import parity as pt\n@pt.strategy('desk_steady')\ndef f(t, h): return None\n"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"is a strategy of mine\.py, and registered"):
        load_strategies([file, rows(folder, {})])
    (spec,) = load_strategies([file, rows(folder, {"strategy_type": "mine.py:desk_steady"})])
    assert "function" == spec.type.kind


def test_rows_of_a_caller_are_read_as_those_of_a_table(folder: Path) -> None:
    """The same keys and types; the row's id stands in for a line."""
    table = {"is_active": True, "zerodha_trading_enabled": True, "use_composition": True,
             "created_at": "2025-01-01", "updated_at": None}  # fmt: skip
    (spec,) = load_rows([{"id": "a", **ROW, **table, "parameters": {"length": 9}}])

    assert ("zerodha",) == spec.config.active_brokers
    assert {"length": 9, "size": 1} == spec.config.parameters
    assert "row a: parameters.lenght: unknown parameter; did you mean 'length'?" == refused(
        {"parameters": {"lenght": 2}}
    )


def test_limits_stand_in_either_place(folder: Path) -> None:
    """max_position_size, risk_multiplier and enabled count inside `parameters`, too."""
    inside = {"max_position_size": "5", "risk_multiplier": 0.5, "enabled": False}
    (spec,) = load_rows([{"id": "a", **ROW, "parameters": inside}])
    config = spec.config

    assert (Decimal(5), Decimal("0.5"), False) == (
        config.max_position_size, config.risk_multiplier, config.enabled
    )  # fmt: skip
    assert {"length": 3, "size": 1} == config.parameters
    assert "parameters.risk_multiplier: 2, but risk_multiplier is 3; keep one" in refused(
        {"parameters": {"risk_multiplier": 2}, "risk_multiplier": 3}
    )
    assert "parameters.max_position_size: expected a number ≥ 0" in refused(
        {"parameters": {"max_position_size": -1}}
    )


def test_a_parameter_of_that_name_stays_the_strategys(folder: Path) -> None:
    """What a strategy declares itself is never taken for the row's."""
    file = folder / "mine.py"
    file.write_text(
        "import parity as pt\n@pt.strategy('mine')\ndef f(t, h, *, enabled=True): return None\n"
    )
    row = {"id": "a", "strategy_type": "mine", "instruments": "all",
           "parameters": {"enabled": False}}  # fmt: skip
    (spec,) = load_rows([row], [file])

    assert spec.config.enabled
    assert {"enabled": False} == spec.config.parameters


BAD: list[dict[str, Any]] = [
    {"instruments": []},
    {"strategy_type": "nobody"},
    {"parameters": {"length": 3, "sice": 1}},
    {"strategy_type": "momentum", "parameters": {"lookback_periods": 1}},
]


@pytest.mark.parametrize("bad", BAD)
def test_an_invalid_row_refuses_the_set_or_is_skipped_visibly(
    folder: Path, bad: dict[str, Any]
) -> None:
    """Without leave nothing is loaded; with it the row is named with its reason, in the run too."""
    path = rows(folder, {}, bad, {"parameters": {"size": 2}})
    with pytest.raises(ConfigError) as caught:
        load_strategies([path])
    specs = load_strategies([path], skip_invalid=True)

    assert ["s0", "s2", "s1"] == [spec.strategy_id for spec in specs]
    assert ["", ""] == [spec.refused for spec in specs[:2]]
    assert str(caught.value) == specs[2].refused
    again = apply_overrides(specs, ["size=3"])
    assert [3, 3] == [spec.parameters["size"] for spec in again[:2]]
    assert specs[2] == again[2]


def test_everything_wrong_is_said_at_once(folder: Path) -> None:
    """Wrong keys, unknown types and wrong parameters of several rows, a line each."""
    with pytest.raises(ConfigError) as caught:
        load_rows([{"id": f"r{n}", **ROW, **bad} for n, bad in enumerate(BAD)])
    lines = caught.value.message.splitlines()

    assert ["row r0:", "row r1:", "row r2:", "row r3:"] == [line[:7] for line in lines]
    assert "did you mean 'size'?" in lines[2]


def test_nothing_left_is_refused(folder: Path) -> None:
    """Where every row is invalid there is nothing to run, and each is named."""
    for bad in (BAD[:2], BAD[2:], BAD[1:3]):
        with pytest.raises(ConfigError) as caught:
            load_strategies([rows(folder, *bad)], skip_invalid=True)
        assert len(caught.value.message.splitlines()) >= 1
        assert "rows.json:1" in caught.value.message


@pytest.mark.slow
def test_the_command_line_says_what_it_skips(folder: Path, cli: Any) -> None:
    """Skipped rows stand on stderr, in the JSON and in the run's manifest."""
    make_recording(folder / "recording", ticks=500)
    path = rows(folder, {"strategy_type": "momentum"}, {"strategy_type": "momentun"})
    whole = cli("backtest", folder / "recording", "-s", path, "--out", folder / "a")
    part = cli("backtest", folder / "recording", "-s", path, "--out", folder / "b", "--json",
               "--skip-invalid")  # fmt: skip

    assert 2 == whole.returncode
    assert not (folder / "a").exists()
    assert 0 == part.returncode, part.stderr
    assert "skipped: s1: " in part.stderr
    (skipped,) = json.loads(part.stdout)["skipped"]
    assert "s1" == skipped["strategy_id"]
    assert "did you mean 'momentum'?" in skipped["reason"]
