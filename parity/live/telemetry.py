"""What the loop of a live run spends its time on: durations by stage, stalls, garbage collection.

Measured beside the contract: nothing here is journaled, enters a digest, or decides anything.
Stages are counted by marks between which nothing else of the loop runs. A pulse notices whatever
holds the loop up, and says which stage of ours it was, or that it was none of them.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from parity.recording.histogram import Durations
from parity.recording.runs import write_durably

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "telemetry.json"  # in a run's folder; no part of what is proved
FORMAT: Final = 1
# From a tick's ts_recv on: in the journal; decided; durable, where a signal is to go out; its
# report back since it was offered; the whole way from ts_recv to there.
STAGES: Final = ("journal", "decide", "sync", "deliver", "publish")
CHECKPOINT: Final = "checkpoint"  # no stage of a tick, but it holds the loop up
OUTSIDE: Final = "outside"  # another callback, another thread, or the machine
COLLECTION: Final = "garbage collection"
PULSE_S: Final = 0.02
STALL_NS: Final = 10_000_000
STALLS_KEPT: Final = 20

_log = structlog.get_logger("parity.live.telemetry")


class Stall(msgspec.Struct, frozen=True):
    """The loop came late to its pulse.

    Args:
        ts: when it came, ns UTC by the arrival clock.
        ns: how late it was.
        seq: the last that was journaled.
        cause: the stage, or what else, that took most of it.
        cause_ns: how much that was.
        collection_ns: what garbage collections took of it, whoever asked for them.
    """

    ts: int
    ns: int
    seq: int
    cause: str
    cause_ns: int
    collection_ns: int


class Telemetry:
    """Durations of one run, over all its starts.

    Args:
        clock: int ns that only rise.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.stages = {name: Durations() for name in (*STAGES, CHECKPOINT)}
        self.late = Durations()  # of the pulse
        self.collections = {generation: Durations() for generation in range(3)}
        self.stalls: list[Stall] = []
        self.stall_count = 0
        self.now = clock
        self.began = self._at = 0
        # Since the last pulse: what the stages took, and the collections within.
        self._spent = dict.fromkeys((*STAGES, CHECKPOINT), 0)
        self._collected = 0
        self._collecting_since = 0

    # -- marks in the loop

    def begin(self) -> None:
        """A turn begins: its ticks have their ts_recv now."""
        self.began = self._at = self.now()

    def mark(self, stage: str) -> int:
        """What ran since the last mark was this stage; returns how long, in ns."""
        now = self.now()
        spent = now - self._at
        self._at = now
        self.stages[stage].add(spent)
        self._spent[stage] += spent
        return spent

    def skip(self) -> None:
        """What ran since the last mark was none of the stages."""
        self._at = self.now()

    def published(self, began: int, offered: int) -> None:
        """A signal's report is back.

        Args:
            began: `began` of the turn that its tick came with.
            offered: when it was given to the delivery.
        """
        now = self.now()
        self.stages["deliver"].add(now - offered)
        self.stages["publish"].add(now - began)

    # -- what holds the loop up

    async def pulse(self, utc: Callable[[], int], seq: Callable[[], int]) -> None:
        """Wake up every 20 ms until cancelled, and note by how much it was late, and why.

        Args:
            utc: the arrival clock.
            seq: returns the last journaled seq.
        """
        with self.watching_collections():
            while True:
                due = self.now() + int(PULSE_S * 1e9)
                await asyncio.sleep(PULSE_S)
                self.beat(self.now() - due, utc(), seq())

    def beat(self, late_ns: int, ts: int, seq: int) -> None:
        """Take one pulse; a late one is a stall, and its cause is looked for."""
        self.late.add(late_ns)
        spent, collected = self._spent, self._collected
        self._spent, self._collected = dict.fromkeys(spent, 0), 0
        if late_ns < STALL_NS:
            return
        cause, cause_ns = max(spent.items(), key=lambda item: item[1])
        if cause_ns < late_ns // 2:
            cause, cause_ns = OUTSIDE, late_ns - min(cause_ns, late_ns)
        if collected >= late_ns // 2:
            cause, cause_ns = COLLECTION, collected
        stall = Stall(ts, late_ns, seq, cause, cause_ns, collected)
        self.stall_count += 1
        self.stalls = sorted([*self.stalls, stall], key=lambda s: -s.ns)[:STALLS_KEPT]

    @contextmanager
    def watching_collections(self) -> Iterator[None]:
        """Time every garbage collection of the process."""
        gc.callbacks.append(self.collection)
        try:
            yield
        finally:
            gc.callbacks.remove(self.collection)

    def collection(self, phase: str, about: Mapping[str, int]) -> None:
        """Take one call of the collector, before or after its work."""
        now = self.now()
        if phase == "start":
            self._collecting_since = now
        elif self._collecting_since:
            spent = now - self._collecting_since
            self._collecting_since = 0
            self._collected += spent
            self.collections[about["generation"]].add(spent)

    # -- kept in the run

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "format": FORMAT,
            "stages": {name: found.to_json() for name, found in self.stages.items()},
            "late": self.late.to_json(),
            "collections": {str(n): found.to_json() for n, found in self.collections.items()},
            "stall_count": self.stall_count,
            "stalls": [msgspec.to_builtins(stall) for stall in self.stalls],
        }

    def merge(self, kept: Mapping[str, Any]) -> None:
        """Add what earlier starts of the run measured."""
        for name, found in self.stages.items():
            found.merge(kept["stages"][name])
        self.late.merge(kept["late"])
        for generation, found in self.collections.items():
            found.merge(kept["collections"][str(generation)])
        stalls = self.stalls + msgspec.convert(kept["stalls"], list[Stall])
        self.stalls = sorted(stalls, key=lambda s: -s.ns)[:STALLS_KEPT]
        self.stall_count += kept["stall_count"]

    def save(self, run: Path) -> None:
        """Keep it in a run's folder; a disk that refuses costs the measures, never the run."""
        try:
            write_durably(run / FILE, msgspec.json.encode(self.to_json()) + b"\n")
        except OSError as error:
            _log.warning("telemetry_not_kept", reason=str(error))


def telemetry_of(run: Path) -> Telemetry | None:
    """Return what a run measured so far; None where there is nothing that can be read."""
    found = Telemetry()
    try:
        kept = msgspec.json.decode((run / FILE).read_bytes(), type=dict[str, Any])
        if kept["format"] != FORMAT:
            return None
        found.merge(kept)
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return None  # measures of another version, or edited: none is better than wrong ones
    return found
