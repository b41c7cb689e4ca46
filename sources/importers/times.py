"""Times as text or integers to int64 ns UTC, exactly; a time without a zone is refused.

The unit of a number is told by its digits before the point: 10 are seconds, 13 ms, 16 µs, 19 ns
(2001-09-09 to 2262). A naive ISO time needs a declared zone; an hour that occurs twice or never
in that zone is refused, not guessed at.
"""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.model.errors import ConfigError
from parity.sources.importers.decimals import codes_of, split_number

if TYPE_CHECKING:
    from parity.sources.importers.tables import Ints, Mask, Place

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

_NUMBER: Final = r"^(?P<whole>[0-9]+)\.?(?P<part>[0-9]*)$"
_ZONED: Final = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
UNITS: Final = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # unit -> decimals down to ns
NS_DIGITS: Final = 19
DECIMALS: Final = {NS_DIGITS - d: d for d in UNITS.values()}  # digits before the point -> decimals
_CURE: Final = "use seconds, ms, µs or ns since 1970 (10, 13, 16 or 19 digits) or ISO 8601"


def check_zone(tz: str | None) -> None:
    """Refuse the name of a zone that does not exist."""
    if tz is None:
        return
    try:
        zoneinfo.ZoneInfo(tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"--tz: no time zone {tz!r} on this machine", cure="use a name such as Asia/Kolkata"
        ) from None


def parse_times(texts: Any, tz: str | None, place: Place) -> tuple[Ints, Mask]:
    """Return each row's instant in ns UTC, and which rows have one.

    Args:
        texts: a dictionary column from `decimals.encode`.
        tz: the zone of naive times; None refuses them.
        place: where the column stands, for refusals.
    """
    codes, valid = codes_of(texts)
    words = texts.dictionary
    if len(words) == 0:
        return np.zeros(len(codes), np.int64), valid
    valid = valid & _array(words.is_valid())[codes]
    numbers = split_number(words, _NUMBER)
    numeric = _array(numbers.is_valid())
    values = np.zeros(len(words), np.int64)
    wrong = np.zeros(len(words), np.bool_)
    values[numeric], wrong[numeric] = _from_digits(numbers.filter(pa.array(numeric)))
    _refuse(
        wrong, codes, valid, words, place, "expected 10, 13, 16 or 19 digits, up to 2262", _CURE
    )
    rest = ~numeric & _array(words.is_valid())
    if rest.any():
        values[rest] = _from_iso(words, rest, tz, codes, valid, place)
    return np.where(valid, values[codes], 0), valid


def _from_digits(numbers: Any) -> tuple[Ints, Mask]:
    lengths = _array(pc.utf8_length(numbers.field("whole"))).astype(np.int64)
    part = pc.utf8_rtrim(numbers.field("part"), "0")
    values = np.zeros(len(lengths), np.int64)
    wrong = ~np.isin(lengths, list(DECIMALS))
    for digits, decimals in DECIMALS.items():
        here = lengths == digits
        if not here.any():
            continue
        chosen = pa.array(here)
        rest = part.filter(chosen)
        wrong[here] |= _array(pc.greater(pc.utf8_length(rest), decimals))
        whole = numbers.field("whole").filter(chosen)
        text = pc.binary_join_element_wise(whole, pc.utf8_rpad(rest, decimals, "0"), "")
        wrong[here] |= ~_array(pc.less_equal(text, str(2**63 - 1)))  # all that fit have 19 digits
        values[here] = _array(pc.cast(pc.if_else(pa.array(~wrong[here]), text, "0"), pa.int64()))
    return values, wrong


def _from_iso(
    words: Any, rest: Mask, tz: str | None, codes: Ints, valid: Mask, place: Place
) -> Ints:
    texts = words.filter(pa.array(rest))
    zoned = _array(pc.match_substring_regex(texts, r"[T ][0-9:.,]+" + _ZONED))
    if tz is None:
        naive = rest.copy()
        naive[rest] = ~zoned & _array(pc.match_substring_regex(texts, "^[0-9]{4}-"))
        cure = "say which zone it is in: --tz ZONE (UTC, Asia/Kolkata, ...)"
        _refuse(naive, codes, valid, words, place, "expected a time with a zone", cure)
    out = np.zeros(len(texts), np.int64)
    for chosen, has_zone in ((zoned, True), (~zoned, False)):
        if chosen.any():
            some = texts.filter(pa.array(chosen))
            out[chosen] = _cast(some, has_zone, tz, (codes, valid), words, place)
    return out


def _cast(
    texts: Any, has_zone: bool, tz: str | None, rows: tuple[Ints, Mask], words: Any, place: Place
) -> Any:
    def convert(some: Any) -> Any:
        if has_zone:
            return pc.cast(some, pa.timestamp("ns", "UTC"))
        return pc.assume_timezone(pc.cast(some, pa.timestamp("ns")), tz or "UTC")

    try:
        return _array(convert(texts).cast(pa.int64()))
    except pa.ArrowInvalid:
        # One of them is wrong: find which, so that its row can be named.
        for text in texts:
            try:
                convert(pa.array([text.as_py()], pa.string()))
            except pa.ArrowInvalid as error:
                bad = _array(pc.equal(words, text).fill_null(False))
                codes, valid = rows
                row = int(np.argmax(bad[codes] & valid))
                problem = "expected one instant" if tz else "expected a time"
                detail = str(error).split("\n")[0]
                place.refuse(row, text.as_py(), f"{problem} ({detail})", _CURE)
        raise


def _refuse(
    wrong: Mask, codes: Ints, valid: Mask, words: Any, place: Place, problem: str, cure: str
) -> None:
    hit = wrong[codes] & valid
    if hit.any():
        row = int(np.argmax(hit))
        place.refuse(row, words[int(codes[row])].as_py(), problem, cure)


def _array(values: Any) -> Any:
    return values.to_numpy(zero_copy_only=False)
