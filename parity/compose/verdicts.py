"""The last verdict on a run, kept beside it as `verdict.json`, for those who read its report.

It is not part of the run, and proves nothing: `parity verify` does, each time anew.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.recording.runs import MANIFEST, write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from parity.proof.replayer import Verdict

FILE: Final = "verdict.json"


def proved(run: Path) -> Verdict:
    """Verify a run, and keep what came of it beside the run.

    Raises:
        ParityError: as verify() does; nothing is kept then.
    """
    from parity.compose.proofs import verify  # loads the engine; who reads a verdict needs none

    verdict = verify(run)
    keep_verdict(run, verdict)
    return verdict


def keep_verdict(run: Path, verdict: Verdict) -> None:
    """Write down what verify said just now; a folder that cannot be written to is left as it is."""
    kept = verdict.to_json() | {
        "verified": datetime.now(UTC).isoformat(timespec="seconds"),
        "manifest_sha256": _manifest(run),
    }
    try:
        write_durably(run / FILE, msgspec.json.format(msgspec.json.encode(kept), indent=1))
    except OSError:
        return  # a run on a read-only disk is as good a run


def kept_verdict(run: Path) -> dict[str, Any] | None:
    """Return the last verdict on the run as it is now, or None."""
    try:
        kept = msgspec.json.decode((run / FILE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return kept if kept.get("manifest_sha256") == _manifest(run) else None


def _manifest(run: Path) -> str:
    return hashlib.sha256((run / MANIFEST).read_bytes()).hexdigest()
