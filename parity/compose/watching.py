"""Proving a run while it lives: what it wrote is replayed beside it, from where the last look was.

It reads and holds nothing of the run's: the live process does not know that it is watched. Waiting
is the caller's. Never here: a replay from the start, a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from parity.compose.delivered import Delivered
from parity.compose.proofs import check_recording, kept_engine
from parity.model.errors import ConfigError
from parity.proof.following import Following
from parity.recording.holding import is_held
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parity.proof.replayer import Verdict

ENDED: Final = "its process ended before the run was complete: start it again, it goes on"


def watched(run: Path, wait: Callable[[], None]) -> Iterator[Verdict]:
    """Yield a verdict each time more of a run was proved; the last one is the end's.

    It ends with the first divergence, with the run, or with the run's process. What a live run
    decided is on disk from checkpoint to checkpoint, so a look finds something new that often.

    Args:
        run: the folder of a run, live or ended.
        wait: called between two looks.

    Raises:
        ConfigError: the run is a backtest at work, which is proved at its end.
        NothingCompared: the run ended and nothing was there to compare.
        RecordingMissing: the run is not there.
        RecordingCorrupt: a file is not what was written, or was pruned before it was looked at.
    """
    following: Following | None = None
    delivered = Delivered()
    while True:
        lives = is_held(run)  # before the manifest: a run is complete before it is let go of
        folder = RunFolder(run)
        over = folder.manifest.state == "complete" or not lives
        if folder.manifest.mode == "backtest" and folder.manifest.state != "complete":
            raise ConfigError(
                f"--watch: it goes with a live or paper run, {run} is an open backtest",
                cure=f"wait for its end: parity verify {run}",
            )
        # An open run has a recording before its first part.
        if over or folder.flushed_seq() > (0 if following is None else following.seq):
            with open_recording(folder.recording_path, cached=False) as recording:
                seen = 0 if following is None else following.seq
                if over:
                    folder.check_outputs()
                check_recording(folder, recording, seen=seen, last=over)
                if following is None:
                    following = Following(*kept_engine(folder, recording))
                moved = following.advance(folder, recording)
            if moved or over:
                verdict = following.verdict(folder, delivered)
                if over and folder.manifest.state != "complete":
                    verdict = msgspec.structs.replace(verdict, notes=[*verdict.notes, ENDED])
                yield verdict
            over = over or following.first_divergence is not None
        if over:
            return
        wait()
