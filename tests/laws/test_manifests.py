"""The law of manifests: whatever stands in one comes back, of a recording and of a run."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from reaching import GENERATED

from parity.core.engine import ExecutorReport, LifecycleReport, RunReport
from parity.model.errors import RecordingCorrupt
from parity.model.extensions import Extension
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
from parity.recording.runs import (
    KeptStrategy,
    RecordingReference,
    RunFolder,
    RunManifest,
    RunWriter,
)
from parity.testing.generators import TABLE

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
seqs = st.integers(0, 2**63 - 1)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain: Any = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, plain, max_size=4)
parts = st.builds(
    Part, file=texts, kind=st.sampled_from(("ticks", "events")), sha256=texts, bytes=seqs,
    rows=seqs, first_seq=seqs, last_seq=seqs,
)  # fmt: skip
gone = st.builds(
    Gone, reason=st.sampled_from(("lost", "pruned")), first_seq=seqs, last_seq=seqs, events=seqs,
    ticks=st.none() | seqs, bytes=seqs, noted=texts, why=texts, parts=st.lists(parts, max_size=2),
)  # fmt: skip
positions = st.lists(st.tuples(st.integers(0, 9), seqs), max_size=3)
extensions = st.sampled_from(
    ([], [Extension("average_price", "price"), Extension("words", "text", ("", "a", "ü"))])
)
recordings = st.builds(
    Manifest,
    recording_id=texts,
    state=st.sampled_from(("open", "sealed")),
    order=st.sampled_from(("ts_event", "ts_recv", "arrival")),
    created_by=texts,
    scales=st.dictionaries(texts, st.integers(0, 17), max_size=2),
    instruments=st.sampled_from((TABLE.to_json(), TABLE.to_json()[:1])),
    streams=st.lists(st.builds(Stream, st.integers(0, 9), texts, st.integers(0, 99)), max_size=3),
    parts=st.lists(parts, max_size=3),
    segments=st.lists(
        st.builds(SealedSegment, number=seqs, id=texts, last_seq=seqs, positions=positions),
        max_size=2,
    ),
    warnings=st.lists(texts, max_size=2),
    durability=texts,
    extensions=extensions,
    origin=mappings,
    gone=st.lists(gone, max_size=2),
    shard=mappings,
    topic_ids=st.dictionaries(texts, texts, max_size=2),
)
counts = st.dictionaries(texts, seqs, max_size=2)
lifecycles = st.builds(
    LifecycleReport, gauge=st.integers(0, 5), entered=counts,
    since_ns=st.none() | st.integers(-(2**63), 2**63 - 1), reason=texts,
)  # fmt: skip
executors = st.builds(
    ExecutorReport, strategy_id=texts, broker=texts, state=texts, candidates=seqs, signals=seqs,
    drops=counts, fills=seqs, errors=seqs, pnl=texts, candidate_digest=texts,
    decision_digest=texts, lifecycle=st.none() | lifecycles, bars=seqs, left_out=seqs,
    overtaken=seqs,
)  # fmt: skip
reports = st.builds(
    RunReport, ticks=seqs, undelivered=seqs, controls=counts,
    executors=st.lists(executors, max_size=2).map(tuple), candidate_digest=texts,
    decision_digest=texts, refused_controls=counts,
)  # fmt: skip
kept = st.builds(
    KeptStrategy, config=mappings, broker=texts, kind=texts, type_name=texts, source=texts,
    source_sha256=texts, driver=texts, certificate=texts, model=texts, model_sha256=texts,
    validator_source=texts, validator_factory=texts, validator_sha256=texts,
)  # fmt: skip
references = st.builds(
    RecordingReference,
    path=texts,
    content_hash=texts,
    instruments=st.none() | st.lists(seqs, max_size=3).map(tuple),
    start_ns=st.none() | seqs,
    end_ns=st.none() | seqs,
)
runs = st.builds(
    RunManifest,
    run_id=texts,
    mode=texts,
    state=st.sampled_from(("open", "complete")),
    created_by=texts,
    started=texts,
    seed=st.integers(0, 2**64 - 1),
    strategies=st.lists(kept, max_size=3),
    skipped=st.lists(st.dictionaries(texts, texts, max_size=2), max_size=2),
    recording=references,
    fingerprint=st.dictionaries(texts, texts, max_size=3),
    settings=mappings,
    last_seq=seqs,
    report=st.none() | reports,
    files=st.dictionaries(texts, texts, max_size=3),
)


@given(recordings)
def test_a_recordings_manifest_comes_back(manifest: Manifest) -> None:
    """Every field of it, and a second writing gives the same bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_manifest(folder, manifest)
        written = (folder / MANIFEST).read_bytes()
        again = load_manifest(folder)
        save_manifest(folder, again)

        assert manifest == again
        assert written == (folder / MANIFEST).read_bytes()


@given(recordings, st.integers(0, 2**32), st.integers(1, 255))
def test_a_damaged_manifest_is_never_taken(manifest: Manifest, place: int, bits: int) -> None:
    """Any byte of its text changed is corruption or a later format, or the same manifest."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_manifest(folder, manifest)
        text = (folder / MANIFEST).read_bytes()
        at = place % len(text)
        (folder / MANIFEST).write_bytes(text[:at] + bytes([text[at] ^ bits]) + text[at + 1 :])
        try:
            found = load_manifest(folder)
        except RecordingCorrupt:
            return

        assert manifest == found  # white space, or a digit that is none of a float's value


@given(runs)
def test_a_runs_manifest_comes_back(manifest: RunManifest) -> None:
    """Every field of it."""
    with tempfile.TemporaryDirectory() as scratch:
        RunWriter(Path(scratch, "run"), manifest)

        assert manifest == RunFolder(Path(scratch, "run")).manifest


@pytest.mark.parametrize(
    ("drawn", "kind"),
    [
        (recordings, Manifest),
        (parts, Part),
        (gone, Gone),
        (runs, RunManifest),
        (kept, KeptStrategy),
        (references, RecordingReference),
        (reports, RunReport),
        (executors, ExecutorReport),
        (lifecycles, LifecycleReport),
    ],
)
def test_every_field_is_drawn(drawn: Any, kind: Any) -> None:
    """No field is left to its default, which would come back whoever wrote nothing."""
    fields = {*kind.__struct_fields__} - {"format"}

    for field in sorted(fields):
        values: list[Any] = []

        def other(one: Any, field: str = field, values: list[Any] = values) -> bool:
            values.append(msgspec.json.encode(getattr(one, field)))
            return values[0] != values[-1]

        assert find(drawn, other, settings=GENERATED), field
