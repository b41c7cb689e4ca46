"""Records of one layout are one type, however their dtypes were spelled."""

from typing import Any

import numpy as np
import pytest

from parity.codegen import build
from parity.model.kernel import KernelStrategy, out_dtype


def kernel(state: Any, params: Any, step: Any) -> KernelStrategy:
    """Return a kernel of a state's and a parameter's dtype."""
    return KernelStrategy(
        name="laid_out",
        step=step,
        state=state,
        params=np.zeros((), params),
        out=out_dtype(),
        columns=("price",),
        history=1,
        describe=lambda said: ("", {}),
    )


def once(state: Any, params: Any, out: Any, price: float) -> int:
    """Count."""
    state.count += 1
    return 0


def twice(state: Any, params: Any, out: Any, price: float) -> int:
    """Count by two."""
    state.count += 2
    return 0


def run(made: KernelStrategy) -> Any:
    """Run its driver over three ticks of one instrument; return the state."""
    states, zero = np.zeros(1, made.state), np.zeros(3, np.int32)
    buffers = (np.zeros(4, made.out), np.zeros(4, np.int64), np.zeros(4, np.int8))
    prices = (np.ones(3),)
    build(made)(states, made.params.reshape(1), np.zeros(1, np.int32), zero, prices, 0, 3, *buffers)
    return states["count"][0]


@pytest.mark.parametrize("aligned_first", [True, False])
def test_kernels_that_differ_in_the_flag_only_run_in_one_process(aligned_first: bool) -> None:
    """Numpy calls such dtypes equal, numba does not: whoever came first decided for both."""
    name = f"count{aligned_first}"
    fields = [("count", "i8"), (name, "i8")]
    for step, aligned, expected in ((once, aligned_first, 3), (twice, not aligned_first, 6)):
        dtype = np.dtype(fields, align=aligned)

        assert expected == run(kernel(dtype, np.dtype([(name, "f8")], align=aligned), step))


def test_a_packed_layout_stays_packed() -> None:
    """A dtype whose fields an aligned one would move keeps its offsets; values stay."""
    packed = np.dtype([("flag", "i1"), ("count", "i8")])
    params = np.array((1, 2.5), np.dtype([("flag", "i1"), ("limit", "f8")]))
    made = KernelStrategy(
        name="packed",
        step=once,
        state=packed,
        params=params,
        out=out_dtype(),
        columns=("price",),
        history=1,
        describe=lambda said: ("", {}),
    )

    assert packed == made.state
    assert 9 == made.state.itemsize
    assert params.tolist() == made.params.tolist()
