"""A small live run whose orders are filled outside: three signals, and the fills a test tells."""

from pathlib import Path
from typing import Any

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.events import Control, EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.recording.journal import JournalWriter
from parity.recording.reader import open_recording
from parity.recording.runs import (
    KeptStrategy,
    RecordingReference,
    RunFolder,
    RunManifest,
    RunWriter,
)
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.sources import synthetic

TABLE, TICKS = synthetic.generate(ticks=60)
TOKEN = int(TICKS["instrument_token"][0])
MINE = TICKS[TICKS["instrument_token"] == TOKEN]


class Thrice:
    """Says BUY 2 at its ticks 3, 6 and 9."""

    def __init__(self) -> None:
        self.count = 0

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Count."""
        self.count += 1
        return SignalResult("BUY", 0.9, 2, tick.price) if self.count in (3, 6, 9) else None

    def get_required_history_length(self) -> int:
        """One."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """The name."""
        return "thrice"


def run_with(folder: Path, fills: dict[int, list[dict[str, Any]]]) -> RunFolder:
    """Run over 12 ticks of one instrument, with fills behind some of them."""
    config = StrategyConfig(strategy_id="s", strategy_type="s", instrument_tokens=(TOKEN,))
    engine = Engine(TABLE, [ExecutorPlan(config, "zerodha", Thrice, fills="outside")])
    manifest = RunManifest(
        run_id="r",
        mode="live",
        created_by="test",
        started="",
        seed=0,
        strategies=[
            KeptStrategy(
                config={"strategy_id": "s", "parameters": {"paper": {"slippage": 0}}},
                broker="zerodha",
                kind="class",
                type_name="Thrice",
                source="",
                source_sha256="",
            )
        ],
        skipped=[],
        recording=RecordingReference(path="recording"),
        fingerprint={},
    )
    writer = RunWriter(folder, manifest)
    create_recording(folder / "recording", TABLE, streams=[("t", 0)], created_by="test")
    seq = 0
    with JournalWriter(folder / "recording", durability="os") as journal:
        for number in range(1, 13):
            seq += 1
            records = MINE[number - 1 : number].copy()
            records["seq"], records["stream"], records["offset"] = seq, 0, number
            controls = []
            for detail in fills.get(number, []):
                seq += 1
                told = {"order_id": f"o{seq}", "strategy_id": "s", "broker": "zerodha"}
                told |= {"instrument_token": TOKEN, "side": "BUY", "fees": "0.5", **detail}
                controls.append(Control(seq=seq, ts_recv=1, verb="fill", detail=told))
            journal.append(records, controls, {0: number})
            batch = EventBatch(TickBatch.from_records(records, TABLE), tuple(controls))
            writer.write(engine.process(batch))
    seal(folder / "recording")
    with open_recording(folder / "recording") as sealed:
        writer.close(engine.report(), seq, content_hash=sealed.content_hash())
    return RunFolder(folder)
