"""Trade ids of files whose cells are text: integers as such, all others exactly as text beside.

What the columns mean is `parity.model.trade_ids`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.model import trade_ids
from parity.model.ticks import NO_TRADE_ID
from parity.sources.importers import decimals
from parity.sources.importers.tables import fill_extension

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.tables import Mask, Place, Records, Survey

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

# 12.0 is what a float column makes of 12.
_INTEGER: Final = rf"^[+-]?[0-9]{{1,{decimals.DIGITS_MAX}}}(\.0*)?$"


def note_ids(found: Survey, texts: Any, place: Place) -> None:
    """Declare the columns that a block's ids need, where some are no integers.

    Raises:
        InputRefused: an id that is longer than can be kept.
    """
    others = _others(texts)
    if not others.any():
        return
    lengths = pc.binary_length(texts.dictionary.cast(pa.binary())).fill_null(0)
    sizes = np.where(others, lengths.to_numpy(zero_copy_only=False), 0)
    if sizes.max() > trade_ids.BYTES_MAX:
        code = int(np.argmax(sizes > trade_ids.BYTES_MAX))
        codes, valid = decimals.codes_of(texts)
        rows = (codes == code) & valid
        if rows.any():
            place.refuse(
                int(np.argmax(rows)),
                texts.dictionary[code].as_py(),
                f"expected an id of at most {trade_ids.BYTES_MAX} bytes",
                "leave the column out: --map the others",
            )
    for extension in trade_ids.extensions_for(min(int(sizes.max()), trade_ids.BYTES_MAX)):
        found.extensions.setdefault(extension.name, extension)


def fill_ids(records: Records, texts: Any, table: InstrumentTable, place: Place) -> None:
    """Set trade_id, its flag, and where an id is no integer the columns that hold its text."""
    codes, valid = decimals.codes_of(texts)
    others = _others(texts)
    if others.any():
        words = pc.if_else(pa.array(others), pa.scalar(None, pa.string()), texts.dictionary)
        whole = pa.DictionaryArray.from_arrays(texts.indices, words)
        numbers, integers = decimals.parse(whole, None, place)
        held = valid & others[codes]
        made = [
            (word.encode(), trade_ids.number_of(word)) if other else (b"", 0)
            for word, other in zip(texts.dictionary.to_pylist(), others.tolist(), strict=True)
        ]
        numbers = np.where(held, np.array([n for _, n in made], np.int64)[codes], numbers)
        _fill_text(records, table, [word for word, _ in made], codes, held)
        valid = integers | held
    else:
        numbers, valid = decimals.parse(texts, None, place)
    records["trade_id"] = np.where(valid, numbers, -1)
    records["flags"][~valid] |= NO_TRADE_ID


def _fill_text(
    records: Records, table: InstrumentTable, words: list[bytes], codes: Any, held: Mask
) -> None:
    names = [e.name for e in table.extensions if trade_ids.is_part(e.name)]
    for name, values in zip(names, trade_ids.pack(words, len(names)), strict=True):
        fill_extension(records, table, name, values[codes], held)


def _others(texts: Any) -> Mask:
    """Return which words of a column are ids that are no integers."""
    words = texts.dictionary
    if not len(words):
        return np.zeros(0, np.bool_)
    whole = pc.match_substring_regex(words, _INTEGER)
    found: Mask = pc.invert(whole).fill_null(False).to_numpy(zero_copy_only=False)
    return found
