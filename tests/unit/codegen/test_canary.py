"""The canary: a driver that does not do what its step says is found before the first tick."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from numba import njit
from structlog.testing import capture_logs

from parity import codegen
from parity.cli import doctor
from parity.codegen import Canary, Interpreter, build
from parity.codegen.cache import driver_directory
from parity.codegen.canary import sing
from parity.compose.modes import backtest
from parity.compose.plans import prepare
from parity.model.errors import KernelError
from parity.model.kernel import KernelStrategy
from parity.settings.strategies import load_strategies
from parity.strategies import REGISTRY

from .conftest import kernel_of

ROOT = Path(__file__).resolve().parents[3]
Load = Callable[[str], ModuleType]
KERNELS = [name for name in REGISTRY if name.endswith("_kernel")]


def over(state: Any, params: Any, out: Any, price: float) -> int:
    """Say something above a moving level."""
    state.total += 0.1 * (price - state.total)
    state.count += 1
    if price > state.total:
        out.value = price - state.total
        return 1
    return 0


def heard(kernel: KernelStrategy, driver: Any, *, exact: bool = True) -> Canary:
    """Sing a canary for a kernel beside any driver."""
    return sing(kernel, driver, exact=exact, folder=Path("drivers"))


def plant(kernel: KernelStrategy, said: str, instead: str, elsewhere: Path) -> None:
    """Put the compiled code of another step in the place of a kernel's own in the cache."""
    driver = build(kernel)
    other = elsewhere / driver.path.name
    other.parent.mkdir()
    other.write_text(driver.path.read_text().replace(said, instead))
    assert other.read_text() != driver.path.read_text()
    codegen._load(other, "planted")
    for compiled in (other.parent / "__pycache__").glob("*.nbc"):
        shutil.copy(compiled, driver.path.parent / "__pycache__" / compiled.name)
    codegen._BUILT.clear()


@pytest.mark.parametrize("name", KERNELS)
def test_it_lives_beside_every_shipped_kernel(name: str) -> None:
    """With its defaults a kernel speaks while the canary sings, and no tick is passed over."""
    canary = build(REGISTRY[name].create({})).canary

    assert canary.ticks > 200
    assert canary.candidates > 0
    assert (0, "") == (canary.passed_over, canary.raised)


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_miscompiled_cache_file_is_refused_by_name(tmp_path: Path) -> None:
    """Code that is not that of its text is found whatever its name and its certificate say."""
    kernel = REGISTRY["momentum_kernel"].create({})
    plant(kernel, "change > params.threshold", "change >= 9.0", tmp_path / "other")

    with pytest.raises(KernelError, match="kernel momentum: its driver does not do") as caught:
        build(kernel)
    assert "tick" in caught.value.message
    assert "in plain Python" in caught.value.message
    assert str(driver_directory()) in caught.value.cure
    assert 2 == caught.value.exit_code
    with pytest.raises(KernelError):  # it is not remembered as one that was tried
        build(kernel)


@pytest.mark.slow
def test_a_run_ends_before_it_begins_and_doctor_says_why(
    cli: Callable[..., Any], cache: Path, tmp_path: Path
) -> None:
    """Through the command line: exit 2, no run left; `doctor` shows the others' canaries."""
    plant(REGISTRY["momentum_kernel"].create({}), "> params", "<= params", tmp_path / "other")
    env = {"PARITY_CACHE_DIR": str(cache)}
    run = ("backtest", "recordings/demo", "-s", "momentum_kernel", "--out", tmp_path / "run")
    refused = cli(*run, env=env)
    doctor = cli("doctor", "--json", "--bootstrap-servers", "127.0.0.1:1", env=env)
    shown = {row["name"]: row for row in msgspec.json.decode(doctor.stdout)["kernels"]}

    assert 2 == refused.returncode, refused.stderr
    assert "kernel momentum: its driver does not do what its step says" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert 1 == doctor.returncode
    assert "its driver does not do" in shown.pop("momentum_kernel")["error"]
    assert all(row["canary"]["ticks"] > 200 and not row["error"] for row in shown.values())


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"price > state.total": "price >= state.total + 5.0"}, "its code is 0, in plain Python 1"),
        ({"price - state.total\n": "price\n"}, "out.value is "),
        ({"count += 1": "count += 2"}, "state.count is "),
    ],
    ids=["code", "out", "state"],
)
def test_every_kind_of_difference_is_named(load: Load, changed: dict[str, str], named: str) -> None:
    """A code, a field of a candidate, and a state that shows in neither."""
    source = Path(__file__).read_text().partition("def over(")[2].partition("\n\n\n")[0]
    other = "from typing import Any\ndef over(" + source
    for was, now in changed.items():
        assert was in other
        other = other.replace(was, now)
    kernel = kernel_of(over)

    assert heard(kernel, Interpreter(kernel)).candidates > 50
    with pytest.raises(KernelError, match=f"kernel probe: .* at tick [0-9]+ .*{named}"):
        heard(kernel, Interpreter(kernel_of(load(other).over)))


def test_ticks_at_which_the_step_raises_are_passed_over(load: Load) -> None:
    """Compiled code would write past the ring there, into somebody's memory."""
    module = load(
        "def step(state, params, out, price):\n"
        "    state.count += 1\n"
        "    state.ring[state.count] = price\n"  # has four places
        "    out.value = state.ring[1]\n"
        "    return 1 if price > 0 else -3\n"
    )
    kernel = kernel_of(module.step)
    rows: list[tuple[int, int]] = []
    driver = build(kernel, boundscheck=True)

    def watched(*given: Any) -> tuple[int, int]:
        rows.append((given[5], given[6]))
        return driver(*given)

    canary = heard(kernel, watched)

    assert canary.passed_over > 20
    assert canary.ticks == sum(hi - lo for lo, hi in rows) > 50
    assert canary.raised.startswith("IndexError")


def test_a_step_that_plain_python_cannot_run_is_shown(load: Load) -> None:
    """Where nothing can be compared the canary says so, and is silent about the driver."""
    module = load(
        "def step(state, params, out, price):\n    out.value = state.ring.sum()\n    return 1\n"
    )
    canary = build(kernel_of(module.step)).canary

    assert 0 == canary.ticks == canary.candidates
    assert "AttributeError" in canary.raised


UNHEARD = """
import numpy as np
from parity.model.kernel import KernelStrategy, out_dtype


def step(state, params, out, price):
    state.last = state.ring.sum()
    return 0


def create(parameters):
    return KernelStrategy(
        name="unheard", step=step, params=np.array((0,), np.dtype([("none", "i8")], align=True)),
        state=np.dtype([("last", "f8"), ("ring", "f8", (4,))], align=True), out=out_dtype(),
        columns=("price",), history=1, describe=lambda said: ("", {}),
    )
"""


def test_a_run_is_told_where_nothing_was_compared(cache: Path, tmp_path: Path) -> None:
    """A warning of the backtest and of the log; none where the canary lived."""
    file = tmp_path / "unheard.py"
    file.write_text(UNHEARD)
    prepared = prepare(load_strategies([file]))
    with capture_logs() as lines:
        prepared.warn()
        prepare(load_strategies(["momentum_kernel"])).warn()
    finished = backtest(ROOT / "recordings" / "demo", load_strategies([file]), out=tmp_path / "run")

    (said,) = finished.warnings
    assert said.startswith("strategy unheard: the canary of its kernel compared nothing: Attribute")
    assert prepared.warnings == (said,)
    assert ["canary_compared_nothing"] == [line["event"] for line in lines]
    assert "unheard" == lines[0]["strategy"]


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        ({"ticks": 0, "raised": "IndexError: a"}, "canary compared nothing: IndexError: a,"),
        ({"ticks": 257, "raised": "IndexError: a"}, "canary alive over 257 ticks,"),
    ],
)
def test_doctor_says_where_nothing_was_compared(canary: dict[str, Any], words: str) -> None:
    """And why; a canary that compared something is alive."""
    row = {"name": "k", "error": "", "cached": True, "certificate": "portable", "path": "p"}

    assert words in doctor._kernel_row({**row, "canary": canary})[1]


def test_numbers_that_the_dtype_changes_are_no_difference(load: Load) -> None:
    """An integer field cuts off what it is given, in both, at every tick."""
    module = load(
        "def step(state, params, out, price):\n"
        "    out.value = state.count\n"
        "    state.count = state.count / 2 + price\n"
        "    return 1\n"
    )

    assert build(kernel_of(module.step)).canary.candidates > 200


@pytest.mark.slow
def test_what_means_two_things_is_refused(load: Load) -> None:
    """Compiled integers wrap at 64 bits, Python's do not: such a step has no one meaning."""
    module = load(
        "def step(state, params, out, price):\n"
        "    state.count = state.count * 6364136223846793005 + 1442695040888963407\n"
        "    return 0\n"
    )
    with pytest.raises(KernelError, match="kernel probe") as caught:
        build(kernel_of(module.step))
    assert "docs/strategies.md" in caught.value.cure


@njit
def pushed(state: Any, value: float) -> int:
    """Keep a value in the ring."""
    state.ring[state.count % 4] = value
    state.count += 1
    return int(state.count)


def test_helpers_of_numba_run_as_plain_python(load: Load) -> None:
    """A helper takes a record that numba does not know, and nothing is compiled for it."""
    module = load(
        "def step(state, params, out, price):\n"
        "    if pushed(state, price) < 4:\n"
        "        return 0\n"
        "    out.value = state.ring[0]\n"
        "    return 1\n"
    )
    module.pushed = pushed
    canary = build(kernel_of(module.step)).canary

    assert canary.passed_over == 0 < canary.candidates
    assert [] == pushed.signatures


@pytest.mark.slow
def test_functions_of_the_c_library_are_held_to_a_tolerance(load: Load) -> None:
    """Numpy's own exp differs from the compiled one in the last bits; an error does not."""
    module = load(
        "import numpy as np\ndef step(state, params, out, price):\n"
        "    state.total += np.exp(price / 100.0)\n    out.value = state.total\n    return 1\n"
    )
    kernel = kernel_of(module.step)
    driver = build(kernel)
    wrong = load(
        "import numpy as np\ndef step(state, params, out, price):\n"
        "    state.total += np.exp(price / 100.0001)\n    out.value = state.total\n    return 1\n"
    )

    assert "host-libm" == driver.certificate
    assert driver.canary.candidates > 200
    with pytest.raises(KernelError, match=r"out\.value is"):
        heard(kernel, Interpreter(kernel_of(wrong.step)), exact=False)


def test_nan_is_nan_and_zero_has_no_sign(load: Load) -> None:
    """As in records; any other bit is a difference."""
    text = "def step(state, params, out, price):\n    out.value = {}\n    return 1\n"
    nan, minus, zero, tiny = (
        kernel_of(load(text.format(value)).step)
        for value in ("float('nan') * price", "-0.0 * price", "0.0 * price", "5e-324")
    )

    assert heard(nan, Interpreter(nan)).candidates == heard(minus, Interpreter(zero)).candidates
    for one in (nan, tiny):
        with pytest.raises(KernelError, match=r"out\.value"):
            heard(zero, Interpreter(one))


def test_every_column_has_a_value_of_its_type() -> None:
    """A kernel may declare any column; the canary has ticks for all of them."""
    probe = kernel_of(over)
    names = tuple(msgspec.structs.replace(probe, extensions=("depth",)).column_types())

    def step(state: Any, params: Any, out: Any, *values: Any) -> int:
        assert len(names) == len(values)
        out.value = float(sum(values))
        return 1

    kernel = msgspec.structs.replace(probe, step=step, columns=names, extensions=("depth",))

    assert heard(kernel, Interpreter(kernel)).candidates > 200
    assert {"has_depth", "depth_int", "depth", "sub", "stream"} <= set(names)
    assert np.float64 == np.dtype(kernel.column_types()["depth"])
