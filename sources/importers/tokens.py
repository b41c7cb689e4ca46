"""Which token an instrument of a file has, and whether what a file calls a token is one.

Where a file says symbol and venue only, the token follows from the instrument table, if there is
one, else from both names; never from their order. Two names under one token are two instruments.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from parity.sources.importers import decimals
from parity.sources.importers.tables import Found, OtherName, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from parity.model.instruments import Instrument, InstrumentTable
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.tables import Ints, Survey, TickFile

TOKEN_BITS: Final = 48
_WHO: Final = ("symbol", "venue")
_DECIDE: Final = "give an --instrument-table that says what it is, or mend the tokens"


def made_token(venue: str, symbol: str) -> int:
    """Return the token of an instrument that no file and no table gives one: always the same.

    It is the first 48 bits of blake2b("venue:symbol"), so that files imported apart, or another
    day, agree. Two symbols meet at one token once in 10^9 tables of 700 instruments.

    >>> made_token("BINANCE-SPOT", "BTCUSDT")
    148230033132895
    """
    body = f"{venue}:{symbol}".encode()
    return int.from_bytes(hashlib.blake2b(body, digest_size=TOKEN_BITS // 8).digest(), "big")


def tokens_of(
    given: InstrumentTable | None, venue: str, symbol: str, *, grows: bool = False
) -> list[int]:
    """Return the token of an instrument; none or several where the table does not say it once.

    Args:
        given: an --instrument-table, whose venues may be called as its owner likes; or the table
            of a recording that is appended to.
        venue: as the file says, "" where it says none.
        symbol: in any case, where the table has it in no other.
        grows: whether the table may get instruments that it has not: a recording that is appended
            to. There a token that was made of two names stands for these two only, as if all files
            had come at once. One that a table or a file gave stands for its symbol also where only
            one of both says a venue.
    """
    made = made_token(venue, symbol)
    if given is None or (grows and made in given):
        return [made]

    def own(one: Instrument) -> bool:
        return not grows or one.token != made_token(one.venue, one.symbol)

    named = [i for i in given if i.symbol == symbol and own(i)]
    if not named:
        lower = symbol.lower()
        named = [i for i in given if i.symbol.lower() == lower and own(i)]
    same = [i for i in named if i.venue == venue]
    if grows and not same:
        same = [i for i in named if not (i.venue and venue)]
        if not same:
            return [made]
    return [i.token for i in same or named]


def not_once(tokens: Sequence[int], venue: str) -> tuple[str, str]:
    """Return what is wrong with a symbol that has not one of `tokens_of`, and the cure."""
    problem = "expected a symbol that stands once in the instrument table, not "
    if not tokens:
        cure = "add it to the --instrument-table" + (f" with the venue {venue!r}" if venue else "")
    elif venue:
        cure = f"say in the --instrument-table which one has the venue {venue!r}"
    else:
        cure = "say which one it is: --map venue==VENUE"
    return f"{problem}{len(tokens)} times", cure


class Names:
    """What the rows of a file call the instruments whose tokens they give.

    Attributes:
        other: the first row that disagrees with an earlier one; an empty name says nothing.
    """

    def __init__(self) -> None:
        self.other: OtherName | None = None
        self._said: dict[tuple[int, str], tuple[str, int]] = {}

    def take(self, tokens: Ints, columns: Columns, first_row: int) -> None:
        """Take a block of rows, with their columns of names."""
        named: list[str] = [column for column in _WHO if column in columns]
        if not named:
            return
        known, at = np.unique(tokens, return_inverse=True)
        found: list[tuple[int, str, int, str]] = []
        for column in named:
            codes, valid = decimals.codes_of(columns[column])
            words = columns[column].dictionary.to_pylist()
            pairs = np.where(valid, at * len(words) + codes, -1)
            for pair, row in zip(*np.unique(pairs, return_index=True), strict=True):
                word = words[int(pair) % len(words)] if pair >= 0 else None
                if word is not None:
                    token = int(known[int(pair) // len(words)])
                    found.append((first_row + int(row) + 1, column, token, word))
        for row, column, token, word in sorted(found):
            before, row_before = self._said.setdefault((token, column), (word, row))
            if word != before and self.other is None:
                self.other = OtherName(row, column, token, word, before, row_before)

    def complete(
        self, instruments: Mapping[int, Found], describe: Callable[[str, str], Found]
    ) -> None:
        """Give instruments the names that their first rows do not say and later ones do.

        Args:
            instruments: of the file, by their tokens.
            describe: (symbol, venue) -> what is known of an instrument.
        """
        for token, one in instruments.items():
            symbol, _ = self._said.get((token, "symbol"), ("", 0))
            venue, _ = self._said.get((token, "venue"), ("", 0))
            if (symbol and not one.named) or (venue and not one.venue):
                said = describe(symbol or one.symbol, venue or one.venue)
                said.named = one.named or bool(symbol)
                take_names(one, said)


def take_names(one: Found, other: Found) -> None:
    """Give an instrument the names that it lacks and another view of it has."""
    more = (other.named and not one.named) or (other.venue and not one.venue)
    if other.named and not one.named:
        one.symbol, one.named = other.symbol, True
    one.venue = one.venue or other.venue
    if more:
        one.kind, one.contract_size = other.kind, other.contract_size


def check_names(files: Sequence[TickFile], surveys: Sequence[Survey]) -> None:
    """Refuse the first row of a file, or of one after another, that calls a token otherwise.

    For files that no instrument table decides for.
    """
    seen: dict[tuple[int, str], tuple[TickFile, Found]] = {}
    for file, survey in zip(files, surveys, strict=True):
        if survey.other_name is not None:
            row, column, token, word, before, row_before = survey.other_name
            where = Place(file.path, column, row_before - 1, file.names).where(0)
            _refuse(file, row, column, word, f"expected {before!r}, as token {token} is in {where}")
        for token, found in survey.instruments.items():
            for column in _said_by(token, found):
                first, one = seen.setdefault((token, column), (file, found))
                where = Place(first.path, "symbol", one.row - 1, first.names).where(0)
                _hold(file, token, found, one, column, f"{where} of {first.path}")


def refuse_other(file: TickFile, token: int, found: Found, one: Instrument, where: str) -> None:
    """Refuse an instrument of a file whose names are not those of the one of its token."""
    for column in _said_by(token, found):
        _hold(file, token, found, one, column, where)


def _said_by(token: int, found: Found) -> list[str]:
    """Return which names a file says of a token; a symbol that found the token says none."""
    symbol = found.named or token == made_token(found.venue, found.symbol)
    return [name for name, says in zip(_WHO, (symbol, found.venue), strict=True) if says]


def _hold(
    file: TickFile, token: int, found: Found, one: Found | Instrument, column: str, where: str
) -> None:
    word, before = getattr(found, column), getattr(one, column)
    if before and word != before:  # where only one of both says a venue, it is that
        _refuse(
            file, found.row, column, word, f"expected {before!r}, as token {token} is in {where}"
        )


def _refuse(file: TickFile, row: int, column: str, word: str, problem: str) -> NoReturn:
    Place(file.path, column, row - 1, file.names).refuse(0, word, problem, _DECIDE)
