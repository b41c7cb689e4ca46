"""Ctrl-C is heard wherever it falls."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes
import time
from parity.cli.interrupts import keep_interrupts

def cut():
    raise KeyboardInterrupt

{keep}
try:
    ctypes.CFUNCTYPE(None)(cut)()
    time.sleep({wait})
    print("went on")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize(
    ("keep", "wait", "said"), [("keep_interrupts()", 30, "heard"), ("", 0, "went on")]
)
def test_an_interrupt_in_a_callback_of_c_is_heard(keep: str, wait: int, said: str) -> None:
    """As while a kernel is loaded; without the hook Python goes on, which is the defect."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(keep=keep, wait=wait)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert said == done.stdout.strip()
    assert bool(done.stderr) == (not keep)
