"""The contract of every strategy, put to all that ship, each with its shipped configuration."""

from pathlib import Path

import pytest

from parity.compose.checks import check
from parity.compose.plans import prepare
from parity.settings.strategies import load_rows, load_strategies
from parity.strategies import REGISTRY
from parity.testing.checks import broken, synthetic_market

CONFIGS = Path(__file__).parents[2] / "strategies" / "configs"


@pytest.mark.parametrize("name", list(REGISTRY))
def test_it_keeps_the_contract(name: str) -> None:
    """With its defaults it speaks, and no check finds anything."""
    (spec,) = load_strategies([name])

    assert [] == broken(prepare([spec]).plans[0])


@pytest.mark.parametrize("name", ["momentum", "mean_reversion"])
def test_it_keeps_the_contract_on_quotes(name: str) -> None:
    """The same on the mids of two-sided quotes of one instrument beside a stranger's."""
    parameters = {"risk": {"cooldown_sec": 5}}
    row = {"id": name, "strategy_type": name, "instruments": [256265], "parameters": parameters}
    (plan,) = prepare(load_rows([{**row, "on": "quotes"}])).plans
    market = synthetic_market([256265], on="quotes", history=20)

    assert "quotes" == plan.config.on
    assert [] == broken(plan, market)


def test_each_has_a_configuration_that_passes() -> None:
    """Every shipped type is configured in strategies/configs, and each configuration checks."""
    specs = load_strategies([file for file in CONFIGS.glob("*.yaml") if file.stem != "demo"])
    report = check(specs)

    assert set(REGISTRY) == {spec.type.name for spec in specs}
    assert report.ok, str(report)
    assert () == report.findings
