"""Disks that fill up or fail under a live run: exit 4, a word, and the run goes on afterwards."""

from collections.abc import Callable
from typing import Any

import pytest

from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
Make = Callable[..., Any]
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
BROKEN = """
import errno, os
real, calls = os.{0}, [0]
def failing(*arguments):
    calls[0] += 1
    if calls[0] >= {1}:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return real(*arguments)
os.{0} = failing
"""


@pytest.mark.parametrize("limit_bytes", [3_000, 40_000, 120_000])
def test_full_disk_ends_with_4_and_the_run_goes_on(
    make_bench: Make, mock: Broker, limit_bytes: int
) -> None:
    """Files that cannot grow end a run with 4 and a word; with space again nothing is missing."""
    bench = make_bench(mock, 1500)
    bench.produce(1500)
    said = bench.finish("paper", code=4, program=FULL.format(limit_bytes))
    bench.finish("paper")

    assert "error: " in said
    assert "start" in said.splitlines()[-1]
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() > 0
    bench.verify()


@pytest.mark.parametrize(("call", "number"), [("writev", 4), ("fdatasync", 3), ("fsync", 9)])
def test_failing_disk_ends_with_4_and_the_run_goes_on(
    make_bench: Make, mock: Broker, call: str, number: int
) -> None:
    """EIO ends a run with 4 and a word; after the disk is mended nothing is missing or doubled."""
    bench = make_bench(mock, 1500)
    bench.produce(1500)
    said = bench.finish("paper", code=4, program=BROKEN.format(call, number))
    bench.finish("paper")

    assert "error: " in said
    assert "Input/output error" in said
    bench.check_recording(bench.folder / "recording")
    assert bench.check_signals() > 0
    bench.verify()
