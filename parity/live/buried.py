"""What no broker took: signals and fills that are dead, as they were to be sent, in `dead.jsonl`.

A file, for the broker that would hold their topic is the one that refused. A letter is written
before the ledger says dead, so each of the dead has one; a kill in between leaves a letter of what
was sent after all, and the ledger is the judge. Never here: sending any of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.publishers import topic_for
from parity.publishers.envelope import encode_message, headers_of, key_of
from parity.recording.disk import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.publishers import Outgoing

FILE: Final = "dead.jsonl"


def bury(folder: Path, what: Outgoing, run_id: str, broker: str, reason: str, tries: int) -> None:
    """Append a letter; it is durable before the ledger's line, which is synced later.

    Args:
        folder: of the ledgers.
        what: the signal or fill.
        run_id: stands in the message.
        broker: whose topic refused it.
        reason: in the publisher's words.
        tries: how often it was offered.

    Raises:
        OSError: the disk refused.
    """
    letter: dict[str, Any] = {
        "topic": topic_for(what, broker),
        "key": key_of(what),
        "headers": headers_of(what, run_id),
        "message": msgspec.Raw(encode_message(what, run_id)),
        "reason": reason,
        "tries": tries,
    }
    line = msgspec.json.encode(letter) + b"\n"
    with (folder / FILE).open("ab") as file:
        is_new = not file.tell()
        if not is_new and not _ends_whole(folder / FILE):
            line = b"\n" + line  # behind what a power loss tore
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(folder)


def letters(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the letters of a run in their order; what a power loss tore is passed over."""
    path = folder / FILE
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            continue


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
