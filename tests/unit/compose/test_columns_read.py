"""Which columns a backtest asks its recording for: projection is what makes reading fast."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parity.compose.modes import backtest
from parity.model.events import EventBatch
from parity.recording.reader import Recording
from parity.settings.strategies import load_strategies

DEMO = Path(__file__).resolve().parents[3] / "recordings" / "demo"
# What every engine needs: order, clocks, instruments, and what fills paper orders.
ENGINE = {"seq", "ts_event", "instrument_token", "flags", "price_int", "bid_int", "ask_int"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The columns of each reading, and that no batch holds another."""
    found: list[set[str]] = []
    read = Recording.batches

    def batches(self: Recording, *, columns: Any, **more: Any) -> Iterator[EventBatch]:
        found.append(set(columns))
        for batch in read(self, columns=columns, **more):
            assert set(batch.ticks.names) <= found[-1] | {"price_int", "inst"}
            yield batch

    monkeypatch.setattr(Recording, "batches", batches)
    return found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["momentum_kernel"], {*ENGINE, "price"}),
        (["momentum_kernel", "rsi_bands_kernel"], {*ENGINE, "price"}),
    ],
)
def test_of_kernels_only_what_they_declare_is_read(
    asked: list[set[str]], names: list[str], expected: set[str], tmp_path: Path
) -> None:
    """Beside what the engine itself needs."""
    backtest(DEMO, load_strategies(names), out=tmp_path / "run", cache="off")

    assert [expected] == asked


def test_a_processor_may_look_at_all_of_a_tick(asked: list[set[str]], tmp_path: Path) -> None:
    """So one beside a kernel has everything read."""
    backtest(DEMO, load_strategies(["momentum", "momentum_kernel"]), out=tmp_path / "run")

    assert {*ENGINE, "quantity_int", "trade_id", "side", "volume_int"} < asked[0]
