"""The tick writer: whatever the ticks, its file is the one that pyarrow's own writer gives."""

import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.model.errors import InputRefused
from parity.model.extensions import PRESENT, Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording import chunks, layout, thrift
from parity.recording.chunks import TickWriter
from parity.recording.manifest import scales_of
from parity.sources import synthetic

WORDS = ("open", "halted")
TABLES = {
    "one": InstrumentTable([Instrument(token=7, symbol="A", price_scale=2, quantity_scale=5)]),
    "scales": InstrumentTable(
        [
            Instrument(token=7, symbol="A", price_scale=2, quantity_scale=5),
            Instrument(token=900, symbol="B", price_scale=4, quantity_scale=0),
        ]
    ),
    "extended": InstrumentTable(
        [Instrument(token=7, symbol="A", price_scale=2)],
        [
            Extension("average_price", "price"),
            Extension("n", "integer"),
            Extension("word", "text", WORDS),
        ],
    ),
}


def _columns(table: InstrumentTable, rows: int, constant: int, seed: int) -> dict[str, Any]:
    """Return ticks: of each column, bit by bit of `constant`, one value or random ones."""
    random = np.random.default_rng(seed)
    columns = {}
    for n, name in enumerate(table.columns.names):
        kind = table.tick_dtype[name]
        values = random.integers(0, 100, rows)
        if name == "instrument_token":
            values = random.choice(table.tokens, rows)
        elif name == PRESENT:
            values = random.integers(0, 1 << len(table.extensions), rows)
        elif name == "word":
            values = random.integers(0, len(WORDS), rows)
        if constant >> n & 1:
            values = np.full(rows, values[0])
        columns[name] = values.astype(kind)
    columns["seq"] = np.arange(1, rows + 1)
    return columns


def _ours(table: InstrumentTable, groups: list[dict[str, Any]], threads: int) -> bytes:
    file = io.BytesIO()
    writer = TickWriter(file, table, scales_of(table), threads=threads)
    for columns in groups:
        writer.write(columns)
    writer.close()
    return file.getvalue()


def _pyarrows(table: InstrumentTable, groups: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    scales = scales_of(table)
    with layout.open_tick_file(file, scales, table.columns) as writer:
        for columns in groups:
            rows = layout.tick_table(columns, table, scales)
            writer.write_table(rows, row_group_size=layout.ROW_GROUP_ROWS)
    return file.getvalue()


@given(
    name=st.sampled_from(sorted(TABLES)),
    groups=st.lists(
        st.tuples(st.integers(1, 40), st.integers(0, 2**24 - 1), st.integers(0, 2)),
        min_size=1,
        max_size=20,
    ),
    threads=st.integers(1, 3),
)
@example("one", [(9, 2**24 - 1, 0)] * 3 + [(8, 2**24 - 1, 0), (9, 2**24 - 1, 1)], 1)
@example("scales", [(9, 2**24 - 1, 0)] * 2 + [(9, 0, 1), (9, 2**24 - 1, 0)], 2)
def test_it_writes_what_pyarrow_writes(
    name: str, groups: list[tuple[int, int, int]], threads: int
) -> None:
    """Law: the same bytes, for constant and changing columns, nulls, scales, any row groups."""
    columns = [_columns(TABLES[name], *group) for group in groups]

    assert _ours(TABLES[name], columns, threads) == _pyarrows(TABLES[name], columns)


def test_a_real_row_group_is_the_same_too() -> None:
    """Full row groups, one of them cut by the writer: dictionaries that overflow, several pages."""
    table, records = synthetic.generate(3, 300_000)
    columns = {n: np.ascontiguousarray(records[n]) for n in table.columns.names}
    columns["quantity_int"] = np.random.default_rng(5).integers(1, 10**12, len(records))
    # One value, held once as a reader of an import gives it.
    columns["sub"] = np.broadcast_to(columns["sub"][0], len(records))

    written = _ours(table, [columns], 2)

    assert written == _pyarrows(table, [columns])
    assert pq.read_metadata(io.BytesIO(written)).num_row_groups == 3


def test_full_groups_of_one_value_are_the_same_in_every_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an earlier file of the process left behind changes no byte of a later one."""
    monkeypatch.setattr(layout, "ROW_GROUP_ROWS", 9)
    monkeypatch.setattr(chunks, "_seen", {})
    for name, table in TABLES.items():
        for seed in (0, 1, 0, 2):
            groups = [_columns(table, 9, 2**24 - 1, seed), _columns(table, 9, 0, seed)]
            for order in (groups, groups[::-1]):
                assert _ours(table, order, 1) == _pyarrows(table, order), (name, seed)
    assert chunks._seen


def test_a_number_that_does_not_fit_is_refused() -> None:
    """It names column, instrument and seq; kept chunks do not hide it."""
    table = TABLES["scales"]
    good = _columns(table, 9, 2**24 - 1, 0) | {"instrument_token": np.full(9, 7)}
    wrong = good | {"price_int": np.full(9, 10**17), "seq": np.arange(10, 19)}
    writer = TickWriter(io.BytesIO(), table, scales_of(table))
    writer.write(good)

    with pytest.raises(InputRefused, match=r"price of instrument 7 at seq 10: 10{17} "):
        writer.write(wrong)


STRUCTS: Any = st.deferred(
    lambda: st.dictionaries(
        st.integers(1, 99),
        st.one_of(
            st.tuples(st.sampled_from([4, 5, 6]), st.integers(-(2**63), 2**63 - 1)),
            st.tuples(st.just(thrift.BINARY), st.binary(max_size=200)),
            st.tuples(st.sampled_from([thrift.TRUE, thrift.FALSE]), st.none()),
            st.tuples(st.just(7), st.binary(min_size=8, max_size=8)),
            st.tuples(st.just(thrift.STRUCT), STRUCTS),
            st.tuples(
                st.just(thrift.LIST),
                st.one_of(
                    st.tuples(st.just(5), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20)),
                    st.tuples(st.just(thrift.TRUE), st.lists(st.sampled_from([1, 2]))),
                    st.tuples(st.just(thrift.STRUCT), st.lists(STRUCTS, max_size=3)),
                ),
            ),
        ),
        max_size=5,
    ).map(lambda found: dict(sorted(found.items())))
)


@given(struct=STRUCTS)
def test_thrift_comes_back(struct: thrift.Struct) -> None:
    """Law: what is written is read as it was."""
    assert thrift.decode(thrift.encode(struct)) == struct


def test_a_footer_of_pyarrow_comes_back() -> None:
    """Read and written, a footer with statistics and nulls is the same bytes."""
    data = _pyarrows(TABLES["extended"], [_columns(TABLES["extended"], 40, 0, 1)] * 20)
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]

    assert thrift.encode(thrift.decode(footer)) == footer
