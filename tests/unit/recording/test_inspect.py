"""`inspect_recording`: exact sums, whatever their size, in the stable JSON."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TickBatch
from parity.recording.inspect import exact_dot, exact_sum, inspect_recording
from parity.recording.journal import JournalWriter
from parity.recording.reader import open_recording
from parity.recording.sequencer import Sequencer
from parity.recording.writer import RecordingWriter, create_recording

TABLE = InstrumentTable(
    [
        Instrument(token=1, symbol="A", price_scale=2, quantity_scale=3),
        Instrument(token=2, symbol="B", price_scale=0, quantity_scale=0),
    ]
)
START_NS = 1_736_154_000_000_000_000  # 2025-01-06T09:00Z


def _ticks(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """Return trades of (token, price_int, quantity_int, side), one second apart."""
    records = np.zeros(len(rows), TICK_DTYPE)
    records["ts_event"] = START_NS + np.arange(len(rows)) * 10**9
    for name, column in zip(
        ("instrument_token", "price_int", "quantity_int", "side"),
        zip(*rows, strict=True),
        strict=True,
    ):
        records[name] = column
    records["flags"] = flag.TRADE | flag.NO_TS_RECV | flag.NO_TRADE_ID
    records["stream"] = records["offset"] = records["trade_id"] = -1
    return records


def _write(folder: Path, records: np.ndarray, controls: tuple[Control, ...] = ()) -> Path:
    with RecordingWriter(folder, TABLE, order="ts_event", created_by="test") as writer:
        writer.append(TickBatch.from_records(Sequencer(TABLE).sequence(records), TABLE), controls)
    return folder


def test_sums_are_exact_decimals(tmp_path: Path) -> None:
    """Quantity, notional, buy, sell and CVD per instrument, as decimal strings."""
    records = _ticks((1, 10050, 1500, 1), (2, 7, 3, 0), (1, 9950, 250, -1))

    found = inspect_recording(open_recording(_write(tmp_path / "rec", records)))

    a, b = found["instruments"]
    assert (found["format"], found["order"], found["ticks"], found["gaps"]) == (1, "ts_event", 3, 0)
    assert a == {
        "instrument_token": 1,
        "symbol": "A",
        "venue": "",
        "kind": "spot",
        "price_scale": 2,
        "quantity_scale": 3,
        "ticks": 2,
        "trades": 2,
        "first": "2025-01-06T09:00:00.000000000Z",
        "last": "2025-01-06T09:00:02.000000000Z",
        "first_recv": None,
        "last_recv": None,
        "late": 0,
        "duplicate": 0,
        "skewed": 0,
        "catch_up": 0,
        "warmup": 0,
        "quantity": "1.750",
        "notional": "175.62500",
        "buy": "1.500",
        "sell": "0.250",
        "cvd": "1.250",
        "cvd_quote": "125.87500",
        "price": {"first": "100.50", "last": "99.50", "min": "99.50", "max": "100.50"},
    }
    assert (b["quantity"], b["notional"], b["buy"], b["cvd"]) == ("3", "21", "0", "0")
    assert found["flags"] == {"trade": 3, "no_trade_id": 3, "no_ts_recv": 3}
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_sums_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    """Eighteen-digit quantities at eighteen-digit prices do not wrap around."""
    large = 10**15 - 1  # eighteen digits at the recording's scales
    records = _ticks(*[(1, large, large, 1)] * 30)

    found = inspect_recording(open_recording(_write(tmp_path / "rec", records)))

    notional = found["instruments"][0]["notional"]
    assert int(notional.replace(".", "")) == 30 * large * large


def test_quotes_and_undelivered_ticks_are_counted_but_not_summed(tmp_path: Path) -> None:
    """A sum is over the trades that a strategy is shown."""
    records = _ticks((1, 100, 1000, 1), (1, 100, 1000, 1), (1, 0, 0, 0))
    records["flags"][:2] &= ~np.uint32(flag.NO_TRADE_ID)
    records["trade_id"][:2] = 5
    records["flags"][2] = flag.QUOTE | flag.NO_PRICE | flag.NO_TS_RECV | flag.NO_TRADE_ID

    found = inspect_recording(open_recording(_write(tmp_path / "rec", records)))

    first = found["instruments"][0]
    assert (first["ticks"], first["trades"], first["quantity"]) == (3, 1, "1.000")
    assert found["flags"]["duplicate"] == 1
    assert found["instruments"][1]["first"] is None


def test_gaps_of_an_unsealed_recording_are_counted(tmp_path: Path) -> None:
    """What still lies in the journal is read too: ticks, gaps and its bytes."""
    create_recording(tmp_path / "rec", TABLE, created_by="test")
    sequencer = Sequencer(TABLE)
    writer = JournalWriter(tmp_path / "rec")
    writer.append(sequencer.sequence(_ticks((1, 100, 1000, 1))))
    gap = Control(seq=sequencer.take_seq(), ts_recv=START_NS, verb="gap", detail={})
    writer.append(np.zeros(0, TICK_DTYPE), [gap])
    writer.append(sequencer.sequence(_ticks((2, 5, 1, -1))))
    writer.close()

    found = inspect_recording(open_recording(tmp_path / "rec"))

    assert (found["state"], found["ticks"], found["gaps"]) == ("open", 2, 1)
    assert found["controls"] == {"gap": 1}
    assert found["sizes"]["journal_bytes"] > 0
    assert found["sizes"]["parts"] == 0


@given(
    pairs=st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), max_size=30
    )
)
@settings(max_examples=50)
def test_exact_sums_are_those_of_python_integers(pairs: list[tuple[int, int]]) -> None:
    """Law: neither a sum nor a sum of products ever wraps around."""
    a = np.array([x for x, _ in pairs], np.int64)
    b = np.array([y for _, y in pairs], np.int64)

    assert exact_sum(a) == sum(x for x, _ in pairs)
    assert exact_dot(a, b) == sum(x * y for x, y in pairs)


@pytest.mark.parametrize("count", [1, 3, 1_000])
def test_the_fast_way_gives_the_same(count: int) -> None:
    """Where 64 bits are enough numpy is used, and the result is the same."""
    a = np.arange(1, count + 1)

    assert exact_sum(a) == count * (count + 1) // 2
    assert exact_dot(a, a) == count * (count + 1) * (2 * count + 1) // 6
