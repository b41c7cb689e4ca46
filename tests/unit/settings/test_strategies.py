"""Strategy configurations: every spelling, every refusal with its line, and `--set`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from parity.model.errors import ConfigError
from parity.settings.pyfile import load_python_file
from parity.settings.strategies import apply_overrides, load_strategies, spec_of
from parity.strategies import REGISTRY

CONFIGS = Path(__file__).resolve().parents[3] / "strategies" / "configs"
GOOD = {
    "strategy_name": "m1",
    "strategy_type": "momentum",
    "instruments": [900001, 900002],
    "parameters": {"threshold": 0.02},
}
PROCESSOR = """
class Echo:
    def __init__(self, *, size: int = 1, label: str = "echo") -> None:
        self.size, self.label = size, label
    def process_tick(self, tick, history): return None
    def get_required_history_length(self): return self.size
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return self.label
"""

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of rows; what is no text is written as JSON, which is YAML too."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    return write


def refusal(*sources: Path | str, overrides: tuple[str, ...] = ()) -> str:
    """Return the text of the ConfigError that loading these raises."""
    with pytest.raises(ConfigError) as caught:
        load_strategies(sources, overrides)
    return str(caught.value)


def without(*keys: str, **changed: Any) -> dict[str, Any]:
    """Return the good row with keys left out and others changed."""
    return {k: v for k, v in {**GOOD, **changed}.items() if k not in keys}


@pytest.mark.parametrize("ending", ["yaml", "yml", "json"])
def test_a_row_becomes_a_checked_configuration(write: Write, ending: str) -> None:
    """Names are unified, defaults filled in, and the place is kept, in each format."""
    (spec,) = load_strategies([write(f"a.{ending}", GOOD)])
    assert spec.config.strategy_id == "m1"
    assert spec.config.instrument_tokens == (900001, 900002)
    assert spec.config.active_brokers == ("paper",)
    assert spec.config.parameters == {
        "lookback_periods": 20,
        "threshold": 0.02,
        "position_size": 100,
    }
    assert spec.config.enabled
    assert spec.where.endswith(f"a.{ending}:1")
    assert spec.build().get_required_history_length() == 20


def test_every_spelling_means_the_same(write: Write) -> None:
    """The seeds' spellings of one strategy give equal configurations."""
    first = write("a.yaml", without("strategy_name", id="x", is_active=True))
    second = write(
        "b.yaml",
        {
            "strategy_id": "x",
            "strategy_class": "momentum",
            "instrument_tokens": [900001, 900002],
            "enabled": True,
            "active_brokers": ["paper"],
            "use_composition": True,
            "parameters": {"threshold": 0.02, "validator": "standard"},
        },
    )
    third = write("c.yaml", without("strategy_name", strategy_id="x", validator="standard"))
    configs = [load_strategies([path])[0].config for path in (first, second, third)]
    assert configs[0] == configs[1] == configs[2]


@pytest.mark.parametrize("key", ["strategy_name", "instruments"])
def test_two_spellings_in_one_row_are_refused(write: Write, key: str) -> None:
    """A row that says one thing twice is refused by both names."""
    other = {"strategy_name": "id", "instruments": "instrument_tokens"}[key]
    said = refusal(write("a.yaml", {**GOOD, other: GOOD[key]}))
    assert f"{other}: means the same as {key}" in said


def test_seed_shapes_are_read(write: Write) -> None:
    """A list, a `strategies:` list and one mapping without an id are all rows."""
    rows = [without(strategy_name="a"), without(strategy_name="b")]
    assert [s.strategy_id for s in load_strategies([write("l.yaml", rows)])] == ["a", "b"]
    listed = load_strategies([write("s.yaml", {"strategies": rows})])
    assert [s.strategy_id for s in listed] == ["a", "b"]
    assert listed[1].place.line > listed[0].place.line
    (one,) = load_strategies([write("lonely.yaml", without("strategy_name"))])
    assert one.strategy_id == "lonely"
    assert "strategy_id: expected text" in refusal(write("r.yaml", [without("strategy_name")]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"parameters": {"lookback_periods": "twenty"}},
            'parameters.lookback_periods: expected an integer ≥ 2 and ≤ 1000000, was "twenty"',
        ),
        (
            {"parameters": {"lookback_periods": 1}},
            "parameters.lookback_periods: expected an integer ≥ 2 and ≤ 1000000, was 1",
        ),
        (
            {"parameters": {"lookback_periods": 20.0}},
            "parameters.lookback_periods: expected an integer ≥ 2 and ≤ 1000000, was 20.0",
        ),
        (
            {"parameters": {"lookback_periods": True}},
            "parameters.lookback_periods: expected an integer ≥ 2 and ≤ 1000000, was true",
        ),
        (
            {"parameters": {"threshold": None}},
            "parameters.threshold: expected a number ≥ 0, was null",
        ),
        (
            {"parameters": {"treshold": 0.1}},
            "parameters.treshold: unknown parameter; did you mean 'threshold'?",
        ),
        ({"parameters": [1]}, "parameters: expected a mapping of parameters, was [1]"),
        (
            {"parameters": {"risk": {"cooldown": 3}}},
            "parameters.risk.cooldown: unknown parameter; did you mean 'cooldown_sec'?",
        ),
        (
            {"parameters": {"risk": {"min_confidence": 55}}},
            "parameters.risk.min_confidence: expected a number ≥ 0 and ≤ 1, was 55",
        ),
        ({"parameters": {"risk": 3}}, "parameters.risk: expected a mapping, was 3"),
        (
            {"parameters": {"risk": {"cooldown_sec": 1}, "cooldown_sec": 2}},
            "parameters.cooldown_sec: stands beside risk.cooldown_sec",
        ),
        (
            {"parameters": {"paper": {"slippage": 5}}},
            "parameters.paper.slippage: expected a number ≥ 0 and ≤ 1, was 5",
        ),
        (
            {"strategy_type": "momentun"},
            """strategy_type: unknown strategy "momentun"; did you mean 'momentum'?""",
        ),
        ({"strategy_type": "os:system"}, 'strategy_type: unknown strategy "os:system"'),
        (
            {"instruments": ["900001"]},
            "instruments: expected a list of instrument tokens (integers ≥ 1), or all, was",
        ),
        ({"instruments": [0]}, "instruments: expected a list of instrument tokens"),
        ({"instruments": [2**63]}, "instruments: expected a list of instrument tokens"),
        ({"instruments": [1.0]}, "instruments: expected a list of instrument tokens"),
        ({"instruments": [True]}, "instruments: expected a list of instrument tokens"),
        ({"instruments": []}, "instruments: expected a list of instrument tokens"),
        ({"instruments": [7, 8, 7]}, "instruments: 7 stands twice"),
        ({"brokers": ["zeroda"]}, "brokers: expected a list of paper, zerodha"),
        ({"brokers": "paper"}, "brokers: expected a list of paper, zerodha"),
        ({"enabled": "yes"}, 'enabled: expected true or false, was "yes"'),
        ({"enabled": 1}, "enabled: expected true or false, was 1"),
        ({"on": "trade"}, 'on: expected trades or quotes, was "trade"'),
        ({"validator": "standrad"}, "validator: expected one of standard, was"),
        (
            {"validator": "standard", "parameters": {"validator": "other"}},
            'parameters.validator: "other", but validator is "standard"',
        ),
        ({"use_composition": False}, "use_composition: expected true (strategies by inheritance"),
        ({"brokrs": ["paper"]}, "brokrs: unknown key; did you mean 'brokers'?"),
        ({"paper": {"cash": 1}}, "paper: unknown key; write it inside `parameters`"),
        (
            {"zerodha_trading_enabled": True, "brokers": ["paper"]},
            "zerodha_trading_enabled: true, but brokers is",
        ),
        (
            {"zerodha_trading_enabled": True, "brokers": ["paper", "zerodha"]},
            "zerodha_trading_enabled: true, but",
        ),
        (
            {"zerodha_trading_enabled": False, "brokers": ["zerodha"]},
            "zerodha_trading_enabled: false, but",
        ),
        ({"strategy_name": ""}, "strategy_name: expected text of 1 to 128 printable characters"),
        (
            {"strategy_name": "a\nb"},
            "strategy_name: expected text of 1 to 128 printable characters",
        ),
        (
            {"strategy_name": 5},
            "strategy_name: expected text of 1 to 128 printable characters, was 5",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    write: Write, changed: dict[str, Any], said: str
) -> None:
    """Each refusal names file, the line of the very key, the value, and where it can the cure."""
    for ending in ("yaml", "json"):
        path = write(f"x.{ending}", [GOOD | {"strategy_name": "other"}, GOOD | changed])
        message = refusal(path)
        assert said in message
        key = said.split(":")[0].split(".")[-1]
        assert message.startswith(f"{path}:")
        line = int(message.removeprefix(f"{path}:").split(":")[0])
        written = path.read_text().splitlines()
        assert key in "".join(written[line - 2 : line])  # the key's line, or the item behind it


def test_everything_wrong_is_said_at_once(write: Write) -> None:
    """One error lists the faults of every row of every file, a line each."""
    first = write("a.yaml", {**GOOD, "enabled": "no", "colour": 1})
    second = write("b.yaml", [without("instruments", strategy_name="q")])
    lines = refusal(first, second).splitlines()
    assert len(lines) == 3
    assert "colour" in lines[0]
    assert "enabled" in lines[1]
    assert "instruments" in lines[2]
    bad = {"threshold": -1, "position_size": 0, "x": 1}
    assert len(refusal(write("c.yaml", {**GOOD, "parameters": bad})).splitlines()) == 3


def test_zerodha_only_where_the_row_says_so(write: Write) -> None:
    """A row goes to paper, to zerodha only when enabled, to both only when it lists both."""
    rows = [
        without(strategy_name="a"),
        without(strategy_name="b", zerodha_trading_enabled=True),
        without(strategy_name="c", brokers=["zerodha"]),
        without(strategy_name="d", brokers=["paper", "zerodha"]),
        without(strategy_name="e", zerodha_trading_enabled=False),
    ]
    brokers = [s.config.active_brokers for s in load_strategies([write("b.yaml", rows)])]
    assert brokers == [("paper",), ("zerodha",), ("zerodha",), ("paper", "zerodha"), ("paper",)]


def test_inactive_rows_of_a_table_are_left_out(write: Write) -> None:
    """A row that is not active may name a type that is long gone; a YAML strategy may not."""
    row = without("strategy_name", "parameters", id="old", strategy_type="gone", is_active=False)
    dates = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    live = without("strategy_name", id="new", is_active=True, **dates)
    assert [s.strategy_id for s in load_strategies([write("t.json", [row, live])])] == ["new"]
    assert "unknown strategy" in refusal(write("t.yaml", [row, live]))
    (off,) = load_strategies([write("off.yaml", without(enabled=False))])
    assert not off.config.enabled


def test_limits_beside_the_parameters_are_the_risk_block(write: Write) -> None:
    """Limits beside the parameters and in the risk block mean the same; the factory sees none."""
    beside = load_strategies([write("a.yaml", {**GOOD, "parameters": {"min_confidence": 0.5}})])
    block = {"parameters": {"risk": {"min_confidence": 0.5}}}
    inside = load_strategies([write("b.yaml", {**GOOD, **block})])
    assert beside[0].config == inside[0].config
    assert inside[0].config.parameters["risk"] == {"min_confidence": 0.5}
    assert "risk" not in inside[0].parameters


def test_all_instruments(write: Write) -> None:
    """`instruments: all` is an empty tuple, which the executor takes as every instrument."""
    (spec,) = load_strategies([write("a.yaml", without(instruments="all"))])
    assert spec.config.instrument_tokens == ()


def test_duplicate_ids_name_both_places(write: Write) -> None:
    """Two files with one id are refused, with the line of each."""
    first, second = write("a.yaml", GOOD), write("b.yaml", [without(strategy_name="z"), GOOD])
    said = refusal(first, second)
    assert said.startswith(f"{second}:")
    assert f"strategy 'm1' stands twice, first in {first}:1" in said


def test_folder_is_read_in_name_order(write: Write, tmp_path: Path) -> None:
    """A folder gives its files by name; hidden, private and other files are no strategies."""
    write("c/b.yaml", without(strategy_name="two"))
    write("c/a.json", [without("strategy_name", id="one")])
    write("c/_draft.yaml", "not: [valid")
    write("c/notes.txt", "x")
    write("c/common.py", "HELPERS = 1\n")
    write("c/z.py", PROCESSOR)
    specs = load_strategies([tmp_path / "c"])
    assert [s.strategy_id for s in specs] == ["one", "two", "Echo"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no strategy files" in refusal(empty)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.yaml", "no such file, folder or shipped strategy; did you mean"),
        ("momentun", "did you mean 'momentum'?"),
    ],
)
def test_absent_sources_are_named(write: Write, tmp_path: Path, name: str, said: str) -> None:
    """A source that is not there names what is near."""
    write("gone2.yaml", GOOD)
    source = tmp_path / name if "." in name else name
    assert said in refusal(source)
    assert "not a strategy file" in refusal(write("x.txt", "a"))
    assert "no strategies given" in refusal()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a strategy or a list of them, was null"),
        ("[]", "no strategies in the list"),
        ("- 5", "expected a strategy (a mapping), was 5"),
        ("strategies: 5", "strategies: expected a list"),
        ("strategies: []\nname: x", "key 'name' beside strategies"),
    ],
)
def test_files_of_another_shape_are_refused(write: Write, text: str, said: str) -> None:
    """A file that is no strategy configuration says what was expected."""
    assert said in refusal(write("s.yaml", text))


def test_shipped_strategies_load_by_name() -> None:
    """A registered name is a strategy with its defaults on every instrument."""
    (spec,) = load_strategies(["momentum"])
    assert spec.config.strategy_type == "momentum"
    assert spec.config.instrument_tokens == ()
    assert spec.config.parameters["lookback_periods"] == 20


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configurations_load(path: Path) -> None:
    """Each shipped file is valid, builds, and runs on the instruments of the demo recording."""
    specs = load_strategies([path])
    assert specs
    for spec in specs:
        assert spec.config.instrument_tokens == (900001, 900002)
        assert spec.type.kind == "builtin"


def test_shipped_folder_loads_whole() -> None:
    """The folder of shipped files has no id twice, and the demo is among them."""
    ids = {spec.strategy_id for spec in load_strategies([CONFIGS])}
    demo = {"momentum_py", "momentum_kernel", "mean_reversion", "ml_momentum", "low_frequency_demo"}
    assert demo < ids


def test_every_registered_strategy_accepts_its_own_defaults() -> None:
    """What a strategy declares and what its factory takes are the same thing."""
    for name in REGISTRY:
        (spec,) = load_strategies([name])
        assert spec.type.declared is not None, f"{name} declares no PARAMETERS"
        assert spec.build() is not None


# ---- --set ---------------------------------------------------------------------------------


def test_set_reaches_one_or_all(write: Write) -> None:
    """With an id it changes one strategy, without it every one that has the parameter."""
    rows = [
        without(strategy_name="a"),
        without(strategy_name="a.b"),
        without(strategy_name="r", strategy_type="mean_reversion", parameters={}),
    ]
    specs = load_strategies([write("s.yaml", rows)])

    def values(*overrides: str) -> list[Any]:
        changed = apply_overrides(specs, overrides)
        return [s.config.parameters.get("threshold") for s in changed]

    assert values("threshold=0.5") == [0.5, 0.5, None]
    assert values("a.threshold=1") == [1.0, 0.02, None]
    assert values("a.b.threshold=1e-3") == [0.02, 0.001, None]
    assert values("threshold=0.5", "a.threshold=0.7") == [0.7, 0.5, None]
    assert values() == [0.02, 0.02, None]
    limits = apply_overrides(specs, ["risk.cooldown_sec=30", "a.cooldown_sec=5"])
    assert [s.config.parameters["risk"] for s in limits] == [
        {"cooldown_sec": 5.0},
        {"cooldown_sec": 30.0},
        {"cooldown_sec": 30.0},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threshold", "--set threshold: expected [id.]parameter=value"),
        ("=3", "--set =3: expected [id.]parameter=value"),
        ("treshold=1", "no strategy has a parameter 'treshold'; did you mean 'threshold'?"),
        ("m2.threshold=1", "no strategy 'm2'; known are m1"),
        ("m1.treshold=1", "--set m1.treshold=1: parameters.treshold: unknown parameter; did you"),
        (
            "threshold=much",
            '--set threshold=much: parameters.threshold: expected a number ≥ 0, was "much"',
        ),
        (
            "m1.lookback_periods=2.5",
            "parameters.lookback_periods: expected an integer ≥ 2 and ≤ 1000000, was 2.5",
        ),
        ("risk.min_confidence=2", "--set risk.min_confidence=2: parameters.risk.min_confidence"),
        ("threshold=.nan", "parameters.threshold: expected a number ≥ 0, was nan"),
        ("threshold=[", "--set threshold=["),
    ],
)
def test_set_refuses_by_name(write: Write, text: str, said: str) -> None:
    """A wrong override names the flag, not a file, both at load and afterwards."""
    path = write("s.yaml", GOOD)
    assert said in refusal(path, overrides=(text,))
    with pytest.raises(ConfigError) as caught:
        apply_overrides(load_strategies([path]), [text])
    assert said in str(caught.value)


def test_set_can_mend_what_a_file_lacks(write: Write) -> None:
    """Overrides count before the check, so a required parameter may come from the flag."""
    path = write("s.py", PROCESSOR.replace("size: int = 1", "size: int"))
    assert "parameters.size: expected a plain value, was missing" in refusal(path)
    (spec,) = load_strategies([path], ["size=7"])
    assert spec.build().get_required_history_length() == 7


# ---- Python files --------------------------------------------------------------------------


def test_python_strategy_configured_by_a_row(write: Write) -> None:
    """A row names a strategy of a Python file given beside it; the file alone runs its defaults."""
    code = write("mine.py", PROCESSOR)
    row = without(strategy_name="quiet", strategy_type="Echo", parameters={"size": 3})
    config = write("rows.yaml", [row])
    assert "unknown strategy" in refusal(config)  # a row never reaches code nobody named
    (spec,) = load_strategies([code, config])
    assert (spec.strategy_id, spec.config.strategy_type) == ("quiet", "mine.py:Echo")
    assert spec.build().size == 3
    (alone,) = load_strategies([code])
    assert (alone.strategy_id, alone.config.instrument_tokens) == ("Echo", ())
    bad = write("bad.yaml", [{**row, "parameters": {"sise": 3}}])
    assert "parameters.sise: unknown parameter; did you mean 'size'?" in refusal(code, bad)


def test_a_shipped_name_is_never_taken_over(write: Write) -> None:
    """A user's strategy called momentum is reached by its full name only."""
    code = write("mine.py", PROCESSOR.replace("class Echo", "class momentum"))
    rows = [without(strategy_name="ours"), without(strategy_name="theirs", parameters={})]
    rows[1]["strategy_type"] = "mine.py:momentum"
    specs = load_strategies([code, write("r.yaml", rows)])
    assert [s.config.strategy_type for s in specs] == ["momentum", "mine.py:momentum"]
    assert [s.type.kind for s in specs] == ["builtin", "class"]


def test_a_factory_that_fails_is_a_configuration_error(write: Write) -> None:
    """Whatever a user's factory does wrong is named with its place before anything starts."""
    path = write("f.py", "def create(config):\n    return {}['key']\n")
    said = refusal(path)
    assert f"{path}:1: f.py:f could not be built: KeyError: 'key'" in said
    path = write("g.py", "def create(config):\n    return 5\n")
    assert "built a int without process_tick" in refusal(path)


def test_spec_of_a_kept_configuration(write: Write) -> None:
    """A configuration from a manifest and the file kept with it give the same strategy again."""
    code = write("mine.py", PROCESSOR)
    (spec,) = load_strategies([code], ["size=4", "cooldown_sec=9"])
    again = spec_of(spec.config, [load_python_file(code)])
    assert again.config == spec.config
    assert again.build().size == 4
    with pytest.raises(ConfigError, match=r"strategy_type 'mine\.py:Echo' is unknown"):
        spec_of(spec.config)


def test_specs_hold_plain_values(write: Write) -> None:
    """A configuration is plain data, so it can be written to a manifest and read back."""
    (spec,) = load_strategies([write("a.yaml", GOOD)])
    parameters: Mapping[str, Any] = spec.config.parameters
    assert json.loads(json.dumps(parameters)) == parameters


def test_a_file_that_is_not_given_is_named(write: Write) -> None:
    """A row whose strategy is in a file beside it says which to name; of no such file nothing."""
    code = write("own.py", PROCESSOR)
    rows = [write(f"{n}.yaml", without(strategy_type=f"{n}.py:Echo")) for n in ("own", "other")]

    assert f"name the file beside it, too: {code}" in refusal(rows[0])
    assert "known are breakout" in refusal(rows[1])
