"""Work done in forks of one process that has loaded everything: a kill at each of many calls.

Only scripts of their own process import it, never a test: nothing may run a thread before a fork.
"""

import contextlib
import importlib
import os
from collections.abc import Callable

import duckdb
import polars
import pyarrow.csv
import pyarrow.parquet

import parity.analysis.frames
import parity.sources.importers.vendors

with contextlib.suppress(ImportError):
    importlib.import_module("pandas")  # pyarrow loads it where it is: half a second in every fork

LOADED = (duckdb, polars, pyarrow, parity)


def forked(work: Callable[[], object]) -> int:
    """Do something in a fork; return its exit code, or the number of its signal, negative."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(70)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
