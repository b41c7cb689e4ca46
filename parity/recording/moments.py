"""One event of a recording with its neighbours: every column of the tick, exact; or the control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.model.extensions import PRESENT
from parity.recording.inspect import decimal_text, iso

if TYPE_CHECKING:
    from parity.model.ticks import TickBatch
    from parity.recording.reader import Recording

AROUND: Final = 2  # events before and behind
_TIMES: Final = ("ts_event", "ts_recv")


def seq_at(recording: Recording, instant_ns: int) -> int:
    """Return the first seq, in seq order, whose tick has ts_event at or after an instant.

    Raises:
        ConfigError: no tick is that late.
    """
    latest = 0
    for batch in recording.batches(columns=["seq", "ts_event"]):
        if not len(batch.ticks):
            continue
        times = batch.ticks.column("ts_event")
        rows = np.flatnonzero(times >= instant_ns)
        if len(rows):
            return int(batch.ticks.column("seq")[rows[0]])
        latest = max(latest, int(times.max()))
    raise ConfigError(
        f"--at: {recording.path} has no tick at or after {iso(instant_ns)}",
        cure=f"its last is at {iso(latest)}",
    )


def events_at(recording: Recording, seq: int, around: int = AROUND) -> list[dict[str, Any]]:
    """Return the event of a seq and its neighbours, in seq order.

    Args:
        recording: from `open_recording`.
        seq: of a tick or a control.
        around: how many events before and behind.

    Returns:
        Plain values by column, absent ones None, prices and quantities as decimal text at the
        instrument's own scale, times as ISO 8601; of a control `verb` and `detail`.

    Raises:
        ConfigError: no event has that seq.
    """
    low, high = seq - around, seq + around
    found = [
        {"seq": c.seq, "verb": c.verb, "ts_recv": iso(c.ts_recv), "detail": c.detail}
        for c in recording.controls()
        if low <= c.seq <= high
    ]
    for batch in recording.batches():
        if not len(batch.ticks) or int(batch.ticks.column("seq")[-1]) < low:
            continue
        seqs = batch.ticks.column("seq")
        lo, hi = int(seqs.searchsorted(low)), int(seqs.searchsorted(high, side="right"))
        found += [tick_at(batch.ticks, row) for row in range(lo, hi)]
        if int(seqs[-1]) >= high:
            break
    if not any(one["seq"] == seq for one in found):
        raise ConfigError(
            f"--at: {recording.path} has no event of seq {seq}",
            cure=f"its last is seq {recording.last_seq}",
        )
    return sorted(found, key=lambda one: int(one["seq"]))


def tick_at(ticks: TickBatch, row: int) -> dict[str, Any]:
    """Return one tick of a batch by column, as `events_at` does."""
    table, known = ticks.table, ticks.table.columns
    flags = int(ticks.column("flags")[row])
    instrument = table.by_token(int(ticks.column("instrument_token")[row]))
    present = int(ticks.column(PRESENT)[row]) if PRESENT in known.known else 0
    shown: dict[str, Any] = {}
    for name in known.names:
        if name == PRESENT:
            continue
        label, value = known.stored[name], int(ticks.column(name)[row])
        absent = flags & flag.FLAG_NAMES.get(f"no_{label}", 0)
        if name in known.bits:
            absent = not present & known.bits[name]
        if absent:
            shown[label] = None
        elif name in known.scaled:
            price = known.scaled[name][1] == "price"
            scale = instrument.price_scale if price else instrument.quantity_scale
            shown[label] = decimal_text(value, scale)
        elif name in known.extensions and known.extensions[name].kind == "text":
            shown[label] = known.extensions[name].words[value]
        else:
            shown[label] = iso(value) if name in _TIMES else value
        if name == "instrument_token":
            shown["symbol"] = instrument.symbol
    shown["flags"] = flag.flag_names(flags)
    return shown
