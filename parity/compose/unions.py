"""Several runs on partitions of the same topics, and the one big run that they together are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from parity.compose.fingerprint import changes
from parity.compose.proofs import changed_strategies, overtaken
from parity.proof.union import side_of, union
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from parity.proof.diff import Comparison


def diff_union(whole: Path, shards: Sequence[Path]) -> Comparison:
    """Compare one run with the union of shards, record by record, and name the first difference.

    Args:
        whole: a run that read all partitions.
        shards: runs that read some of them each.

    Raises:
        ConfigError: a run is no shard, or two share a partition or a strategy.
        NothingCompared: a run saw no ticks, or has not come to its end.
        RecordingMissing: a run or its recording is not there.
    """
    runs = [RunFolder(path) for path in (whole, *shards)]
    with ExitStack() as opened:
        sides = [
            side_of(run, opened.enter_context(open_recording(run.recording_path, cached=False)))
            for run in runs
        ]
        found = union(sides[0], sides[1:])
    then = {(k.config["strategy_id"], k.broker): k for k in runs[0].manifest.strategies}
    now = {
        (k.config["strategy_id"], k.broker): k for run in runs[1:] for k in run.manifest.strategies
    }
    changed = [*found.changed, *changed_strategies(then, now)]
    for run in runs[1:]:
        if runs[0].manifest.seed != run.manifest.seed:
            changed.append(f"seed: {runs[0].manifest.seed} -> {run.manifest.seed}")
        changed += changes(runs[0].manifest.fingerprint, run.manifest.fingerprint)
    for run in runs:
        changed += overtaken(run)
    changed = list(dict.fromkeys(changed))
    first = found.first_divergence
    if first is not None:
        cause = "; ".join(changed) or _UNKNOWN
        first = msgspec.structs.replace(first, cause=cause)
    return msgspec.structs.replace(found, first_divergence=first, changed=changed)


_UNKNOWN = (
    "unknown: both read the same; a strategy whose instruments are on several partitions saw them "
    "in another order"
)
