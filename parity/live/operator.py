"""The operator's side of a runner: who may ask for controls, and look on, while it goes on.

What is shown is read from the run's state when somebody asks. Never here: a decision about a
signal, or anything that a tick waits for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from parity.live.door import Door, Introduce
from parity.live.metrics import STAGES, Endpoint, text_of
from parity.live.notify import ALIVE, READY, STOPPING, Notifier
from parity.live.telemetry import Telemetry

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from parity.core.executor import Executor
    from parity.live.retention import Pruner
    from parity.live.runner import Strategies
    from parity.model.effects import ApprovedSignal, Effect
    from parity.model.events import Control
    from parity.recording.journal import JournalWriter
    from parity.sources.arrivals import LiveSource, Note

RATE_S: Final = 10  # over which a rate is taken
SILENT_S: Final = 60.0  # a source that brought nothing for so long is not healthy
WAITS_S: Final = 60.0  # nor is a publisher with signals on their way and no report for so long
_SIDES: Final = {1: "BUY", -1: "SELL"}

_log = structlog.get_logger("parity.live.operator")


class Operating(NamedTuple):
    """How a run is operated.

    Args:
        folder: where its control socket is.
        introduce: keeps a strategy that replaces another; None where there are no strategies.
        kinds: rules, ml or hybrid, by strategy_id.
        models: whether its model was loaded, by the strategy_id of each that has one.
        metrics_port: of the Prometheus endpoint; 0 is any that is free, None is none.
        notifier: of the service manager.
    """

    folder: Path
    introduce: Introduce | None = None
    kinds: Mapping[str, str] = {}
    models: Mapping[str, bool] = {}
    metrics_port: int | None = None
    notifier: Notifier = Notifier()


class Parts(NamedTuple):
    """The parts of a runner that are looked at."""

    folder: Path
    source: LiveSource
    journal: JournalWriter
    strategies: Strategies | None
    pruner: Pruner | None


class Seen(NamedTuple):
    """What a runner counts itself."""

    ticks: int
    events: Mapping[str, int]
    last: npt.NDArray[Any] | None  # the last ticks that came


class Operator:
    """What a runner asks once a turn, and tells what came of it.

    Args:
        operating: what there is to be.
        parts: of the runner.

    Attributes:
        telemetry: what the runner's loop spends its time on; the runner counts there.
    """

    def __init__(self, operating: Operating, parts: Parts) -> None:
        self._operating = operating
        self._parts = parts
        self.telemetry = Telemetry()
        self._engine = None if parts.strategies is None else parts.strategies.engine
        self._door = Door(operating.folder, self.status, operating.introduce)
        self._endpoint: Endpoint | None = None
        self._seen: Callable[[], Seen] = lambda: Seen(0, {}, None)
        self._sides: dict[tuple[str, str], Counter[str]] = {}
        self._rates: deque[tuple[float, int]] = deque(maxlen=RATE_S + 1)
        self._began = time.monotonic()
        self._started = time.time()
        self._last_tick = self._last_signal = 0.0
        self.phase = "starting"

    async def open(self, seen: Callable[[], Seen]) -> None:
        """Listen, from before a run that goes on has caught up."""
        self._seen = seen
        await self._door.open()
        if self._operating.metrics_port is not None:
            endpoint = Endpoint(self.metrics, self._operating.metrics_port)
            try:
                port = await endpoint.open()
            except OSError as error:
                _log.warning("metrics_unavailable", reason=str(error))
            else:
                self._endpoint = endpoint
                _log.info("metrics_at", url=f"http://127.0.0.1:{port}/metrics", port=port)

    async def pulse(self) -> None:
        """Keep the rate and tell the service manager that the loop turns, until cancelled."""
        notifier = self._operating.notifier
        every_s = min(1.0, notifier.every_s) if notifier.every_s else 1.0
        while True:
            seen = self._seen()
            self._rates.append((time.monotonic(), seen.ticks))
            words = [ALIVE] if notifier.every_s else []
            rate = round(self._rate() or 0)
            notifier.tell(*words, status=f"{self.phase}: {seen.ticks} ticks, {rate}/s")
            await asyncio.sleep(every_s)

    def ready(self) -> None:
        """Say that the source is being read."""
        self.phase = "running"
        self._operating.notifier.tell(READY)

    def stopping(self) -> None:
        """Say that the end has begun."""
        if self.phase != "stopping":
            self.phase = "stopping"
            self._operating.notifier.tell(STOPPING)

    async def close(self) -> None:
        """Listen no more; a second call does nothing."""
        self.stopping()
        await self._door.close()
        if self._endpoint is not None:
            await self._endpoint.close()

    # -- once a turn

    @property
    def asked(self) -> bool:
        """Whether one of the last notes was asked for, and its answer is due."""
        return self._door.taken

    def notes(self) -> list[Note]:
        """Return what is asked for, for the journal."""
        return self._door.notes(self._engine)

    def decided(self, controls: Iterable[Control], effects: Iterable[Effect]) -> None:
        """Answer who asked."""
        self._door.decided(controls, effects)

    def approved(self, signals: Sequence[ApprovedSignal]) -> None:
        """Count approved signals by side, which nobody else does."""
        if signals:
            self._last_signal = time.time()
        for signal in signals:
            said = signal.candidate
            sides = self._sides.setdefault((said.strategy_id, said.broker), Counter())
            sides[_SIDES[said.side]] += 1

    # -- when somebody looks

    def metrics(self) -> str:
        """Return a scrape."""
        return text_of(self.status(), self.telemetry.stages)

    def status(self) -> dict[str, Any]:
        """Return what there is to be seen now, as plain values."""
        seen, parts = self._seen(), self._parts
        lag_s, silent_s = self._ages(seen)
        delivery = None if parts.strategies is None else parts.strategies.delivery
        uptime_s = round(time.monotonic() - self._began, 3)
        healthy = {"source": (uptime_s if silent_s is None else silent_s) < SILENT_S}
        if delivery is not None:
            healthy["publisher"] = not delivery.dead and delivery.waits_s < WAITS_S
        if parts.pruner is not None:
            healthy["pruner"] = not parts.pruner.failures
        return {
            "phase": self.phase,
            "pid": os.getpid(),
            "uptime_s": uptime_s,
            "ticks": seen.ticks,
            "events": {k: n for k, n in sorted(seen.events.items()) if n},
            "ticks_per_second": self._rate(),
            "last_seq": parts.journal.last_seq,
            "lag_s": lag_s,
            "silent_s": silent_s,
            "partitions": [_place(*one) for one in parts.source.places()],
            "strategies": [self._strategy(e) for e in (self._engine or _Nobody).executors],
            "delivery": None if delivery is None else
                {"open": delivery.unsettled, "by_state": delivery.counts,
                 "fills_by_state": delivery.fill_counts},
            "disk": self._disk(),
            "latency_ms": {
                name: _quantiles(self.telemetry.stages[stage]) for stage, name in STAGES.items()
            },
            "last_activity": {"recv": self._recv(seen), "signal": self._last_signal},
            "healthy": healthy,
            "models": dict(self._operating.models),
        }  # fmt: skip

    def _rate(self) -> float | None:
        if len(self._rates) < 2:
            return None
        (first_s, first), (last_s, last) = self._rates[0], self._rates[-1]
        return round((last - first) / max(last_s - first_s, 1e-9), 1)

    def _recv(self, seen: Seen) -> float:
        return 0.0 if seen.last is None else int(seen.last["ts_recv"][-1]) / 1e9

    def _ages(self, seen: Seen) -> tuple[float | None, float | None]:
        if seen.last is None:
            return None, None
        recv_ns, event_ns = int(seen.last["ts_recv"][-1]), int(seen.last["ts_event"][-1])
        lag_s = round((recv_ns - event_ns) / 1e9, 3) if self._parts.source.places() else None
        return lag_s, max(0.0, round(time.time() - recv_ns / 1e9, 3))

    def _strategy(self, executor: Executor) -> dict[str, Any]:
        strategy_id, broker = executor.key
        return {
            "strategy_id": strategy_id,
            "broker": broker,
            "kind": self._operating.kinds.get(strategy_id, "rules"),
            "state": executor.life.state.name,
            "gauge": int(executor.life.state),
            "reason": executor.life.reason,
            "candidates": executor.candidates.count,
            "signals": executor.signals,
            "sides": {side: self._sides.get(executor.key, Counter())[side] for side in
                      _SIDES.values()},
            "drops": dict(sorted(executor.drops.items())),
            "fills": executor.fills,
            "errors": executor.errors,
            "inferences": getattr(executor.plan.model, "inference_count", None),
        }  # fmt: skip

    def _disk(self) -> dict[str, int | None]:
        parts = self._parts
        pruner = parts.pruner
        return {
            "free_bytes": _known(lambda: shutil.disk_usage(parts.folder).free),
            "journal_bytes": _known(lambda: _journal_bytes(parts.folder)),
            "synced_seq": parts.journal.synced_seq,
            "pruned_segments": 0 if pruner is None else pruner.segments,
            "pruned_bytes": 0 if pruner is None else pruner.bytes,
            "pruning_failures": 0 if pruner is None else pruner.failures,
        }


class _Nobody:
    """The engine of a recorder: it has no strategies."""

    executors: Final[list[Executor]] = []


def _known(ask: Callable[[], int]) -> int | None:
    try:
        return ask()
    except OSError:  # a disk that is gone hides nothing else from who looks
        return None


def _journal_bytes(folder: Path) -> int:
    return sum(_size(path) for path in (folder / "journal").glob("*.wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # sealed meanwhile


def _place(
    topic: str, partition: int, next_offset: int, low: int | None, high: int | None
) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": partition,
        "next_offset": next_offset,
        "behind": None if high is None else max(0, high - next_offset),
        "headroom": None if low is None else max(0, next_offset - low),
    }


def _quantiles(found: Any) -> dict[str, float]:
    shares = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
    ms = {name: round(found.quantile(share) / 1e6, 6) for name, share in shares.items()}
    return {"count": found.count, **ms, "max": round(found.max_ns / 1e6, 6)}
