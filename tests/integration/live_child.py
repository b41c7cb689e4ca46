"""A runner in a process of its own, so that tests can kill it; it prints its outcome as JSON.

Usage: live_child.py FOLDER BOOTSTRAP TOPIC BROKER CHECKPOINT_TICKS [--follow]
"""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.live.delivery import Delivery
from parity.live.runner import Limits, Strategies
from parity.live.start import start
from parity.live.supervisor import stop_on_signals
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.publishers.redpanda import RedpandaPublisher
from parity.recording.reader import open_recording
from parity.recording.runs import RecordingReference, RunFolder, RunManifest, RunWriter
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder
from parity.sources.redpanda import RedpandaSource

TABLE = synthetic.TABLE
EVERY = 7


class Seventh:
    """Says BUY and SELL by turns at every seventh tick of an instrument."""

    def __init__(self) -> None:
        self.count = 0

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Count, and speak when it is time."""
        self.count += 1
        if self.count % EVERY:
            return None
        side = "BUY" if self.count // EVERY % 2 else "SELL"
        return SignalResult(side, 0.9, 1, tick.price, "seventh", {"count": self.count})

    def snapshot(self) -> dict[str, Any]:
        """Return the count."""
        return {"count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.count = state["count"]

    def get_required_history_length(self) -> int:
        """One tick, the current one."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """The name."""
        return "seventh"


def engine(broker: str) -> Engine:
    """Return the engine that both the run and its replay use."""
    tokens = tuple(int(token) for token in TABLE.tokens)
    plans = [
        ExecutorPlan(
            StrategyConfig(
                strategy_id=f"seventh-{token}",
                strategy_type="seventh",
                active_brokers=(broker,),
                instrument_tokens=(token,),
            ),
            broker,
            Seventh,
        )
        for token in tokens
    ]
    return Engine(TABLE, plans, seed=1)


def writer(folder: Path) -> RunWriter:
    """Return the writer of a new run, or of the one that is there."""
    if (folder / "manifest.json").exists():
        return RunWriter(folder, RunFolder(folder).manifest, resume=True)
    manifest = RunManifest(
        run_id=folder.name,
        mode="paper",
        created_by="test",
        started="",
        seed=1,
        strategies=[],
        skipped=[],
        recording=RecordingReference(path="recording"),
        fingerprint={},
    )
    return RunWriter(folder, manifest)


async def main(
    folder: Path, servers: str, topic: str, broker: str, checkpoint_ticks: int, follow: bool
) -> None:
    """Run to the end of the topic, or until a signal."""
    stop = asyncio.Event()
    source = RedpandaSource(
        servers,
        [topic],
        NativeDecoder(TABLE),
        exit_at_end=not follow,
        settings={"fetch.wait.max.ms": 1},
    )
    run = writer(folder)
    delivery = Delivery(
        RedpandaPublisher(servers, folder.name),
        folder / "deliveries" / "ledger.jsonl",
        folder.name,
        {broker: broker},
    )
    with stop_on_signals(stop):
        outcome = await start(
            folder / "recording",
            TABLE,
            source,
            created_by="test",
            stop=stop,
            strategies=Strategies(engine(broker), run, delivery),
            limits=Limits(checkpoint_ticks=checkpoint_ticks, checkpoint_s=3600, flush_s=3),
        )
    if outcome.settled:  # as parity.compose.modes does: a complete run names what it read
        with open_recording(folder / "recording") as sealed:
            whole = RecordingReference(path="recording", content_hash=sealed.content_hash())
        run.manifest.recording = whole
        run.save_manifest()
    print(msgspec.json.encode(asdict(outcome)).decode(), flush=True)


if __name__ == "__main__":
    where, servers, topic, broker, every, *rest = sys.argv[1:]
    asyncio.run(main(Path(where), servers, topic, broker, int(every), bool(rest)))
