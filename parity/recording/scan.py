"""The DuckDB side of reading: one plain scan in file order, read ahead by a thread.

Traps, all measured: `ORDER BY` is always a full sort; `IN` with five or more literals loses row
order unless the in_clause optimizer is off; one open stream per connection, so every scan has a
cursor of its own; a database costs 12 ms to make, so a process makes one; one that is left open
makes noise at exit. Nothing here knows what a tick means.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import RecordingCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa

AHEAD: Final = 4  # batches the thread may be ahead
_LOOK: Final = 0.1  # seconds: an interrupt that another thread took does not end a wait
_CONFIG: Final[dict[str, Any]] = {
    "threads": 1,
    "arrow_output_version": "1.5",
    "disabled_optimizers": "in_clause",
    "enable_external_file_cache": False,  # every scan reads what lies there now
}
_databases: dict[int, duckdb.DuckDBPyConnection] = {}  # by process id


def connect() -> duckdb.DuckDBPyConnection:
    """Return a new database that keeps file order and hands out decimals as integers."""
    import duckdb

    connection = duckdb.connect(":memory:", config=_CONFIG)
    _OPEN.add(connection)
    return connection


def another(database: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return another connection to the same database: each has one open stream."""
    import duckdb

    cursor = database.cursor()
    # In a notebook without ipywidgets the bar is off already, and DuckDB refuses to touch it.
    with contextlib.suppress(duckdb.InvalidInputException):
        cursor.execute("SET enable_progress_bar=false")
    return cursor


def _cursor() -> duckdb.DuckDBPyConnection:
    # By process: a database does not survive a fork. Two threads may make one each; one is kept.
    here = os.getpid()
    if here not in _databases:
        _databases.setdefault(here, connect())
    return another(_databases[here])


def file_list(files: Sequence[Path]) -> str:
    """Return a DuckDB list literal of paths."""
    return "[" + ", ".join("'" + str(f).replace("'", "''") + "'" for f in files) + "]"


def scan(
    files: Sequence[Path], columns: Sequence[str], where: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield record batches of Parquet files in file order; closing the iterator stops the scan."""
    wanted = ", ".join(f'"{c}"' for c in columns)  # `offset` is a word of SQL
    query = f"SELECT {wanted} FROM read_parquet({file_list(files)})"
    if where:
        query += " WHERE " + " AND ".join(where)
    batches = _stream(query, batch_rows)
    return read_ahead(batches)


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stream(query: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    import duckdb

    connection = _cursor()
    reader: Any = None
    try:
        reader = connection.sql(query).to_arrow_reader(batch_rows)
        yield from reader
    except (duckdb.Error, OSError) as error:
        raise RecordingCorrupt(
            f"a part cannot be read: {str(error).splitlines()[0]}",
            cure="`parity verify` or check_files() names it; restore it from a copy",
        ) from error
    finally:
        if reader is not None:
            reader.close()
        connection.close()


def read_ahead(
    source: Iterator[Any], stopped: threading.Event | None = None
) -> Generator[Any, None, None]:
    """Yield what an iterator gives, drawn by a thread of its own where there are two CPUs.

    Args:
        source: the iterator.
        stopped: set when nobody waits for more, for a source that works long before it gives any.
    """
    if cpu_count() == 1:
        yield from source
        return
    ahead = _Ahead(source, stopped or threading.Event())
    try:
        yield from ahead.items()
    finally:
        ahead.stop()


class _Ahead:
    """A thread that draws from an iterator into a bounded queue; errors cross to the consumer."""

    def __init__(self, source: Iterator[Any], stopped: threading.Event) -> None:
        self._source = source
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(AHEAD)
        self._stopped = stopped
        self._thread = threading.Thread(target=self._run, name="parity-reader", daemon=True)
        _RUNNING.add(self)
        self._thread.start()

    def items(self) -> Iterator[Any]:
        """Yield what the thread drew, until its end or its error."""
        while True:
            try:
                kind, value = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return

    def stop(self) -> None:
        """End the thread and wait for it; what it still had is dropped."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue
        _RUNNING.discard(self)

    def _run(self) -> None:
        try:
            for item in self._source:
                self._queue.put(("item", item))
                if self._stopped.is_set():
                    break
            last: tuple[str, Any] = ("end", None)
        except BaseException as error:
            last = ("error", error)
        close = getattr(self._source, "close", None)
        if close is not None:
            close()  # in this thread: DuckDB's stream belongs to it
        self._queue.put(last)


_RUNNING: weakref.WeakSet[_Ahead] = weakref.WeakSet()
_OPEN: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    # A generator nobody closed would leave a thread inside DuckDB while the interpreter ends.
    for ahead in list(_RUNNING):
        ahead.stop()
    _databases.clear()
    for connection in list(_OPEN):
        connection.close()
