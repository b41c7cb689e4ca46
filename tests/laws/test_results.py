"""The laws of results: books, curves and statistics agree with a slow reference in fractions."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.analysis.books import Book, books_of
from parity.analysis.equity import Account, Grid, drawdown, trace
from parity.core.engine import Engine, RunReport
from parity.core.executor import ExecutorPlan
from parity.core.market import last_price, marks
from parity.core.view import Scan, Segment
from parity.model import ticks as flag
from parity.model.effects import Fill
from parity.model.events import EventBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.recording.rows import decision_row
from parity.recording.runs import KeptStrategy, RecordingReference, RunManifest
from parity.testing.generators import TABLE, cut, event_streams, partitions

SAYS = st.lists(
    st.tuples(st.sampled_from(("", "BUY", "SELL")), st.sampled_from((1, 2, 0.5, Decimal("0.001")))),
    min_size=4,
    max_size=12,
)
START = {"a": 1_000_000, "b": 70_000}


class Saying:
    """Says what stands in a list, again and again."""

    def __init__(self, says: Sequence[tuple[str, Any]]) -> None:
        self.says = says
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "saying"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Say the next."""
        side, quantity = self.says[self.calls % len(self.says)]
        self.calls += 1
        return SignalResult(side, 1.0, quantity, tick.price) if side else None


def ran(
    stream: EventBatch, says: dict[str, Sequence[tuple[str, Any]]]
) -> tuple[list[Book], list[Fill], RunReport]:
    """Run two strategies over a stream; return their books, fills and the engine's report."""
    configs = {
        name: StrategyConfig(
            strategy_id=name,
            strategy_type="saying",
            parameters={"paper": {"allow_short": name == "a", "cash": START[name]}},
        )
        for name in says
    }
    plans = [
        ExecutorPlan(configs[name], "paper", lambda said=said: Saying(said))  # type: ignore[misc] # a default binds it
        for name, said in says.items()
    ]
    engine = Engine(TABLE, plans)
    fills = [e for e in engine.process(stream) if isinstance(e, Fill) and not e.reason]
    kept = [
        KeptStrategy(
            config={"strategy_id": name, "parameters": config.parameters},
            broker="paper",
            kind="class",
            type_name="Saying",
            source="x.py",
            source_sha256="0",
        )
        for name, config in configs.items()
    ]
    manifest = RunManifest(
        run_id="r",
        mode="backtest",
        created_by="",
        started="",
        seed=0,
        strategies=kept,
        skipped=[],
        recording=RecordingReference(path="x"),
        fingerprint={},
    )
    books = books_of(manifest, TABLE, (decision_row(fill) for fill in fills), {}.get)
    return books, fills, engine.report()


def accounts_of(
    books: list[Book], pieces: Sequence[EventBatch], stretches: int
) -> tuple[dict[str, Account], Grid]:
    """Draw the curves of each book and of the total ("")."""
    times = np.concatenate([piece.ticks.column("ts_event") for piece in pieces])
    grid = Grid.over(int(times.min()), int(times.max()), stretches)
    accounts = {b.key[0]: Account([b], TABLE) for b in books} | {"": Account(books, TABLE)}
    trace(list(accounts.values()), pieces, TABLE, grid)
    return accounts, grid


class Reference:
    """One tick after the other, in fractions: what the curve is a part of."""

    def __init__(
        self, stream: EventBatch, fills: Sequence[Fill], names: Sequence[str], start_ns: int
    ) -> None:
        records = stream.ticks.to_records()
        self.curve: list[tuple[int, int, Fraction]] = []  # seq, clock, equity
        cash = Fraction(sum(START[name] for name in names))
        own = [f for f in fills if f.strategy_id in names]
        held: dict[tuple[str, int], Fraction] = {}
        mark: dict[int, Fraction] = {}
        exposed, in_market, clock, last_clock = Fraction(0), 0, start_ns, None
        total: dict[int, Fraction] = {}
        for tick in records:
            bits = int(tick["flags"])
            if bits & flag.UNDELIVERED:
                continue
            if not bits & flag.NO_VENUE_TIME:
                clock = max(clock, int(tick["ts_event"]))
            price = self.price(tick, bits)
            if price is None:
                continue
            exposure = sum((abs(q) * mark[t] for t, q in total.items() if q), Fraction(0))
            if last_clock is not None:
                exposed += exposure * (clock - last_clock)
                in_market += (clock - last_clock) * bool(exposure)
            last_clock = clock
            mark[int(tick["instrument_token"])] = price
            for fill in own:
                if fill.seq == int(tick["seq"]):
                    notional = Fraction(fill.price) * Fraction(fill.quantity)
                    cash -= fill.side * notional + Fraction(fill.commission)
                    key = (fill.strategy_id, fill.instrument_token)
                    signed = fill.side * Fraction(fill.quantity)
                    held[key] = held.get(key, Fraction(0)) + signed
                    total[key[1]] = total.get(key[1], Fraction(0)) + signed
            worth = sum((q * mark[t] for (_, t), q in held.items() if q), Fraction(0))
            self.curve.append((int(tick["seq"]), clock, cash + worth))
        self.exposed, self.in_market = exposed, in_market

    @staticmethod
    def price(tick: Any, bits: int) -> Fraction | None:
        """Return the last price that a tick makes, as the paper broker marks positions."""
        scale = 10 ** TABLE.by_token(int(tick["instrument_token"])).price_scale
        if bits & flag.TRADE_LIKE and not bits & flag.NO_PRICE:
            return Fraction(int(tick["price_int"]), scale)
        sides = [
            Fraction(int(tick[name]), scale)
            for name, absent in (("bid_int", flag.NO_BID), ("ask_int", flag.NO_ASK))
            if bits & flag.QUOTE and not bits & absent
        ]
        return sum(sides, Fraction(0)) / len(sides) if sides else None

    def drawdown(self) -> tuple[Fraction, Fraction]:
        """Return the deepest fall over all ticks, and the largest share of a maximum."""
        top, fall, share = self.curve[0][2], Fraction(0), Fraction(0)
        for _, _, equity in self.curve:
            top = max(top, equity)
            fall = max(fall, top - equity)
            share = max(share, (top - equity) / top if top > 0 else Fraction(0))
        return fall, share


@given(event_streams(), st.fixed_dictionaries({"a": SAYS, "b": SAYS}), st.integers(1, 30))
def test_curves_agree_with_fractions(stream: EventBatch, says: Any, stretches: int) -> None:
    """Equity, drawdown and exposure, of each strategy and in total, as a slow reference has them.

    Every point is exactly the reference's, fills and ends of stretches are points, and the deepest
    drawdown over all ticks is found from the points alone.
    """
    books, fills, report = ran(stream, says)
    accounts, grid = accounts_of(books, [stream], stretches)
    for name, account in accounts.items():
        names = [name] if name else list(START)
        reference = Reference(stream, fills, names, grid.start_ns)
        if not reference.curve:
            assert account.points == []
            continue
        known = {seq: (clock, equity) for seq, clock, equity in reference.curve}
        shown = {p.seq: (p.clock_ns, Fraction(p.equity)) for p in account.points}
        ends = {(clock - grid.start_ns) // grid.step_ns: seq for seq, clock, _ in reference.curve}
        fall = drawdown(account.points)
        deepest, share = reference.drawdown()

        own = [b for b in books if b.key[0] in names]
        began = sum(b.start for b in own)

        assert {seq: known[seq] for seq in shown} == shown
        for point in account.points:
            past = [[e.realised for e in b.entries if e.seq <= point.seq][-1:] for b in own]
            gained = sum((x for one in past for x in one), Decimal(0))
            assert point.equity - began == gained + point.unrealised
        assert [p.seq for p in account.points] == sorted(shown)
        assert {f.seq for f in fills if f.strategy_id in names} <= {*shown}
        assert {*ends.values()} <= {*shown}
        assert reference.curve[0][0] == account.points[0].seq
        assert deepest == Fraction(fall.amount)
        assert pytest.approx(float(share), rel=1e-9, abs=1e-15) == fall.fraction
        assert pytest.approx(float(reference.exposed), rel=1e-9, abs=1e-6) == account.exposed
        assert reference.in_market == account.held_ns
        assert reference.curve[-1][1] - reference.curve[0][1] == account.all_ns
    pnl = {e.strategy_id: Decimal(e.pnl) for e in report.executors}
    ended = {n: accounts[n].points[-1].equity - START[n] for n in pnl if accounts[n].points}

    assert {n: pnl[n] for n in ended} == ended


@given(event_streams(), st.fixed_dictionaries({"a": SAYS, "b": SAYS}), partitions())
def test_curves_do_not_tell_where_batches_ended(
    stream: EventBatch, says: Any, sizes: list[int]
) -> None:
    """Any cut of the events gives the same points, weights and marks."""
    books, _, _ = ran(stream, says)
    whole, _ = accounts_of(books, [stream], 7)
    parts, _ = accounts_of(books, [p for p in cut(stream, sizes) if len(p.ticks)], 7)
    for name, account in whole.items():
        assert account.points == parts[name].points
        assert (account.exposed, account.held_ns) == (parts[name].exposed, parts[name].held_ns)


@given(event_streams(), st.fixed_dictionaries({"a": SAYS, "b": SAYS}))
def test_books_balance(stream: EventBatch, says: Any) -> None:
    """Realised profit, the cost of what is held, and cash agree to the last digit.

    Trades are what lies between two flat moments, and bring what cash came in between.
    """
    books, fills, _ = ran(stream, says)
    for book in books:
        held: dict[int, Fraction] = {}
        cost: dict[int, Fraction] = {}
        for entry in book.entries:
            token = entry.instrument_token
            held[token] = held.get(token, Fraction(0)) + entry.side * Fraction(entry.quantity)
            cost[token] = Fraction(entry.cost)

            assert held[token] == Fraction(entry.position)
            assert Fraction(entry.cash) - Fraction(book.start) + sum(cost.values()) == Fraction(
                entry.realised
            )
        own = [f for f in fills if f.strategy_id == book.key[0]]

        assert len(own) == len(book.entries)
        assert round_trips(own) == [
            (t.instrument_token, t.side, t.opened_seq, t.closed_seq, Fraction(t.quantity), t.profit)
            for t in book.trades
        ]


def round_trips(fills: Sequence[Fill]) -> list[tuple[int, int, int, int, Fraction, Fraction]]:
    """Split fills at every turn of the position, and sum the cash of what lies between flats."""
    found = []
    begun: dict[int, list[Any]] = {}  # side, seq, position, largest, cash
    for fill in fills:
        left, side = Fraction(fill.quantity), fill.side
        fee = Fraction(fill.commission) / left
        while left:
            now = begun.setdefault(fill.instrument_token, [side, fill.seq, Fraction(0), 0, 0])
            part = left if side == now[0] else min(left, abs(now[2]))
            now[2] += side * part
            now[3] = max(now[3], abs(now[2]))
            now[4] -= part * (side * Fraction(fill.price) + fee)
            left -= part
            if not now[2]:
                token = fill.instrument_token
                found.append((token, now[0], now[1], fill.seq, Fraction(now[3]), now[4]))
                del begun[token]
    return found


@given(event_streams())
def test_marks_are_last_prices(stream: EventBatch) -> None:
    """The rule for a whole segment is the rule for one row, at every row."""
    segment = Segment(stream.ticks, Scan(len(TABLE)))
    rows, mark = marks(segment)
    latest: dict[int, Decimal] = {}
    found = dict(zip(rows.tolist(), mark.tolist(), strict=True))
    for row in range(len(segment)):
        dense = int(segment.batch.column("inst")[row])
        if row in found:
            scale = TABLE.by_dense(dense).price_scale + 1
            latest[dense] = Decimal(found[row]).scaleb(-scale)

        assert last_price(segment, dense, row) == latest.get(dense)
