"""Decimal text to exact integers, column by column and never through a float.

Columns are dictionaries: a price that occurs a thousand times is parsed once, and what is wrong
is found once and then named with the first row that holds it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.model.instruments import SCALE_MAX

if TYPE_CHECKING:
    from parity.sources.importers.tables import Ints, Mask, Place

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

# sign, digits before and after the point; "1.", ".5" and "007" are decimals too
_PLAIN: Final = r"^(?P<sign>[+-]?)(?P<whole>[0-9]*)\.?(?P<part>[0-9]*)$"
_EXPONENT: Final = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,2}$")
_INTEGER: Final = re.compile(r"^[+-]?[0-9]{1,20}$")
DIGITS_MAX: Final = 18  # DECIMAL(18, s)
_MEND: Final = "mend or drop that row"


def encode(texts: Any) -> Any:
    """Return a column as one dictionary array, its texts trimmed and "" made null."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if pa.types.is_dictionary(texts.type) and len(texts.dictionary) > len(texts):
        texts = texts.cast(pa.string())  # a slice: words that no row of it has cost as much as any
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    words = pc.utf8_trim_whitespace(texts.dictionary.cast(pa.string()))
    words = pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)
    return pa.DictionaryArray.from_arrays(texts.indices, words)


def codes_of(texts: Any) -> tuple[Ints, Mask]:
    """Return the index of each row's word, and which rows have one (0 where none)."""
    indices = texts.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return indices, np.asarray(texts.is_valid().to_numpy(zero_copy_only=False))


def decimals_of(texts: Any, place: Place) -> Ints:
    """Return how many decimals each row's text has, trailing zeros left out (0 where absent).

    Raises:
        InputRefused: not a decimal, or more decimals than any scale has.
    """
    parts, codes, valid = _split(texts, place)
    if len(parts) == 0:
        return np.zeros(len(codes), np.int64)
    lengths = pc.utf8_length(parts.field("part")).fill_null(0)
    counts = np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)[codes]
    counts = np.where(valid, counts, 0)
    if (counts > SCALE_MAX).any():
        row = int(np.argmax(counts > SCALE_MAX))
        value = texts.dictionary[int(codes[row])].as_py()
        place.refuse(row, value, f"expected at most {SCALE_MAX} decimals", _MEND)
    return counts


def parse(texts: Any, scale: int | None, place: Place) -> tuple[Ints, Mask]:
    """Return each row's value times 10**scale, and which rows have one.

    Args:
        texts: a column from `encode`.
        scale: digits after the point to keep; more than that is refused, never rounded. None for
            integers, which have no scale that could be changed.
        place: where the column stands, for refusals.

    Raises:
        InputRefused: not a decimal (NaN and infinities are none), too many decimals or digits.
    """
    parts, codes, valid = _split(texts, place)
    if len(parts) == 0:
        return np.zeros(len(codes), np.int64), valid
    part, whole = parts.field("part"), parts.field("whole")
    words = texts.dictionary

    def refuse(wrong: npt.NDArray[np.bool_], problem: str, cure: str) -> None:
        hit = wrong[codes] & valid
        if hit.any():
            row = int(np.argmax(hit))
            place.refuse(row, words[int(codes[row])].as_py(), problem, cure)

    long = pc.greater(pc.utf8_length(part), scale or 0).fill_null(False)
    refuse(
        _bools(long),
        "expected an integer" if scale is None else f"expected at most {scale} decimals",
        _MEND if scale is None else "give the instrument a larger scale (--instrument-table)",
    )
    digits = pc.binary_join_element_wise(whole, pc.utf8_rpad(part, scale or 0, "0"), "")
    digits = pc.utf8_ltrim(digits, "0")
    too_large = pc.greater(pc.utf8_length(digits), DIGITS_MAX).fill_null(False)
    refuse(
        _bools(too_large),
        f"expected at most {DIGITS_MAX} digits" + ("" if scale is None else f" at scale {scale}"),
        _MEND if scale is None else "give the instruments smaller scales (--instrument-table)",
    )
    # Only words that no row holds (a shared dictionary) can still be too large or too long.
    digits = pc.if_else(pc.or_(too_large, pc.equal(digits, "")), "0", digits)
    values = pc.cast(digits, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    minus = _bools(pc.equal(parts.field("sign"), "-").fill_null(False))
    values = np.where(minus, -values, values)[codes]
    return np.where(valid, values, 0), valid


def integers(texts: Any, place: Place) -> tuple[Ints, Mask]:
    """Return each row's integer of 64 bits, and which rows have one; instants in ns have 19 digits.

    Raises:
        InputRefused: not an integer, or one that 64 bits do not hold.
    """
    codes, valid = codes_of(texts)
    words = texts.dictionary.to_pylist()
    found = np.zeros(max(len(words), 1), np.int64)
    for code, word in enumerate(words):
        fits = word is not None and _INTEGER.match(word) and -(2**63) <= int(word) < 2**63
        hit = (codes == code) & valid if not fits else None
        if hit is None:
            found[code] = int(word)
        elif word is None:
            valid = valid & ~hit
        elif hit.any():
            place.refuse(int(np.argmax(hit)), word, "expected an integer of 64 bits", _MEND)
    return np.where(valid, found[codes], 0), valid


def _bools(array: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


def _split(texts: Any, place: Place) -> tuple[Any, Ints, Mask]:
    """Return sign, whole and part of each word, and the rows' codes; refuse what is no decimal."""
    codes, valid = codes_of(texts)
    words = _without_exponents(texts.dictionary)
    if len(words):
        known = _bools(texts.dictionary.is_valid())
        valid = valid & known[codes]
    parts = split_number(words, _PLAIN)
    empty = pc.and_(pc.equal(parts.field("whole"), ""), pc.equal(parts.field("part"), ""))
    wrong = _bools(pc.or_kleene(parts.is_null(), empty).fill_null(True))
    hit = wrong[codes] & valid if len(words) else np.zeros(len(codes), np.bool_)
    if hit.any():
        row = int(np.argmax(hit))
        value = texts.dictionary[int(codes[row])].as_py()
        place.refuse(row, value, "expected a finite decimal number", _MEND)
    # Trailing zeros say nothing about the value: "1.50" needs one decimal.
    part = pc.utf8_rtrim(parts.field("part"), "0")
    fields = [parts.field("sign"), parts.field("whole"), part]
    return pa.StructArray.from_arrays(fields, ["sign", "whole", "part"]), codes, valid


def split_number(words: Any, pattern: str) -> Any:
    """Return the named groups of a pattern (sign, whole, part), null where it does not match.

    Plain digits, as times and ids mostly are, take a way ten times faster than the pattern.
    """
    if not pc.all(pc.ascii_is_decimal(words)).as_py():
        return pc.extract_regex(words, pattern)
    empty = pc.if_else(words.is_valid(), "", pa.scalar(None, pa.string()))
    return pa.StructArray.from_arrays(
        [empty, words, empty], ["sign", "whole", "part"], mask=words.is_null()
    )


def _without_exponents(words: Any) -> Any:
    # Floats printed by Python or pandas ("1e-05") are exact decimals too, but rare: one by one.
    if not pc.any(pc.match_substring_regex(words, "[eE]")).as_py():
        return words
    plain = [
        f"{Decimal(w):f}" if w is not None and _EXPONENT.match(w) else w for w in words.to_pylist()
    ]
    return pa.array(plain, pa.string())
