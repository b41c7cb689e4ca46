"""What became of what a run published, as values a report shows: how many are dead, and which.

The ledgers are the judge; a letter only says more of one that is dead. Never here: the check that
a ledger is complete, which is `verify`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from parity.live.buried import letters
from parity.live.ledger import DEAD, FillLine, LedgerLine, LineKind, fates, read_ledger

if TYPE_CHECKING:
    from pathlib import Path

DEAD_SHOWN: Final = 20
_LEDGERS: Final[dict[str, tuple[str, LineKind]]] = {
    "signals": ("ledger.jsonl", LedgerLine),
    "fills": ("fills.jsonl", FillLine),
}


def fates_of(run: Path) -> dict[str, dict[str, int] | None] | None:
    """Return by "signals" and "fills" how many have each state; None where it published nothing.

    Raises:
        RecordingCorrupt: a ledger is damaged.
    """
    folder = run / "deliveries"
    found = {name: fates(folder / file, kind) for name, (file, kind) in _LEDGERS.items()}
    return None if found["signals"] is None else found


def deliveries_of(run: Path) -> dict[str, Any] | None:
    """Return the same with the first of the dead, each with whose it was and why.

    Raises:
        RecordingCorrupt: a ledger is damaged.
    """
    found = fates_of(run)
    return None if found is None else {**found, "dead": _dead(run / "deliveries")}


def _dead(folder: Path) -> list[dict[str, Any]]:
    said = {letter["message"]["id"]: letter for letter in letters(folder)}
    found: list[dict[str, Any]] = []
    for name, (file, kind) in _LEDGERS.items():
        for line in read_ledger(folder / file, kind)[1]:
            if line.state == DEAD and len(found) < DEAD_SHOWN:
                number, identity = line.label
                letter = said.get(identity) or {}
                data = letter.get("message", {})
                found.append(
                    {
                        "kind": name[:-1],
                        "number": number,
                        "id": identity,
                        "strategy_id": data.get("data", {}).get("strategy_id"),
                        "broker": data.get("broker"),
                        "topic": letter.get("topic"),
                        "tries": letter.get("tries"),
                        "error": line.error,
                    }
                )
    return found
