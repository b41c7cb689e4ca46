"""What an import of CSV comes to by every way: texts, the fast pass, small blocks, a glance.

No file is drawn or written here, and no reader is named as the right one: that is for the laws.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from parity.model.errors import ConfigError, InputRefused
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks, plain

# What each way sets in `plain`; a file of 90 bytes has two rows or so in a block of them.
WAYS: Final[dict[str, dict[str, int]]] = {
    "texts": {"PLAIN_BYTES_MIN": 1 << 60},
    "fast": {"PLAIN_BYTES_MIN": 0},
    "blocks": {
        "PLAIN_BYTES_MIN": 0, "BLOCK_BYTES": 90, "BLOCK_ROWS": 2, "BIG_BLOCKS": 1 << 40,
    },
    "glanced": {"PLAIN_BYTES_MIN": 0, "BLOCK_BYTES": 64, "BLOCK_ROWS": 3, "BIG_BLOCKS": 0},
}  # fmt: skip


def outcome(path: Path, to: Path, **more: Any) -> dict[str, Any]:
    """Import a file; return all that came of it, or the refusal."""
    try:
        report = import_ticks(path, to, **more)
    except (ConfigError, InputRefused) as error:
        return {"refused": str(error), "cure": error.cure}
    with open_recording(to) as recording:
        ticks = [batch.ticks.to_records() for batch in recording.batches()]
        return {
            "recording_id": recording.manifest.recording_id,
            "table": recording.table.to_json(),
            "ticks": np.concatenate(ticks).tolist(),
            "kept": recording.manifest.warnings,
            "warnings": report.warnings,
            "order": report.order,
            "rows": report.files[0]["rows"],
        }


def by_every_way(path: Path, folder: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """Import a file by each way, into a folder of its own; return what came of it, by way."""
    found = {}
    for way, limits in WAYS.items():
        with pytest.MonkeyPatch.context() as patch:
            for name, value in limits.items():
                patch.setattr(plain, name, value)
            found[way] = outcome(path, folder / way, **more)
    return found


def the_one(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what came of every way, once they are shown to be the same."""
    texts = found["texts"]
    for way, one in found.items():
        assert texts == one, f"texts and {way} differ"
    return texts
