"""The instrument table: token, symbol, venue, kind, and the scales that make prices exact.

The scales are fixed before the first tick; nothing here ever derives one from a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError, InputRefused
from parity.model.extensions import Extension, TickColumns, tick_columns

KINDS = ("spot", "perp", "inverse", "index", "equity", "fx", "future", "option")
SCALE_MAX = 17  # DECIMAL(18, s) keeps one digit before the point
_NEAR_MAX = 1 << 16  # tokens at most this far apart are looked up instead of searched


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument; `price = price_int / 10**price_scale`, likewise for quantities.

    Args:
        token: the venue's or broker's integer id (Kite: instrument_token).
        lot_size: what an order's quantity must be a multiple of, as decimal text; "" for none.
        clock: "venue", or "recv" for feeds that never carry venue time.
    """

    token: int
    symbol: str
    venue: str = ""
    kind: str = "spot"
    price_scale: int
    quantity_scale: int = 0
    contract_size: str = "1"
    lot_size: str = ""
    calendar: str = "24/7"
    clock: str = "venue"

    def __post_init__(self) -> None:
        for name, scale in (("price", self.price_scale), ("quantity", self.quantity_scale)):
            if not 0 <= scale <= SCALE_MAX:
                raise ConfigError(
                    f"instrument {self.token}: {name}_scale: expected 0..{SCALE_MAX}, was {scale}",
                    cure="give the number of decimals that its values need",
                )
        if self.kind not in KINDS:
            raise ConfigError(
                f"instrument {self.token}: kind: expected one of {', '.join(KINDS)}, "
                f"was {self.kind!r}"
            )
        if self.lot_size and not _is_above_zero(self.lot_size):
            raise ConfigError(
                f"instrument {self.token}: lot_size: expected a number above 0 as text, or "
                f"nothing, was {self.lot_size!r}"
            )


class InstrumentTable:
    """Instruments by token, with a dense id (its rank by token) for arrays and kernels.

    Args:
        instruments: at least one; tokens differ.
        extensions: the columns that ticks have beyond the tick columns.

    Attributes:
        columns: which columns the ticks of this table have.
        tick_dtype: of one tick as a record; TICK_DTYPE where there is no extension.

    Raises:
        ConfigError: empty, a token twice, or extensions that clash.
    """

    def __init__(
        self, instruments: Iterable[Instrument], extensions: Iterable[Extension] = ()
    ) -> None:
        self.extensions: tuple[Extension, ...] = tuple(extensions)
        self.columns: TickColumns = tick_columns(self.extensions)
        self.tick_dtype: np.dtype[Any] = self.columns.dtype
        rows = sorted(instruments, key=lambda i: i.token)
        if not rows:
            raise ConfigError("instrument table: expected at least one instrument, was empty")
        self._rows = tuple(rows)
        self.tokens: npt.NDArray[np.int64] = np.array([r.token for r in rows], np.int64)
        if (np.diff(self.tokens) == 0).any():
            twice = int(self.tokens[1:][np.diff(self.tokens) == 0][0])
            raise ConfigError(f"instrument table: token {twice} stands twice")
        self.price_scales: npt.NDArray[np.int64] = np.array([r.price_scale for r in rows], np.int64)
        self.quantity_scales: npt.NDArray[np.int64] = np.array(
            [r.quantity_scale for r in rows], np.int64
        )
        self._dense = {r.token: n for n, r in enumerate(rows)}
        self.near = _lookup(self.tokens)  # for kernels.batch.survey
        self._divisors: dict[tuple[str, int], float | npt.NDArray[np.float64]] = {}

    def scales(self, which: str) -> npt.NDArray[np.int64]:
        """Return the scales of "price" or "quantity" by dense id."""
        return self.price_scales if which == "price" else self.quantity_scales

    def divisor(self, which: str, extra: int = 0) -> float | npt.NDArray[np.float64]:
        """Return 10**scale: one float where all scales agree, else an array by dense id.

        Args:
            which: "price" or "quantity".
            extra: decimals beyond the instrument's scale.
        """
        found = self._divisors.get((which, extra))
        if found is None:
            powers = [float(10 ** int(s + extra)) for s in self.scales(which)]
            found = powers[0] if len(set(powers)) == 1 else np.array(powers)
            self._divisors[which, extra] = found
        return found

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, InstrumentTable)
            and self._rows == other._rows
            and self.extensions == other.extensions
        )

    def __hash__(self) -> int:
        return hash((self._rows, self.extensions))

    def __contains__(self, token: int) -> bool:
        return token in self._dense

    def by_token(self, token: int) -> Instrument:
        """Return the instrument of a token, or raise ConfigError naming the known ones."""
        try:
            return self._rows[self._dense[token]]
        except KeyError:
            raise ConfigError(
                f"instrument token {token} is not in the instrument table", cure=self._known()
            ) from None

    def by_symbol(self, symbol: str) -> Instrument:
        """Return the instrument of a symbol, or raise ConfigError where none or several have it."""
        found = [row for row in self._rows if row.symbol == symbol]
        if len(found) != 1:
            raise ConfigError(
                f"symbol {symbol!r} stands {len(found)} times in the instrument table",
                cure=f"give a token; {self._known()}",
            )
        return found[0]

    def _known(self) -> str:
        return "known: " + ", ".join(f"{r.token} ({r.symbol})" for r in self._rows[:8])

    def by_dense(self, dense: int) -> Instrument:
        """Return the instrument of a dense id."""
        return self._rows[dense]

    def dense_id(self, token: int) -> int:
        """Return the dense id of a token, or raise ConfigError."""
        self.by_token(token)
        return self._dense[token]

    def dense(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return dense ids (int32) of a column of tokens; raises InputRefused on an unknown one."""
        if len(self._rows) == 1:
            if len(tokens) and not (tokens == self.tokens[0]).all():
                self._refuse(tokens[tokens != self.tokens[0]][0])
            return np.zeros(len(tokens), np.int32)
        if len(self.near):
            return self._dense_near(tokens, self.near)
        at = np.searchsorted(self.tokens, tokens)
        np.minimum(at, len(self._rows) - 1, out=at)
        known = self.tokens[at] == tokens
        if not known.all():
            self._refuse(tokens[~known][0])
        return at.astype(np.int32)

    def _dense_near(
        self, tokens: npt.NDArray[np.int64], near: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        # Looked up, a fifth of the cost of a search; far tokens, also below, wrap to large ones.
        at = (tokens - self.tokens[0]).view(np.uint64)
        outside = at >= len(near)
        if outside.any():
            self._refuse(tokens[outside][0])
        found: npt.NDArray[np.int32] = near.take(at.view(np.int64))
        if found.min(initial=0) < 0:
            self._refuse(tokens[found < 0][0])
        return found

    def _refuse(self, token: np.int64) -> None:
        raise InputRefused(
            f"tick of instrument token {int(token)}, which is not in the instrument table",
            cure="add it to the instrument table (--instrument-table) before the first tick",
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as plain dicts, in token order; a lot size only where there is one."""
        rows: list[dict[str, Any]] = [msgspec.to_builtins(r) for r in self._rows]
        for row in rows:
            if not row["lot_size"]:
                del row["lot_size"]  # as tables were written before there was one
        return rows

    @classmethod
    def from_json(cls, rows: Any, extensions: Any = ()) -> InstrumentTable:
        """Build from plain values.

        Args:
            rows: a list of instruments, or a dict as a manifest has it: `instruments` and,
                where there are any, `extensions`.
            extensions: a list of extensions, beside a list of instruments.

        Raises:
            ConfigError: naming the path that is wrong.
        """
        if isinstance(rows, dict):
            rows, extensions = rows.get("instruments"), rows.get("extensions") or ()
        try:
            return cls(
                msgspec.convert(rows, list[Instrument]),
                msgspec.convert(extensions, tuple[Extension, ...]),
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"instrument table: {error}") from None


def _is_above_zero(text: str) -> bool:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    return number.is_finite() and number > 0


def _lookup(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return dense ids by distance from the first token, -1 in between; empty where too long."""
    span = int(tokens[-1]) - int(tokens[0])
    if span >= _NEAR_MAX:
        return np.zeros(0, np.int32)
    near = np.full(span + 1, -1, np.int32)
    near[tokens - tokens[0]] = np.arange(len(tokens), dtype=np.int32)
    return near
