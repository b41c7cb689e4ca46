"""The ways to cut ticks into bars, by name: parameters, step and definition of each.

A definition works on a plain list of ticks, and shares no code with the step it is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Final

import numpy as np

from parity.kernels.bar_steps import (
    FLAT_MAX,
    tick_bars_step,
    time_bars_step,
    volume_bars_step,
)
from parity.kernels.cutting import BarRule, ClosedBar, Parameters, flat_bar
from parity.kernels.exact import EXACT_MAX

EMPTY_RULES: Final = ("skip", "flat")
Tick = tuple[int, int, int, int]  # ts_event, price, quantity, side


def _number(value: Any) -> int | float | Decimal | Fraction | None:
    """Return a parameter as one of Python's numbers; None where it is no number."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(str(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    is_number = isinstance(value, int | float | Fraction) and not isinstance(value, bool)
    return value if is_number else None


def _nanoseconds(seconds: Any, name: str, least: int) -> int:
    number = _number(seconds)
    if number is None:
        raise ValueError(f"{name}: expected a number, was {seconds!r}")
    exact = Fraction(str(number)) * 10**9 if -1 < number < 10**9 else Fraction(-1)
    if exact.denominator != 1 or exact < least:
        raise ValueError(f"{name}: expected whole nanoseconds from {least} ns on, was {seconds!r}")
    return int(exact)


def _of_time(parameters: Parameters, quantity_unit: int) -> tuple[int, ...]:
    if parameters["empty"] not in EMPTY_RULES:
        raise ValueError(
            f"empty: expected one of {', '.join(EMPTY_RULES)}, was {parameters['empty']!r}"
        )
    length = _nanoseconds(parameters["seconds"], "seconds", 1)
    offset = _nanoseconds(parameters["offset_sec"], "offset_sec", 0)
    return length, offset, int(parameters["empty"] == "flat")


def _of_ticks(parameters: Parameters, quantity_unit: int) -> tuple[int, ...]:
    ticks = parameters["ticks"]
    if not isinstance(ticks, int | np.integer) or isinstance(ticks, bool) or not 0 < ticks < 2**63:
        raise ValueError(f"ticks: expected 1 or more, was {ticks!r}")
    return (int(ticks),)


def _of_volume(parameters: Parameters, quantity_unit: int) -> tuple[int, ...]:
    volume = _number(parameters["volume"])
    if volume is None or not 0 < volume <= Fraction(EXACT_MAX, quantity_unit):
        raise ValueError(
            f"volume: expected a number above 0, at most 2**53 / {quantity_unit},"
            f" was {parameters['volume']!r}"
        )
    return (-int(-Fraction(str(volume)) * quantity_unit // 1),)  # the next integer, itself included


def _bar(ticks: list[Tick], start: int, end: int, partial: bool) -> ClosedBar:
    instants, prices, quantities, sides = zip(*ticks, strict=True)
    signed = list(zip(sides, quantities, strict=True))
    return ClosedBar(
        start,
        end,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        len(instants),
        sum(quantities),
        sum(p * q for p, q in zip(prices, quantities, strict=True)),
        sum(q for side, q in signed if side > 0),
        sum(q for side, q in signed if side < 0),
        partial,
    )


def _time_reference(
    ticks: list[Tick], length: int, offset: int, flat: int
) -> tuple[list[ClosedBar], int]:
    clock = [max(ns for ns, *_ in ticks[: row + 1]) for row in range(len(ticks))]
    kept = [
        tick
        for tick, now in zip(ticks, clock, strict=True)
        if (tick[0] - offset) // length == (now - offset) // length
    ]
    bars: list[ClosedBar] = []
    for number, inside in groupby(kept, lambda tick: (tick[0] - offset) // length):
        start = number * length + offset
        if bars and flat:
            close, first = bars[-1].close, bars[-1].end
            silent = range(first, min(start, first + FLAT_MAX * length), length)
            bars += [flat_bar(begins, begins + length, close) for begins in silent]
        bars.append(_bar(list(inside), start, start + length, start < ticks[0][0]))
    return bars[:-1], len(ticks) - len(kept)


def _counted_reference(
    ticks: list[Tick], is_full: Callable[[list[Tick]], bool]
) -> tuple[list[ClosedBar], int]:
    bars: list[ClosedBar] = []
    inside: list[Tick] = []
    left_out = 0
    for tick in ticks:
        if bars and tick[0] < bars[-1].end:
            left_out += 1
            continue
        inside.append(tick)
        if is_full(inside):
            bars.append(_bar(inside, inside[0][0], max(ns for ns, *_ in inside), False))
            inside = []
    return bars, left_out


def _ticks_reference(ticks: list[Tick], count: int) -> tuple[list[ClosedBar], int]:
    return _counted_reference(ticks, lambda inside: len(inside) == count)


def _volume_reference(ticks: list[Tick], volume: int) -> tuple[list[ClosedBar], int]:
    return _counted_reference(ticks, lambda inside: sum(q for _, _, q, _ in inside) >= volume)


TIME_BARS: Final = BarRule(
    name="time_bars",
    title="bars of an interval [start, end)",
    rule="closes with the first tick at or behind its end; one whose interval had begun before the"
    " first tick is partial; a tick of an interval that was left is late; an interval without a"
    ' tick is no bar, or with empty="flat" a bar of count 0 at the last close, at most 1 000 in a'
    " row",
    parameters={"seconds": 60, "offset_sec": 0, "empty": "skip"},
    arguments=_of_time,
    step=time_bars_step,
    reference=_time_reference,
)
TICK_BARS: Final = BarRule(
    name="tick_bars",
    title="bars of so many ticks",
    rule="closes with its last tick; begins with the first tick there is, so none is partial, and"
    " none empty; a tick older than the newest of a closed bar is late",
    parameters={"ticks": 100},
    arguments=_of_ticks,
    step=tick_bars_step,
    reference=_ticks_reference,
)
VOLUME_BARS: Final = BarRule(
    name="volume_bars",
    title="bars of so much quantity, or more",
    rule="closes with the tick that brings its volume to `volume`; no trade is cut in two, so"
    " it may have more; partial, empty and late as in tick_bars",
    parameters={"volume": 100},
    arguments=_of_volume,
    step=volume_bars_step,
    reference=_volume_reference,
)
BAR_RULES: Final = {one.name: one for one in (TIME_BARS, TICK_BARS, VOLUME_BARS)}
