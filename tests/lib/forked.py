"""Work done in forks of one process that has loaded everything: a kill at each of many calls.

Only scripts of their own process import it, never a test: nothing may run a thread before a fork.
"""

import contextlib
import importlib
import os
import traceback
from collections.abc import Callable

import duckdb  # noqa: F401 # loaded before the fork, as all below
import polars  # noqa: F401 # see duckdb
import pyarrow.csv  # see duckdb
import pyarrow.parquet  # noqa: F401 # see duckdb

import parity.analysis.frames  # see duckdb
import parity.sources.importers.vendors  # noqa: F401 # see duckdb

with contextlib.suppress(ImportError):
    importlib.import_module("pandas")  # pyarrow loads it where it is: half a second in every fork


def forked(work: Callable[[], object]) -> int:
    """Do something in a fork; return its exit code, or the number of its signal, negative."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()  # to standard error, unbuffered: nothing flushes behind it
            os._exit(70)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
