"""Instruments, ticks and recordings that the tests of parity.recording start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import NO_BID, TICK_DTYPE, TRADE, TickBatch
from parity.recording.reader import Recording, open_recording
from parity.recording.sequencer import Sequencer
from parity.recording.writer import RecordingWriter

Records = npt.NDArray[Any]


@pytest.fixture
def table() -> InstrumentTable:
    """Three instruments whose scales differ, so that multiplying and dividing matters."""
    return InstrumentTable(
        [
            Instrument(token=7, symbol="A", price_scale=2, quantity_scale=5),
            Instrument(token=9, symbol="B", price_scale=4, quantity_scale=0),
            Instrument(token=12, symbol="C", price_scale=0, quantity_scale=3, clock="recv"),
        ]
    )


@pytest.fixture
def make_ticks(table: InstrumentTable) -> Callable[..., Records]:
    """Make sequenced ticks with every column in use, negative prices too."""

    def make(count: int, *, next_seq: int = 1, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        records = np.zeros(count, TICK_DTYPE)
        for name in TICK_DTYPE.names or ():
            if name.endswith("_int"):
                records[name] = rng.integers(-(10**6), 10**9, count)
        records["instrument_token"] = rng.choice(table.tokens, count)
        records["ts_event"] = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(0, 10**7, count))
        records["ts_recv"] = records["ts_event"] + rng.integers(-(10**6), 10**6, count)
        records["side"] = rng.integers(-1, 2, count)
        records["open_interest"] = rng.integers(0, 2**60, count)
        records["trade_id"] = np.arange(count) + next_seq
        records["flags"] = TRADE | NO_BID
        records["offset"] = np.arange(count) + next_seq - 1
        records["sub"] = 0
        return Sequencer(table, next_seq=next_seq).sequence(records)

    return make


@pytest.fixture
def ticks_of() -> Callable[..., Records]:
    """Read all ticks of a recording back as records."""

    def read(recording: Recording, **selection: Any) -> Records:
        batches = recording.batches(**selection)
        return np.concatenate([np.zeros(0, TICK_DTYPE), *(b.ticks.to_records() for b in batches)])

    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a recording may be made."""
    return tmp_path / "rec"


@pytest.fixture
def import_ticks(folder: Path, table: InstrumentTable) -> Callable[..., Recording]:
    """Write records (and controls) as an import and open it."""

    def run(
        records: Records, controls: tuple[Control, ...] = (), cut: int = 1000, to: Path = folder
    ) -> Recording:
        with RecordingWriter(to, table, order="ts_event", created_by="test") as out:
            for lo in range(0, len(records), cut):
                out.append(TickBatch.from_records(records[lo : lo + cut], table))
            out.append(TickBatch.empty(table), controls)
        return open_recording(to)

    return run


@pytest.fixture
def recorded(import_ticks: Callable[..., Recording], make_ticks: Callable[..., Records]) -> Path:
    """A small sealed recording."""
    return import_ticks(make_ticks(500)).path
