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


LOST = """
import signal
import sys
import time
from parity.cli.interrupts import heard, kept_interrupts

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)

def drops():  # as a library does that looks whether another one can be imported
    try:
        signal.raise_signal(signal.SIG{name})
    except BaseException:
        return

def turns():
    try:
        signal.raise_signal(signal.SIG{name})
    except BaseException:
        pass
    raise ImportError("not found")

def takes():
    try:
        signal.raise_signal(signal.SIG{name})
    except KeyboardInterrupt as stopped:
        heard(stopped)

def cleans():
    try:
        signal.raise_signal(signal.SIG{name})
    finally:
        time.sleep({wait})  # a second one would fall in here
        print("cleaned")

try:
    with kept_interrupts():
        {how}()
        time.sleep({wait})
        print("went on")
except KeyboardInterrupt as error:
    print("heard")
except ImportError:
    print("another error")
time.sleep(0.1)
print("end")
"""


@pytest.mark.parametrize("name", ["INT", "TERM"])
@pytest.mark.parametrize(
    ("how", "wait", "said"),
    [
        ("drops", 30, "heard"),
        ("turns", 0, "heard"),
        ("takes", 0.2, "went on"),
        ("cleans", 0.2, "cleaned\nheard"),
    ],
)
def test_an_interrupt_that_somebody_drops_comes_again(
    name: str, how: str, wait: float, said: str
) -> None:
    """Once where it is dropped or made another error, and never to who has it in hand."""
    script = LOST.format(name=name, how=how, wait=wait)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (f"{said}\nend", "") == (done.stdout.strip(), done.stderr)
