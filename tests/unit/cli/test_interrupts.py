"""Ctrl-C is heard wherever it falls."""

import subprocess
import sys

import pytest

SCRIPT = """
import contextlib
import ctypes
import time
from parity.cli.interrupts import kept_interrupts

def cut():
    raise KeyboardInterrupt

try:
    with {keep}():
        ctypes.CFUNCTYPE(None)(cut)()
        time.sleep({wait})
        print("went on")
except KeyboardInterrupt:
    print("heard")
time.sleep(0.1)
print("end")
"""


@pytest.mark.parametrize(
    ("keep", "wait", "said"),
    [
        ("kept_interrupts", 30, "heard"),
        ("contextlib.nullcontext", 0, "went on"),  # the defect
        ("kept_interrupts", 0, "went on\nheard"),  # at the very end: nothing comes behind it
    ],
)
def test_an_interrupt_in_a_callback_of_c_is_heard(keep: str, wait: int, said: str) -> None:
    """As while a kernel is loaded; without the hook Python goes on."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(keep=keep, wait=wait)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert f"{said}\nend" == done.stdout.strip()
    assert bool(done.stderr) == (keep != "kept_interrupts")
