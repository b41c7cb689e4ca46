"""Parquet that `parity export` wrote, read back to the same ticks; its CSV is read by `csv`.

The file carries its instrument table, so scales, kinds and extension columns come back as they
were. What a tick is, and what its source knew of it, comes from `flags`; verdicts are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as typed_pc
import pyarrow.parquet as pq

from parity.model.errors import InputRefused
from parity.model.instruments import InstrumentTable
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.layouts import EXPORTED, KEYS, Columns
from parity.sources.importers.tables import BATCH_ROWS, BATCH_ROWS_MIN, Found
from parity.sources.importers.texts import TextTickFile

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

TABLE_KEY: Final = b"parity.table"


class ExportedFormat:
    """Parquet of ticks with the instrument table in its metadata."""

    name = "parity"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise it by that table."""
        if sample.kind != "parquet" or TABLE_KEY not in _metadata(sample):
            return []
        return [Match(self.name, "ticks", "it carries the instrument table of parity export")]

    def open(self, sample: Sample, match: Match | None, options: Options) -> TextTickFile:
        """Open it; raises InputRefused where it is no such file."""
        held = _metadata(sample).get(TABLE_KEY)
        missing = [n for n in EXPORTED if n not in (sample.schema.names if sample.schema else ())]
        if held is None or missing:
            raise InputRefused(
                f"{sample.path}: not a Parquet file of ticks that parity export wrote",
                cure="let --format auto choose, or name the format it has",
            )
        table = InstrumentTable.from_json(msgspec.json.decode(held))
        names = [e.name for e in table.extensions]
        has = [n for n in (*KEYS, "flags", *names) if sample.schema and n in sample.schema.names]

        def read() -> Iterator[tuple[int, Columns]]:
            return _blocks(sample, has, options.shares)

        return TextTickFile(
            sample.path,
            self.name,
            "ticks",
            read,
            frozenset(has),
            tz=options.tz,
            given=options.given,
            grows=options.grows,
            describe=_describer(table),
            extensions=table.extensions,
        )


FORMAT: Final = ExportedFormat()


def _metadata(sample: Sample) -> dict[bytes, bytes]:
    schema = sample.schema
    return dict(schema.metadata or {}) if schema is not None else {}


def _describer(table: InstrumentTable) -> Any:
    known = {i.symbol: i for i in table}

    def describe(symbol: str, venue: str) -> Found:
        one = known.get(symbol)
        if one is None:
            return Found(symbol, venue)
        return Found(
            symbol, one.venue, one.kind, one.price_scale, one.quantity_scale, one.contract_size
        )

    return describe


def _blocks(sample: Sample, names: Sequence[str], shares: Shares) -> Iterator[tuple[int, Columns]]:
    first_row = 0
    try:
        with pq.ParquetFile(sample.path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False):
                for at, rows in shares.slices(batch, BATCH_ROWS, BATCH_ROWS_MIN):
                    texts = {n: decimals.encode(_text(rows.column(n))) for n in names}
                    yield first_row + at, texts
                first_row += len(batch)
    except pa.ArrowException as error:
        raise InputRefused(
            f"{sample.path}: cannot be read: {str(error).splitlines()[0]}", cure="export it again"
        ) from None


def _text(column: Any) -> Any:
    if pa.types.is_timestamp(column.type):
        text = column.cast(pa.timestamp("ns")).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(text, " ", "T"), "Z", "")
    return column.cast(pa.string())
