"""The journal at one moment, for a reader that looks on while it is written and sealed.

Its segments are opened at that moment, so one that is sealed and removed later is still read from
here, and what is appended later is not: with the manifest of the same moment each tick is there
once.
"""

from __future__ import annotations

import functools
import os
import weakref
from typing import TYPE_CHECKING

from parity.recording.manifest import Manifest, load_manifest
from parity.recording.segments import (
    Frame,
    checked,
    frames_of,
    number_of,
    segment_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class JournalSnapshot:
    """The segments that a manifest does not list, up to the bytes they have now.

    Raises:
        FileNotFoundError: one was removed meanwhile; the manifest is an old one.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._files: list[tuple[Path, Callable[[], bytes]]] = []
        self.torn_bytes = 0
        descriptors: list[int] = []
        weakref.finalize(self, _close, descriptors)
        sealed = {s.number for s in manifest.segments}
        paths = [path for path in segment_files(folder) if number_of(path) not in sealed]
        for path in paths:  # one by one: where the next is gone, these are closed all the same
            descriptors += [os.open(path, os.O_RDONLY | os.O_CLOEXEC)]
        # Sizes after the names: a segment that another one follows has its end by now.
        for path, descriptor in zip(paths, descriptors, strict=True):
            size = os.fstat(descriptor).st_size
            self._files.append((path, functools.partial(_read, descriptor, size)))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; after the end `torn_bytes` is known."""
        self.torn_bytes = 0
        for segment in checked(self._files, self._manifest):
            self.torn_bytes += segment.torn_bytes
            yield from frames_of(segment)


def snapshot(folder: Path) -> tuple[Manifest, JournalSnapshot | None]:
    """Return the manifest of a recording and, unless it is sealed, the journal with it."""
    manifest = load_manifest(folder)
    while manifest.state != "sealed":
        try:
            journal = JournalSnapshot(folder, manifest)
        except FileNotFoundError:
            journal = None
        again = load_manifest(folder)
        # The entry comes before the removal: an unchanged list means that no segment was missed.
        if journal is not None and again.segments == manifest.segments:
            return manifest, journal
        manifest = again
    return manifest, None


def _read(descriptor: int, size: int) -> bytes:
    pieces: list[bytes] = []
    at = 0
    while at < size and (piece := os.pread(descriptor, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
