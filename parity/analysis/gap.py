"""The reality gap: what was filled outside, beside what the paper broker would have filled.

For each signal of an executor whose orders are filled outside: its fills, told by controls, against
the paper broker's rule for a market order at the same moment: the next tick of the instrument that
can fill it, with the strategy's own slippage and commission. No portfolio refuses anything here, so
one missed fill changes no other. Floats, for people. Never here: a byte that is proved.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl

from parity.analysis import frames
from parity.core.orders import OUTSIDE
from parity.core.terms import Terms
from parity.model import ticks as flag
from parity.recording.reader import open_recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from parity.recording.runs import RunFolder

_PASSED_OVER: Final = np.uint32(flag.WARMUP | flag.UNDELIVERED)
_COLUMNS: Final = ("seq", "ts_event", "flags", "price", "bid", "ask")
_EMPTY: Final = 1e-9  # of a quantity: what is left over when it is filled


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One way the signals of a strategy were filled.

    Args:
        filled: signals that were, whole or in part.
        missed: those that were not.
        slippage_mean: (fill price - signal price) / signal price, against the side: a cost is > 0.
        latency_ns_p50: from the signal's ts_event to the last fill's, by the venue's clock.
        commission: all of it.
    """

    filled: int
    missed: int
    slippage_mean: float | None
    slippage_max: float | None
    latency_ns_p50: int | None
    latency_ns_max: int | None
    commission: float


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's fills outside and on paper.

    Args:
        price_gap_mean: (outside - paper) / paper, against the side, of signals that both filled.
        fills_without_signal: outside fills that no signal explains.
        not_simulated: signals whose order is no market order.
    """

    strategy_id: str
    broker: str
    signals: int
    outside: Leg
    paper: Leg
    price_gap_mean: float | None
    fills_without_signal: int
    not_simulated: int


class _Done(NamedTuple):
    price: float
    ts_event: int
    commission: float


def gaps_of(run: RunFolder) -> list[Gap]:
    """Return the gap of each executor that was filled outside; none where no order was.

    Raises:
        RecordingMissing: its recording is gone.
        RecordingCorrupt: or damaged.
    """
    fills = frames.fills(run.path).filter(pl.col("reason") == OUTSIDE)
    keys = {(k.config["strategy_id"], k.broker): k for k in run.manifest.strategies}
    outside = {*fills.select("strategy_id", "broker").unique().rows()}
    if run.manifest.mode == "live":
        outside |= {key for key in keys if key[1] != "paper"}
    if not outside:
        return []
    with open_recording(run.recording_path) as recording:
        told = {c.seq: c.detail.get("signal_id") for c in recording.controls() if c.verb == "fill"}
    exact = pl.col("ts_event").to_physical()  # datetime holds no ns
    signals = frames.signals(run.path).with_columns(exact)
    fills = fills.with_columns(exact)
    of_key = {
        key: (pl.col("strategy_id") == key[0]) & (pl.col("broker") == key[1]) for key in outside
    }
    told_of = signals.filter(pl.any_horizontal(of_key.values()))  # the others' ticks stay unread
    offered = offered_of(run, told_of["instrument_token"].unique().to_list())
    found = []
    for key, mine in sorted(of_key.items(), key=lambda one: one[0]):
        kept = keys.get(key)
        terms = Terms.of({} if kept is None else kept.config.get("parameters") or {})
        own = signals.filter(mine).to_dicts()
        done = [row | {"of": told.get(row["seq"])} for row in fills.filter(mine).to_dicts()]
        found.append(_gap(key, own, done, offered, terms))
    return found


def _gap(
    key: tuple[str, str],
    signals: Sequence[dict[str, Any]],
    fills: Sequence[dict[str, Any]],
    offered: dict[int, Offered],
    terms: Terms,
) -> Gap:
    real, lost = allotted(signals, fills)
    market = [s for s in signals if _is_market(s)]
    paper = {s["seq_no"]: done for s in market if (done := on_paper(s, offered, terms))}
    both = [
        (s["sign"] * (real[s["seq_no"]].price - done.price) / done.price)
        for s in market
        if (done := paper.get(s["seq_no"])) and s["seq_no"] in real
    ]
    return Gap(
        strategy_id=key[0],
        broker=key[1],
        signals=len(signals),
        outside=_leg(signals, real),
        paper=_leg(market, paper),
        price_gap_mean=_mean(both),
        fills_without_signal=lost,
        not_simulated=len(signals) - len(market),
    )


def _is_market(signal: dict[str, Any]) -> bool:
    metadata = msgspec.json.decode(signal["metadata"] or "{}")
    return isinstance(metadata, dict) and metadata.get("order_type", "market") == "market"


def allotted(
    signals: Sequence[dict[str, Any]], fills: Sequence[dict[str, Any]]
) -> tuple[dict[int, _Done], int]:
    """Give each fill to its signal; one that names none to the oldest before it, of its side.

    Returns the average price, last time and commission by signal, and how many fills no signal
    explains.
    """
    named = {s["signal_id"]: number for number, s in enumerate(signals)}
    waiting: dict[tuple[int, str], deque[list[Any]]] = defaultdict(deque)
    entries: dict[tuple[int, str, int], list[Any]] = {}  # what stands in the queues, by number
    parts: dict[int, list[tuple[float, float, int, float]]] = defaultdict(list)
    events = [(s["seq"], 0, number, s) for number, s in enumerate(signals)]
    events += [(f["seq"], 1, number, f) for number, f in enumerate(fills)]
    lost = 0
    for _, is_fill, number, row in sorted(events, key=lambda e: e[:3]):
        place = (row["instrument_token"], row["side"])
        queue = waiting[place]
        if not is_fill:
            row["seq_no"], row["sign"] = number, 1 if row["side"] == "BUY" else -1
            entries[*place, number] = one = [number, row["quantity"]]
            queue.append(one)
            continue
        if (whose := named.get(row["of"])) is not None:
            queue = deque([entries.get((*place, whose)) or [whose, np.inf]])
        left = row["quantity"]
        lost += not any(one[1] > _EMPTY for one in queue)
        while queue and left > _EMPTY:
            if queue[0][1] <= _EMPTY:  # filled by one that named it
                done = queue.popleft()
                if whose is None:  # else it still stands in its own queue
                    del entries[*place, done[0]]
                continue
            part = min(left, queue[0][1])
            share = row["commission"] * part / row["quantity"]
            parts[queue[0][0]].append((part, row["price"], row["ts_event"], share))
            left -= part
            queue[0][1] -= part
    return {number: _average(own) for number, own in parts.items()}, lost


def _average(parts: Sequence[tuple[float, float, int, float]]) -> _Done:
    total = sum(quantity for quantity, *_ in parts)
    price = sum(quantity * price for quantity, price, *_ in parts) / total
    return _Done(price, max(ts for *_, ts, _ in parts), sum(share for *_, share in parts))


class Offered(NamedTuple):
    """What an instrument's ticks offered a BUY and a SELL: seq, ts_event and price of each."""

    buy: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
    sell: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
    contract_size: float

    @classmethod
    def of(cls, pieces: Sequence[dict[str, npt.NDArray[Any]]], size: float) -> Offered:
        """Return what an instrument's ticks offered, which are given in pieces."""
        ticks = {
            name: np.concatenate([p[name] for p in pieces]) if pieces else np.zeros(0, np.int64)
            for name in _COLUMNS
        }
        flags = ticks["flags"].astype(np.uint32)
        fit = flags & _PASSED_OVER == 0
        trade = fit & (flags & np.uint32(flag.TRADE_LIKE) != 0)
        trade &= flags & np.uint32(flag.NO_PRICE) == 0
        sides = []
        for name, absent in (("ask", flag.NO_ASK), ("bid", flag.NO_BID)):
            quote = fit & (flags & np.uint32(flag.QUOTE) != 0) & (flags & np.uint32(absent) == 0)
            price = np.where(quote, ticks[name], ticks["price"])
            chosen = trade | quote
            sides.append((ticks["seq"][chosen], ticks["ts_event"][chosen], price[chosen]))
        return cls(sides[0], sides[1], size)


def offered_of(run: RunFolder, tokens: Sequence[int]) -> dict[int, Offered]:
    """Return what the ticks of instruments of a run offered, from one reading of its recording."""
    pieces: dict[int, list[dict[str, npt.NDArray[Any]]]] = {token: [] for token in tokens}
    if not pieces:
        return {}
    columns = ["instrument_token", *_COLUMNS]
    with open_recording(run.recording_path) as recording:
        for batch in recording.batches(columns=columns, instruments=sorted(pieces)):
            whose = batch.ticks.column("instrument_token")
            for token in np.unique(whose).tolist():
                rows = whose == token
                piece = {name: batch.ticks.column(name)[rows] for name in _COLUMNS}
                pieces[token].append(piece)
        sizes = {t: float(recording.table.by_token(t).contract_size) for t in pieces}
    return {token: Offered.of(own, sizes[token]) for token, own in pieces.items()}


def on_paper(signal: dict[str, Any], offered: dict[int, Offered], terms: Terms) -> _Done | None:
    """Return what the paper broker fills of a signal: at the next tick that can, or None."""
    found = offered[signal["instrument_token"]]
    seqs, times, prices = found.buy if signal["sign"] > 0 else found.sell
    at = int(np.searchsorted(seqs, signal["seq"], side="right"))
    if at >= len(seqs):
        return None
    price = float(prices[at]) * (1 + signal["sign"] * float(terms.slippage))
    notional = price * signal["quantity"] * found.contract_size
    return _Done(price, int(times[at]), notional * float(terms.commission))


def _leg(signals: Sequence[dict[str, Any]], done: dict[int, _Done]) -> Leg:
    filled = [(s, done[s["seq_no"]]) for s in signals if s["seq_no"] in done]
    costs = [s["sign"] * (d.price - s["price"]) / s["price"] for s, d in filled if s["price"]]
    delays = sorted(max(0, d.ts_event - s["ts_event"]) for s, d in filled)
    return Leg(
        filled=len(filled),
        missed=len(signals) - len(filled),
        slippage_mean=_mean(costs),
        slippage_max=max(costs, default=None),
        latency_ns_p50=delays[(len(delays) - 1) // 2] if delays else None,
        latency_ns_max=delays[-1] if delays else None,
        commission=float(sum(d.commission for _, d in filled)),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
