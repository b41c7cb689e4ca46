"""Starting: a new recording, or one that goes on where it ended, with the source placed right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from parity.live.clock import anchored_clock
from parity.live.operator import Operator, Parts
from parity.live.retention import Pruner
from parity.live.runner import Limits, Outcome, Runner, Strategies
from parity.recording.journal import JournalWriter
from parity.recording.manifest import MANIFEST, add_streams
from parity.recording.reader import open_recording
from parity.recording.rotation import BackgroundSealer, Rotation
from parity.recording.sequencer import MAX_SKEW_NS, Sequencer
from parity.recording.writer import create_recording

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from parity.live.dead_letters import DeadLetters
    from parity.live.operator import Operating
    from parity.model.instruments import InstrumentTable
    from parity.recording.pruning import Retention
    from parity.recording.reader import Recording
    from parity.sources.arrivals import LiveSource

_log = structlog.get_logger("parity.live.start")


async def start(
    folder: Path,
    table: InstrumentTable,
    source: LiveSource,
    *,
    created_by: str,
    stop: asyncio.Event,
    strategies: Strategies | None = None,
    operating: Operating | None = None,
    limits: Limits | None = None,
    durability: str = "fdatasync",
    rotation: Rotation | None = None,
    retention: Retention | None = None,
    letters: DeadLetters | None = None,
    shard: Mapping[str, Any] | None = None,
    max_skew_ns: int = MAX_SKEW_NS,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> Outcome:
    """Run until `stop` is set or the source ends, and seal the recording.

    Args:
        folder: of the recording; one that is there goes on, from behind its last offsets.
        table: of a new recording; one that goes on keeps its own.
        source: not connected yet.
        created_by: stands in a new recording's manifest.
        stop: set from outside to end.
        strategies: engine, run folder and delivery; None records only.
        operating: how a person asks for controls and looks on; None is not at all.
        limits: of checkpoints and of the end.
        durability: of the journal.
        rotation: when a segment ends, and is sealed.
        retention: how much of it is held; older segments go while the run goes on.
        letters: where undecodable messages go; None keeps them in the recording alone.
        shard: of a new recording, which partitions of which it has; None is all of them.
        max_skew_ns: how far ts_event may be ahead of ts_recv.
        progress: called with counts after each turn of the loop.

    Raises:
        ServiceDown: source or publisher cannot connect or go on.
        ConfigError: the recording is in use, or the source does not fit it.
    """
    if not (goes_on := (folder / MANIFEST).exists()):
        await _create(folder, table, source, created_by, durability, shard)
    pruner = Pruner(folder, retention, anchored_clock())
    sealer = BackgroundSealer(folder, _sealing_failed, then=pruner)
    journal = _journal(folder, rotation or Rotation(), durability, sealer)
    try:
        recorded, table = await _place(source, folder, table, goes_on)
        journal.append(np.zeros(0, table.tick_dtype), (), source.positions())
        parts = Parts(folder, source, journal, strategies, pruner)
        runner = Runner(
            folder,
            table,
            source,
            Sequencer(table, max_skew_ns=max_skew_ns),
            journal,
            sealer=sealer,
            pruner=pruner,
            letters=letters,
            strategies=strategies,
            operator=operating and Operator(operating, parts),
            stop=stop,
            limits=replace(limits or Limits(), seal_s=(rotation or Rotation()).stop_s),
            progress=progress,
        )
        return await runner.run(recorded)
    finally:
        await source.close()
        journal.close()
        sealer.stop()


async def _create(
    folder: Path,
    table: InstrumentTable,
    source: LiveSource,
    created_by: str,
    durability: str,
    shard: Mapping[str, Any] | None,
) -> None:
    await source.connect()
    made = {"created_by": created_by, "durability": durability}
    create_recording(folder, table, streams=source.streams, shard=shard, **made)


async def _place(
    source: LiveSource, folder: Path, table: InstrumentTable, goes_on: bool
) -> tuple[Recording | None, InstrumentTable]:
    """Let the source begin where the recording ends, and call its streams by their ids there.

    Returns:
        The recording that goes on, if it does, and its instruments.
    """
    recorded = open_recording(folder) if goes_on else None
    if recorded is not None:
        if positions := recorded.next_positions():  # none where a kill came before the first
            source.start_at(positions)
        await source.connect()
    source.name_streams(add_streams(folder, source.streams, source.topic_ids()))
    return recorded, table if recorded is None else recorded.table


def _journal(
    folder: Path, rotation: Rotation, durability: str, sealer: BackgroundSealer
) -> JournalWriter:
    try:
        return JournalWriter(
            folder,
            segment_bytes_max=rotation.bytes_max,
            segment_s_max=rotation.s_max,
            durability=durability,
            on_end=sealer.wake,
        )
    except BaseException:
        sealer.stop()
        raise


def _sealing_failed(reason: str) -> None:
    _log.warning("sealing_failed", reason=reason)
