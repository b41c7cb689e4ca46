"""What every run begins with: its id, its manifest, its sources, the columns it has to read.

The one place of a run that reads the wall clock and draws a random name. Never here: a mode.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from parity.compose.fingerprint import fingerprint
from parity.recording.runs import RunManifest

if TYPE_CHECKING:
    from parity.compose.plans import Prepared
    from parity.model.instruments import InstrumentTable
    from parity.recording.runs import RecordingReference, RunWriter


def columns_of(prepared: Prepared, table: InstrumentTable) -> list[str]:
    """Return the tick columns a backtest has to read.

    A processor may look at whatever a tick has; of a kernel it is known what it reads.
    """
    if any(plan.driver is None for plan in prepared.plans):
        return [*_STRATEGY_COLUMNS, *table.columns.extensions]
    wanted = {"seq", "ts_event", "instrument_token", "flags", "price_int", "bid_int", "ask_int"}
    for plan in prepared.plans:
        wanted.update(plan.build().columns)  # type: ignore[union-attr] # a driver runs a kernel
        if plan.config.on == "quotes":
            wanted.update(("bid_int", "ask_int"))
    return sorted(wanted)


_STRATEGY_COLUMNS: Final = (
    "seq",
    "ts_event",
    "ts_recv",
    "instrument_token",
    "price_int",
    "quantity_int",
    "side",
    "bid_int",
    "ask_int",
    "bid_quantity_int",
    "ask_quantity_int",
    "volume_int",
    "open_interest",
    "trade_id",
    "flags",
)


def manifest_of(
    run_id: str, mode: str, seed: int, prepared: Prepared, reference: RecordingReference
) -> RunManifest:
    """Return the manifest of a run that begins now."""
    return RunManifest(
        run_id=run_id,
        mode=mode,
        created_by=created_by(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        strategies=prepared.kept,
        skipped=prepared.skipped,
        recording=reference,
        fingerprint=fingerprint(models=bool(prepared.models)),
    )


def keep_sources(writer: RunWriter, prepared: Prepared) -> None:
    """Keep what its strategies were made of in the run's folder."""
    for name, text in prepared.sources.items():
        writer.keep_source(name, text)
    for sha256, data in prepared.models.items():
        writer.keep_model(sha256, data)


def new_run_id() -> str:
    """Return an id that no other run has."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def created_by() -> str:
    """Return what manifests say of this program."""
    return f"parity {fingerprint()['parity']}"
