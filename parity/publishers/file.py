"""A publisher that appends signals and fills to files of JSON lines, one file for each topic.

A line is written by one write to a descriptor opened for appending, so a kill leaves whole lines; a
line that a power loss tore is cut off when the file is opened again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from parity.publishers import Ends, NotPublished, Outgoing, Receipt, topic_for
from parity.publishers.envelope import encode_message, headers_of, number_in

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class FilePublisher:
    """Appends `{headers, message}` lines to `<folder>/<topic>.jsonl`.

    Args:
        folder: made where it is not there.
        run_id: stands in every line.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = Path(folder)
        self._run_id = run_id
        self._files: dict[str, tuple[int, int]] = {}  # topic -> descriptor, next line

    async def start(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Append one line; raises NotPublished where the file system refuses."""
        topic = topic_for(signal, broker)
        message = msgspec.Raw(encode_message(signal, self._run_id))
        line = _encode({"headers": headers_of(signal, self._run_id), "message": message}) + b"\n"
        try:
            file, at = self._files.get(topic) or self._open(topic)
            if os.write(file, line) != len(line):
                raise OSError("short write")
        except OSError as error:
            raise NotPublished(f"{self._path(topic)}: {error}") from None
        self._files[topic] = (file, at + 1)
        return Receipt(topic, 0, at)

    async def ends(self, topics: Sequence[str]) -> Ends:
        """Return how many lines each topic's file has."""
        return {topic: {0: len(self._lines(topic))} for topic in topics}

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Return what the files hold of a run, from `starts` on."""
        found: dict[int, Receipt] = {}
        for topic, partitions in starts.items():
            for at, line in enumerate(self._lines(topic)):
                headers = _decode(line)["headers"]
                if at >= partitions.get(0, 0) and headers["run_id"] == run_id:
                    found.setdefault(number_in(headers), Receipt(topic, 0, at))
        return found

    async def close(self, limit_s: float) -> None:
        """Close the files."""
        for file, _ in self._files.values():
            os.close(file)
        self._files.clear()

    def _path(self, topic: str) -> Path:
        return self._folder / f"{topic}.jsonl"

    def _lines(self, topic: str) -> list[bytes]:
        path = self._path(topic)
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def _open(self, topic: str) -> tuple[int, int]:
        lines = self._lines(topic)
        file = os.open(self._path(topic), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(file, sum(len(line) + 1 for line in lines))
        return file, len(lines)
