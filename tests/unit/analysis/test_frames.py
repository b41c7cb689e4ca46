"""parity.analysis.frames: what a run folder and a recording look like to a person."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.analysis import frames
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.errors import RecordingCorrupt, RecordingMissing
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import (
    DUPLICATE,
    NO_BID,
    NO_QUANTITY,
    NO_TS_RECV,
    NO_VENUE_TIME,
    QUOTE,
    TICK_DTYPE,
    TRADE,
    TickBatch,
)
from parity.model.values import StrategyConfig
from parity.recording.layout import tick_table
from parity.recording.manifest import scales_of
from parity.recording.runs import SCHEMAS, RecordingReference, RunFolder, RunManifest, RunWriter
from parity.sources.synthetic import generate
from parity.strategies.rules import momentum

T0 = 1_772_442_900_000_000_001  # a nanosecond that no float64 holds


def where(
    seq: int, *, strategy_id: str = "a", ts_event: int = T0, ordinal: int = 0
) -> dict[str, Any]:
    """Return the columns that place a record."""
    return {
        "seq": seq,
        "strategy_id": strategy_id,
        "broker": "paper",
        "instrument_token": 1,
        "ts_event": ts_event,
        "ordinal": ordinal,
    }


def candidate(seq: int, side: int, *, confidence: float = 0.7, **place: Any) -> dict[str, Any]:
    """Return a row of candidates/*.parquet."""
    return where(seq, **place) | {
        "side": side,
        "price": 100.25,
        "quantity": 2.0,
        "confidence": confidence,
        "metadata": '{"ret":0.5}',
        "reasoning": f"said at {seq}",
        "record": b"\x00",
    }


def decision(seq: int, kind: str, side: int, **more: Any) -> dict[str, Any]:
    """Return a row of decisions/*.parquet."""
    place = {name: more.pop(name) for name in list(more) if name in where(0)}
    empty: dict[str, Any] = {
        "price": 0.0,
        "price_exact": "",
        "quantity": 0.0,
        "quantity_exact": "",
        "commission_exact": "",
        "reason": "",
        "signal_no": 0,
        "signal_id": "",
        "record": b"\x01",
    }
    return where(seq) | place | {"kind": kind, "side": side} | empty | more


def run_folder(folder: Path, said: list[dict[str, Any]], decided: list[dict[str, Any]]) -> Path:
    """Write a run folder in parts of two rows, so that the order of parts matters."""
    manifest = RunManifest(
        run_id="r",
        mode="backtest",
        created_by="test",
        started="",
        seed=0,
        strategies=[],
        skipped=[],
        recording=RecordingReference(path="."),
        fingerprint={},
    )
    run = folder / "run"
    RunWriter(run, manifest)
    for part, rows in (("candidates", said), ("decisions", decided)):
        for start in range(0, len(rows), 2):
            table = pa.Table.from_pylist(rows[start : start + 2], schema=SCHEMAS[part])
            pq.write_table(table, run / part / f"{rows[start]['seq']:020d}.parquet")
    return run


def test_signals_and_drops_carry_what_the_processor_said(tmp_path: Path) -> None:
    """A verdict is joined with its candidate's confidence, metadata and reasoning."""
    run = run_folder(
        tmp_path,
        [candidate(5, 1), candidate(6, -1, confidence=0.2), candidate(9, 1)],
        [
            decision(5, "approved", 1, signal_no=1, signal_id="x"),
            decision(6, "dropped", -1, reason="cooldown"),
            decision(7, "fill", 1, price_exact="100.30", quantity_exact="2", signal_id="x"),
            decision(9, "approved", 1, signal_no=2, signal_id="y"),
        ],
    )
    signals, drops = frames.signals(run), frames.drops(run)

    assert [(5, "BUY", "x"), (9, "BUY", "y")] == signals.select("seq", "side", "signal_id").rows()
    assert ["said at 5", "said at 9"] == signals["reasoning"].to_list()
    assert [(6, "SELL", "cooldown", 0.2)] == drops.select(
        "seq", "side", "reason", "confidence"
    ).rows()
    assert 3 == len(frames.candidates(run))


def test_instants_are_utc_with_nanoseconds(tmp_path: Path) -> None:
    """The last nanosecond survives, and the zone is written in the type."""
    run = run_folder(tmp_path, [candidate(1, 1)], [decision(1, "approved", 1)])
    instants = frames.signals(run)["ts_event"]

    assert pl.Datetime("ns", "UTC") == instants.dtype
    assert [T0] == instants.to_physical().to_list()


def test_two_candidates_at_one_place_keep_their_own_verdicts(tmp_path: Path) -> None:
    """Where a place is not unique, the first verdict belongs to the first candidate."""
    run = run_folder(
        tmp_path,
        [candidate(1, 1, confidence=0.9), candidate(1, -1, confidence=0.1)],
        [decision(1, "dropped", 1, reason="cooldown"), decision(1, "approved", -1)],
    )

    assert [(0.1, "SELL")] == frames.signals(run).select("confidence", "side").rows()
    assert [(0.9, "BUY")] == frames.drops(run).select("confidence", "side").rows()


def test_refusals_count_the_rows_of_drops(tmp_path: Path) -> None:
    """By reason and strategy, of validators and of the paper broker, and of an empty run."""
    run = run_folder(
        tmp_path,
        [candidate(n, 1, strategy_id="ab"[n % 2]) for n in range(1, 6)],
        [
            *(
                decision(n, "dropped", 1, strategy_id="ab"[n % 2], reason=("cooldown", "x")[n > 3])
                for n in range(1, 6)
            ),
            decision(6, "refused", 1, reason="cash", price_exact="1", quantity_exact="1"),
            decision(7, "fill", 1, price_exact="100.30", quantity_exact="2", signal_id="x"),
        ],
    )
    counted = frames.drops(run).group_by("reason", "strategy_id").len().rows()
    none = run_folder(tmp_path / "none", [], [])

    assert {row[:2]: row[2] for row in counted} == frames.refusals(run)
    assert 4 < len(counted)
    assert {} == frames.refusals(none) == frames.kinds(none)
    assert [] == [*frames.filled_rows(none)]


def test_a_verdict_without_its_candidate_is_corruption(tmp_path: Path) -> None:
    """A decision that no candidate led to is named, not shown with empty cells."""
    run = run_folder(tmp_path, [candidate(1, 1)], [decision(2, "approved", 1)])

    with pytest.raises(RecordingCorrupt, match="decision at seq 2 of a has no candidate"):
        frames.signals(run)


def test_fills_keep_the_exact_money(tmp_path: Path) -> None:
    """Money is exact as the run keeps it, with the nearest float beside it."""
    exact = {"price_exact": "0.1000000000000000000001", "quantity_exact": "3"}
    run = run_folder(
        tmp_path,
        [],
        [
            decision(1, "fill", 1, commission_exact="0.07", signal_id="x", **exact),
            decision(2, "refused", 1, reason="cash", signal_id="y"),
        ],
    )
    (fill,) = frames.fills(run).rows(named=True)

    assert Decimal("0.1000000000000000000001") == fill["price_exact"]
    assert 0.1 == fill["price"]
    assert (3.0, 0.07) == (fill["quantity"], fill["commission"])
    assert [("paper_cash", "y")] == frames.drops(run).select("reason", "signal_id").rows()


def test_money_of_too_many_digits_is_text(tmp_path: Path) -> None:
    """What 38 digits cannot hold stays as it was written; nothing is rounded."""
    tiny = "0." + "0" * 40 + "1"
    exact = {"price_exact": tiny, "quantity_exact": "3", "commission_exact": "0"}
    run = run_folder(tmp_path, [], [decision(1, "fill", 1, signal_id="x", **exact)])
    shown = frames.fills(run)

    assert [tiny] == shown["price_exact"].to_list()
    assert pl.Decimal(38, 0) == shown.schema["quantity_exact"]
    assert (
        pl.Decimal(38, 0) == frames.fills(run_folder(tmp_path / "2", [], [])).schema["price_exact"]
    )


def test_orders_have_a_fate(tmp_path: Path) -> None:
    """Filled, in parts too, refused, pending; a kind that frames do not know is named as it is."""
    ids = "abcde"
    run = run_folder(
        tmp_path,
        [candidate(seq, 1) for seq in range(1, 6)],
        [
            *(
                decision(seq, "approved", 1, quantity=2.0, signal_id=ids[seq - 1])
                for seq in range(1, 5)
            ),
            decision(5, "approved", 1, quantity_exact="0.3", quantity=0.3, signal_id="e"),
            decision(6, "fill", 1, quantity_exact="0.5", signal_id="a"),
            decision(
                7, "refused", 1, quantity_exact="0", reason="insufficient_cash", signal_id="b"
            ),
            decision(8, "fill", 1, quantity_exact="1.5", signal_id="a"),
            decision(9, "unheard_of", 1, reason="why", signal_id="d"),
            decision(10, "refused", 1, quantity_exact="0", reason="expired", signal_id="e"),
        ],
    )
    shown = frames.orders(run)
    wanted = ["seq", "quantity", "fate", "reason", "fate_seq", "filled"]

    assert [
        (1, Decimal("2.0"), "filled", "", 8, Decimal("2.0")),
        (2, Decimal("2.0"), "refused", "insufficient_cash", 7, Decimal(0)),
        (3, Decimal("2.0"), "pending", None, None, Decimal(0)),
        (4, Decimal("2.0"), "unheard_of", "why", 9, Decimal(0)),
        (5, Decimal("0.3"), "expired", "expired", 10, Decimal(0)),
    ] == shown.select(wanted).rows()


def test_lifecycle_holds_transitions_and_failures(tmp_path: Path) -> None:
    """A transition says what was and is now, a failure its error, and an unknown kind its name."""
    run = run_folder(
        tmp_path,
        [candidate(1, 1)],
        [
            decision(1, "transition", 0, reason="INIT -> WARMUP"),
            decision(1, "approved", 1),
            decision(2, "failure", 0, reason="KeyError: 'x -> y'", instrument_token=7),
            decision(3, "retry", 0, reason="2 of 3"),
        ],
    )

    assert [
        (1, "transition", "INIT", "WARMUP", None),
        (2, "failure", None, None, "KeyError: 'x -> y'"),
        (3, "retry", None, None, "2 of 3"),
    ] == frames.lifecycle(run).select("seq", "kind", "was", "now", "reason").rows()
    assert [(2, "a", 7)] == frames.failures(run).select(
        "seq", "strategy_id", "instrument_token"
    ).rows()


def test_a_run_of_nothing_has_empty_frames_with_columns(tmp_path: Path) -> None:
    """No candidates and no decisions give frames of no rows, of the same types."""
    run = run_folder(tmp_path, [], [])

    for frame in (
        frames.signals(run),
        frames.drops(run),
        frames.fills(run),
        frames.candidates(run),
        frames.orders(run).with_columns(price=0.0),
    ):
        assert 0 == len(frame)
        assert {"seq", "ts_event", "side", "price"} <= set(frame.columns)
        assert pl.Datetime("ns", "UTC") == frame.schema["ts_event"]


def test_no_run_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    """A folder without a manifest is not an empty run."""
    with pytest.raises(RecordingMissing, match="no run"):
        frames.signals(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    """A part that is no Parquet is corruption of that folder."""
    run = run_folder(tmp_path, [], [])
    (run / "decisions" / f"{1:020d}.parquet").write_bytes(b"PAR1 no")

    with pytest.raises(RecordingCorrupt, match="decisions"):
        frames.fills(run)


def test_failures_and_transitions_are_no_signals(tmp_path: Path) -> None:
    """What has no candidate and no fill stands in its own frame, and disturbs no other."""
    bare = {"seq": 4, "strategy_id": "a", "broker": "paper"}
    run = run_folder(
        tmp_path,
        [candidate(5, 1)],
        [
            bare | {"kind": "transition", "reason": "INIT -> WARMUP"},
            bare | {"kind": "failure", "instrument_token": 1, "reason": "ValueError: x"},
            decision(5, "approved", 1),
        ],
    )

    assert [(4, "ValueError: x")] == frames.failures(run).select("seq", "reason").rows()
    assert [5] == frames.signals(run)["seq"].to_list()
    assert (0, 0) == (len(frames.drops(run)), len(frames.fills(run)))


def stored(records: np.ndarray[Any, Any], table: InstrumentTable) -> pl.DataFrame:
    """Return tick records as a recording's Parquet shows them to polars."""
    columns = {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}
    frame = pl.from_arrow(tick_table(columns, table, scales_of(table)))
    assert isinstance(frame, pl.DataFrame)
    return frame


TABLE = InstrumentTable(
    [
        Instrument(token=1, symbol="NIFTY", price_scale=2),
        Instrument(token=2, symbol="BTCUSDT", price_scale=8, quantity_scale=5),
    ]
)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=50))
@settings(max_examples=40)
def test_prices_are_the_floats_a_strategy_sees(prices: list[int]) -> None:
    """The frame's price has the bits of TickBatch, and of parsing the decimal text."""
    records = np.zeros(len(prices), TICK_DTYPE)
    records["instrument_token"], records["flags"], records["price_int"] = 1, TRADE, prices
    shown = frames.ticks(stored(records, TABLE), TABLE)["price"].to_numpy()

    assert TickBatch.from_records(records, TABLE).column("price").tobytes() == shown.tobytes()
    assert [float(Decimal(p).scaleb(-2)) for p in prices] == shown.tolist()


def test_absent_values_are_null_and_zeros_are_zero() -> None:
    """What a flag calls absent is null; a zero without the flag stays a zero."""
    records = np.zeros(2, TICK_DTYPE)
    records["seq"], records["instrument_token"] = [1, 2], [1, 2]
    records["ts_event"] = T0
    records["flags"] = [
        TRADE | NO_BID | NO_QUANTITY | NO_TS_RECV,
        QUOTE | DUPLICATE | NO_VENUE_TIME,
    ]
    records["side"] = [-1, 0]
    shown = frames.ticks(stored(records, TABLE).lazy(), TABLE)

    assert [None, 0.0] == shown["bid"].to_list()
    assert [None, 0.0] == shown["quantity"].to_list()
    assert [0.0, 0.0] == shown["ask"].to_list()
    assert [True, False] == shown["ts_recv"].is_null().to_list()
    assert ["SELL", None] == shown["side"].to_list()
    assert ["NIFTY", "BTCUSDT"] == shown["symbol"].to_list()
    assert [["trade"], ["quote", "no_venue_time", "duplicate"]] == shown["flags"].to_list()


def test_a_projection_of_ticks_is_enough() -> None:
    """Two columns in, the same two out, readable."""
    records = np.zeros(1, TICK_DTYPE)
    records["instrument_token"], records["ts_event"], records["price_int"] = 2, T0, 7
    shown = frames.ticks(stored(records, TABLE).select("ts_event", "price"), TABLE)

    assert ["ts_event", "price"] == shown.columns
    assert [7e-8] == shown["price"].to_list()


def test_frames_of_a_real_run_agree_with_its_report(tmp_path: Path) -> None:
    """What an engine decided over synthetic ticks is in the frames, counted and joined."""
    table, records = generate(ticks=4_000)
    config = StrategyConfig(
        strategy_id="m",
        strategy_type="momentum",
        parameters={"threshold": 0.002},
        instrument_tokens=tuple(i.token for i in table),
    )
    engine = Engine(
        table, [ExecutorPlan(config, "paper", lambda: momentum.create(config.parameters))]
    )
    run = run_folder(tmp_path, [], [])
    writer = RunWriter(run, RunFolder(run).manifest, resume=True)
    for start in range(0, 4_000, 1_000):
        batch = TickBatch.from_records(records[start : start + 1_000], table)
        writer.write(engine.process(EventBatch(batch)))
        writer.flush(engine.last_seq)
    report = engine.report()
    signals, drops = frames.signals(run), frames.drops(run)
    prices = frames.ticks(stored(records, table), table)
    at_tick = signals.join(prices, on=["seq", "instrument_token", "ts_event"], suffix="_tick")

    assert report.signals == len(signals) > 0
    assert report.drops == dict(drops["reason"].value_counts().rows())
    assert report.fills == len(frames.fills(run)) > 0
    assert signals["price"].to_list() == at_tick["price_tick"].to_list()
    assert signals["seq"].is_sorted()
