"""Decimal text to exact integers at a scale, and back; no float ever comes near a price.

A value finer than the scale, or of more than 18 digits at it, is refused by name.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from parity.sources.codecs import Undecodable

LIMIT: Final = 10**18  # DECIMAL(18, s) is what a recording stores
_CHARACTERS_MAX: Final = 64  # far above any price; keeps int() away from hostile text
_POWERS: Final[tuple[int, ...]] = tuple(10**n for n in range(19))


def integer_at_scale(text: str, scale: int, name: str) -> int:
    """Return the integer `text * 10**scale`, exactly.

    Args:
        text: a plain decimal: digits, at most one point with digits on both sides, maybe a minus.
        scale: 0..17.
        name: what the value is, for the refusal.

    Raises:
        Undecodable: not a plain decimal, finer than the scale, or too large.

    >>> integer_at_scale("105371.500", 2, "price")
    10537150
    """
    head, point, tail = text.partition(".")
    short = scale - len(tail)
    if short < 0:
        _refuse_finer(text, tail[scale:], scale, name)
        digits = head + tail[:scale]
        short = 0
    else:
        digits = head + tail
    body = digits[1:] if digits[:1] == "-" else digits
    if (
        not body.isdigit()
        or not body.isascii()
        or head in ("", "-")
        or (point and not tail)
        or len(text) > _CHARACTERS_MAX
    ):
        raise Undecodable(f"{name}: expected a decimal number, was {text[:_CHARACTERS_MAX]!r}")
    value: int = int(digits) * _POWERS[short]
    if not -LIMIT < value < LIMIT:
        raise Undecodable(f"{name}: expected at most 18 digits at scale {scale}, was {text!r}")
    return value


def _refuse_finer(text: str, rest: str, scale: int, name: str) -> None:
    if rest.strip("0"):
        raise Undecodable(
            f"{name}: {text[:_CHARACTERS_MAX]!r} is finer than the instrument's scale {scale}",
            cure="give the instrument a larger scale in a new recording's instrument table",
        )


def shortest_text(number: str | int | float) -> str:
    """Return the shortest plain decimal of a JSON number; text passes through unread.

    >>> shortest_text(1e-07)
    '0.0000001'
    """
    if isinstance(number, str):
        return number
    if isinstance(number, int):
        return str(number) if -LIMIT < number < LIMIT else "more than 18 digits"
    plain = repr(number)
    return format(Decimal(plain), "f") if "e" in plain else plain


def decimal_text(value: int, scale: int) -> str:
    """Return `value / 10**scale` as plain decimal text with all digits of the scale.

    >>> decimal_text(-5, 3)
    '-0.005'
    """
    if not scale:
        return str(value)
    digits = str(abs(value)).zfill(scale + 1)
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"
