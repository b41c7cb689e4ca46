"""What happens around every command: errors become words and an exit code.

SIGTERM unwinds as Ctrl-C does, so that what was half made is removed; live commands replace both
by a stop that seals the recording.

Every way a command can end passes through here, so that no command handles an error itself.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from typing import Any, Final

import typer
from typer.core import TyperGroup

from parity.cli.console import say, say_error
from parity.cli.interrupts import kept_interrupts
from parity.model.errors import ConfigError, ParityError

NOT_SERVED: Final = 4  # a broker or disk that is needed
DEFECT: Final = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED: Final = 130
READER_GONE: Final = 141  # what a shell reports of a process that SIGPIPE ended
# The machine's answers about a path or a disk; any other OSError is ours.
_MACHINE: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOENT", "ENOTDIR", "EISDIR", "EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "EMFILE"),
        *("ENOSPC", "EDQUOT", "EIO", "ENODEV"),
    )
)


class Commands(TyperGroup):
    """The group of all commands, which turns what they raise into an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parse and run; in standalone mode end the process with the exit code."""
        standalone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **kwargs)
        except typer.Abort:
            code = INTERRUPTED
        except SystemExit as error:
            if not _lost_its_reader(error):
                raise
            code = READER_GONE
        except Exception as error:
            if not _is_usage(error):
                raise
            code = _say_usage(error)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; only usage errors and exit codes leave it."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with kept_interrupts():
                result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that went away shows here, not when Python ends
        except ParityError as error:
            say_error(error.message, error.cure)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as stopped:
            say("interrupted", f": {stopped}" if stopped.args else "", style="yellow")
            raise typer.Exit(INTERRUPTED) from None
        except SystemExit as error:
            if _lost_its_reader(error):
                raise typer.Exit(READER_GONE) from None
            # Of a user's code: ended like this, all would look well.
            code = "" if error.code is None else error.code
            say_error(
                f"a strategy ended the program: sys.exit({code})",
                "a strategy raises where it cannot go on; it never calls sys.exit",
            )
            raise typer.Exit(ConfigError.exit_code) from None
        except BrokenPipeError:
            # Whatever is still buffered has no reader: give it somewhere to go at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_GONE) from None
        except OSError as error:
            if error.errno not in _MACHINE:
                raise _defect(error) from None
            where = f"{error.filename}: " if error.filename is not None else ""
            say_error(
                f"{where}{error.strerror}", "check the path, its rights and the space on its disk"
            )
            raise typer.Exit(NOT_SERVED) from None
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort) or _is_usage(error):
                raise
            raise _defect(error) from None
        finally:
            signal.signal(signal.SIGTERM, before)
        return result


def _defect(error: Exception) -> typer.Exit:
    say(traceback.format_exc().rstrip())
    say_error(
        f"{type(error).__name__}: {error}",
        "this is a defect in parity: please report it with the lines above",
    )
    return typer.Exit(DEFECT)


def _lost_its_reader(error: SystemExit) -> bool:
    # Help is printed by rich and typer, which end with 1 where their pipe is closed.
    return isinstance(error.__context__, BrokenPipeError)


def _is_usage(error: Exception) -> bool:
    # Known by what they can do: their classes moved from click into typer with its version 0.27.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _say_usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "parity"
    say_error(error.format_message().rstrip(), f"see: {path} --help")
    return int(error.exit_code)
