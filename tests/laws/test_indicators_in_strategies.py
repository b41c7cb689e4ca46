"""Every indicator inside a kernel's step: the driver, plain Python and the column are one."""

import importlib.util
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.codegen import PORTABLE, Interpreter, build
from parity.kernels.catalogue import INDICATORS
from parity.kernels.indicator import Indicator
from parity.model.kernel import KernelStrategy, out_dtype

pytestmark = pytest.mark.slow
ROWS = 400
COLUMN_OF = {
    "price": "price_int", "quantity": "quantity_int", "side": "side",
    "high": "ask_int", "low": "bid_int", "close": "price_int",  # a bar's three, each a column
}  # fmt: skip
TEXT = """\
from parity.kernels import {name}_step


def step(state, params, out, {columns}):
    said = {name}_step(state.one, {arguments})
{writes}
    return 1
"""


def kernel_of(one: Indicator, folder: Path) -> KernelStrategy:
    """Write a strategy as a user would: the step by name, its record in the state."""
    plain = "price" if one.largest is None else "price_int"
    inputs = [COLUMN_OF.get(name, plain) for name in one.inputs]
    columns = tuple(dict.fromkeys(inputs))
    places = [f"[{n}]" for n in range(len(one.outputs))] if len(one.outputs) > 1 else [""]
    text = TEXT.format(
        name=one.name,
        columns=", ".join(columns),
        arguments=", ".join([*(repr(v) for v in one.parameters.values()), *inputs]),
        writes="\n".join(f"    out.said_{n} = said{place}" for n, place in enumerate(places)),
    )
    path = folder / f"kernel_of_{one.name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return KernelStrategy(
        name=one.name,
        step=module.step,
        state=np.dtype([("one", one.dtype())], align=True),
        params=np.zeros((), np.dtype([("none", "i8")])),
        out=out_dtype(*((f"said_{n}", "f8") for n in range(len(one.outputs)))),
        columns=columns,
        history=1,
        describe=lambda candidate: ("", {}),
    )


def said(kernel: KernelStrategy, runner: Any, ticks: dict[str, Any], edges: list[int]) -> bytes:
    """Run a kernel over one instrument's ticks and return every value it wrote, as bits."""
    out, rows = np.zeros(ROWS, kernel.out), np.zeros(ROWS, np.int64)
    codes, zeros = np.zeros(ROWS, np.int8), np.zeros(ROWS, np.int32)
    states, params = np.zeros(1, kernel.state), kernel.params.reshape(1)
    columns = tuple(ticks[name] for name in kernel.columns)
    found = []
    for lo, hi in zip([0, *edges], [*edges, ROWS], strict=True):
        count, row = runner(states, params, zeros[:1], zeros, columns, lo, hi, out, rows, codes)
        assert (hi - lo, hi) == (count, row)
        names = [n for n in kernel.out.names or () if n.startswith("said_")]
        found += [struct.pack(f"<{len(names)}d", *(one[n] for n in names)) for one in out[:count]]
    return b"".join(found)


@pytest.mark.parametrize("one", INDICATORS.values(), ids=list(INDICATORS))
def test_a_kernel_says_what_the_column_says(
    one: Indicator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any batches, bounds checked, and the driver's certificate is portable."""
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path / "drivers"))
    random = np.random.default_rng(6)
    price_int = 10_000 + np.cumsum(random.integers(-25, 26, ROWS))
    ticks = {
        "price_int": price_int,
        "price": price_int / 100.0,
        "ask_int": price_int + random.integers(0, 40, ROWS),
        "bid_int": price_int - random.integers(0, 40, ROWS),
        "quantity_int": random.integers(0, 5_000, ROWS),
        "side": random.integers(-1, 2, ROWS).astype(np.int8),
    }
    kernel = kernel_of(one, tmp_path)
    driver = build(kernel, boundscheck=True)
    plain = "price" if one.largest is None else "price_int"
    columns = [ticks[COLUMN_OF.get(name, plain)] for name in one.inputs]

    expected = one.advance(one.zeros(), columns, {}).tobytes()

    assert PORTABLE == driver.certificate
    assert expected == said(kernel, driver, ticks, [1, 7, 8, 150])
    assert expected == said(kernel, Interpreter(kernel), ticks, [33])
