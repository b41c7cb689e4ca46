"""Polars frames of what a run decided and a recording holds, as a person reads them.

Times are Datetime("ns", "UTC"), sides are words, absent values are null. Exact money stays beside
the float, as Decimal. Never here: order other than `seq`, or a number that is not in the Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from parity.model import ticks as flag
from parity.model.effects import PAPER
from parity.model.errors import RecordingCorrupt
from parity.model.instruments import SCALE_MAX
from parity.model.ticks import FLAG_NAMES
from parity.model.trade_ids import is_part, unpack
from parity.model.values import SIDE_NAMES
from parity.recording.runs import SCHEMAS, RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable

INSTANT: Final = pl.Datetime("ns", "UTC")
SIDE: Final = pl.Enum(["BUY", "SELL", "HOLD"])
AGGRESSOR: Final = pl.Enum(["BUY", "SELL"])

# Which decision a candidate became: one each, in the same order within these.
_KEY: Final = ["seq", "strategy_id", "broker", "instrument_token", "ts_event", "ordinal"]
# Kinds of decisions that are verdicts, or say what became of an order.
_OF_ORDERS: Final = ["approved", "dropped", "fill", "refused"]
# Orders that ended without a fill and were not refused, by reason.
_ENDS: Final = {"not_at_once": "expired", "expired": "expired", "cancelled": "cancelled"}
_DIGITS_MAX: Final = 38  # of a Decimal column
_ABSENT: Final = {
    "price": flag.NO_PRICE,
    "quantity": flag.NO_QUANTITY,
    "bid": flag.NO_BID,
    "ask": flag.NO_ASK,
    "bid_quantity": flag.NO_BID_QUANTITY,
    "ask_quantity": flag.NO_ASK_QUANTITY,
    "volume": flag.NO_VOLUME,
    "open_interest": flag.NO_OPEN_INTEREST,
    "trade_id": flag.NO_TRADE_ID,
    "ts_recv": flag.NO_TS_RECV,
}


def candidates(run: Path) -> pl.DataFrame:
    """Return what the processors said, in seq order."""
    return _readable(_table(run, "candidates"))


def signals(run: Path, part: str | None = None) -> pl.DataFrame:
    """Return the approved signals with confidence, metadata (JSON text) and reasoning.

    Args:
        run: its folder.
        part: the name of one part of its streams; None for all of them.
    """
    found = _verdicts(run, "approved", part)
    columns = ["price", "quantity", "confidence", "metadata", "reasoning", "signal_no", "signal_id"]
    return found.with_columns(quantity="ordered").select(*_KEY, "side", *columns)


def drops(run: Path) -> pl.DataFrame:
    """Return what was refused, with the reason, as the run's report counts it.

    These are candidates that a validator dropped, and orders of approved signals that the paper
    broker refused at their fill: `paper_…`, with a signal_id and the price that was refused.
    `seen` is JSON text: the values that decided.
    """
    columns = ["side", "reason", "seen", "price", "quantity", "confidence", "metadata", "reasoning"]
    dropped = _verdicts(run, "dropped").select(*_KEY, *columns, pl.lit("").alias("signal_id"))
    refused = _paper(run, "refused").select(
        *_KEY, "side", (PAPER + pl.col("reason")).alias("reason"), "price", "signal_id"
    )
    both = pl.concat([dropped, refused], how="diagonal")
    return both.sort("seq", "strategy_id", "broker", maintain_order=True)


def fills(run: Path, part: str | None = None) -> pl.DataFrame:
    """Return paper fills; `*_exact` is the money as Decimal, beside it the nearest float.

    `reason` says what was filled where it was no signal's own order: an exit, say.
    """
    money = ["price", "quantity", "commission"]
    found = _paper(run, "fill", part)
    floats = [pl.col(f"{name}_exact").cast(pl.Float64).alias(name) for name in money]
    exact = [_exact_text(found[f"{name}_exact"]) for name in money]
    return found.with_columns(floats).select(*_KEY, "side", *money, *exact, "signal_id", "reason")


def orders(run: Path) -> pl.DataFrame:
    """Return the order of every approved signal, and its fate.

    `fate` is "pending" at the run's end, "filled", "expired", "cancelled", "refused", each with the
    `reason`, or what else ended it, as its decision is called. `filled` is the quantity that was
    filled; `fate_seq` and `fate_ts_event` are of the last thing that became of it.
    """
    made = _verdicts(run, "approved")
    # Exact text stands only where limits made another quantity of it; else the float's shortest.
    texts = [
        text or repr(said)
        for said, text in zip(
            made["ordered"].to_list(), made["ordered_exact"].to_list(), strict=True
        )
    ]
    made = made.select(*_KEY, "side", _exact_text(pl.Series(texts), "quantity"), "signal_id")
    ends = pl.col("signal_id").is_not_null() & ~pl.col("kind").is_in(["approved", "dropped"])
    fate = _table(run, "decisions", where=ends).with_row_index("at")
    fate = fate.group_by("strategy_id", "broker", "signal_id").agg(
        pl.col("kind", "reason", "seq", "ts_event").sort_by("at").last(),
        filled=pl.col("quantity_exact").filter(pl.col("kind") == "fill"),
    )
    ended = pl.col("reason").replace_strict(_ENDS, default="refused", return_dtype=pl.String)
    refused = pl.col("kind") == "refused"
    fate = fate.select(
        *("strategy_id", "broker", "signal_id"),
        pl.when(refused)
        .then(ended)
        .otherwise(pl.col("kind").replace({"fill": "filled"}))
        .alias("fate"),
        "reason",
        pl.col("seq").cast(pl.UInt64).alias("fate_seq"),
        pl.col("ts_event").cast(INSTANT).alias("fate_ts_event"),
        "filled",
    )
    joined = made.join(
        fate, on=["strategy_id", "broker", "signal_id"], how="left", maintain_order="left"
    )
    sums = [
        sum(map(Decimal, parts or ()), start=Decimal(0)) for parts in joined["filled"].to_list()
    ]
    return joined.with_columns(pl.col("fate").fill_null("pending"), exact_column("filled", sums))


def lifecycle(run: Path) -> pl.DataFrame:
    """Return changes of state and failed ticks, in seq order.

    Whatever the run kept that is neither a verdict nor the fate of an order stands here, by its
    kind: `transition` with `was`, `now` and what made it, `failure` with the error as `reason`.
    A transition's `ts_event` is the strategy's clock.
    """
    found = _table(run, "decisions", where=~pl.col("kind").is_in(_OF_ORDERS))
    moved = pl.col("reason").str.split_exact(" -> ", 1)
    changed = pl.col("kind") == "transition"
    return found.select(
        pl.col("seq").cast(pl.UInt64),
        pl.col("ts_event").cast(INSTANT),
        *("strategy_id", "broker", "kind", "instrument_token"),
        pl.when(changed).then(moved.struct.field("field_0")).alias("was"),
        pl.when(changed).then(moved.struct.field("field_1")).alias("now"),
        pl.when(changed)
        .then(pl.col("seen").str.json_path_match("$.because"))
        .otherwise(pl.col("reason"))
        .alias("reason"),
    )


def decisions(run: Path, part: str | None = None) -> pl.DataFrame:
    """Return every decision as the run keeps it: verdicts, fills, refusals, failures, transitions.

    `price` and `quantity` are floats; of fills and refusals the money is exact beside them.
    """
    return _readable(_table(run, "decisions", part))


def failures(run: Path) -> pl.DataFrame:
    """Return the ticks that a strategy failed at and so skipped, with the error as reason."""
    found = lifecycle(run).filter(pl.col("kind") == "failure")
    return found.select("seq", "strategy_id", "broker", "instrument_token", "reason")


def kinds(run: Path) -> dict[tuple[str, str], dict[str, int]]:
    """Return by (strategy_id, broker) how many decisions of each kind there are."""
    names = ["strategy_id", "broker", "kind"]
    counted = _table(run, "decisions", columns=names).group_by(names).len()
    found: dict[tuple[str, str], dict[str, int]] = {}
    for strategy_id, broker, kind, count in counted.sort(pl.all()).iter_rows():
        found.setdefault((strategy_id, broker), {})[kind] = count
    return found


def refusals(run: Path) -> dict[tuple[str, str], int]:
    """Return by (reason, strategy_id) how many rows drops() has; nothing else of them is read."""
    refused = pl.col("kind") == "refused"
    table = _table(
        run,
        "decisions",
        where=refused | (pl.col("kind") == "dropped"),
        columns=["kind", "reason", "strategy_id"],
    )
    named = pl.when(refused).then(PAPER + pl.col("reason")).otherwise(pl.col("reason"))
    counted = table.group_by(named.alias("reason"), "strategy_id").len().sort(pl.all())
    return {(reason, name): count for reason, name, count in counted.iter_rows()}


def began(run: Path) -> dict[tuple[str, str], int]:
    """Return at which seq each executor left INIT for the first time, by (strategy_id, broker)."""
    rows = lifecycle(run).filter(pl.col("was") == "INIT")  # of what is no transition it is null
    first = rows.group_by("strategy_id", "broker").agg(pl.col("seq").min())
    return {(name, broker): seq for name, broker, seq in first.iter_rows()}


def filled_rows(run: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of fills, as the run keeps them, in order: who, when, and the exact money."""
    columns = [
        *("seq", "ts_event", "strategy_id", "broker", "instrument_token", "side", "signal_id"),
        *("price_exact", "quantity_exact", "commission_exact"),
    ]
    table = _table(run, "decisions", where=pl.col("kind") == "fill", columns=columns)
    return table.iter_rows(named=True)


def exact_column(name: str, values: Sequence[Decimal | None]) -> pl.Series:
    """Return exact numbers as Decimal(38, the decimals they need).

    Where one of them needs more than 38 digits the column is text: nothing is rounded.
    """
    scale = whole = 0
    for value in values:
        if value is not None:
            _, digits, exponent = value.as_tuple()
            after = max(0, -int(exponent))
            scale, whole = max(scale, after), max(whole, len(digits) + int(exponent))
    if scale + max(whole, 1) > _DIGITS_MAX:
        return pl.Series(name, [None if v is None else f"{v:f}" for v in values], pl.String)
    return pl.Series(name, values, pl.Decimal(_DIGITS_MAX, scale))


def _exact_text(texts: pl.Series, name: str = "") -> pl.Series:
    values = [Decimal(text) if text else None for text in texts.to_list()]
    return exact_column(name or texts.name, values)


def _with_trade_ids(frame: pl.DataFrame) -> pl.DataFrame:
    parts = [name for name in frame.columns if is_part(name)]
    if not parts or "trade_id" not in frame.columns:
        return frame
    texts = unpack({name: frame[name].fill_null(0).to_numpy() for name in parts})
    said = pl.Series("trade_id", texts, pl.String)
    shown = pl.when(said != "").then(said).otherwise(pl.col("trade_id").cast(pl.String))
    return frame.with_columns(shown.alias("trade_id")).drop(parts)


def ticks(ticks: pl.LazyFrame | pl.DataFrame, table: InstrumentTable) -> pl.DataFrame:
    """Return a recording's ticks for reading.

    Args:
        ticks: the columns of `ticks/*.parquet`, or some of them; `flags` is needed to tell an
            absent value from a zero.
        table: the recording's instrument table, for `symbol`.

    Returns:
        The same rows with instants, prices as the float64 that a strategy sees, null where absent,
        `symbol`, and the flags beyond the kind as a list of names. Extension columns are floats,
        integers and words; trade ids are text where some are no integers.
    """
    frame = ticks.collect() if isinstance(ticks, pl.LazyFrame) else ticks
    frame = _with_trade_ids(frame)
    have = set(frame.columns)
    frame = frame.with_columns(
        _as_float(frame, name, which, table)
        for name, which in table.columns.scaled.values()
        if name in have
    )
    texts = [e.name for e in table.extensions if e.kind == "text" and e.name in have]
    frame = frame.with_columns(pl.col(texts).cast(pl.String))
    if "flags" in have:
        frame = frame.with_columns(
            pl.when((pl.col("flags") & bit) == 0).then(pl.col(name)).alias(name)
            for name, bit in _ABSENT.items()
            if name in have
        ).with_columns(_flag_names())
    if "side" in have:
        words = {number: SIDE_NAMES[number] for number in (1, -1)}
        named = pl.col("side").replace_strict(words, default=None, return_dtype=AGGRESSOR)
        frame = frame.with_columns(named.alias("side"))
    if "instrument_token" in have:
        symbols = {instrument.token: instrument.symbol for instrument in table}
        symbol = pl.col("instrument_token").replace_strict(symbols, return_dtype=pl.String)
        after = frame.get_column_index("instrument_token") + 1
        frame = frame.insert_column(after, frame.select(symbol.alias("symbol")).to_series())
    return frame.with_columns(
        pl.col(name).cast(INSTANT) for name in ("ts_event", "ts_recv") if name in have
    )


def _as_float(frame: pl.DataFrame, name: str, which: str, table: InstrumentTable) -> pl.Series:
    """Return the floats that TickBatch derives: integers at the instrument's scale, one division.

    Done in numpy: a cast of DECIMAL rounds twice, and polars multiplies by the reciprocal where it
    is told to divide by a constant: another float for 14 % of the prices below 2000.00.
    """
    column = frame[name]
    if not isinstance(column.dtype, pl.Decimal):
        return column.cast(pl.Float64)
    values = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    scales = np.full(len(values), column.dtype.scale)
    if "instrument_token" in frame.columns:
        own = table.scales(which)
        dense = table.dense(frame["instrument_token"].to_numpy())
        values = values // 10 ** (scales - own[dense])  # without remainder: it was scaled up
        scales = own[dense]
    powers = np.array([float(10**scale) for scale in range(SCALE_MAX + 1)])
    found = pl.Series(name, values / powers[scales])
    if column.null_count():  # an extension column's own absence
        found = found.zip_with(column.is_not_null(), pl.Series([None], dtype=pl.Float64))
    return found


def _flag_names() -> pl.Expr:
    # The absent-value bits already show as nulls.
    shown = {
        name: bit
        for name, bit in FLAG_NAMES.items()
        if not name.startswith("no_") or name == "no_venue_time"
    }
    names = [
        pl.when((pl.col("flags") & bit) != 0).then(pl.lit(name)) for name, bit in shown.items()
    ]
    return pl.concat_list(names).list.drop_nulls().alias("flags")


def _table(
    run: Path,
    stream: str,
    part: str | None = None,
    *,
    where: pl.Expr | None = None,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return rows of a stream in order, without records; of a long run ask only what is needed."""
    files = RunFolder(run).parts(stream)
    if part is not None:
        files = [file for file in files if file.name == part]
    if not files:
        empty = pl.from_arrow(SCHEMAS[stream].empty_table())
        assert isinstance(empty, pl.DataFrame)  # a table never gives a series
        found = empty.lazy()
    else:
        found = pl.scan_parquet(files)
    found = found.drop("record")
    found = found if where is None else found.filter(where)
    try:
        return (found if columns is None else found.select(columns)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RecordingCorrupt(
            f"{run / stream}: cannot be read: {error}", cure="restore it, or run again: replay RUN"
        ) from error


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    side = pl.col("side").replace_strict(SIDE_NAMES, return_dtype=SIDE)
    return frame.with_columns(side, pl.col("ts_event").cast(INSTANT), pl.col("seq").cast(pl.UInt64))


def _verdicts(run: Path, kind: str, part: str | None = None) -> pl.DataFrame:
    """Join candidates to their verdicts; each candidate has one, each verdict a candidate."""
    said = _numbered(_table(run, "candidates", part))
    verdicts = pl.col("kind").is_in(["approved", "dropped"])
    decided = _numbered(_table(run, "decisions", part, where=verdicts))
    if "seen" not in decided.columns:  # an older run
        decided = decided.with_columns(seen=pl.lit(None, pl.String))
    # Limits may have changed what was said.
    decided = decided.with_columns(ordered="quantity", ordered_exact="quantity_exact")
    own = ["kind", "reason", "seen", "ordered", "ordered_exact", "signal_no", "signal_id"]
    joined = decided.select(*_KEY, "twin", *own).join(
        said, on=[*_KEY, "twin"], how="left", validate="1:1", maintain_order="left"
    )
    lost = joined.filter(pl.col("side").is_null())
    if len(lost):
        first = lost.row(0, named=True)
        raise RecordingCorrupt(
            f"{run}: decision at seq {first['seq']} of {first['strategy_id']} has no candidate",
            cure="parity verify names what else is wrong",
        )
    return _readable(joined.filter(pl.col("kind") == kind))


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(pl.len()).over(_KEY).alias("twin"))


def _paper(run: Path, kind: str, part: str | None = None) -> pl.DataFrame:
    return _readable(_table(run, "decisions", part, where=pl.col("kind") == kind))
