"""Registered validators: chosen by name, shown what they need, kept like a strategy."""

import json
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.compose import proofs
from parity.model.errors import ConfigError, RecordingCorrupt
from parity.proof.lint import lint_source
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording

MODULE = """
from parity.model.parameters import Parameter

PARAMETERS = {"odd": Parameter("bool", False), "most": Parameter("float", 1e9, minimum=0)}


def create(parameters):
    def validate(candidate, tick, history, context):
        assert context.price is not None
        assert tick.price == candidate.price
        assert history is None or history[-1].ts_event == tick.ts_event == candidate.ts_event
        if abs(context.position) >= parameters["most"]:
            return "enough"
        if tick.price_int % 13 == 0:
            raise RuntimeError("thirteen")
        if tick.price_int % 11 == 0:
            return 11
        return "parity" if tick.price_int % 2 == parameters["odd"] else None

    return validate


def create_number(parameters):
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recording, and an installed package that registers two validators."""
    site = tmp_path / "site"
    info = site / "desk-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: desk\nVersion: 1.0\n")
    points = "[parity.validators]\ndesk = desk_rules:create\nnumber = desk_rules:create_number\n"
    (info / "entry_points.txt").write_text(points + "gone = desk_rules:nothing\n")
    (site / "desk_rules.py").write_text(MODULE)
    monkeypatch.syspath_prepend(site)
    make_recording(tmp_path / "recording", ticks=3_000)
    return tmp_path


def rows(folder: Path, *types: str, **keys: Any) -> Path:
    """Write a file of strategies that name the validator, with keys."""
    path = folder / "rows.json"
    written = [
        {
            "id": kind,
            "strategy_type": kind,
            "instruments": "all",
            "parameters": {"threshold": 0.0, "position_size": 1, **keys.pop("parameters", {})},
            "validator": "desk",
            **keys,
        }
        for kind in types
    ]
    path.write_text(json.dumps(written, indent=1))
    return path


def refused(folder: Path, **keys: Any) -> str:
    """Return why a row is refused."""
    with pytest.raises(ConfigError) as caught:
        load_strategies([rows(folder, "momentum", **keys)])
    return str(caught.value)


def test_a_registered_validator_decides_last(folder: Path) -> None:
    """It is asked in both tiers; what it cannot judge is dropped, and counted as an error."""
    run = pt.backtest(
        folder / "recording", rows(folder, "momentum", "momentum_kernel"), out=folder / "run"
    )
    shown = run.summary()["strategies"]
    one = shown["momentum"]

    assert {"desk:parity", "desk:error"} <= {*one["drops"]}
    assert one["errors"] == one["drops"]["desk:error"]
    assert one["signals"]
    assert one["digests"] == shown["momentum_kernel"]["digests"]
    seen = {row["seen"] for row in run.drops.to_dicts() if row["reason"] == "desk:error"}
    assert '{"error":"RuntimeError: thirteen"}' in seen
    assert '{"error":"expected a reason or None, was 11"}' in seen
    dropped = next(r for r in run.drops.to_dicts() if r["reason"] == "desk:parity")
    asked = run.why(dropped["seq"])["validators"][0]["asked"]
    assert ("desk", "dropped") == (asked[-1]["validator"], asked[-1]["verdict"])
    assert {"price", "position", "bar_open", "loss_streak"} <= {*asked[-1]["seen"]}


def test_its_source_is_kept_and_proved(folder: Path) -> None:
    """An edit, or its absence, changes nothing of a run; an edit of the kept text is found."""
    run = pt.backtest(folder / "recording", rows(folder, "momentum"), out=folder / "run")
    module = folder / "site" / "desk_rules.py"
    module.write_text(MODULE.replace("% 13", "% 17"))
    replayed = proofs.replay(run.path)

    assert pt.verify(run).verdict == "identical"
    assert replayed.verdict == "changed"
    assert "momentum: its validator changed" in replayed.changed
    module.unlink()
    assert pt.verify(run).verdict == "identical"
    (kept,) = (run.path / "source").rglob("desk_rules.py")
    kept.write_text(MODULE.replace("% 13", "% 17"))
    with pytest.raises(RecordingCorrupt, match="desk_rules"):
        pt.verify(run)


def test_it_takes_parameters_of_its_own(folder: Path) -> None:
    """The block `validation` is checked against what its module declares; `--set` reaches it."""
    path = rows(folder, "momentum", parameters={"validation": {"odd": True}})
    (spec,) = load_strategies([path], ["validation.most=0"])
    run = pt.backtest(
        folder / "recording", path, overrides=["validation.most=0"], out=folder / "run"
    )

    assert {"odd": True, "most": 0.0} == spec.config.parameters["validation"]
    assert "validation" not in spec.parameters
    assert {"desk:enough"} == {r for r in run.summary()["drops"] if r.startswith("desk")}


def test_both_places_of_the_name_are_read(folder: Path) -> None:
    """It stands beside the parameters, or inside."""
    path = rows(folder, "momentum", parameters={"validator": "desk"})
    written = path.read_text()
    path.write_text(written.replace(',\n  "validator": "desk"\n }', "\n }"))
    (spec,) = load_strategies([path])

    assert "desk" == spec.config.validator
    assert spec.validator is not None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"validator": "dsek"},
            'validator: expected one of standard, desk, gone, number, was "dsek"; did you mean',
        ),
        ({"validator": "number"}, "validator number: create_number gave a int; return a function"),
        ({"validator": "gone"}, "has no function 'nothing'; name its factory in the entry point"),
        (
            {"parameters": {"validation": {"od": 1}}},
            "parameters.validation.od: unknown parameter; did you mean 'odd'?",
        ),
        (
            {"parameters": {"validation": {}}, "validator": "standard"},
            "parameters.validation: no registered validator is named; write validator: NAME too",
        ),
        ({"parameters": {"validation": 3}}, "validation: expected a mapping of plain values, was"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, keys: dict[str, Any], said: str) -> None:
    """A wrong name, factory or parameter is refused before anything starts."""
    assert said in refused(folder, **keys)


def test_a_failing_factory_is_a_configuration_error(folder: Path) -> None:
    """What a factory itself refuses is refused at the start."""
    text = MODULE.replace("    def validate", "    1 / 0\n    def validate")
    (folder / "site" / "desk_rules.py").write_text(text)

    assert "validator desk could not be built: ZeroDivisionError" in refused(folder)


def test_its_source_is_linted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`parity check` reads it as it reads a strategy's file."""
    from parity.compose.checks import lint

    module = folder / "site" / "desk_rules.py"
    module.write_text("import time\n" + MODULE)
    found = lint(load_strategies([rows(folder, "momentum")]))

    assert [f.rule for f in found] == [f.rule for f in lint_source(module.read_text(), "m")]
    assert "clock" in {f.rule for f in found}
