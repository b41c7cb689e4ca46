"""Which broker fills an executor's orders and takes its signals, mode by mode.

An executor's broker is its configuration's in every mode; the mode chooses only who fills and where
signals go. Never here: a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from parity.core.orders import OUTSIDE
from parity.model.errors import ConfigError
from parity.publishers import fills_topic_of
from parity.recording.manifest import MANIFEST
from parity.recording.reader import open_recording
from parity.settings.rows import BROKERS
from parity.sources.codecs.fills import FILL, FillDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from parity.core.executor import ExecutorPlan
    from parity.model.instruments import InstrumentTable
    from parity.recording.runs import RunManifest

PAPER: Final = "paper"  # as a broker: fills are simulated; as a mode: for every executor
LIVE: Final = "live"
BACKTEST: Final = "backtest"
PUBLISHING: Final = (PAPER, LIVE)  # modes that have signals delivered


def fills_of(mode: str, broker: str) -> str:
    """Return who fills the orders of an executor at a broker, as its plan says it."""
    return OUTSIDE if mode == LIVE and broker != PAPER else PAPER


def outlets_of(mode: str, plans: Iterable[ExecutorPlan]) -> dict[str, str]:
    """Return the broker whose topic takes the signals, by an executor's broker."""
    if mode == LIVE:
        return {plan.broker: plan.broker for plan in plans}
    return dict.fromkeys(BROKERS, PAPER)  # whatever the row's own broker


def fills_on_paper(mode: str, plans: Iterable[ExecutorPlan]) -> bool:
    """Return whether the paper broker fills any of these."""
    return any(fills_of(mode, plan.broker) == PAPER for plan in plans)


def fill_topics(mode: str, plans: Iterable[ExecutorPlan]) -> dict[str, str]:
    """Return the topics that say what was filled outside, each with its broker."""
    outside = {plan.broker for plan in plans if fills_of(mode, plan.broker) == OUTSIDE}
    return {fills_topic_of(broker): broker for broker in sorted(outside)}


def fill_decoders(
    topics: dict[str, str], table: InstrumentTable, recording: Path
) -> dict[str, FillDecoder]:
    """Return who reads each of these topics; what the recording holds already is known to them."""
    if not topics:
        return {}
    taken: dict[str, list[str]] = {broker: [] for broker in topics.values()}
    if (recording / MANIFEST).exists():
        with open_recording(recording) as kept:
            for control in kept.controls():
                event_id = control.detail.get("event_id")
                if control.verb == FILL and event_id and control.detail.get("broker") in taken:
                    taken[control.detail["broker"]].append(event_id)
    return {topic: FillDecoder(broker, table, taken[broker]) for topic, broker in topics.items()}


def check_served(manifest: RunManifest, plans: Sequence[ExecutorPlan]) -> None:
    """Refuse plans of a broker that a live run did not begin with: it has no topics of it.

    Raises:
        ConfigError: naming the strategy and the broker.
    """
    if manifest.mode != LIVE:
        return
    served = {kept.broker for kept in manifest.strategies}
    for plan in plans:
        if plan.broker not in served:
            raise ConfigError(
                f"{plan.config.strategy_id}: {plan.broker} is none of the run's brokers "
                f"({', '.join(sorted(served))})",
                cure="start a new run for it",
            )
