"""Where log lines of a command go: stderr, JSON where that is no terminal.

librdkafka says the same of a dead broker hundreds of times a second; a line that was just said is
left out, and the next one of it tells how many were.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from parity.model.errors import ParityError

if TYPE_CHECKING:
    from pathlib import Path

REPEAT_S: Final = 10.0
_KINDS_MAX: Final = 1000
_TRIES: Final = ("FAIL [", "ERROR [", "GETPID [")  # how librdkafka's lines of its retries begin


class _Lines:
    """Writes to whatever stderr is now: a progress line puts its own in front of it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class Repeats:
    """Counts lines that were said less than REPEAT_S ago; what it counts is not shown."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}

    def take(self, line: str) -> int | None:
        """Return how often the line was left out since it was last shown; None leaves it out."""
        now = time.monotonic()
        shown_at, left_out = self._said.get(line, (-REPEAT_S, 0))
        if now - shown_at < REPEAT_S:
            self._said[line] = (shown_at, left_out + 1)
            return None
        if len(self._said) >= _KINDS_MAX:
            self._said.clear()
        self._said[line] = (now, 0)
        return left_out

    def __call__(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Be a processor of structlog."""
        import structlog

        left_out = self.take(repr(event))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["left_out"] = left_out
        return event


def _is_told_elsewhere(record: logging.LogRecord, level: int) -> bool:
    # Lost connections reach us as errors too, told once; a coordinator that loads is asked again.
    return level > logging.DEBUG and record.getMessage().startswith(_TRIES)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep the log's lines in a folder too, as JSON, and the error that ends the command.

    Within the block, behind log_to_stderr().
    """
    import datetime as dt

    import structlog

    from parity.live.kept_log import KeptLog
    from parity.recording.holding import FolderHeld

    kept = KeptLog(folder)

    def keep(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        kept.add(event)
        return event

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[*before[:-1], keep, before[-1]])
    try:
        yield
    except FolderHeld:
        raise  # the log is that of the runner who has the folder, and nothing happened to it
    except ParityError as error:
        now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
        said = {"error": error.message, "cure": error.cure, "exit_code": error.exit_code}
        kept.add({**said, "event": "ended_with_error", "level": "error", "timestamp": now})
        raise
    finally:
        structlog.configure(processors=before)


def log_to_stderr(level: str) -> None:
    """Send structlog's lines and those of the standard library to stderr, from `level` on."""
    import structlog

    terminal = sys.stderr.isatty()
    renderer: Any = structlog.processors.JSONRenderer()
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    number = logging.getLevelNamesMapping()[level]
    lines: Any = _Lines()
    structlog.configure(
        processors=[Repeats(), *shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(lines),
    )
    # librdkafka speaks through the standard library.
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    repeats = Repeats()
    handler.addFilter(
        lambda record: (
            not _is_told_elsewhere(record, number) and repeats.take(record.getMessage()) is not None
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)
