"""What is seen of a run, in the text format of Prometheus, served on the loopback.

Everything is counted from the run's state when somebody asks; a tick waits for nothing here. Names
are those of the systems that parity replaces, and `parity_…` where they have none.
Never here: a count that is kept for this alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from parity.recording.histogram import Durations

_log = structlog.get_logger("parity.live.metrics")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_NS: Final = (
    *(round(one * 10**exponent) for exponent in range(3, 10) for one in (1, 2.5, 5)),
    10_000_000_000,
)  # fmt: skip
# The stages of the loop as older metrics call them; validators run inside of process_tick.
STAGES: Final = {"decide": "process_tick", "journal": "journal", "sync": "sync",
                 "deliver": "deliver", "publish": "publish"}  # fmt: skip
SERVICE: Final = "parity"
SHARED: Final = "shared"  # the broker of what all have in common
_REQUEST_BYTES_MAX: Final = 8192
_REQUEST_S: Final = 5.0

Labels = Mapping[str, object]
Row = tuple[str, Labels, float]  # what follows the name, labels, value


def text_of(seen: Mapping[str, Any], durations: Mapping[str, Durations]) -> str:
    """Return a scrape of what a run's status shows.

    Args:
        seen: as `Operator.status` gives it.
        durations: of the stages of its loop.
    """
    lines: list[str] = []
    for name, kind, said, rows in _families(seen, durations):
        lines += (f"# HELP {name} {said}", f"# TYPE {name} {kind}")
        for suffix, labels, value in rows:
            lines.append(f"{name}{suffix}{_labels(labels)} {_number(value)}")
    return "\n".join(lines) + "\n"


Family = tuple[str, str, str, Iterable[Row]]


def _families(seen: Mapping[str, Any], durations: Mapping[str, Durations]) -> list[Family]:
    return [
        *_of_the_run(seen),
        *_of_strategies(seen["strategies"]),
        *_of_models(seen["models"]),
        *_of_deliveries(seen),
        *_of_the_disk(seen),
        *_of_latencies(durations),
    ]


def _of_the_run(seen: Mapping[str, Any]) -> list[Family]:
    events = {"tick": seen["ticks"], **seen["events"]}
    labels = {"service": SERVICE, "broker": SHARED}
    last = [
        ("", {**labels, "stage": stage}, at) for stage, at in seen["last_activity"].items() if at
    ]
    healthy = [
        ("", {"stage": stage, "broker": SHARED}, int(fine))
        for stage, fine in seen["healthy"].items()
    ]
    lag: list[Row] = [] if seen["lag_s"] is None else [("", {}, seen["lag_s"])]
    places = seen["partitions"]

    def by_place(key: str) -> list[Row]:
        return [
            ("", {"topic": one["topic"], "partition": one["partition"]}, one[key])
            for one in places
            if one[key] is not None
        ]

    return [
        ("trading_events_processed_total", "counter", "Events journaled, by kind.",
         [("", {**labels, "event_type": kind}, n) for kind, n in sorted(events.items())]),
        ("trading_last_activity_timestamp_unix", "gauge", "When something last came, or left.",
         last),
        ("trading_pipeline_stage_healthy", "gauge", "1 where a stage works.", healthy),
        ("parity_lag_seconds", "gauge", "Arrival of the last tick less its venue time.", lag),
        ("parity_consumer_lag", "gauge", "Messages not read yet.", by_place("behind")),
        ("parity_retention_headroom", "gauge", "Messages the topic still holds behind us.",
         by_place("headroom")),
        ("parity_last_seq", "counter", "The last seq that was journaled.",
         [("", {}, seen["last_seq"])]),
        ("parity_uptime_seconds", "gauge", "Since this start.", [("", {}, seen["uptime_s"])]),
    ]  # fmt: skip


def _of_strategies(strategies: Iterable[Mapping[str, Any]]) -> list[Family]:
    whose = [(one, {"strategy": one["strategy_id"], "broker": one["broker"]}) for one in strategies]
    drops: dict[str, int] = {}
    for one, _ in whose:
        for reason, n in one["drops"].items():
            drops[reason] = drops.get(reason, 0) + n
    return [
        ("strategy_state", "gauge", "0 INIT, 1 WARMUP, 2 ACTIVE, 3 PAUSED, 4 ERROR, 5 STOPPED.",
         [("", labels, one["gauge"]) for one, labels in whose]),
        ("signals_total", "counter", "Approved signals.",
         [("", {**labels, "kind": one["kind"], "side": side}, n)
          for one, labels in whose for side, n in one["sides"].items()]),
        ("trading_signals_generated_total", "counter", "Approved signals.",
         [("", {"strategy_id": one["strategy_id"], "broker": one["broker"], "signal_type": side}, n)
          for one, _ in whose for side, n in one["sides"].items()]),
        ("signals_dropped_total", "counter", "Refused candidates, by reason.",
         [("", {"reason": reason}, n) for reason, n in sorted(drops.items())]),
        ("processor_errors_total", "counter", "Ticks that a strategy failed at.",
         [("", labels, one["errors"]) for one, labels in whose]),
        ("ml_inferences_total", "counter", "How often a strategy asked its model.",
         [("", labels, one["inferences"]) for one, labels in whose
          if one["inferences"] is not None]),
        ("parity_candidates_total", "counter", "What strategies said.",
         [("", labels, one["candidates"]) for one, labels in whose]),
        ("parity_fills_total", "counter", "Fills, simulated or from outside.",
         [("", labels, one["fills"]) for one, labels in whose]),
        ("parity_strategies", "gauge", "Executors, by kind.",
         [("", {"kind": kind}, sum(one["kind"] == kind for one, _ in whose))
          for kind in sorted({one["kind"] for one, _ in whose})]),
    ]  # fmt: skip


def _of_models(models: Mapping[str, bool]) -> list[Family]:
    def rows(wanted: bool) -> list[Row]:
        return [("", {"strategy_id": name}, int(fine is wanted)) for name, fine in models.items()]

    return [
        ("ml_model_load_success_total", "counter", "Models that were loaded.", rows(True)),
        ("ml_model_load_failure_total", "counter", "Models that were not.", rows(False)),
    ]


def _of_deliveries(seen: Mapping[str, Any]) -> list[Family]:
    delivery = seen["delivery"] or {"open": 0, "by_state": {}}
    fills = delivery.get("fills_by_state") or {}
    dead = delivery["by_state"].get("dead", 0) + fills.get("dead", 0)
    errors = sum(one["errors"] for one in seen["strategies"])
    where = {"service": SERVICE, "broker": SHARED}
    return [
        ("trading_dlq_messages_total", "counter", "Signals and fills that could not be published.",
         [("", where, dead)]),
        ("trading_errors_total", "counter", "What went wrong, by component.",
         [("", {"component": component, "error_type": kind, "broker": SHARED}, n)
          for component, kind, n in (("processor", "exception", errors),
                                     ("publisher", "dead_signal", dead),
                                     ("source", "gap", seen["events"].get("gap", 0)),
                                     ("codec", "quarantine", seen["events"].get("quarantine", 0)),
                                     ("pruner", "failed", seen["disk"]["pruning_failures"]))]),
        ("parity_deliveries_total", "counter", "Signals whose fate is known, by it.",
         [("", {"state": state}, n) for state, n in sorted(delivery["by_state"].items())]),
        ("parity_fill_deliveries_total", "counter", "Fills on paper whose fate is known, by it.",
         [("", {"state": state}, n) for state, n in sorted(fills.items())]),
        ("parity_deliveries_open", "gauge", "Signals and fills on their way.",
         [("", {}, delivery["open"])]),
    ]  # fmt: skip


def _of_the_disk(seen: Mapping[str, Any]) -> list[Family]:
    disk = seen["disk"]

    def asked(key: str) -> list[Row]:
        return [] if disk[key] is None else [("", {}, disk[key])]

    return [
        ("parity_disk_free_bytes", "gauge", "Left on the recording's disk.", asked("free_bytes")),
        ("parity_journal_bytes", "gauge", "Journaled and not sealed yet.", asked("journal_bytes")),
        ("parity_pruned_bytes_total", "counter", "Removed by the retention policy.",
         [("", {}, disk["pruned_bytes"])]),
        ("parity_unsynced_events", "gauge", "Journaled, and not known to be on the disk.",
         [("", {}, seen["last_seq"] - disk["synced_seq"])]),
    ]  # fmt: skip


def _of_latencies(durations: Mapping[str, Durations]) -> list[Family]:
    by_stage: list[Row] = []
    for stage, name in STAGES.items():
        by_stage += _histogram(durations[stage], {"stage": name}, 1e6)
    labels = {"service": SERVICE, "event_type": "signal"}
    return [
        ("latency_ms", "histogram", "A stage of the loop, in milliseconds; publish is all of it.",
         by_stage),
        ("trading_processing_latency_seconds", "histogram", "From ts_recv to the signal's report.",
         _histogram(durations["publish"], labels, 1e9)),
    ]  # fmt: skip


def _histogram(found: Durations, labels: Labels, unit_ns: float) -> list[Row]:
    rows: list[Row] = [
        ("_bucket", {**labels, "le": _number(bound / unit_ns)}, n)
        for bound, n in zip(BOUNDS_NS, found.below(BOUNDS_NS), strict=True)
    ]
    return [
        *rows,
        ("_bucket", {**labels, "le": "+Inf"}, found.count),
        ("_sum", labels, found.sum_ns / unit_ns),
        ("_count", labels, found.count),
    ]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(str(v))}"' for name, v in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


class Endpoint:
    """Answers `GET /metrics` on the loopback, and nothing else.

    Args:
        text: makes a scrape.
        port: 0 is any that is free.
    """

    def __init__(self, text: Callable[[], str], port: int) -> None:
        self._text = text
        self._port = port
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; return the port.

        Raises:
            OSError: it is somebody else's.
        """
        self._server = await asyncio.start_server(
            self._called, "127.0.0.1", self._port, limit=_REQUEST_BYTES_MAX
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more; a second call does nothing."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request.split(b"\r\n", 1)[0].split(b" ")))
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _answer(self, line: list[bytes]) -> bytes:
        status, body = "404 Not Found", "see /metrics\n"
        if len(line) == 3 and line[1].split(b"?")[0] == b"/metrics":
            status, body = "405 Method Not Allowed", "GET only\n"
            if line[0] == b"GET":
                status, body = self._scrape()
        data = body.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + data

    def _scrape(self) -> tuple[str, str]:
        try:
            return "200 OK", self._text()
        except Exception as error:  # whatever it is, who scrapes is told, and the run goes on
            _log.error("metrics_failed", reason=f"{type(error).__name__}: {error}")
            return "500 Internal Server Error", "it failed: the log says why\n"
