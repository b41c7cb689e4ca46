"""One side of the guard, a process of its own: small fixed works over the parity of one tree.

    python -P work.py TREE FOLDER

Both sides run this very file, never their own copy of it, so it is the same work; PYTHONPATH says
whose parity does it. Asked by lines of JSON on stdin, it answers each on stdout. It imports
nothing of `benchmarks`, which the base may have otherwise or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
SEED: Final = 11
MOMENTUM: Final[dict[str, Any]] = {"lookback_periods": 50, "threshold": 0.0105}
OFTEN: Final[dict[str, Any]] = MOMENTUM | {"threshold": 0.004}


class Meter:
    """CPU seconds, allocations, blocks kept and compiles between `begin` and `end`."""

    def __init__(self) -> None:
        from numba.core import event

        self.hook: Any = None
        self.said: dict[str, float] = {}
        self._compiles = event.RecordingListener()  # type: ignore[no-untyped-call]  # numba has no types
        event.register("numba:compile", self._compiles)  # type: ignore[no-untyped-call]  # numba has no types

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count allocations meanwhile, and let no collection move the counts."""
        if self.hook is None:
            sys.path.append(str(HERE))  # behind everything, so that it shadows nothing
            from hook import Allocations  # type: ignore[import-not-found] # found by its folder

            self.hook = Allocations()
        gc.disable()
        try:
            with self.hook:
                yield
        finally:
            gc.enable()

    def begin(self) -> None:
        """Begin; what is garbage by now is nobody's."""
        gc.collect()
        self._compiled = len(self._compiles.buffer)
        self._blocks = sys.getallocatedblocks()
        self._made = 0 if self.hook is None else self.hook.count
        self._began = time.process_time_ns()

    def end(self) -> None:
        """End, while all that the work is to keep is still held."""
        seconds = (time.process_time_ns() - self._began) / 1e9
        made = 0 if self.hook is None else self.hook.count - self._made
        kept = sys.getallocatedblocks() - self._blocks
        compiled = len(self._compiles.buffer) - self._compiled
        self.said = {"seconds": seconds, "made": made, "kept": kept, "compiles": compiled}


def _plan(strategy_type: str, parameters: dict[str, Any], name: str) -> Any:
    from parity import codegen
    from parity.core.executor import ExecutorPlan
    from parity.model.kernel import KernelStrategy
    from parity.model.values import StrategyConfig
    from parity.strategies import REGISTRY

    create = REGISTRY[strategy_type].create
    made = create(parameters)
    driver = codegen.build(made) if isinstance(made, KernelStrategy) else None
    config = StrategyConfig(
        strategy_id=name, strategy_type=strategy_type, parameters=dict(parameters)
    )
    return ExecutorPlan(config, "paper", lambda: create(parameters), driver)


class Replay:
    """Ticks in memory through the engine; candidates are what it finds."""

    def __init__(
        self, strategy: str, parameters: dict[str, Any], ticks: int, batch: int, count: int = 1
    ) -> None:
        from parity.sources import synthetic

        self.ticks = ticks
        self._table, records = synthetic.generate(SEED, ticks)
        self._parts = [records[lo : lo + batch] for lo in range(0, ticks, batch)]
        self._plans = [
            _plan(
                strategy,
                parameters | {"threshold": parameters["threshold"] * (1 + n / 100)},
                f"guard-{n}",
            )
            for n in range(count)
        ]

    def run(self, meter: Meter) -> int:
        """Run once; return how many candidates there were."""
        from parity.core.engine import Engine
        from parity.model.events import EventBatch
        from parity.model.ticks import TickBatch

        engine = Engine(self._table, self._plans)
        batches = [
            EventBatch(TickBatch.from_records(part, self._table), ()) for part in self._parts
        ]
        meter.begin()
        for one in batches:
            engine.process(one)
        meter.end()
        return sum(e.candidates for e in engine.report().executors)


class Live:
    """Turns of the real runner, one tick a batch: bytes to what is enqueued for publishing."""

    def __init__(self, folder: Path, ticks: int) -> None:
        from parity.model.ticks import TickBatch
        from parity.sources import synthetic
        from parity.sources.codecs.native import encode_batch

        self.ticks = ticks
        self._table, records = synthetic.generate(SEED, ticks)
        self._payloads = encode_batch(TickBatch.from_records(records, self._table))
        self._plan = _plan("momentum_kernel", OFTEN, "guard")
        self._folders = (folder / f"live-{n}" for n in itertools.count())

    def run(self, meter: Meter) -> int:
        """Run once; return how many candidates there were."""
        from parity.core.engine import Engine
        from parity.live.delivery import Delivery
        from parity.live.runner import Limits, Strategies
        from parity.live.start import start
        from parity.model.errors import ServiceDown
        from parity.publishers.memory import MemoryPublisher
        from parity.recording.runs import RecordingReference, RunManifest, RunWriter

        folder = next(self._folders)
        manifest = RunManifest(
            run_id="guard",
            mode="paper",
            created_by="guard",
            started="",
            seed=0,
            strategies=[],
            skipped=[],
            recording=RecordingReference(path="recording", content_hash=""),
            fingerprint={},
        )
        engine = Engine(self._table, [self._plan])
        writer = RunWriter(folder, manifest)
        ledger = folder / "ledger.jsonl"
        delivery = Delivery(MemoryPublisher("guard"), ledger, "guard", {"paper": "paper"})

        async def turns() -> None:
            await start(
                folder / "recording",
                self._table,
                Payloads(self._payloads, self._table, meter),
                created_by="guard",
                stop=asyncio.Event(),
                strategies=Strategies(engine, writer, delivery),
                limits=Limits(checkpoint_ticks=1 << 60, checkpoint_s=1e12),
                durability="os",
            )

        with contextlib.suppress(ServiceDown):  # how the payloads end
            asyncio.run(turns())
        found: int = engine.report().executors[0].candidates
        return found


class Payloads:
    """A live source over payloads in memory; the meter runs from its first to its last.

    It ends as a broker that went away, which leaves the journal unsealed: sealing is another work,
    and costs twenty times the turns.
    """

    def __init__(self, payloads: list[bytes], table: Any, meter: Meter) -> None:
        from parity.model.errors import ServiceDown
        from parity.model.ticks import TICK_DTYPE
        from parity.sources.arrivals import Arrivals
        from parity.sources.codecs.native import NativeDecoder

        self.streams = [("guard", 0)]
        self._payloads, self._meter, self._at = payloads, meter, 0
        self._decode = NativeDecoder(table).decode_into
        self._dtype, self._arrivals, self._down = TICK_DTYPE, Arrivals, ServiceDown

    def start_at(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Always from the start."""

    async def connect(self) -> None:
        """Nothing to connect."""

    def topic_ids(self) -> Mapping[str, str]:
        """There is no broker."""
        return {}

    def name_streams(self, ids: Mapping[tuple[str, int], int]) -> None:
        """The only stream is 0."""

    def positions(self) -> dict[int, int]:
        """From the start."""
        return {0: 0}

    async def start(self) -> None:
        """Nothing to start."""

    async def take(self, wait_s: float) -> Any:
        """Let the publisher work, then decode the next payload."""
        import numpy as np

        await asyncio.sleep(0)
        at = self._at
        if at == 0:
            self._meter.begin()
        if at == len(self._payloads):
            self._meter.end()
            raise self._down("the payloads have come to their end")
        self._at += 1
        records = np.zeros(1, self._dtype)
        self._decode(self._payloads[at], records, 0, 0, at)
        return self._arrivals(records, [], {0: at + 1})

    def took(self, ns: int) -> None:
        """Its batches are what they are."""

    def stop(self) -> None:
        """Ends by itself."""

    async def close(self) -> None:
        """Nothing to let go of."""


# Each takes 20 to 40 ms of CPU where this was written: long beside the clock, short beside a burst.
WORKS: Final[dict[str, Callable[[Path], Any]]] = {
    "python-1": lambda _: Replay("momentum", MOMENTUM, 32_000, 4_096),
    "python-10": lambda _: Replay("momentum", MOMENTUM, 6_000, 2_048, count=10),
    "kernel": lambda _: Replay("momentum_kernel", MOMENTUM, 200_000, 65_536),
    "live": lambda folder: Live(folder, 600),
    "candidates": lambda _: Replay("momentum_kernel", OFTEN, 16_000, 4_096),
}


def answer(asked: Mapping[str, Any], works: dict[str, Any], folder: Path, meter: Meter) -> Any:
    """Run one work once, made at its first turn; return what the meter said."""
    name = asked["work"]
    if name not in works:
        works[name] = WORKS[name](folder)
        gc.collect()
        gc.freeze()  # what was imported and made is looked through no more at each `begin`
    with meter.counting() if asked.get("count") else contextlib.nullcontext():
        found = works[name].run(meter)
    return meter.said | {"found": found, "ticks": works[name].ticks}


def main() -> None:
    """Answer until stdin ends."""
    tree, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything prints must not get between the answers
    import parity

    if not Path(parity.__file__).resolve().is_relative_to(tree):
        sys.exit(f"parity comes from {parity.__file__}, not from {tree}")
    meter = Meter()
    works: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), works, folder, meter)), file=answers, flush=True)


if __name__ == "__main__":
    main()
