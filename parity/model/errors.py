"""The errors of parity, each with the exit code a command ends with.

* ParityError (2)
  + ConfigError (2)          a setting, a strategy file or the usage is wrong: yours to mend
  + InputRefused (2)         input data that would have to be guessed at or rounded
  + KernelError (2)          a kernel that cannot be compiled, hashed or certified
  + RecordingMissing (3)     the recording or run is not there
  + RecordingCorrupt (3)     it is there, and not what was written
  + NothingCompared (1)      a proof over zero events is an error, never a success
  + ServiceDown (4)          a broker or another service that is needed does not answer
  + StrategyTooMuch (5)      of parity.live.watchdog: a strategy blocked the loop or took the memory

A message names the thing, the place and the value; `cure` says what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParityError(Exception):
    """An error a user can act on.

    Args:
        message: the thing, the place and the value, in one line.
        cure: what to do about it; shown behind the message.
    """

    exit_code = 2

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}; {self.cure}" if self.cure else self.message


class ConfigError(ParityError):
    """A setting, a strategy configuration or the usage of a command is wrong."""


def setting_refused(reason: object) -> ConfigError:
    """Return the error of a setting that librdkafka refuses; its own word names it."""
    return ConfigError(
        f"librdkafka settings: {str(reason).strip()}",
        cure="mend or remove it where it is set: under [librdkafka] in parity.toml, or as "
        "PARITY_LIBRDKAFKA__NAME; librdkafka's CONFIGURATION.md has the names and values",
    )


class InputRefused(ParityError):
    """Input data was refused because taking it would mean guessing or rounding."""


class KernelError(ParityError):
    """A kernel cannot be compiled, hashed or trusted."""


class RecordingMissing(ParityError):
    """A recording or a run is not where it was looked for."""

    exit_code = 3


class RecordingCorrupt(ParityError):
    """A recording or a run is not what was written."""

    exit_code = 3


class NothingCompared(ParityError):
    """A proof covered no events, which is never a success."""

    exit_code = 1


class ServiceDown(ParityError):
    """A service that is needed does not answer."""

    exit_code = 4


class ZoneMissingWarning(UserWarning):
    """A tick made by hand has a time without a zone; it was read as UTC."""


class StrategyWarning(UserWarning):
    """A strategy was left out, or failed at a tick; the others go on."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known word, or the list of known words."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
