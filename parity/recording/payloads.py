"""The payloads that a recording kept (`--keep-raw`): events of the verb `raw`.

Whoever reads a recording meets these events without what they hold: a seq is all they are to it.
Never here: what a payload says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from parity.model.events import RAW, Control
from parity.recording.snapshot import snapshot

if TYPE_CHECKING:
    from pathlib import Path


def payloads_of(folder: Path) -> Iterator[Control]:
    """Yield the events that hold payloads, with them, in seq order; one part at a time.

    Raises:
        RecordingCorrupt: a part or the journal cannot be read.
    """
    from parity.recording.layout import read_events

    manifest, journal = snapshot(folder)
    for part in manifest.of_kind("events"):
        yield from read_events(folder / part.file, payloads=True)
    for frame in journal or ():
        yield from (control for control in frame.controls if control.verb == RAW)


def without_payload(control: Control) -> Control:
    """Return an event as readers of a recording meet it."""
    return msgspec.structs.replace(control, detail={}) if control.verb == RAW else control


def shown_to_people(control: Control) -> dict[str, Any]:
    """Return a detail; of payloads how many and how large: as text they would be there twice."""
    if control.verb != RAW:
        return control.detail
    payloads = control.detail["payloads"]
    size = sum(len(payload or b"") for payload in payloads)
    shown = {"codec": control.detail["codec"], "tz": control.detail["tz"]}
    return shown | {"messages": len(payloads), "bytes": size}
