"""The laws of slices: what is exported, and what strategies then say, for any range and stream.

The streams have late, undelivered, one-sided and untimed ticks and gaps (parity.testing).
"""

import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from parity.compose.exports import strategy_needs
from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal
from parity.model.events import EventBatch
from parity.model.values import StrategyConfig
from parity.recording.export import write_slice
from parity.recording.reader import Recording, open_recording
from parity.recording.slices import Needs, Range, find_slice, needs_of, shown_to
from parity.recording.writer import RecordingWriter
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import spec_of
from parity.testing.generators import ONE, TABLE, TWO, event_streams

# Strategies that know nothing but their history.
BOUNDED: dict[str, dict[str, Any]] = {
    "momentum": {"lookback_periods": 3, "threshold": 0.0, "position_size": 1},
    "momentum_kernel": {"lookback_periods": 3, "threshold": 0.0, "position_size": 1},
    "mean_reversion": {"lookback_periods": 4, "z_entry": 0.5},
    "ml_momentum": {"lookback_periods": 3, "min_conf": 0.1},
}


@cache
def specs() -> list[StrategySpec]:
    """Each of them on trades and on quotes."""
    return [
        spec_of(
            StrategyConfig(strategy_id=f"{kind}_{on}", strategy_type=kind, on=on, parameters=given)
        )
        for kind, given in BOUNDED.items()
        for on in ("trades", "quotes")
    ]


def write(folder: Path, events: EventBatch) -> Recording:
    """Keep the events as a recording."""
    with RecordingWriter(folder, TABLE, order="arrival", created_by="test") as writer:
        writer.append(events.ticks, events.controls)
    return open_recording(folder)


def exported(source: Recording, wanted: Range, needs: Needs, to: Path) -> Recording:
    """Export a slice and open it."""
    write_slice(source, find_slice(source, wanted, needs), to, created_by="test")
    return open_recording(to)


def records_of(recording: Recording) -> Any:
    """All ticks as records."""
    return np.concatenate([b.ticks.to_records() for b in recording.batches() if len(b.ticks)])


def said(recording: Recording, wanted: Range) -> dict[str, list[bytes]]:
    """Return what every strategy said in the range, as the records that enter its digest."""
    engine = Engine(recording.table, prepare(specs()).plans, seed=7)
    found: dict[str, list[bytes]] = defaultdict(list)
    for batch in recording.batches():
        for effect in engine.process(batch):
            if isinstance(effect, ApprovedSignal | DroppedSignal):
                candidate = effect.candidate
                if wanted.holds(np.array([candidate.ts_event]))[0]:
                    found[candidate.strategy_id].append(effect.record)
    return dict(found)


@st.composite
def ranges(draw: st.DrawFn, events: EventBatch) -> Range:
    """Draw a range that holds at least one tick."""
    times = sorted({*events.ticks.column("ts_event").tolist()})
    start, end = sorted(draw(st.tuples(st.sampled_from(times), st.sampled_from(times))))
    tokens = draw(st.sampled_from((None, None, (ONE,), (ONE, TWO))))
    return Range(tokens, draw(st.sampled_from((start, start, None))), end + 1)


@given(event_streams(), st.data())
def test_a_slice_with_its_warm_up_says_what_the_whole_said(events: EventBatch, data: Any) -> None:
    """Strategies that know their history only give the same signals and drops in the range."""
    wanted = data.draw(ranges(events))
    tokens = wanted.tokens or (ONE, TWO)
    inside = wanted.holds(events.ticks.column("ts_event"))
    assume((inside & np.isin(events.ticks.column("instrument_token"), tokens)).any())
    with tempfile.TemporaryDirectory() as folder:
        whole = write(Path(folder, "whole"), events)
        needs = strategy_needs(specs(), tokens)
        part = exported(whole, wanted, needs, Path(folder, "part"))
        only = {
            name: [r for r in records if int.from_bytes(r[1:9], "little") in tokens]
            for name, records in said(whole, wanted).items()
        }

        assert {n: r for n, r in only.items() if r} == said(part, wanted)


@given(event_streams(), st.data())
def test_a_slice_holds_its_range_and_the_warm_up_before_it(events: EventBatch, data: Any) -> None:
    """Every tick of the range as it was, N before it of each kind, seq from 1, controls inside."""
    wanted = data.draw(ranges(events))
    count = data.draw(st.integers(0, 6))
    tokens = wanted.tokens or (ONE, TWO)
    records = events.ticks.to_records()
    own = np.isin(records["instrument_token"], tokens)
    inside = own & wanted.holds(records["ts_event"])
    assume(inside.any())
    with tempfile.TemporaryDirectory() as folder:
        whole = write(Path(folder, "whole"), events)
        needs = needs_of(count, tokens) if wanted.start_ns is not None else {}
        part = exported(whole, wanted, needs, Path(folder, "part"))
        found = records_of(part)
        controls = part.controls()
        origin = part.manifest.origin

    warm = (found["flags"] & flag.WARMUP) != 0
    source = records[found["original_seq"] - 1 - _controls_before(events, found["original_seq"])]
    assert records[inside]["seq"].tolist() == found["original_seq"][~warm].tolist()
    for name in records.dtype.names:
        if name not in ("seq", "flags"):
            assert source[name].tolist() == found[name].tolist()
    assert (source["flags"] | warm * np.uint32(flag.WARMUP)).tolist() == found["flags"].tolist()
    seqs = sorted([*found["seq"].tolist(), *(c.seq for c in controls)])
    assert list(range(1, len(seqs) + 1)) == seqs
    assert [records[inside]["seq"][0], records[inside]["seq"][-1]] == [
        origin["first_seq"], origin["last_seq"]
    ]  # fmt: skip
    assert list(part.table.tokens) == sorted(tokens)
    if not needs:
        assert not warm.any()
    for kind, shown in shown_to(records["flags"]).items():
        for token in tokens if needs else ():
            mine = (records["instrument_token"] == token) & inside
            if mine.any():
                before = (records["instrument_token"] == token) & shown
                before &= records["seq"] < records["seq"][mine][0]
                expected = records["seq"][before][-count:].tolist()
                assert set(expected) <= set(found["original_seq"].tolist()), kind


def _controls_before(events: EventBatch, seqs: Any) -> Any:
    return np.searchsorted(np.array([c.seq for c in events.controls], np.int64), seqs)
