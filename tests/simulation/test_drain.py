"""A stop of a run whose strategies are far behind: it ends, and the next start does the rest."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity.settings.settings import Settings
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
BACKLOG = 2000
EACH_S = 0.05  # the whole backlog would take most of two minutes
TAKEN_MOST = BACKLOG // 4  # one batch of the reader's is a half; a stop in time is some dozens
SLOW = f"""\
import os
import time

from parity import SignalResult

slow = os.environ.get("SLOW") == "1"  # how long it takes, never what it says


class Slow:
    def process_tick(self, tick, history):
        if slow:
            time.sleep({EACH_S})
        if tick.price_int % 10:
            return None
        return SignalResult("BUY", 0.9, 1, tick.last_price, "slow")

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return True

    def get_strategy_name(self):
        return "slow"


def create(config):
    return Slow()
"""


@pytest.mark.parametrize(
    ("stop_s", "codes"), [(600, {0}), (0, {130}), (Settings().stop_s, {0, 130})]
)
def test_a_stop_does_not_wait_for_a_backlog(
    make_bench: Make, mock: Broker, tmp_path: Path, stop_s: float, codes: set[int]
) -> None:
    """Thousands of ticks at 50 ms each are left to the next start, which goes on bit for bit.

    So is the sealing, where the stop has no time for it: with what is shipped, where it is slow.
    """
    bench = make_bench(mock, BACKLOG)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow.yaml").write_text(
        'strategies:\n  - {strategy_name: slow, strategy_type: "slow.py:create",'
        " instruments: [900001, 900002]}\n"
    )
    names = ("slow.py", "slow.yaml")
    options = [word for name in names for word in ("--strategies", str(tmp_path / name))]
    bench.produce(BACKLOG)
    process = bench.start("paper", *options, SLOW="1", PARITY_STOP_S=str(stop_s))
    bench.await_ticks(process, 1)
    code, seconds = bench.stop(process, signal.SIGTERM)
    taken = bench.kept_ticks()
    bench.finish("paper", *options)

    assert code in codes, bench.log.read_text()
    assert (code != 0) == bench.said("s after the stop not all was sealed")
    assert 1 == bench.said("drain_cut_short")
    assert taken < TAKEN_MOST
    assert {"resumed": 1} == bench.check_recording(bench.folder / "recording")
    # verify takes the whole recording in one go, and finds what the two starts said.
    assert bench.check_signals() == bench.verify()["covered"]["deliveries"] > 0
    print(f"{taken} of {BACKLOG} ticks taken, ended {seconds:.1f} s after the signal")
