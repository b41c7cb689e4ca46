"""Real ticks all the way: import, backtest, verify from another process, digests as goldens.

Every shipped strategy, on trades and on quotes, over every shared recording, each step a process of
its own. `python tests/lib/real_goldens.py` makes the goldens anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from real_goldens import CASES, GOLDENS, SEED, command, configured, imported, kept, run

from parity.compose.fingerprint import changes, fingerprint
from parity.strategies import REGISTRY

pytestmark = [pytest.mark.data, pytest.mark.slow]
WHOLE = json.loads(GOLDENS.read_text())
# Recordings without trades, and without quotes of two sides: who is on those has nothing to say.
NO_TRADES = {"eurusd_weekend", "eurusd_models"}
NO_QUOTES = {"spy_two_days", "spy_models", "btcusdt_spot_two_days", "ltcusdt_12h", "ibm_one_sided"}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, each imported when it is first asked for."""
    return tmp_path_factory.mktemp("recordings")


def test_the_goldens_say_what_made_them() -> None:
    """Every case, strategy and parameter, the seed and the versions; every shipped type is run."""
    assert set(CASES) == set(WHOLE["cases"])
    assert SEED == WHOLE["seed"]
    assert configured() == WHOLE["strategies"]
    assert set(REGISTRY) == {one["strategy_type"] for one in WHOLE["strategies"].values()}
    assert {"python", "numpy", "numba", "onnxruntime", "model_session"} <= set(WHOLE["made_with"])


@pytest.mark.parametrize("name", sorted(WHOLE["cases"]))
def test_every_strategy_speaks_and_tiers_agree(name: str) -> None:
    """A golden is no silence: three candidates or more wherever there are ticks of its kind."""
    said = WHOLE["cases"][name]["strategies"]
    for strategy, one in said.items():
        on = WHOLE["strategies"][strategy]["on"]
        silent = name in (NO_TRADES if on == "trades" else NO_QUOTES)

        assert (one["candidates"] == 0) if silent else (one["candidates"] >= 3), strategy
    for strategy in said:
        kernel = strategy.replace("_on_", "_kernel_on_")
        if kernel in said:
            assert said[strategy] == said[kernel]
    assert name.endswith("_models") or any("_kernel_on_" in strategy for strategy in said)


def test_an_inverse_contract_is_not_traded_on_paper() -> None:
    """Each approved signal's order is refused by name, and nothing is filled."""
    for one in WHOLE["cases"]["btcusd_inverse"]["strategies"].values():
        assert 0 == one["fills"]
        assert one["signals"] == one["drops"].get("paper_inverse_contract", 0)


@pytest.mark.parametrize("name", sorted(CASES))
def test_real_ticks_give_the_golden_digests(
    name: str, shared_data: Path, recordings: Path, tmp_path: Path
) -> None:
    """Counts and digests are the golden's, and another process proves the run identical."""
    case = CASES[name]
    golden: dict[str, Any] = WHOLE["cases"][name]
    now = kept(case, run(case, imported(case.recording, shared_data, recordings), tmp_path / "run"))
    verdict = command("verify", tmp_path / "run")

    moved = "; ".join(changes(WHOLE["made_with"], fingerprint(models=True))) or "nothing"
    assert golden == now, f"not what the golden says; changed since it was made: {moved}"
    assert "identical" == verdict["verdict"]
    assert golden["ticks"] == verdict["covered"]["ticks"]
    assert (
        sum(one["signals"] for one in now["strategies"].values()) == verdict["covered"]["signals"]
    )
