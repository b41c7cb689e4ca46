"""What `make demo` shows in its steps 2 and 3, on a small recording and the mock broker.

The whole demo, on the shipped recording, is run by CI as a new user would run it.
"""

import re
import threading
from pathlib import Path

import pytest

import parity as pt
from parity.cli import demo_console, demo_live
from parity.sources.synthetic import make_recording
from parity.testing.broker import start_broker

ROOT = Path(__file__).resolve().parents[2]
TICKS = 4_000
STRATEGIES = """
strategies:
  - strategy_name: low_frequency_demo
    strategy_type: low_frequency_demo
    instruments: [900001, 900002]
    parameters: {min_interval_seconds: 60}
  - {strategy_name: momentum_py, strategy_type: momentum, instruments: [900001, 900002]}
  - {strategy_name: mean_reversion, strategy_type: mean_reversion, instruments: [900001, 900002]}
"""


@pytest.fixture
def recording(tmp_path: Path) -> pt.Recording:
    """A small synthetic recording of the demo's two instruments."""
    make_recording(tmp_path / "small", ticks=TICKS)
    return pt.open(tmp_path / "small")


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run: numbers, and what was cut off by an ellipsis."""
    lines = (re.sub(r"[\d,.]*\d", "N", line).split("…")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def test_ticks_wait_at_the_mark(recording: pt.Recording) -> None:
    """What may go comes, in order; what is behind the mark comes once it was raised."""
    feed = demo_live.HeldFeed(recording)
    got: list[int] = []
    some = threading.Event()

    def take() -> None:
        for batch in feed.batches():
            got.extend(batch.ticks.column("seq").tolist())
            if len(got) == 1_000:
                some.set()

    taker = threading.Thread(target=take)
    taker.start()
    feed.raise_to(1_000)
    assert some.wait(30)
    waiting = list(got)
    feed.raise_to(TICKS)
    taker.join(30)

    assert list(range(1, 1_001)) == waiting
    assert list(range(1, TICKS + 1)) == got


@pytest.mark.slow
def test_outage_operator_kill_and_restart(
    recording: pt.Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Three strategies on two partitions, the broker away, a pause, a kill: and it verifies.

    What the README shows of these steps is what is printed, numbers aside, line for line.
    """
    monkeypatch.setattr(demo_console, "console", demo_console.Console(width=100, highlight=False))
    (tmp_path / "three.yaml").write_text(STRATEGIES)
    with start_broker(prefer="mock") as broker:
        run, published = demo_live.run_on_paper(
            broker, tmp_path / "paper", recording, tmp_path / "three.yaml"
        )
    printed = masked(capsys.readouterr().out)

    verbs = [v for v in run.controls["verb"] if v != "heartbeat"]
    assert ["strategy_paused", "resumed", "strategy_resumed"] == verbs
    assert published == len(run.signals) > 0
    assert 3 == len(run.summary()["strategies"])
    assert "identical" == pt.verify(run).verdict
    (shown,) = re.findall(
        r"^```text\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    steps = masked(shown[: shown.index("\n4 ")])
    found = [line for line in steps[1:] if any(one.startswith(line) for one in printed)]
    assert steps[1:] == found
