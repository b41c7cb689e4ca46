"""Law: what the sequencer decides does not depend on how the records are cut into batches."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE
from parity.recording import passes
from parity.recording import sequencer as module
from parity.recording.sequencer import Sequencer

TABLE = InstrumentTable(
    Instrument(token=t, symbol=str(t), price_scale=0, clock="recv" if t == 3 else "venue")
    for t in (1, 2, 3)
)
FLAGS = (0, flag.NO_TRADE_ID, flag.NO_TS_RECV, flag.NO_VENUE_TIME)
tick = st.tuples(
    st.integers(1, 3),  # token
    st.integers(0, 12),  # ts_event
    st.integers(-1, 1),  # stream
    st.integers(0, 6),  # offset
    st.integers(0, 2),  # sub
    st.integers(0, 9),  # trade id
    st.sampled_from(FLAGS),
)


def records_of(rows: list[tuple[int, ...]]) -> npt.NDArray[Any]:
    """Records with few different values, so that every verdict happens often."""
    records = np.zeros(len(rows), TICK_DTYPE)
    names = ("instrument_token", "ts_event", "stream", "offset", "sub", "trade_id", "flags")
    for record, row in zip(records, rows, strict=True):
        for name, value in zip(names, row, strict=True):
            record[name] = value
        record["flags"] |= flag.TRADE
        record["ts_recv"] = 4
    return records


@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=200)
@given(
    rows=st.lists(tick, max_size=80),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
)
def test_batch_boundaries_never_matter(
    rows: list[tuple[int, ...]], sizes: list[int], compiled: bool
) -> None:
    """One by one (the loop), all at once (numpy, compiled) and any cut give the same bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TRADE_IDS_KEPT", 4)
        patch.setattr(module, "SMALL", 8)
        patch.setattr(passes, "are_loaded", lambda: compiled)
        records = records_of(rows)
        single = Sequencer(TABLE, max_skew_ns=5)
        expected = b"".join(
            single.sequence(records[i : i + 1].copy()).tobytes() for i in range(len(records))
        )
        whole = Sequencer(TABLE, max_skew_ns=5)
        cut = Sequencer(TABLE, max_skew_ns=5)
        pieces, at = b"", 0
        while at < len(records):
            for size in sizes:
                pieces += cut.sequence(records[at : at + size].copy()).tobytes()
                at += size
                kept = msgspec.msgpack.encode(cut.snapshot())
                cut = Sequencer(TABLE, max_skew_ns=5)
                cut.restore(msgspec.msgpack.decode(kept, strict=False))

        assert expected == whole.sequence(records.copy()).tobytes()
        assert expected == pieces
        assert single.snapshot() == whole.snapshot() == cut.snapshot()


@pytest.mark.parametrize("compiled", [False, True])
@given(
    ids=st.lists(st.integers(0, 99), min_size=1, max_size=60, unique=True),
    again=st.lists(st.integers(0, 99), max_size=8),
    at=st.integers(0, 60),
)
def test_ids_out_of_order_are_new_until_they_come_again(
    ids: list[int], again: list[int], at: int, compiled: bool
) -> None:
    """Different ids in any order, and some once more: in one batch as one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TRADE_IDS_KEPT", 16)
        patch.setattr(passes, "are_loaded", lambda: compiled)
        records = records_of([(1, 0, -1, 0, 0, n, 0) for n in ids[:at] + again + ids[at:]])
        single, whole = Sequencer(TABLE), Sequencer(TABLE)
        expected = [int(single.sequence(r.reshape(1).copy())["flags"][0]) for r in records]
        patch.setattr(module, "SMALL", 1)
        patch.setattr(module, "FEW", 1)
        cut = min(at, len(records) - 1)
        pieces = [whole.sequence(part.copy()) for part in (records[:cut], records[cut:])]

        assert np.concatenate(pieces)["flags"].tolist() == expected
        assert whole.snapshot() == single.snapshot()
