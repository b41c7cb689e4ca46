"""What a step may reach, what is refused by name, and that the text is the code that runs."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import njit

from parity.codegen import build
from parity.codegen.reach import constant_text
from parity.model.errors import KernelError

from .conftest import Run, kernel_of

LISTED = [1.0, 2.0]
TABLE = np.array([0.5, 1.5])
HUGE = np.zeros(5000)
BIG = np.uint64(2**63 + 1)
STEP_HEAD = "def step(state, params, out, price):\n"


@njit(fastmath=True)
def fast(value: float) -> float:
    """Do what no driver may."""
    return value * 3.0


@njit(fastmath={"contract"})
def contracted(value: float) -> float:
    """Do it by half."""
    return value * 3.0 + 1.0


def value_of(step: Callable[..., Any], price: float = 2.0) -> float:
    """Run a step's driver over one tick and return the extra it wrote."""
    kernel = kernel_of(step)
    run = Run(kernel, build(kernel, boundscheck=True), 1)
    run.over(np.zeros(1, np.int32), (np.array([price]),), [])
    return float(run.said[0][2][-1])


Load = Callable[[str], ModuleType]


@pytest.mark.slow
def test_a_step_of_a_file_loaded_by_path_works(load: Load) -> None:
    """Helpers, njit helpers, constants, closures and aliases come along, whatever their names."""
    module = load(
        "import math\n"
        "from math import sqrt as root\n"
        "import numpy as np\n"
        "from numba import njit\n"
        "SCALE = 3.0\n"
        "TABLE = np.array([[1, 2], [3, 4]], np.int32)\n"
        "@njit\n"
        "def compiled(x, by=SCALE):\n"
        "    '''Multiply.'''\n"
        "    return x * by\n"
        "def plain(x: float) -> float:\n"
        "    total: float = compiled(x) + TABLE[1, 0]\n"
        "    return total\n"
        "def make(offset):\n"
        "    def step(state, params, out, price):\n"
        "        out.value = plain(price) + offset + root(math.floor(4.5)) + np.sqrt(16.0)\n"
        "        return 1\n"
        "    return step\n"
    )

    assert 2.0 * 3.0 + 3 + 0.25 + 2.0 + 4.0 == value_of(module.make(0.25))


@pytest.mark.slow
def test_two_helpers_of_one_name_do_not_meet(load: Load) -> None:
    """Modules are reached by attribute; equal names in different modules stay apart."""
    one = load("FACTOR = 10.0\ndef helper(x):\n    return x * FACTOR\n")
    two = load("FACTOR = 7.0\ndef helper(x):\n    FACTOR__1 = FACTOR\n    return x + FACTOR__1\n")
    module = load(
        f"import {one.__name__} as one\nimport {two.__name__} as two\n{STEP_HEAD}"
        "    helper = one.FACTOR\n"
        "    out.value = one.helper(price) + two.helper(price) + helper\n"
        "    return 1\n"
    )

    assert 20.0 + 9.0 + 10.0 == value_of(module.step)


def test_constants_are_exact() -> None:
    """Unsigned and special numbers survive being written down."""
    for value in (0.1, -0.0, 5e-324, float("inf"), BIG, np.int8(-3), (1, (True, "x{}"), 2.5)):
        back = eval(constant_text(value) or "", {"_np": np})
        assert repr(value) == repr(back)
    assert math.isnan(eval(constant_text(float("nan")) or ""))
    assert constant_text(LISTED) is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("out.value = LISTED[0]", "reaches 'LISTED', a list, which cannot be hashed"),
        ("out.value = HUGE[0]", "reaches 'HUGE', a ndarray"),
        ("out.value = np.random.random()", r"reaches numpy\.random"),
        ("out.value = time.time()", "reaches 'time', a builtin_function_or_method"),
        ("out.value = nowhere + 1", "reaches 'nowhere', which is not defined"),
        ("out.value = other.missing", r"\.missing', which is not defined"),
        ("out.value = fast(price)", "compiled with fastmath=True"),
        ("out.value = contracted(price)", "compiled with fastmath={'contract'}"),
        ("out.value = sum([x for x in (1, 2)])", "holds a ListComp"),
        ("f = lambda x: x", "holds a Lambda"),
        ("global LISTED", "holds a Global"),
        ("out.value = Thing.value", "reaches 'Thing', a type"),
    ],
)
def test_what_cannot_be_written_down_is_refused_by_name(load: Load, body: str, named: str) -> None:
    """Each refusal names the step and what it reached, and offers a cure."""
    other = load("")
    module = load(
        f"import time\nimport numpy as np\nimport {other.__name__} as other\n"
        f"class Thing:\n    value = 1\nLISTED = [1.0]\n"
        f"HUGE = np.zeros(5000)\nfast = contracted = None\n{STEP_HEAD}"
        f"    {body}\n    return 1\n"
    )
    module.fast, module.contracted = fast, contracted
    with pytest.raises(KernelError, match=named) as caught:
        build(kernel_of(module.step))

    named_by = ("step", "fast", "contracted")
    assert any(name in caught.value.message for name in named_by)
    assert caught.value.cure


def test_code_without_source_is_refused() -> None:
    """A step made by exec has no text to keep."""
    names: dict[str, Any] = {}
    exec(STEP_HEAD + "    return 0\n", names)
    with pytest.raises(KernelError, match="no source text"):
        build(kernel_of(names["step"]))


def test_a_file_edited_behind_the_loaded_code_is_refused(load: Load, tmp_path: Any) -> None:
    """The text must be the code in memory: an edit that was not loaded again is refused."""
    module = load(STEP_HEAD + "    out.value = 1.0\n    return 1\n")
    path = tmp_path / f"{module.__name__}.py"
    path.write_text(STEP_HEAD + "    out.value = 22.0\n    return 1\n")

    with pytest.raises(KernelError, match="edited since it was loaded"):
        build(kernel_of(module.step))


def test_a_function_that_moved_into_the_place_of_the_loaded_one_is_refused(
    load: Load, tmp_path: Any
) -> None:
    """Lines moved in the file: what stands at the old line now is another function."""
    module = load(STEP_HEAD + "    out.value = 1.0\n    return 1\n")
    path = tmp_path / f"{module.__name__}.py"
    other = "def other(state, params, out, price):\n    return 0\n\n"
    path.write_text(other + STEP_HEAD + "    out.value = 1.0\n    return 1\n")

    with pytest.raises(KernelError, match="edited since it was loaded"):
        build(kernel_of(module.step))


def test_a_step_of_other_parameters_is_refused(load: Load) -> None:
    """The declared columns and the step's parameters must be as many."""
    module = load(STEP_HEAD + "    return 0\n")
    with pytest.raises(KernelError, match=r"takes \(state, params, out, price\)"):
        build(kernel_of(module.step, columns=("price", "quantity")))


def test_a_step_that_does_not_compile_says_why(load: Load) -> None:
    """Numba's words reach the user, with the generated file to look at."""
    module = load(STEP_HEAD + "    return state.nothing\n")
    with pytest.raises(KernelError, match=r"does not compile.*nothing"):
        build(kernel_of(module.step))
