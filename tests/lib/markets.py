"""Markets for the general laws: instruments that trade round the clock, at NSE and in New York.

Streams begin shortly before an edge of a session, so that they cross it. Also here: which ticks are
an executor's own, and heartbeats in the place of controls, prompt or at any instant.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from hypothesis import strategies as st

from parity.core.calendars import session_clock
from parity.core.engine import Engine
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Fill
from parity.model.events import Control, EventBatch
from parity.model.instruments import InstrumentTable
from parity.testing.generators import ONE, SECOND_NS, START_NS, TABLE, TWO, event_streams

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan


def _table(one: str, two: str) -> InstrumentTable:
    calendars = {ONE: one, TWO: two}
    return InstrumentTable([msgspec.structs.replace(i, calendar=calendars[i.token]) for i in TABLE])


_DAYS: Final = (dt.date(2025, 1, 3), dt.date(2025, 1, 8))
SESSIONS: Final = {name: session_clock(name, *_DAYS) for name in ("NSE", "XNYS")}
# Instruments, and the hour of 2025-01-06 (UTC, a Monday) near which a stream begins.
_PLACES: Final = (
    *[(TABLE, 9.0)] * 5,
    (_table("NSE", "24/7"), 3.75),
    (_table("NSE", "24/7"), 10.0),
    (_table("24/7", "XNYS"), 14.5),
    (_table("24/7", "XNYS"), 21.0),
    (_table("NSE", "XNYS"), 10.0),
    (_table("XNYS", "XNYS"), 21.0),
)


@st.composite
def markets(draw: st.DrawFn, max_ticks: int = 90, min_ticks: int = 20) -> EventBatch:
    """Draw a stream near an edge of a session, or of instruments that have none."""
    sizes = {"max_ticks": max_ticks, "min_ticks": min_ticks}
    table, hour = draw(st.sampled_from(_PLACES))
    edge_ns = START_NS + round((hour - 9) * 3600) * SECOND_NS
    start_ns = edge_ns - draw(st.sampled_from((0, 1, 20, 120))) * SECOND_NS
    return draw(event_streams(**sizes, table=table, start_ns=start_ns))


def engine_of(events: EventBatch, plans: Sequence[ExecutorPlan], *, seed: int = 7) -> Engine:
    """Return an engine for the instruments of these events."""
    return Engine(events.ticks.table, plans, seed=seed, sessions=SESSIONS)


def own_ticks(events: EventBatch, tokens: Sequence[int]) -> list[Any]:
    """Return the delivered ticks of some instruments, as records; of all where none is named."""
    return [
        tick
        for tick in events.ticks.to_records()
        if not int(tick["flags"]) & flag.UNDELIVERED
        and (not tokens or int(tick["instrument_token"]) in tokens)
    ]


def is_timed(tick: Any) -> bool:
    """Say whether a tick moves clocks."""
    return not int(tick["flags"]) & flag.NO_VENUE_TIME


def prompt_ns(ticks: Sequence[Any], seq: int) -> int:
    """Return the latest time of a heartbeat at `seq` that overtakes none of these ticks."""
    newest, bound, followed = 0, 1 << 62, False
    for tick in ticks:
        ns = int(tick["ts_event"])
        if int(tick["seq"]) < seq:
            newest = max(newest, ns) if is_timed(tick) else newest
        else:
            bound = min(bound, ns if is_timed(tick) else newest)
            followed |= is_timed(tick)
    return bound if followed else min(bound, newest)


def _beat(control: Control, ns: int) -> Control:
    return msgspec.structs.replace(control, verb="heartbeat", detail={"ts_event": ns})


def prompt_beats(
    events: EventBatch, told: Iterable[Sequence[int]], draw: Callable[[Any], int] = lambda _: 0
) -> EventBatch:
    """Return the events with a heartbeat in the place of each control, which overtakes no tick.

    `told` holds the instruments of each executor, `draw` how much sooner than the latest it is.
    """
    own = [own_ticks(events, tokens) for tokens in told]
    beats = []
    for control in events.controls:
        ns = min(prompt_ns(ticks, control.seq) for ticks in own)
        ns -= draw(st.sampled_from((0, 1, SECOND_NS)))
        beats.append(control if ns <= 0 else _beat(control, ns))  # before any time none is early
    return EventBatch(events.ticks, tuple(beats))


def beaten(events: EventBatch, halves: Sequence[int], since_ns: int | None = None) -> EventBatch:
    """Return the events with the first controls made heartbeats, ahead of ticks or behind.

    Each is so many half seconds from `since_ns`, or from the control's own arrival.
    """
    beats = [
        _beat(c, (c.ts_recv if since_ns is None else since_ns) + half * SECOND_NS // 2)
        for c, half in zip(events.controls, halves, strict=False)
    ]
    return EventBatch(events.ticks, (*beats, *events.controls[len(beats) :]))


def records(effects: Sequence[Effect]) -> dict[str, list[bytes]]:
    """Return the records of what was decided, in order, by strategy."""
    found: dict[str, list[bytes]] = {}
    for effect in effects:
        if isinstance(effect, ApprovedSignal | DroppedSignal | Fill):
            inner: Any = getattr(effect, "candidate", effect)
            found.setdefault(inner.strategy_id, []).append(effect.record)
    return found
