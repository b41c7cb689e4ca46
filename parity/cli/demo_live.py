"""Steps 2 and 3 of the demo: a paper run beside its broker, an outage, its operator, and a kill.

The ticks wait at marks for what the operator does, so that each thing happens amid the recording
and not before or behind it on a fast or a slow machine. Nothing is claimed of anything timed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from parity.cli.demo_console import COLUMNS, DemoFailed, held, note, shown, step

if TYPE_CHECKING:
    from parity.face import Run
    from parity.live.produce import Produced
    from parity.model.events import EventBatch
    from parity.recording.reader import Recording
    from parity.testing.broker import Broker

SIGNALS_TOPIC: Final = "paper.signals.raw"
FILLS_TOPIC: Final = "paper.orders.filled"
PARTITIONS: Final = 2
PARTITIONER: Final = "murmur2"  # as Java's clients choose: the two instruments lie apart
PACE: Final = 16_000.0  # ticks a second
SENT_FIRST, DOWN_AT, KILL_AT, SENT_NEXT = 0.25, 0.2, 0.4, 0.6  # of the ticks
FED_ROWS: Final = 100  # ticks that wait together: each mark is a multiple of them
WAIT_S: Final = 120.0
PAUSED: Final = "low_frequency_demo"


class HeldFeed:
    """The ticks of a recording up to a mark; those behind it wait until the mark is raised.

    Args:
        recording: whose ticks they are.
    """

    def __init__(self, recording: Recording) -> None:
        self.table = recording.table
        self._recording = recording
        self._to = 0
        self._changed = threading.Condition()

    def raise_to(self, ticks: int) -> None:
        """Let this many ticks go in all."""
        with self._changed:
            self._to = ticks
            self._changed.notify_all()

    def batches(self) -> Iterator[EventBatch]:
        """Yield what may go, and wait for the rest."""
        gone = 0
        for batch in self._recording.batches(batch_rows=FED_ROWS):
            gone += len(batch.ticks)
            with self._changed:
                self._changed.wait_for(lambda gone=gone: gone <= self._to)  # type: ignore[misc]  # mypy infers no lambda with a default
            yield batch


class Desk:
    """A paper run in a process of its own, and the broker it reads from.

    Args:
        broker: where ticks come from and signals go.
        folder: of the run.
        strategies: the file that configures them.
        recording: whose ticks are sent.
    """

    def __init__(self, broker: Broker, folder: Path, strategies: Path, recording: Recording):
        self.broker, self.folder = broker, folder
        self.ticks = recording.tick_rows
        self._log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        # An external broker may have the topic of an earlier demo.
        own = f".{uuid.uuid4().hex[:8]}" if broker.kind == "external" else ""
        self.topic = f"demo.ticks{own}"
        broker.create_topic(self.topic, PARTITIONS)
        broker.create_topic(SIGNALS_TOPIC, 1)
        broker.create_topic(FILLS_TOPIC, 1)
        self._command = [
            *("paper", str(folder), "--strategies", str(strategies)),
            *("--topics", self.topic, "--from", "earliest"),
            *("--instrument-table", str(recording.path)),
            *("--bootstrap-servers", broker.bootstrap_servers, "--json"),
        ]

    def start(self) -> None:
        """Start the run, or start it again."""
        environment = {**os.environ, "PARITY_CHECKPOINT_TICKS": "5000"}
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(
                _parity(*self._command), stdout=file, stderr=file, env=environment
            )

    def end(self, by: signal.Signals) -> int:
        """Send the run a signal where it lives; returns its exit code."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(by)
        return self._process.wait(WAIT_S)

    def wait(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the run's status once something holds of it.

        Raises:
            DemoFailed: the run ended, or it did not come to hold.
        """
        from parity.compose.status import status_of

        assert self._process is not None, "start() comes first"
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if (code := self._process.poll()) is not None:
                raise DemoFailed(f"the paper run ended early with {code}:\n{self.tail()}")
            if (self.folder / "manifest.json").exists():
                found = status_of(self.folder)
                if found["now"] is not None and holds(found):
                    return found
            time.sleep(0.01)
        raise DemoFailed(f"the paper run: no {what} within {WAIT_S:g} s:\n{self.tail()}")

    def operate(self, command: str, *arguments: str, blocks: Sequence[int] = ()) -> None:
        """Type a command about the run as its operator would, and show what it says.

        Args:
            command: of the program.
            arguments: behind the run's name.
            blocks: which paragraphs of the answer to show; none means all.
        """
        words = [command, self.folder.name, *arguments]
        done = subprocess.run(
            _parity(*words), cwd=self.folder.parent, capture_output=True, text=True,
            timeout=WAIT_S, check=False, env={**os.environ, "COLUMNS": str(COLUMNS - 5)},
        )  # fmt: skip
        if done.returncode != 0:
            raise DemoFailed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
        typed = (f"'{word}'" if " " in word else word for word in words)
        said = done.stdout.rstrip().split("\n\n")
        kept = [one for n, one in enumerate(said) if not blocks or n in blocks]
        shown(f"parity {' '.join(typed)}", "\n".join([*kept, *["…"] * (len(kept) < len(said))]))

    def tail(self) -> str:
        """Return the last lines of what the run said."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def run_on_paper(
    broker: Broker, folder: Path, recording: Recording, strategies: Path
) -> tuple[Run, int]:
    """Carry out steps 2 and 3; returns the finished run, and how many signals were published.

    Raises:
        DemoFailed: a claim did not hold.
    """
    from parity.face import Run
    from parity.recording.runs import RunFolder

    desk = Desk(broker, folder, strategies, recording)
    feed = HeldFeed(recording)
    desk.start()
    with ThreadPoolExecutor(1) as pool:
        producing = pool.submit(_produce, feed, desk)
        try:
            _outage(desk, feed)
            kept = _kill(desk)
            _go_on(desk, feed, producing, kept)
        finally:
            feed.raise_to(desk.ticks)  # a thread that waits would keep a failed demo from ending
            desk.end(signal.SIGKILL)
    finished = Run(RunFolder(folder))
    _check_resumed(finished)
    published = _check_published(desk, finished)
    _check_recorded(recording, finished)
    return finished, published


def _outage(desk: Desk, feed: HeldFeed) -> None:
    """Take the broker away, act as the operator meanwhile, and bring it back."""
    feed.raise_to(round(desk.ticks * SENT_FIRST))
    found = desk.wait("first fifth of the ticks", lambda s: _ticks(s) >= desk.ticks * DOWN_AT)
    ours = desk.broker.kind != "external"
    if ours:
        desk.broker.set_down()
        feed.raise_to(round(desk.ticks * SENT_NEXT))  # they wait at whoever sends them
        desk.wait("word of the outage", lambda s: _last_error(s) == "broker_lost")
        at = f"{_ticks(found):,} of {desk.ticks:,}"
        note(f"the broker goes down behind {at} ticks; the operator acts")
    else:
        note("no outage: an external broker is not the demo's to take down")
    desk.operate("control", "pause", PAUSED, "--reason", "broker away")
    desk.operate("status", blocks=(0, 1, 2))  # not the partitions, nor the durations
    if ours:
        desk.broker.set_up()
    feed.raise_to(round(desk.ticks * SENT_NEXT))


def _kill(desk: Desk) -> int:
    """Kill the run amid what the broker had kept back; returns how many ticks it recorded."""
    from parity.recording.reader import open_recording

    desk.wait("mark of the kill", lambda s: _ticks(s) >= desk.ticks * KILL_AT)
    desk.end(signal.SIGKILL)
    with open_recording(desk.folder / "recording") as left:
        kept = left.tick_rows
    step(3, f"the broker is back; kill -9 with {kept:,} of {desk.ticks:,} ticks recorded; restart")
    desk.start()
    return kept


def _go_on(desk: Desk, feed: HeldFeed, producing: Future[Produced], kept: int) -> None:
    """Let the run that was started again take the rest, and end it in order."""
    desk.wait("tick sent so far", lambda s: kept + _ticks(s) >= desk.ticks * SENT_NEXT)
    desk.operate("control", "resume", PAUSED)
    feed.raise_to(desk.ticks)
    sent = producing.result(WAIT_S).ticks
    if sent != desk.ticks:
        raise DemoFailed(f"{desk.ticks} ticks were to be sent, {sent} were")
    desk.wait("last tick", lambda s: kept + _ticks(s) >= desk.ticks)
    if (code := desk.end(signal.SIGTERM)) != 0:
        raise DemoFailed(f"the restarted run ended with {code}:\n{desk.tail()}")


def _last_error(found: dict[str, Any]) -> str:
    return str((found["last_error"] or {}).get("event", ""))


def _ticks(found: dict[str, Any]) -> int:
    """How many ticks a run has recorded since it was started, by its status."""
    return int(found["now"]["ticks"])


def _produce(feed: HeldFeed, desk: Desk) -> Produced:
    from parity.live.produce import produce

    return produce(
        feed, desk.topic, bootstrap=desk.broker.bootstrap_servers, pace=PACE,
        settings={"partitioner": PARTITIONER}, partitions=PARTITIONS,
    )  # fmt: skip


def _parity(*words: str) -> list[str]:
    return [sys.executable, "-m", "parity", *words]


# ---- what is claimed -----------------------------------------------------------------------


def _check_resumed(run: Run) -> None:
    controls = run.controls
    resumed = controls.filter(verb="resumed")
    if len(resumed) != 1:
        raise DemoFailed(f"the run was to resume once, it says {len(resumed)} times")
    detail = json.loads(resumed["detail"][0])
    held(
        f"went on behind seq {detail['last_seq']:,}, from the checkpoint at"
        f" {detail['checkpoint']:,}; {detail['torn_bytes']} torn bytes"
    )


def _check_published(desk: Desk, run: Run) -> int:
    from parity.testing.broker.admin import read_topic

    messages = read_topic(desk.broker.bootstrap_servers, SIGNALS_TOPIC)
    numbers = [int(h["signal_no"]) for _, h, _ in messages if h["run_id"] == run.run_id]
    approved = run.signals["signal_no"].to_list()
    if sorted(numbers) != sorted(approved) or len(set(numbers)) != len(numbers):
        raise DemoFailed(
            f"{len(approved)} signals were approved, {len(numbers)} published, "
            f"{len(numbers) - len(set(numbers))} of them twice"
        )
    held(f"{len(numbers)} signals approved, {len(numbers)} published, none twice, none missing")
    return len(numbers)


def _check_recorded(recording: Recording, run: Run) -> None:
    """Each partition's ticks lie in the recording once each, in order, as they were produced."""
    import numpy as np

    from parity.recording.reader import open_recording

    names = ("instrument_token", "ts_event", "price_int", "quantity_int", "side", "trade_id")
    with open_recording(run.path / "recording") as own:
        recorded = _columns(own, (*names, "stream", "offset"))
    sent = _columns(recording, names)
    streams = [recorded["stream"] == stream for stream in np.unique(recorded["stream"])]
    offsets = [recorded["offset"][of] for of in streams]
    whole = all(bool((one == np.arange(len(one))).all()) for one in offsets)
    tokens = [one.token for one in recording.table]
    origin = [sent["instrument_token"] == token for token in tokens]
    kept = [recorded["instrument_token"] == token for token in tokens]
    same = all(
        np.array_equal(sent[name][there], recorded[name][here])
        for name in names
        for there, here in zip(origin, kept, strict=True)
    )
    if len(streams) != PARTITIONS or not (whole and same):
        raise DemoFailed("the recording is not what was produced")
    counts = " and ".join(f"{len(one):,}" for one in offsets)
    held(f"{counts} ticks of two partitions recorded once each, in order, as they were produced")


def _columns(recording: Recording, names: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    batches = list(recording.batches(columns=list(names)))
    return {n: np.concatenate([b.ticks.column(n) for b in batches]) for n in names}
