"""Replay: a run's recording through an engine again, compared with what the run wrote.

`identical`, `different` (same code, libraries and inputs, other bytes: a defect) and `changed`
(bytes differ and so does something a run may depend on) are never mixed. Never here: a publisher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.engine import SNAPSHOT_FORMAT
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect
from parity.model.errors import NothingCompared, RecordingCorrupt
from parity.model.events import EventBatch
from parity.proof.diff import Divergence, Key, Row, compare, grouped, streams_of
from parity.recording.rows import candidate_row, decision_row

if TYPE_CHECKING:
    from parity.core.engine import Engine
    from parity.recording.reader import Recording
    from parity.recording.runs import RunFolder

IDENTICAL: Final = "identical"
DIFFERENT: Final = "different"
CHANGED: Final = "changed"
# What a recording of a live run holds besides ticks concerns that run only; a backtest of it
# reads its gaps and ignores the rest.
BACKTEST_CONTROLS: Final = frozenset({"gap"})


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a proof, with what it covered."""

    verdict: str
    run: str
    covered: dict[str, int]
    first_divergence: Divergence | None = None
    changed: list[str] = []
    notes: list[str] = []

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form."""
        first = self.first_divergence
        return {
            "format": 1,
            "verdict": self.verdict,
            "run": self.run,
            "covered": self.covered,
            "first_divergence": None if first is None else first.to_json(),
            "changed": self.changed,
            "notes": self.notes,
        }

    def _repr_html_(self) -> str:
        from parity.recording.cards import verdict_card

        return verdict_card(self.to_json())


class Replayed(msgspec.Struct):
    """What an engine said over a recording, as rows, and the states at the checkpoints."""

    streams: dict[str, dict[Key, list[Row]]]
    states: dict[int, bytes]
    ticks: int


def run_events(
    run: RunFolder, recording: Recording, columns: Sequence[str] | None = None
) -> Iterator[EventBatch]:
    """Yield the events a run saw: all of its own recording, or the slice it read of another."""
    reference = run.manifest.recording
    batches = recording.batches(
        columns=columns,
        instruments=reference.instruments,
        start_ns=reference.start_ns,
        end_ns=reference.end_ns,
    )
    if run.manifest.mode != "backtest":
        return batches
    return backtest_events(batches)


def backtest_events(batches: Iterator[EventBatch]) -> Iterator[EventBatch]:
    """Yield ticks and gaps only."""
    for batch in batches:
        kept = tuple(c for c in batch.controls if c.verb in BACKTEST_CONTROLS)
        yield batch if len(kept) == len(batch.controls) else EventBatch(batch.ticks, kept)


def replay_events(
    engine: Engine,
    events: Iterator[EventBatch],
    *,
    stop_at: Sequence[int] = (),
    until: int = 0,
    whole: bool = False,
    end_ns: int | None = None,
) -> Replayed:
    """Run events through an engine.

    Args:
        engine: fresh.
        events: in seq order.
        stop_at: seqs after which the engine's state is wanted.
        until: last seq wanted; 0 is everything.
        end_ns: the end that a backtest was given, which it advanced to.
        whole: keep the rows without a record too: failures and transitions.
    """
    candidates: list[Row] = []
    decisions: list[Row] = []
    states: dict[int, bytes] = {}
    for batch in cut_at(events, sorted(stop_at)):
        if until and batch.last_seq > until:
            break
        _take(engine.process(batch), candidates, decisions)
        if batch.last_seq in stop_at:
            states[batch.last_seq] = state_bytes(engine.snapshot())
    _take(engine.end(end_ns), candidates, decisions)
    streams = {
        "candidates": grouped(candidates, whole=whole),
        "decisions": grouped(decisions, whole=whole),
    }
    return Replayed(streams, states, engine.ticks)


def _take(effects: Sequence[Effect], candidates: list[Row], decisions: list[Row]) -> None:
    for effect in effects:
        if isinstance(effect, ApprovedSignal | DroppedSignal):
            candidates.append(candidate_row(effect.candidate))
        row = decision_row(effect)
        row.setdefault("record", b"")
        decisions.append({name: row.get(name) for name in _DECISION_NAMES} | row)


_DECISION_NAMES: Final = ("reason", "price_exact", "quantity_exact", "commission_exact")


def cut_at(events: Iterator[EventBatch], stops: Sequence[int]) -> Iterator[EventBatch]:
    """Yield the events with batches ending at each of the given seqs."""
    at = 0
    for whole in events:
        batch = whole
        while at < len(stops) and batch.last_seq > stops[at]:
            head, batch = _split(batch, stops[at])
            at += 1
            if head.last_seq:
                yield head
        if at < len(stops) and batch.last_seq == stops[at]:
            at += 1
        yield batch


def _split(batch: EventBatch, seq: int) -> tuple[EventBatch, EventBatch]:
    row = int(batch.ticks.column("seq").searchsorted(seq, side="right")) if len(batch.ticks) else 0
    head = EventBatch(batch.ticks.slice(0, row), tuple(c for c in batch.controls if c.seq <= seq))
    tail = EventBatch(
        batch.ticks.slice(row, len(batch.ticks)), tuple(c for c in batch.controls if c.seq > seq)
    )
    return head, tail


def state_bytes(state: dict[str, Any]) -> bytes:
    """Return a snapshot as canonical bytes, for comparing states."""
    return msgspec.msgpack.encode(state, order="deterministic")


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
    complete = run.manifest.state == "complete"
    until = 0 if complete else run.flushed_seq()
    if not complete and until == 0:
        raise NothingCompared(
            f"{run.path}: the run was ended before it wrote its first part",
            cure="start it again: it resumes from its journal",
        )
    kept = {seq: state.get("engine", state) for seq, state in run.checkpoints()}
    checkpoints = {s: state for s, state in kept.items() if state["format"] == SNAPSHOT_FORMAT}
    events = cut_at(run_events(run, recording), [until] if until else [])
    replayed = replay_events(
        engine,
        events,
        stop_at=list(checkpoints),
        until=until,
        whole=True,
        end_ns=run.manifest.recording.end_ns if complete else None,
    )
    recorded = streams_of(run, until=until or None, whole=True)
    # Also what was recorded of an executor that no longer stands in the manifest.
    keys = sorted({e.key for e in engine.executors}.union(*recorded.values()))
    comparison = compare(recorded, replayed.streams, keys=keys, ticks=replayed.ticks, whole=True)
    first = comparison.first_divergence or _state_divergence(checkpoints, replayed)
    first = first or _report_divergence(run, engine)
    covered = {**comparison.covered, "checkpoints": len(replayed.states)}
    if delivered is not None:
        covered.update(delivered(run))
    _check_report(run, engine, complete)
    notes = [] if complete else [f"the run is open: compared up to seq {until}"]
    if len(checkpoints) < len(kept):
        notes.append(
            "the state at the checkpoints was not compared: "
            "another version of parity wrote them, in another form"
        )
    if not covered["candidates"]:
        notes.append("no strategy said anything: the ticks were compared, and no candidate")
    return Verdict(
        verdict=verdict_of(first, changed),
        run=str(run.path),
        covered=covered,
        first_divergence=_because(first, changed),
        changed=list(changed),
        notes=notes,
    )


def verdict_of(first: Divergence | None, changed: Sequence[str]) -> str:
    """Return the one verdict that fits."""
    if first is None:
        return IDENTICAL
    return CHANGED if changed else DIFFERENT


def _because(first: Divergence | None, changed: Sequence[str]) -> Divergence | None:
    if first is None:
        return None
    cause = "; ".join(changed) or (
        "unknown: code, libraries and inputs are the same; a strategy that reads a clock, a random "
        "source or the outside (`parity check` names it), or a defect in parity"
    )
    return msgspec.structs.replace(first, cause=cause)


def _state_divergence(
    checkpoints: dict[int, dict[str, Any]], replayed: Replayed
) -> Divergence | None:
    for seq, state in sorted(checkpoints.items()):
        if seq in replayed.states and replayed.states[seq] != state_bytes(state):
            return Divergence(
                stream="checkpoints",
                strategy_id="",
                broker="",
                instrument_token=0,
                ts_event=0,
                seq=seq,
                field=_first_unequal(state, msgspec.msgpack.decode(replayed.states[seq])),
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
