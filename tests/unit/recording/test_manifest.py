"""The manifest of a recording: whatever byte of it is damaged, it is never taken."""

from pathlib import Path

import msgspec
import pytest

from parity.model.errors import RecordingCorrupt
from parity.model.extensions import Extension
from parity.recording.gone import refuse_gone
from parity.recording.manifest import (
    MANIFEST,
    Gone,
    Manifest,
    Part,
    SealedSegment,
    Stream,
    load_manifest,
    save_manifest,
)
from parity.testing.generators import TABLE

PART = Part(
    file="ticks-0.parquet", kind="ticks", sha256="ab", bytes=9, rows=2, first_seq=1, last_seq=2
)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A folder with a manifest in which every field holds something."""
    manifest = Manifest(
        recording_id="r",
        state="sealed",
        order="ts_event",
        created_by="parity",
        scales={"price": 2},
        instruments=TABLE.to_json(),
        streams=[Stream(0, "ticks", 3)],
        parts=[PART],
        segments=[SealedSegment(number=1, id="s", last_seq=2, positions=[(0, 5)])],
        warnings=["one"],
        durability="always",
        extensions=[Extension("average_price", "price"), Extension("words", "text", ("", "ü"))],
        origin={"files": ["a.csv"]},
        gone=[
            Gone(
                reason="lost", first_seq=3, last_seq=4, events=1, ticks=None, bytes=7, noted="now",
                why="disk", parts=[PART],
            )
        ],
    )  # fmt: skip
    save_manifest(tmp_path, manifest)
    return tmp_path


@pytest.mark.parametrize("bits", [0x01, 0x10, 0x20, 0x80])
def test_every_byte_of_a_manifest_is_guarded(recording: Path, bits: int) -> None:
    """A changed one is corruption, whatever it would mean, or white space and the same manifest."""
    path = recording / MANIFEST
    manifest, text = load_manifest(recording), path.read_bytes()
    refused: list[str] = []
    for at in range(len(text)):
        path.write_bytes(text[:at] + bytes([text[at] ^ bits]) + text[at + 1 :])
        try:
            assert manifest == load_manifest(recording)
        except RecordingCorrupt as error:
            refused.append(error.message)

    kept = sum(bytes([one]).isspace() for one in text)
    assert len(refused) >= len(text) - kept
    assert all(str(path) in message for message in refused)


@pytest.mark.parametrize(
    ("last_seq", "said"),
    [
        (4, "The recording holds no event any more"),
        (9, "The recording still holds seq 5..9: a new run over it (parity backtest {0}) can be "
            "verified, this one not"),
    ],
)  # fmt: skip
def test_what_was_pruned_leaves_what_there_is(recording: Path, last_seq: int, said: str) -> None:
    """A new run is advised only where there is something to run over."""
    manifest = load_manifest(recording)
    pruned = msgspec.structs.replace(manifest.gone[0], reason="pruned")
    part = msgspec.structs.replace(PART, last_seq=last_seq)
    manifest = msgspec.structs.replace(manifest, gone=[pruned], parts=[part])

    with pytest.raises(RecordingCorrupt) as caught:
        refuse_gone(manifest, recording, "run r")

    assert str(caught.value.cure).endswith(f". {said.format(recording)}")
