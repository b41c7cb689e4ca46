"""The driver cache: hits, edits, other processes, and directories that are not ours alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from parity import codegen
from parity.codegen import build
from parity.model.errors import KernelError

from .conftest import kernel_of
from .test_reach import value_of

pytestmark = pytest.mark.usefixtures("cache")

ROOT = Path(__file__).resolve().parents[3]
MODULE = "def step(state, params, out, price):\n    out.value = price * {}\n    return 1\n"
CHILD = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
from tests_kernel import kernel
from parity.codegen import build
driver = build(kernel)
states, out = np.zeros(1, kernel.state), np.zeros(4, kernel.out)
zero, rows, codes = np.zeros(1, np.int32), np.zeros(4, np.int64), np.zeros(4, np.int8)
driver(states, kernel.params.reshape(1), zero, zero, (np.ones(1),), 0, 1, out, rows, codes)
print(driver.key, driver.cached, driver.certificate, out["value"][0])
"""
KERNEL = """
import numpy as np
from lib import helper
from parity.model.kernel import KernelStrategy, out_dtype
def step(state, params, out, price):
    out.value = helper(price)
    return 1
kernel = KernelStrategy(
    name="child", step=step, state=np.dtype([("n", "i8")]), params=np.zeros((), [("a", "f8")]),
    out=out_dtype(("value", "f8")), columns=("price",), history=1, describe=lambda c: ("", {}))
"""


class Child:
    """A kernel in files of its own, built by other processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tests_kernel.py").write_text(KERNEL)

    def library(self, text: str) -> None:
        """Write the file the helper is in."""
        (self.folder / "lib.py").write_text(text)

    def start(self) -> "subprocess.Popen[str]":
        """Start a process that builds the driver and runs one tick."""
        code = CHILD.format(paths=[str(self.folder), str(ROOT)])
        return subprocess.Popen(
            [sys.executable, "-B", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self, process: "subprocess.Popen[str] | None" = None) -> list[str]:
        """Return what a process printed: key, cached, certificate, value."""
        out, err = (process or self.start()).communicate(timeout=120)
        assert out, err
        return out.split()


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """A kernel whose helper lives in another file."""
    return Child(tmp_path)


@pytest.mark.slow
def test_another_process_hits_and_an_edit_of_another_file_is_noticed(child: Child) -> None:
    """Warm starts compile nothing; an edited helper or constant gives the new answer at once."""
    child.library("def helper(x):\n    return x + 1.0\n")
    first, again = child.said(), child.said()
    child.library("def helper(x):\n    return x + 100.0\n")
    edited = child.said()
    child.library("N = 5.0\ndef helper(x):\n    return x + N\n")
    constant = child.said()
    child.library("N = 6.0\n# words change nothing\ndef helper(x):\n    return x + N\n")
    changed = child.said()
    child.library("def helper(x):\n    return x + 1.0\n")
    back = child.said()

    assert ["False", "portable", "2.0"] == first[1:]
    assert [first[0], "True", "portable", "2.0"] == again == back
    assert ["False", "portable", "101.0"] == edited[1:]
    assert ["False", "portable", "6.0"] == constant[1:]
    assert ["False", "portable", "7.0"] == changed[1:]


@pytest.mark.slow
def test_processes_building_at_the_same_moment_do_not_disturb_each_other(
    child: Child, cache: Path
) -> None:
    """Four processes at once all get the driver and its certificate; nothing half-written stays."""
    child.library("def helper(x):\n    return x + 1.0\n")
    all_said = [child.said(process) for process in [child.start() for _ in range(4)]]

    assert {("portable", "2.0")} == {(said[2], said[3]) for said in all_said}
    assert "True" == child.said()[1]
    assert [] == list((cache / "drivers").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("first", ["parity.codegen", "parity.core.engine", "parity.kernels.touch"])
def test_drivers_are_made_for_any_cpu_whichever_room_is_first(first: str) -> None:
    """Numba is set up at its first import, and the rooms that compile at theirs come before."""
    code = (
        f"import {first}, parity.codegen, numba\n"
        "from numba.core.registry import cpu_target\n"
        "print(cpu_target.target_context.codegen().magic_tuple()[1:], numba.config.USING_SVML)"
    )
    clean = {n: v for n, v in os.environ.items() if not n.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    )

    assert "('generic', '') False" == done.stdout.strip()


def test_comments_and_annotations_change_no_key(load: Callable[[str], ModuleType]) -> None:
    """What changes no bit compiles nothing again."""
    plain = load(MODULE.format(2.0))
    wordy = load(
        '# a comment\ndef step(state, params, out, price: float) -> int:\n    """Words."""\n'
        "    out.value = price * 2.0  # twice\n    return 1\n"
    )

    assert build(kernel_of(plain.step)).key == build(kernel_of(wordy.step)).key


def test_a_driver_is_built_once_in_a_process(load: Callable[[str], ModuleType]) -> None:
    """Parameters enter no key: a sweep over them compiles once."""
    module = load(MODULE.format(2.0))
    first, second = build(kernel_of(module.step)), build(kernel_of(module.step, limit=9.0))

    assert (False, True) == (first.cached, second.cached)
    assert first.key == second.key


@pytest.mark.slow
def test_bounds_checks_are_part_of_the_key(load: Callable[[str], ModuleType]) -> None:
    """A driver with checks is never taken for one without."""
    module = load(MODULE.format(2.0))

    assert build(kernel_of(module.step)).key != build(kernel_of(module.step), boundscheck=True).key


@pytest.mark.slow
def test_a_constant_set_in_memory_is_noticed(load: Callable[[str], ModuleType]) -> None:
    """Globals are read when the driver is built, as a notebook sets them."""
    module = load(
        "N = 2.0\ndef step(state, params, out, price):\n    out.value = price * N\n    return 1\n"
    )
    assert 4.0 == value_of(module.step)
    module.N = 50.0
    assert 100.0 == value_of(module.step)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["deleted", "torn"])
def test_a_certificate_that_is_lost_is_made_again(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A process killed between compile and certificate leaves no driver of unknown class."""
    module = load(MODULE.format(3.0))
    driver = build(kernel_of(module.step))
    certificate = driver.path.with_suffix(".certificate.json")
    if lost == "deleted":
        certificate.unlink()
    else:
        certificate.write_bytes(certificate.read_bytes()[:9])
    monkeypatch.setattr(codegen, "_BUILT", {})

    again = build(kernel_of(module.step))

    assert (driver.key, driver.certificate) == (again.key, again.certificate)
    assert certificate.read_bytes().startswith(b'{"kind":"portable"')


def test_a_damaged_module_is_written_again(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that does not hold what its name says is replaced before it is imported."""
    module = load(MODULE.format(4.0))
    driver = build(kernel_of(module.step), boundscheck=True)
    text = driver.path.read_text()
    driver.path.write_text(text.replace("4.0", "5.0"))
    monkeypatch.setattr(codegen, "_BUILT", {})

    assert 8.0 == value_of(module.step)
    assert text == driver.path.read_text()


def test_a_directory_others_can_write_to_is_refused(
    load: Callable[[str], ModuleType], cache: Path
) -> None:
    """Compiled code is loaded from there, so only its owner may write to it."""
    module = load(MODULE.format(2.0))
    drivers = cache / "drivers"
    drivers.mkdir(parents=True)
    drivers.chmod(0o777)
    with pytest.raises(KernelError, match="others can write to it") as caught:
        build(kernel_of(module.step))

    assert "PARITY_CACHE_DIR" in caught.value.cure
    assert [] == list(drivers.iterdir())


def test_a_directory_below_one_everybody_can_write_to_is_refused(
    load: Callable[[str], ModuleType], cache: Path
) -> None:
    """Whoever can rename our directory can put another in its place."""
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(KernelError, match="everybody can write to"):
        build(kernel_of(load(MODULE.format(2.0)).step))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(
    load: Callable[[str], ModuleType], cache: Path
) -> None:
    """An owner can write whatever the mode says."""
    (cache / "drivers").mkdir(parents=True, mode=0o700)
    os.chown(cache / "drivers", 12_345, 12_345)
    with pytest.raises(KernelError, match="user 12345 owns it"):
        build(kernel_of(load(MODULE.format(2.0)).step))


@pytest.mark.slow
def test_a_new_directory_is_private(load: Callable[[str], ModuleType], cache: Path) -> None:
    """What parity makes, nobody else can read or write, whatever the umask."""
    before = os.umask(0)
    try:
        build(kernel_of(load(MODULE.format(2.0)).step))
    finally:
        os.umask(before)

    assert 0o700 == (cache / "drivers").stat().st_mode & 0o777
