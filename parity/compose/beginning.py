"""What every run begins with: its id, its manifest, its sources, the columns it has to read.

The one place of a run that reads the wall clock and draws a random name. Never here: a mode.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from parity.compose.fingerprint import changes, fingerprint
from parity.recording.runs import RunManifest

if TYPE_CHECKING:
    from parity.compose.plans import Prepared
    from parity.model.instruments import InstrumentTable
    from parity.recording.runs import KeptStrategy, RecordingReference, RunWriter


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


# of a live run's settings, what it cannot go on without: the same ticks, days and outputs
_LIVE: Final = ("overlays", "topics", "codec", "codec_tz", "paper_fills")
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


def other_configuration(then: RunManifest, now: RunManifest) -> list[str]:
    """Return in what a run that is to go on differs from what was asked for."""
    found = [
        f"{name} was {getattr(then, name)!r}, is {getattr(now, name)!r}"
        for name in ("mode", "seed")
        if getattr(then, name) != getattr(now, name)
    ]
    ids_then = {(k.config["strategy_id"], k.broker): k for k in then.strategies}
    ids_now = {(k.config["strategy_id"], k.broker): k for k in now.strategies}
    for key in sorted({*ids_then, *ids_now}):
        a, b = ids_then.get(key), ids_now.get(key)
        if a is None or b is None:
            found.append(f"strategy {key[0]} was {'not ' if a is None else ''}there")
        elif _plain(a) != _plain(b):
            found.append(f"strategy {key[0]} has other parameters or another source")
    was, is_now = then.settings, now.settings
    unset = {"paper_fills": False}  # stands there only where it is on
    others = [name for name in _LIVE if was.get(name) != is_now.get(name)]
    found += [f"{name} were {was.get(name, unset.get(name))}" for name in others]
    return found + changes(then.fingerprint, now.fingerprint)


def _plain(kept: KeptStrategy) -> bytes:
    # As JSON, for the manifest went through it: there a tuple comes back as a list.
    return msgspec.json.encode(kept, order="deterministic")
