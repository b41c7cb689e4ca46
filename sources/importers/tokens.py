"""Which token an instrument of a file has, where the file says symbol and venue only.

It follows from the instrument table, if there is one, else from both names; never from their order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.model.instruments import Instrument, InstrumentTable

TOKEN_BITS: Final = 48


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
