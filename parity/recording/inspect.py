"""What is in a recording, with exact sums: the JSON of `parity inspect`. Reads, never writes.

Sums are over the trades that a strategy is shown (flagged duplicates and skewed ticks are left
out), in Python integers wherever 64 bits might not hold them.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import RecordingCorrupt
from parity.model.ticks import FLAG_NAMES, NO_TS_RECV, TRADE, UNDELIVERED
from parity.recording.gaps import Losses
from parity.recording.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from parity.model.instruments import Instrument
    from parity.model.ticks import TickBatch
    from parity.recording.integrity import Defect
    from parity.recording.reader import Recording

Ints = npt.NDArray[np.int64]

FORMAT: Final = 1
_COLUMNS: Final = (
    "seq",
    "ts_event",
    "ts_recv",
    "instrument_token",
    "price_int",
    "quantity_int",
    "side",
    "flags",
)
_INT64_MAX: Final = 2**63 - 1
_SEALINGS_MAX: Final = 5  # seen during one look at a recording that is being written
VERDICTS: Final = ("late", "duplicate", "skewed", "catch_up", "warmup")
_VERDICT_BITS: Final = sum(FLAG_NAMES[name] for name in VERDICTS)


class Sums(msgspec.Struct):
    """Exact sums of one instrument; prices and quantities at the instrument's scales."""

    ticks: int = 0
    trades: int = 0
    first_ns: int = 0
    last_ns: int = 0
    first_recv_ns: int = _INT64_MAX
    last_recv_ns: int = -_INT64_MAX
    verdicts: dict[str, int] = {}
    quantity: int = 0
    notional: int = 0
    buy: int = 0
    sell: int = 0
    buy_notional: int = 0
    sell_notional: int = 0
    price_first: int = 0
    price_last: int = 0
    price_min: int = 0
    price_max: int = 0


def inspect_folder(
    folder: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], Histogram | None, list[Defect]]:
    """Check every file of a recording and return what it holds, damaged or not.

    Args:
        folder: the recording.
        progress: called with (ticks read, ticks in all).

    Returns:
        The JSON of `parity inspect`; the histogram; everything that is wrong. Of a damaged
        recording only what its manifest says is told: a sum over a part of it would mislead.

    Raises:
        RecordingMissing: nothing is there.
        RecordingCorrupt: the manifest itself is damaged, so that nothing can be told.
    """
    from parity.recording.holding import left_over
    from parity.recording.integrity import Defect, check_integrity
    from parity.recording.manifest import load_manifest
    from parity.recording.reader import open_recording

    manifest = load_manifest(folder)
    left = [str(path) for path in left_over(folder)]
    integrity = check_integrity(folder, manifest)
    for _ in range(_SEALINGS_MAX):
        now = load_manifest(folder)
        if not integrity.defects or now == manifest:
            break
        # A runner sealed a segment meanwhile: what was looked at had moved.
        manifest, integrity = now, check_integrity(folder, now)
    if not integrity.defects:
        histogram = Histogram(len(manifest.instruments))
        try:
            recording = open_recording(folder, cached=False)  # the parts, not a copy of them
            found = inspect_recording(recording, histogram, progress)
            found |= {"left_over": left, "integrity": integrity.to_json(order=True)}
            return found, histogram, []
        except RecordingCorrupt as error:
            integrity.defects.append(
                Defect(
                    file=str(folder),
                    problem=error.message.removeprefix(f"{folder}: "),
                    cure=error.cure,
                )
            )
    told = {
        "format": FORMAT,
        "path": str(folder),
        "recording_id": manifest.recording_id,
        "state": manifest.state,
        "order": manifest.order,
        "scales": manifest.scales,
        "ticks": None,
        "instruments": [
            {"instrument_token": one["token"], "symbol": one["symbol"]}
            for one in manifest.instruments
        ],
        "parts": [{"file": p.file, "rows": p.rows, "bytes": p.bytes} for p in manifest.parts],
        "gone": [msgspec.to_builtins(one) for one in manifest.gone],
        "warnings": list(manifest.warnings),
        "left_over": left,
        "integrity": integrity.to_json(order=False),
    }
    return told, None, integrity.defects


def inspect_recording(
    recording: Recording,
    histogram: Histogram | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return what a recording holds, as plain values.

    Args:
        recording: from `open_recording`; every tick of it is read and its order checked.
        histogram: filled on the way, if given.
        progress: called with (ticks read, ticks in all).

    Returns:
        The JSON of `parity inspect` but for `integrity`; sums and prices as decimal strings,
        times as ISO 8601 UTC.
    """
    sums = {i.token: Sums() for i in recording.table}
    histogram = histogram or Histogram(len(recording.table))
    flags: dict[int, int] = {}
    manifest = recording.manifest
    losses = Losses(manifest)
    ticks = 0
    for batch in recording.batches(columns=_COLUMNS):
        if len(batch.ticks):
            ticks += len(batch.ticks)
            _count_flags(flags, batch.ticks)
            histogram.add(batch.ticks.column("ts_event"), batch.ticks.column("inst"))
            _add(sums, batch.ticks)
        losses.take(batch.controls)
        if progress is not None:
            progress(ticks, recording.tick_rows)
    return {
        "format": FORMAT,
        "path": str(recording.path),
        "recording_id": manifest.recording_id,
        "created_by": manifest.created_by,
        "state": manifest.state,
        "order": manifest.order,
        "durability": manifest.durability,
        "last_seq": recording.last_seq,
        "scales": manifest.scales,
        "ticks": ticks,
        "instruments": [_instrument(i, sums[i.token]) for i in recording.table],
        **losses.to_json(),
        "flags": {
            name: count
            for name, bit in FLAG_NAMES.items()
            if (count := sum(n for value, n in flags.items() if value & bit))
        },
        "sizes": _sizes(recording, ticks),
        "histogram": histogram.to_json([i.token for i in recording.table]),
        "extensions": [{"name": e.name, "kind": e.kind} for e in manifest.extensions],
        "origin": manifest.origin,
        "gone": [msgspec.to_builtins(one) for one in manifest.gone],
        "warnings": list(manifest.warnings),
    }


def _count_flags(flags: dict[int, int], ticks: TickBatch) -> None:
    values, counts = np.unique(ticks.column("flags"), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        flags[value] = flags.get(value, 0) + count


def _add(sums: dict[int, Sums], ticks: TickBatch) -> None:
    tokens = ticks.column("instrument_token")
    for token in np.unique(tokens).tolist():
        rows = np.flatnonzero(tokens == token)
        _add_one(sums[token], ticks if len(rows) == len(ticks) else ticks.take(rows))


def _add_one(sums: Sums, ticks: TickBatch) -> None:
    times = ticks.column("ts_event")
    first, last = int(times.min()), int(times.max())
    sums.first_ns = min(sums.first_ns, first) if sums.ticks else first
    sums.last_ns = max(sums.last_ns, last) if sums.ticks else last
    sums.ticks += len(ticks)
    flags = ticks.column("flags")
    received = ticks.column("ts_recv")[(flags & NO_TS_RECV) == 0]
    if len(received):
        sums.first_recv_ns = min(sums.first_recv_ns, int(received.min()))
        sums.last_recv_ns = max(sums.last_recv_ns, int(received.max()))
    if int(np.bitwise_or.reduce(flags)) & _VERDICT_BITS:
        sums.verdicts = {
            name: sums.verdicts.get(name, 0) + int(((flags & FLAG_NAMES[name]) != 0).sum())
            for name in VERDICTS
        }
    shown = ((flags & TRADE) != 0) & ((flags & UNDELIVERED) == 0)
    if not shown.any():
        return
    price, quantity = ticks.column("price_int")[shown], ticks.column("quantity_int")[shown]
    side = ticks.column("side")[shown]
    low, high = int(price.min()), int(price.max())
    sums.price_min = min(sums.price_min, low) if sums.trades else low
    sums.price_max = max(sums.price_max, high) if sums.trades else high
    sums.price_first = sums.price_first if sums.trades else int(price[0])
    sums.price_last = int(price[-1])
    sums.trades += len(price)
    sums.quantity += exact_sum(quantity)
    sums.notional += exact_dot(price, quantity)
    bought, sold = side > 0, side < 0
    sums.buy += exact_sum(quantity[bought])
    sums.sell += exact_sum(quantity[sold])
    sums.buy_notional += exact_dot(price[bought], quantity[bought])
    sums.sell_notional += exact_dot(price[sold], quantity[sold])


def exact_sum(values: Ints) -> int:
    """Return the sum as a Python int, whatever its size.

    >>> exact_sum(np.array([2**62, 2**62], np.int64)) == 2**63
    True
    """
    if _largest(values) * len(values) <= _INT64_MAX:
        return int(values.sum())
    return sum(values.tolist())


def exact_dot(a: Ints, b: Ints) -> int:
    """Return the sum of products as a Python int, whatever its size.

    >>> exact_dot(np.array([2**62], np.int64), np.array([2**62], np.int64)) == 2**124
    True
    """
    if _largest(a) * _largest(b) * len(a) <= _INT64_MAX:
        return int(np.dot(a, b))
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def _largest(values: Ints) -> int:
    # Through Python ints: abs(-2**63) has no int64.
    return max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0


def _instrument(instrument: Instrument, sums: Sums) -> dict[str, Any]:
    price, quantity = instrument.price_scale, instrument.quantity_scale
    both = price + quantity
    return {
        "instrument_token": instrument.token,
        "symbol": instrument.symbol,
        "venue": instrument.venue,
        "kind": instrument.kind,
        "price_scale": price,
        "quantity_scale": quantity,
        "ticks": sums.ticks,
        "trades": sums.trades,
        "first": iso(sums.first_ns) if sums.ticks else None,
        "last": iso(sums.last_ns) if sums.ticks else None,
        "first_recv": iso(sums.first_recv_ns) if sums.first_recv_ns != _INT64_MAX else None,
        "last_recv": iso(sums.last_recv_ns) if sums.first_recv_ns != _INT64_MAX else None,
        **{name: sums.verdicts.get(name, 0) for name in VERDICTS},
        "quantity": decimal_text(sums.quantity, quantity),
        "notional": decimal_text(sums.notional, both),
        "buy": decimal_text(sums.buy, quantity),
        "sell": decimal_text(sums.sell, quantity),
        "cvd": decimal_text(sums.buy - sums.sell, quantity),
        "cvd_quote": decimal_text(sums.buy_notional - sums.sell_notional, both),
        "price": {
            name: decimal_text(value, price) if sums.trades else None
            for name, value in (
                ("first", sums.price_first),
                ("last", sums.price_last),
                ("min", sums.price_min),
                ("max", sums.price_max),
            )
        },
    }


def _sizes(recording: Recording, ticks: int) -> dict[str, Any]:
    parts = sum(part.bytes for part in recording.manifest.parts)
    folder = recording.path / "journal"
    journal = sum(f.stat().st_size for f in folder.glob("*.wal")) if folder.is_dir() else 0
    return {
        "parts": len(recording.manifest.parts),
        "parts_bytes": parts,
        "journal_bytes": journal,
        "bytes_per_tick": round((parts + journal) / ticks, 2) if ticks else None,
        "columns": _column_bytes(recording),
    }


def _column_bytes(recording: Recording) -> dict[str, int]:
    """Return the compressed bytes of each column over all tick parts, the largest first."""
    import pyarrow.parquet as pq

    found: dict[str, int] = {}
    for part in recording.manifest.of_kind("ticks"):
        held = pq.read_metadata(recording.path / part.file)
        for group in range(held.num_row_groups):
            for at in range(held.num_columns):
                column = held.row_group(group).column(at)
                name = column.path_in_schema
                found[name] = found.get(name, 0) + column.total_compressed_size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def decimal_text(value: int, scale: int) -> str:
    """Return an integer at a scale as decimal text, exactly.

    >>> decimal_text(-1050, 2), decimal_text(7, 0), decimal_text(5, 3)
    ('-10.50', '7', '0.005')
    """
    if scale == 0:
        return str(value)
    digits = f"{abs(value):0{scale + 1}d}"
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def iso(ns: int) -> str:
    """Return an instant in ns UTC as ISO 8601 with all its digits.

    >>> iso(1_736_154_000_000_000_001)
    '2025-01-06T09:00:00.000000001Z'
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def short_iso(instant: str | None) -> str:
    """Return what `iso` gives without the zeros at its end; "-" for None.

    >>> short_iso("2025-01-06T09:00:00.500000000Z"), short_iso(None)
    ('2025-01-06T09:00:00.5Z', '-')
    """
    return "-" if instant is None else instant.removesuffix("Z").rstrip("0").rstrip(".") + "Z"


def even_iso(instants: Sequence[str | None]) -> list[str]:
    """Return what `iso` gave with as many digits as the longest needs; "-" for None.

    >>> even_iso(["2025-01-06T09:00:37.990000000Z", None, "2025-01-06T09:00:38.005000000Z"])
    ['2025-01-06T09:00:37.990Z', '-', '2025-01-06T09:00:38.005Z']
    """
    cut = max((len(short_iso(one)) for one in instants if one is not None), default=1) - 1
    return ["-" if one is None else one[:cut] + "Z" for one in instants]
