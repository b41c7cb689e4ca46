"""docs/strategies.md tells every key of a configuration, and no other."""

import re
from pathlib import Path

import pytest

from parity.model.errors import ConfigError
from parity.settings.rows import _SPELLINGS as SPELLINGS
from parity.settings.rows import BLOCKS, Row, RowReader
from parity.settings.strategies import load_rows
from parity.settings.validators import BLOCK
from parity.settings.yaml import parse_yaml
from parity.strategies import REGISTRY

PAGE = (Path(__file__).parents[2] / "docs/strategies.md").read_text()
TABLE_COLUMNS = {"created_at", "updated_at", "use_composition"}  # of the table; they say nothing


def cells(first: str) -> list[list[str]]:
    """The rows of the table whose header begins with a word."""
    body = re.search(rf"^\| {first} \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", PAGE, re.MULTILINE)
    assert body
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in body[1].splitlines()]


def test_every_key_is_told() -> None:
    """The table of keys is the row's fields with their other spellings."""
    told = {key for first, *_ in cells("key") for key in re.findall(r"`(\w+)`", first)}

    assert {*Row.model_fields, *SPELLINGS} - TABLE_COLUMNS == told


def test_every_block_is_told() -> None:
    """The blocks inside `parameters`, and the keys of `paper`; `risk` has a table of its own."""
    told = [(block.strip("`"), key.strip("`")) for block, key, _ in cells("block")]

    assert {*BLOCKS, BLOCK} == {block for block, _ in told}
    assert {*BLOCKS["paper"]} == {key for block, key in told if block == "paper"}


def test_every_shipped_strategy_is_told() -> None:
    """With the parameters that it is named by; kernels with a twin are named with it."""
    told = {name.strip("`") for name, _ in cells("strategy")}
    kernels = {name for name in REGISTRY if name.removesuffix("_kernel") in {*REGISTRY} - {name}}

    assert set(REGISTRY) - kernels == told
    assert all(f"`{name}`" in PAGE for name in kernels)


def test_a_key_that_is_not_told_is_not_taken() -> None:
    """The reader refuses what the page does not name, with the nearest that it does."""
    reader = RowReader(parse_yaml("strategy_typ: momentum\ninstruments: all\nid: a", "x.yaml"))

    assert reader.read() is None
    assert "did you mean 'strategy_type'?" in [p.cure for p in reader.problems]


def test_the_older_examples_are_rows() -> None:
    """A template with `validator` beside, a table's row, and limits in `risk`: all their keys."""
    parameters = {"lookback_periods": 20, "threshold": 0.012, "position_size": 75,
                  "model_path": "momentum.onnx", "min_conf": 0.6}  # fmt: skip
    risk = {"min_confidence": 0.55, "cooldown_sec": 60, "max_signals_per_min": 6}
    template = {"strategy_name": "NIFTY50 hybrid momentum", "strategy_type": "hybrid_momentum",
                "parameters": {**parameters, "risk": risk}, "validator": "standard",
                "instruments": [256265], "brokers": ["paper"], "enabled": True}  # fmt: skip
    row = {"id": "two", "strategy_class": "momentum", "instrument_tokens": [256265],
           "parameters": {"validator": "standard", "max_position_size": 5}, "is_active": True,
           "brokers": ["paper", "zerodha"], "use_composition": True}  # fmt: skip
    one, two = load_rows([template, row])

    assert 6 == one.config.parameters["risk"]["max_signals_per_minute"]
    assert ("paper", "zerodha") == two.config.active_brokers
    assert 5 == two.config.max_position_size
    with pytest.raises(ConfigError, match="strategies by inheritance never run"):
        load_rows([template, {**row, "use_composition": False}])
