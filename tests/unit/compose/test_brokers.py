"""Who fills and where signals go, by mode and broker; and which brokers a live run serves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parity.compose import brokers
from parity.model.errors import ConfigError


def plans(*named: str) -> list[Any]:
    """Return plans at these brokers, as far as they are looked at."""
    config = SimpleNamespace(strategy_id="s")
    return [SimpleNamespace(broker=name, config=config) for name in named]


@pytest.mark.parametrize(
    ("mode", "broker", "fills", "outlet"),
    [
        ("backtest", "paper", "paper", "paper"),
        ("backtest", "zerodha", "paper", "paper"),
        ("paper", "paper", "paper", "paper"),
        ("paper", "zerodha", "paper", "paper"),
        ("live", "paper", "paper", "paper"),
        ("live", "zerodha", "outside", "zerodha"),
    ],
)
def test_a_mode_chooses_who_fills_and_where_signals_go(
    mode: str, broker: str, fills: str, outlet: str
) -> None:
    """Only a live run leaves the paper broker, and only for rows of another one."""
    assert fills == brokers.fills_of(mode, broker)
    assert outlet == brokers.outlets_of(mode, plans(broker))[broker]
    outside = {f"{broker}.orders.filled": broker} if fills == "outside" else {}
    assert outside == brokers.fill_topics(mode, plans(broker, "paper"))
    assert (fills == "paper") == brokers.fills_on_paper(mode, plans(broker))


def test_a_live_run_serves_the_brokers_it_began_with() -> None:
    """A strategy brought later at another broker is refused by name: there is no topic of it."""
    kept = [SimpleNamespace(broker="zerodha")]
    live: Any = SimpleNamespace(mode="live", strategies=kept)
    brokers.check_served(live, plans("zerodha"))
    with pytest.raises(ConfigError, match=r"s: paper is none of the run's brokers \(zerodha\)"):
        brokers.check_served(live, plans("zerodha", "paper"))
    paper: Any = SimpleNamespace(mode="paper", strategies=kept)
    brokers.check_served(paper, plans("paper"))


def test_where_no_topic_says_fills_nothing_is_read(tmp_path: Path) -> None:
    """A run on paper does not go through the controls of its recording to know none of them."""
    (tmp_path / brokers.MANIFEST).write_text("no manifest")
    table: Any = None

    assert {} == brokers.fill_decoders({}, table, tmp_path)
