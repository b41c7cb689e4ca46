"""Replay: a run's recording through an engine again, compared with what the run wrote.

`identical`, `different` (same code, libraries and inputs, other bytes: a defect) and `changed`
(bytes differ and so does something a run may depend on) are never mixed. Never here: a publisher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.effects import ApprovedSignal, DroppedSignal, Effect
from parity.model.events import EventBatch
from parity.proof.diff import Divergence, Key, Row, grouped
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


def verdict_of(first: Divergence | None, changed: Sequence[str]) -> str:
    """Return the one verdict that fits."""
    if first is None:
        return IDENTICAL
    return CHANGED if changed else DIFFERENT
