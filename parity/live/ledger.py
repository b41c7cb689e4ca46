"""The delivery ledgers: what became of each approved signal, one line each, appended for good.

Fills on paper have one of their own. The first line says where the outputs ended before the run
sent anything, so that a restart knows from where to read them back. A torn last line (a power loss)
is cut off; any other bad line is corruption.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from parity.model.errors import RecordingCorrupt
from parity.publishers import Ends

State = Literal["delivered", "recovered", "dead"]
DELIVERED: Final = "delivered"
RECOVERED: Final = "recovered"
DEAD: Final = "dead"


class LedgerHead(msgspec.Struct, frozen=True):
    """The first line: whose ledger it is, and where the outputs ended before."""

    run_id: str
    starts: Ends
    format: int = 1


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of one: `delivered` (its report came), `recovered` (found later) or `dead`."""

    state: State
    topic: str = ""
    partition: int = -1
    offset: int = -1
    error: str = ""


class LedgerLine(_Line, frozen=True, omit_defaults=True):
    """One signal."""

    signal_no: int
    signal_id: str

    @property
    def label(self) -> tuple[int, str]:
        """Number and id of what it is about."""
        return self.signal_no, self.signal_id


class FillLine(_Line, frozen=True, omit_defaults=True):
    """One fill on paper."""

    fill_no: int
    event_id: str

    @property
    def label(self) -> tuple[int, str]:
        """Number and id of what it is about."""
        return self.fill_no, self.event_id


Line: TypeAlias = LedgerLine | FillLine
LineKind: TypeAlias = type[LedgerLine] | type[FillLine]

_encode: Final = msgspec.json.Encoder().encode
_decode_head: Final = msgspec.json.Decoder(LedgerHead).decode


class Ledger:
    """Appends to a ledger below `deliveries/`; what stood there before is in `lines`, by number.

    Args:
        path: of the file; its folder is made.
        kind: of its lines.

    Raises:
        RecordingCorrupt: a line other than a torn last one cannot be read.
    """

    def __init__(self, path: Path, kind: LineKind = LedgerLine) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.head, lines, whole = read_ledger(self.path, kind)
        self.lines = {line.label[0]: line for line in lines}
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        os.ftruncate(self._file, whole)

    def begin(self, head: LedgerHead) -> None:
        """Write the first line, and make it durable before anything is sent."""
        self.head = head
        self._write(head)
        os.fsync(self._file)

    def append(self, line: Line) -> None:
        """Write one line; it survives a kill, and `sync` makes it survive more."""
        self._write(line)

    def sync(self) -> None:
        """Make everything appended durable."""
        os.fsync(self._file)

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _write(self, value: Any) -> None:
        line = _encode(value) + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, "short write", str(self.path))


def read_ledger(
    path: Path, kind: LineKind = LedgerLine, behind: int = 0
) -> tuple[LedgerHead | None, list[Line], int]:
    """Return head, lines, and how many bytes of the file are whole lines.

    Args:
        path: of the ledger; none where it is not there.
        kind: of its lines.
        behind: a size that was returned before: then no head, and only the lines since.

    Raises:
        RecordingCorrupt: a line cannot be read and has another behind it.
    """
    data = b""
    if path.exists():
        with path.open("rb") as file:
            file.seek(behind)
            data = file.read()
    whole = data.rfind(b"\n") + 1
    rows = data[:whole].split(b"\n")[:-1]
    begin = 0 if behind else 1
    number, decode = 0, msgspec.json.Decoder(kind).decode
    try:
        head = _decode_head(rows[0]) if rows and begin else None
        lines: list[Line] = []
        for number, row in enumerate(rows[begin:], begin):  # noqa: B007  # named in the error below
            lines.append(decode(row))
    except msgspec.MsgspecError as error:
        number += 1 + path.read_bytes()[:behind].count(b"\n")
        raise RecordingCorrupt(
            f"{path}: line {number} is not a ledger line: {error}",
            cure="restore the file from a copy, or start a new run",
        ) from None
    return head, lines, behind + whole


def fates(path: Path, kind: LineKind = LedgerLine) -> dict[str, int] | None:
    """Return how many a ledger has of each state, 0 included; None where there is no ledger.

    Raises:
        RecordingCorrupt: a line cannot be read.
    """
    if not path.exists():
        return None
    counts = dict.fromkeys((DELIVERED, RECOVERED, DEAD), 0)
    for line in read_ledger(path, kind)[1]:
        counts[line.state] += 1
    return counts


class LedgerCheck:
    """Holds a ledger against the approved signals of its run, or its fills on paper.

    Each call goes on where the last one ended, and reads no line twice.

    Args:
        path: of the ledger.
        run_id: whose it must be.
        kind: of its lines.
    """

    def __init__(self, path: Path, run_id: str, kind: LineKind = LedgerLine) -> None:
        self._path, self._run_id, self._kind = path, run_id, kind
        self._word, self._was = (
            ("fill", "simulated") if kind is FillLine else ("signal", "approved")
        )
        self._bytes = 0
        self._seen: set[int] = set()
        self._dead = 0
        self._waiting: dict[int, str] = {}  # decided, and without a line
        self._early: dict[int, str] = {}  # with a line, and not decided as far as is known

    def go_on(self, decided: Mapping[int, str], *, complete: bool) -> dict[str, int]:
        """Take what was decided since the last call, and the lines since; return counts.

        Args:
            decided: ids by number, as far as the run's outputs are on disk: all of a complete run,
                and of an open one what was settled before its newest part.
            complete: a line of what is not among the decided is wrong then; an open run may have
                delivered what its outputs do not hold yet.

        Returns:
            How many were delivered, and how many are dead.

        Raises:
            RecordingCorrupt: a line is missing, doubled, or of another signal, fill or run.
        """
        self._waiting.update(decided)
        head, lines, whole = read_ledger(self._path, self._kind, self._bytes)
        if not self._bytes and (head is None or head.run_id != self._run_id):
            raise self._wrong(
                "it has no head"
                if head is None
                else f"it is of run {head.run_id}, not {self._run_id}"
            )
        self._bytes = whole
        for line in lines:
            number, identity = line.label
            if number in self._seen:
                raise self._wrong(f"{self._word} {number} stands twice")
            self._seen.add(number)
            self._early[number] = identity
            self._dead += line.state == DEAD
        self._meet(complete)
        if self._waiting:
            raise self._wrong(
                f"{len(self._waiting)} {self._was} {self._word}s have no line, the first is number "
                f"{min(self._waiting)}"
            )
        counts = {"deliveries": len(self._seen) - self._dead}
        return counts | ({"dead": self._dead} if self._dead else {})

    def _meet(self, complete: bool) -> None:
        """Take off what has a line and was decided; raise where the two are not of one."""
        for number, identity in list(self._early.items()):
            noted = self._waiting.get(number)
            if noted == identity:
                del self._waiting[number], self._early[number]
            elif noted is not None or complete:
                raise RecordingCorrupt(
                    f"{self._path}: {self._word} {number} ({identity}) was not {self._was} by the "
                    "run",
                    cure="restore the file from a copy",
                )

    def _wrong(self, what: str) -> RecordingCorrupt:
        cure = "start the run again: it reads its output back and completes the ledger"
        return RecordingCorrupt(f"{self._path}: {what}", cure=cure)
