"""A proof that goes on with its run: each advance replays what came since, from where it stands.

The engine stays as it is between advances, so nothing is replayed twice; what a run wrote is
compared up to its last flush, and to its end once it is complete. One advance over a complete run
is the whole proof. Never here: waiting, or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.engine import SNAPSHOT_FORMAT
from parity.model.errors import NothingCompared, RecordingCorrupt
from parity.proof.diff import Divergence, compare, streams_of
from parity.proof.replayer import (
    Replayed,
    Verdict,
    cut_at,
    replay_events,
    run_events,
    state_bytes,
    verdict_of,
)
from parity.recording.behind import behind

if TYPE_CHECKING:
    from parity.core.engine import Engine
    from parity.model.events import EventBatch
    from parity.recording.reader import Recording
    from parity.recording.runs import RunFolder

OTHER_FORM: Final = (
    "the state at the checkpoints was not compared: another version of parity wrote them, in "
    "another form"
)


class Following:
    """What was proved of a run so far.

    Args:
        engine: fresh, built from the run's kept source, configurations and seed.
        changed: what differs between the run's fingerprint and today's.

    Attributes:
        seq: everything up to here was compared.
        first_divergence: where the run and its replay part; nothing is compared behind it.
    """

    def __init__(self, engine: Engine, changed: Sequence[str] = ()) -> None:
        self.seq = 0
        self.first_divergence: Divergence | None = None
        self._engine = engine
        self._changed = list(changed)
        self._counts = {"candidates": 0, "signals": 0, "fills": 0, "checkpoints": 0}
        self._executors = 0
        self._notes: set[str] = set()
        self._held = 0  # the seq of the last checkpoint that was compared

    def advance(self, run: RunFolder, recording: Recording) -> bool:
        """Compare what the run wrote since the last time; return whether there was anything.

        Args:
            run: as it is now, complete or open.
            recording: the run's, as it is now, its files already checked.

        Raises:
            NothingCompared: no ticks.
            RecordingCorrupt: events are not there, or not in order.
        """
        if self.first_divergence is not None:
            return False
        states = self._states(run)
        if self._differs_here(states.pop(self.seq, None)):
            return True
        complete = run.manifest.state == "complete"
        until = 0 if complete else run.flushed_seq()
        if not complete and until <= self.seq:
            return False
        replayed = replay_events(
            self._engine,
            cut_at(self._events(run, recording), [until] if until else []),
            stop_at=list(states),
            until=until,
            whole=True,
            end_ns=run.manifest.recording.end_ns if complete else None,
        )
        self._compare(run, replayed, until, states)
        self.seq = until or self._engine.last_seq
        self._held = self.seq if self.seq in states else self._held
        if complete and self.first_divergence is None:
            self.first_divergence = _report_divergence(run, self._engine)
        return True

    def _states(self, run: RunFolder) -> dict[int, dict[str, Any]]:
        """Return the states of checkpoints that were not compared, by seq."""
        kept = {
            seq: state.get("engine", state)
            for seq, state in run.checkpoints()
            if seq >= self.seq and seq != self._held
        }
        states = {s: state for s, state in kept.items() if state["format"] == SNAPSHOT_FORMAT}
        self._notes |= {OTHER_FORM} if len(states) < len(kept) else set()
        return states

    def _differs_here(self, state: dict[str, Any] | None) -> bool:
        """Hold a checkpoint against the engine as it stands.

        A run saves one behind its part: a look in between finds the part alone.
        """
        if state is None:
            return False
        self._held = self.seq
        self._counts["checkpoints"] += 1
        here = {self.seq: state_bytes(self._engine.snapshot())}
        self.first_divergence = _state_divergence({self.seq: state}, here)
        return self.first_divergence is not None

    def _events(self, run: RunFolder, recording: Recording) -> Iterator[EventBatch]:
        if not self.seq:
            return run_events(run, recording)
        return behind(recording, self.seq)

    def _compare(
        self, run: RunFolder, replayed: Replayed, until: int, states: dict[int, dict[str, Any]]
    ) -> None:
        recorded = streams_of(run, behind=self.seq, until=until or None, whole=True)
        # Also what was recorded of an executor that no longer stands in the manifest.
        keys = sorted({e.key for e in self._engine.executors}.union(*recorded.values()))
        found = compare(recorded, replayed.streams, keys=keys, ticks=replayed.ticks, whole=True)
        for name in ("candidates", "signals", "fills"):
            self._counts[name] += found.covered[name]
        self._counts["checkpoints"] += len(replayed.states)
        self._executors = len(keys)
        self.first_divergence = found.first_divergence or _state_divergence(states, replayed.states)

    def verdict(
        self, run: RunFolder, delivered: Callable[[RunFolder], dict[str, int]] | None = None
    ) -> Verdict:
        """Return what the proof comes to so far.

        Args:
            run: as it was at the last advance.
            delivered: checks the delivery ledger of the run; returns counts.

        Raises:
            NothingCompared: the run wrote nothing yet.
            RecordingCorrupt: a ledger entry is missing, or the recording is of another run.
        """
        complete = run.manifest.state == "complete"
        if not self.seq:
            raise NothingCompared(
                f"{run.path}: the run was ended before it wrote its first part",
                cure="start it again: it resumes from its journal",
            )
        covered = {"ticks": self._engine.ticks, "strategies": self._executors, **self._counts}
        if delivered is not None:
            covered.update(delivered(run))
        _check_report(run, self._engine, complete)
        notes = [] if complete else [f"the run is open: compared up to seq {self.seq}"]
        notes += sorted(self._notes)
        if not covered["candidates"]:
            notes.append("no strategy said anything: the ticks were compared, and no candidate")
        return Verdict(
            verdict=verdict_of(self.first_divergence, self._changed),
            run=str(run.path),
            covered=covered,
            first_divergence=_because(self.first_divergence, self._changed),
            changed=self._changed,
            notes=notes,
        )


def verify_run(
    run: RunFolder,
    recording: Recording,
    engine: Engine,
    *,
    changed: Sequence[str],
    delivered: Callable[[RunFolder], dict[str, int]] | None = None,
) -> Verdict:
    """Compare what a run wrote with a replay of its recording.

    Args:
        run: complete, or open after a kill: then up to its last flush.
        recording: the run's, its files already checked.
        engine: built from the run's kept source, configurations and seed.
        changed: what differs between the run's fingerprint and today's.
        delivered: checks the delivery ledger of the run; returns counts.

    Raises:
        NothingCompared: no ticks.
        RecordingCorrupt: a ledger entry is missing, or the outputs are not what was written.
    """
    run.check_outputs()
    following = Following(engine, changed)
    following.advance(run, recording)
    return following.verdict(run, delivered)


def _because(first: Divergence | None, changed: Sequence[str]) -> Divergence | None:
    if first is None:
        return None
    cause = "; ".join(changed) or (
        "unknown: code, libraries and inputs are the same; a strategy that reads a clock, a random "
        "source or the outside (`parity check` names it), or a defect in parity"
    )
    return msgspec.structs.replace(first, cause=cause)


def _state_divergence(
    checkpoints: dict[int, dict[str, Any]], replayed: dict[int, bytes]
) -> Divergence | None:
    for seq, state in sorted(checkpoints.items()):
        if seq in replayed and replayed[seq] != state_bytes(state):
            return Divergence(
                stream="checkpoints",
                strategy_id="",
                broker="",
                instrument_token=0,
                ts_event=0,
                seq=seq,
                field=_first_unequal(state, msgspec.msgpack.decode(replayed[seq])),
                a="recorded state",
                b="replayed state",
            )
    return None


def _report_divergence(run: RunFolder, engine: Engine) -> Divergence | None:
    if run.manifest.report is None:
        return None
    written, replayed = (
        msgspec.json.decode(msgspec.json.encode(report))
        for report in (run.manifest.report, engine.report())
    )
    for old, new in zip(written["executors"], replayed["executors"], strict=False):
        if old["lifecycle"] is None:
            new["lifecycle"] = None  # of a version that did not write it
    if written == replayed:
        return None
    return Divergence(
        stream="report",
        strategy_id="",
        broker="",
        instrument_token=0,
        ts_event=0,
        seq=run.manifest.last_seq,
        field=_first_unequal(written, replayed, "report"),
        a="as in manifest.json",
        b="as replayed",
    )


def _first_unequal(a: Any, b: Any, path: str = "state") -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}, key=str):
            if a.get(name) != b.get(name):
                return _first_unequal(a.get(name), b.get(name), f"{path}.{name}")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for at, (left, right) in enumerate(zip(a, b, strict=True)):
            if left != right:
                return _first_unequal(left, right, f"{path}[{at}]")
    return path


def _check_report(run: RunFolder, engine: Engine, complete: bool) -> None:
    report = run.manifest.report
    if complete and report is not None and report.ticks != engine.ticks:
        raise RecordingCorrupt(
            f"{run.path}: the run saw {report.ticks} ticks, its recording gives {engine.ticks}",
            cure="the recording is not the one the run read: restore it",
        )
