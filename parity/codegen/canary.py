"""The start-up canary: a few seeded ticks on which a driver and plain Python have to agree.

A certificate says what a driver's code may depend on; the canary looks at what it does, on this
machine and today: a damaged or mixed-up cache file, a compiler or a CPU that computes otherwise is
found before the first real tick. It is small, so it proves little about a strategy; `parity check`
and `parity verify` do that. Never here: real ticks, or a difference that is let pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from parity.codegen.fuse import RAISED
from parity.codegen.interpret import Interpreter
from parity.model import ticks as flag
from parity.model.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.core.detect import DriverCall
    from parity.model.kernel import KernelStrategy

_SEED: Final = 20_250_601
_INSTRUMENTS: Final = 2
_TICKS: Final = 256  # behind what the kernel waits for
_WARM_UP_MAX: Final = 2_048  # of what it waits for: the canary is for a start-up, not for a day
_SCALE: Final = 100.0  # of prices and quantities
_LIBM_TOLERANCE: Final = 1e-9  # relative: numpy's exp and the C library's differ in the last bits


class Canary(msgspec.Struct, frozen=True):
    """What a canary compared.

    Args:
        ticks: compared, with every code, candidate and state they left.
        candidates: the kernel said at them.
        passed_over: ticks at which plain Python raised. Compiled code without bounds checks would
            write to a wrong place there, so it is not run at them.
        raised: what it raised first.
    """

    ticks: int
    candidates: int
    passed_over: int = 0
    raised: str = ""


class _Said(NamedTuple):
    """What a kernel said at a row: its code and its `out`."""

    code: int
    out: Any


class _Difference(NamedTuple):
    row: int
    what: str
    was: Any
    expected: Any


_NOTHING: Final = _Said(0, None)


def sing(kernel: KernelStrategy, driver: DriverCall, *, exact: bool, folder: Path) -> Canary:
    """Run the canary's ticks through plain Python and through a driver, and compare.

    Args:
        kernel: as it is configured.
        driver: the compiled one.
        exact: floats bit by bit, where -0.0 is 0.0 and every NaN is one, as in records; else, for
            drivers that call the C library, to 1e-9 of the value.
        folder: where the driver was kept, for the error.

    Raises:
        KernelError: they differ; naming tick and field, with both values.
    """
    # A record of Python numbers holds a float where the dtype says integer, and compiled code does
    # not: only numbers that are stored at every tick are surely those of the dtype. That goes over
    # the whole state at each tick: twice as long with a few fields, forty times with a ring of
    # thousands. It is needed where the quick way finds a difference.
    canary, difference = _Trial(kernel, stored=False).compare(driver, exact=exact)
    if difference is not None:
        canary, difference = _Trial(kernel, stored=True).compare(driver, exact=exact)
    if difference is not None:
        row, what, was, expected = difference
        raise KernelError(
            f"kernel {kernel.name}: its driver does not do what its step says: at tick {row} of "
            f"the canary {what} is {was!r}, in plain Python {expected!r}",
            cure=f"empty {folder} and start again; if it stays, the step does something that "
            "compiled code and Python do differently: docs/strategies.md, A kernel",
        )
    return canary


class _Trial:
    """The ticks, and the states that each side leaves."""

    def __init__(self, kernel: KernelStrategy, *, stored: bool) -> None:
        self._kernel = kernel
        self._stored = stored
        self._inst, self._columns = _ticks(kernel)
        self._lut = np.arange(_INSTRUMENTS, dtype=np.int32)
        self._plain = np.zeros(_INSTRUMENTS, kernel.state)
        self._compiled = np.zeros(_INSTRUMENTS, kernel.state)
        self._raised: list[int] = []  # rows
        self._words = ""

    def compare(self, driver: DriverCall, *, exact: bool) -> tuple[Canary, _Difference | None]:
        """Return what was compared, and the first difference."""
        try:
            plain = self._in_python()
        except OverflowError as error:
            return Canary(0, 0), _Difference(-1, "a number", "of the dtype's bits", str(error))
        found = self._first_difference(plain, self._by(driver), exact)
        ticks = len(self._inst) - len(self._raised)
        said = sum(one.code > 0 for one in plain.values())
        return Canary(ticks, said, len(self._raised), self._words), found

    def _in_python(self) -> dict[int, _Said]:
        """Return what plain Python says, by row; note where it raises."""
        interpreter = Interpreter(self._kernel)
        params = interpreter.params(self._kernel.params)
        states = [interpreter.state(state) for state in self._plain]
        blank = np.zeros((), self._kernel.out)
        values = zip(*(column.tolist() for column in self._columns), strict=True)
        found = {}
        with np.errstate(all="ignore"):  # numpy's scalars warn where compiled code does not
            for row, (local, given) in enumerate(zip(self._inst.tolist(), values, strict=True)):
                code, out, words = interpreter.step(states[local], params, blank, given)
                if code == RAISED:
                    self._raised.append(row)
                    self._words = self._words or words
                    states[local] = interpreter.state(np.zeros((), self._kernel.state))
                elif code != 0:
                    found[row] = _Said(code, out)
                if self._stored:
                    own = self._plain[local : local + 1]
                    interpreter.keep(states[local], own)
                    states[local] = interpreter.state(own[0])
        for local, state in enumerate(states):
            interpreter.keep(state, self._plain[local : local + 1])
        return found

    def _by(self, driver: DriverCall) -> dict[int, _Said]:
        """Return what the driver says, by row, all but those at which plain Python raised."""
        found: dict[int, _Said] = {}
        lo, end = 0, len(self._inst)
        for raised in (*self._raised, end):
            self._run(driver, lo, raised, found)
            lo = raised + 1
            if raised < end:
                self._compiled[self._inst[raised]] = np.zeros((), self._kernel.state)
        return found

    def _run(self, driver: DriverCall, lo: int, hi: int, found: dict[int, _Said]) -> None:
        room = max(1, hi - lo)
        out, rows = np.zeros(room, self._kernel.out), np.zeros(room, np.int64)
        codes, params = np.zeros(room, np.int8), self._kernel.params.reshape(1)
        while lo < hi:
            count, lo = driver(
                self._compiled, params, self._lut, self._inst, self._columns, lo, hi, out, rows,
                codes,
            )  # fmt: skip
            for row, code, one in zip(
                rows[:count].tolist(), codes[:count].tolist(), out[:count].copy(), strict=True
            ):
                found[row] = _Said(code, one)

    def _first_difference(
        self, plain: dict[int, _Said], compiled: dict[int, _Said], exact: bool
    ) -> _Difference | None:
        for row in sorted(plain.keys() | compiled.keys()):
            ours, theirs = plain.get(row, _NOTHING), compiled.get(row, _NOTHING)
            if ours.code != theirs.code:
                return _Difference(row, "its code", theirs.code, ours.code)
            found = _unlike(row, "out", ours.out, theirs.out, exact)
            if found is not None:
                return found
        for local in range(_INSTRUMENTS):
            row = int(np.flatnonzero(self._inst == local)[-1])
            found = _unlike(row, "state", self._plain[local], self._compiled[local], exact)
            if found is not None:
                return found
        return None


def _unlike(row: int, name: str, ours: Any, theirs: Any, exact: bool) -> _Difference | None:
    """Return the first field in which two records differ."""
    for (what, expected), (_, was) in zip(_fields(ours, name), _fields(theirs, name), strict=True):
        if not _equal(expected, was, exact):
            return _Difference(row, what, was, expected)
    return None


def _fields(record: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every field of a record, those of nested ones too, with its name."""
    for field in record.dtype.names:
        value = record[field]
        if value.dtype.names:
            yield from _fields(value, f"{name}.{field}")
        else:
            yield f"{name}.{field}", value.tolist()


def _equal(expected: Any, was: Any, exact: bool) -> bool:
    if expected == was:
        return True
    if isinstance(expected, list):
        return all(_equal(a, b, exact) for a, b in zip(expected, was, strict=True))
    if not isinstance(expected, float):
        return False
    if math.isnan(expected) or math.isnan(was):
        return math.isnan(expected) and math.isnan(was)
    return not exact and math.isclose(expected, was, rel_tol=_LIBM_TOLERANCE)


def _ticks(kernel: KernelStrategy) -> tuple[npt.NDArray[np.int32], tuple[npt.NDArray[Any], ...]]:
    """Return the instrument of each tick, and the declared columns.

    Prices walk in steps of up to 0.4 %, so that what waits for a move, a cross or a new high meets
    one; the second instrument has a tick in four.
    """
    count = _TICKS + min(kernel.history, _WARM_UP_MAX) * 4 // 3
    random = np.random.Generator(np.random.PCG64(_SEED))
    inst = (random.integers(0, 4, count) == 0).astype(np.int32)
    walk = 10_000 + np.cumsum(random.integers(-40, 41, count))
    price_int = np.maximum(np.abs(walk), 100)
    ts_event = 1_736_154_000_000_000_000 + np.cumsum(random.integers(0, 4, count)) * 250_000_000
    quantity_int = random.integers(1, 5_000, count)
    known: dict[str, npt.NDArray[Any]] = {
        "seq": np.arange(1, count + 1),
        "ts_event": ts_event,
        "ts_recv": ts_event + random.integers(100_000, 900_000, count),
        "instrument_token": 101 + inst,
        "price_int": price_int,
        "quantity_int": quantity_int,
        "side": random.integers(-1, 2, count),
        "bid_int": price_int - random.integers(1, 5, count),
        "ask_int": price_int + random.integers(1, 5, count),
        "bid_quantity_int": random.integers(1, 5_000, count),
        "ask_quantity_int": random.integers(1, 5_000, count),
        "volume_int": np.cumsum(quantity_int),
        "open_interest": random.integers(1, 10_000, count),
        "trade_id": np.arange(1, count + 1),
        "flags": np.full(count, flag.TRADE),
        "offset": np.arange(count),
    }
    columns = []
    for name in kernel.columns:
        source = flag.DERIVED.get(name, name)
        column = known.get(source)
        if column is None:  # an extension, in one of its forms; or where a tick came from
            column = random.integers(0, 2 if name.startswith("has_") else 5_000, count)
        if kernel.column_types()[name] == "float64":
            column = column / _SCALE
        columns.append(np.ascontiguousarray(column, _dtype(kernel.column_types()[name])))
    return inst, tuple(columns)


def _dtype(numba_name: str) -> np.dtype[Any]:
    return np.dtype(np.bool_ if numba_name == "boolean" else numba_name)
