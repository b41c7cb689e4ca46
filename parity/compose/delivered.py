"""What a run decided, held against its ledgers of signals and paper fills, again and again.

Never here: what became of one that is dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.compose.brokers import PUBLISHING
from parity.core.orders import OUTSIDE
from parity.live.ledger import FillLine, LedgerCheck
from parity.publishers import event_id_of

if TYPE_CHECKING:
    from parity.recording.runs import RunFolder


class Delivered:
    """Counts what a run delivered, and raises where a ledger does not fit; no row is read twice.

    What a restart takes away behind a checkpoint it decides again from the same journal.
    """

    def __init__(self) -> None:
        self._seq = 0  # up to here decisions were read
        self._fills = 0
        self._checks: tuple[LedgerCheck, LedgerCheck] | None = None

    def __call__(self, run: RunFolder) -> dict[str, int]:
        """Return how many signals and fills were delivered, and how many are dead.

        Args:
            run: as it is now.

        Raises:
            RecordingCorrupt: a line is missing, doubled, or of another signal, fill or run.
        """
        if run.manifest.mode not in PUBLISHING:
            return {}
        run_id, complete = run.manifest.run_id, run.manifest.state == "complete"
        if self._checks is None:
            folder = run.path / "deliveries"
            signals = LedgerCheck(folder / "ledger.jsonl", run_id)
            self._checks = (signals, LedgerCheck(folder / "fills.jsonl", run_id, FillLine))
        approved, filled = self._decided(run)
        of_signals, of_fills = self._checks
        counts = of_signals.go_on(approved, complete=complete)
        if run.manifest.settings.get("paper_fills"):
            fills = of_fills.go_on(filled, complete=complete)
            counts |= {f"fill_{name}": count for name, count in fills.items()}
        return counts

    def _decided(self, run: RunFolder) -> tuple[dict[int, str], dict[int, str]]:
        """Return the ids of signals and paper fills since the last call, by number."""
        until = run.flushed_seq()  # first: a part may come in between
        approved: dict[int, str] = {}
        filled: dict[int, str] = {}
        for row in run.rows("decisions", behind=self._seq):
            if not self._seq < row["seq"] <= until:
                continue
            if row["kind"] == "approved":
                approved[row["signal_no"]] = row["signal_id"]
            elif row["kind"] == "fill" and row["reason"] != OUTSIDE:
                self._fills += 1
                filled[self._fills] = event_id_of(run.manifest.run_id, self._fills)
        self._seq = max(self._seq, until)
        return approved, filled
