"""`parity status`: how a run does, asked from its runner, or read from the folder it left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, show, show_json, table_of
from parity.cli.options import Json
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

EXAMPLE = "Examples:\n\nparity status runs/today\n\nparity status runs/today --watch\n\n" + (
    "parity status recordings/today --json"
)


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or of a recording.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until the run ends or Ctrl-C.")
    ] = False,
    every_s: Annotated[
        float,
        typer.Option("--every-s", metavar="N", min=0.1, help="With --watch: seconds."),
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Show states, lag, rates, disk, retention headroom, last verdict and last error of a run.

    A living run is asked through its socket; of one that ended its folder tells.
    """
    from parity.compose.status import status_of

    if not watch:
        found = status_of(run)
        if as_json:
            show_json(found)
        else:
            show(*_lines(found))
        return
    if as_json:
        raise ConfigError("--watch and --json: one of them", cure="call it in a loop with --json")
    from rich.console import Group
    from rich.live import Live

    found = status_of(run)
    with Live(Group(*_lines(found)), auto_refresh=False) as screen:
        while found["alive"]:
            time.sleep(every_s)
            found = status_of(run)
            screen.update(Group(*_lines(found)), refresh=True)


def _lines(found: dict[str, Any]) -> list[RenderableType]:
    from rich.text import Text

    now = found["now"]
    head = Text.assemble(
        f"{found['kind']} {found['path']}: ",
        (now["phase"] if now else found["state"], "green" if now else "yellow"),
        "" if now or found["state"] != "open" else ", no runner",
        f", {found['mode']}" if found["mode"] else "",
        f", process {now['pid']} for {_span(now['uptime_s'])}" if now else "",
    )
    lines: list[RenderableType] = [head, ""]
    about = table_of("", "")
    about.show_header = False
    for name, words in _rows(found, now):
        about.add_row(name, words)
    lines.append(about)
    # A low terminal cuts what --watch shows from below: what an operator looks for stands above.
    if found["strategies"]:
        lines += ["", _strategies(found["strategies"])]
    if now and now["partitions"]:
        lines += ["", _partitions(now["partitions"])]
    if now and any(one["count"] for one in now["latency_ms"].values()):
        lines += ["", _latency(now["latency_ms"])]
    return lines


def _rows(found: dict[str, Any], now: dict[str, Any] | None) -> list[tuple[str, str]]:
    from parity.cli.usage import sized

    rows = [("last seq", grouped(found["last_seq"]))]
    if found["decided_seq"] is not None and found["decided_seq"] < found["last_seq"]:
        rows.append(("decided", f"up to {grouped(found['decided_seq'])}, on disk: start it again"))
    if now:
        rate = now["ticks_per_second"]
        rows.append(
            (
                "ticks",
                f"{grouped(now['ticks'])} since the start"
                + ("" if rate is None else f", {grouped(round(rate))}/s"),
            )
        )
        if now["lag_s"] is not None:
            rows.append(("lag", f"{_lag(now['lag_s'])} behind the venue"))
        if now["silent_s"] is not None:
            rows.append(("last tick", f"{_span(now['silent_s'])} ago"))
        ill = [stage for stage, fine in now["healthy"].items() if not fine]
        rows.append(("not well", ", ".join(ill) if ill else "nothing"))
        events = ", ".join(f"{name} {grouped(n)}" for name, n in now["events"].items())
        rows += [("events", events)] if events else []
        if (sent := now["delivery"]) is not None:
            words = _fates(sent["by_state"])
            words.append(f"{grouped(sent['open'])} on their way, since the start")
            rows.append(("signals out", ", ".join(words)))
            if words := _fates(sent.get("fills_by_state") or {}):
                rows.append(("fills out", ", ".join(words)))
        if now["disk"]["journal_bytes"] is not None:
            rows.append(("not sealed", sized(now["disk"]["journal_bytes"])))
    elif (out := found["deliveries"]) is not None:
        rows += [
            (f"{name} out", ", ".join(_fates(out[name])) or "none")
            for name in ("signals", "fills")
            if out[name] is not None
        ]
    rows.append(("disk left", sized(found["free_bytes"])))
    verdict, error = found["last_verify"], found["last_error"]
    rows.append(
        (
            "last verify",
            "none" if verdict is None else f"{verdict['verdict']}, {verdict['verified']}",
        )
    )
    said = "none"
    if error is not None:
        more = {k: v for k, v in error.items() if k not in ("event", "level", "timestamp")}
        said = f"{error['event']}, {error['timestamp']}: " + ", ".join(
            f"{k} {v}" for k, v in more.items()
        )
    rows.append(("last error", said))
    return rows


def _fates(by_state: Mapping[str, int]) -> list[str]:
    return [f"{state} {grouped(n)}" for state, n in by_state.items() if n]


def _partitions(places: list[dict[str, Any]]) -> RenderableType:
    names = ("next offset", "behind", "headroom")
    table = table_of("partition", *names, right=names)
    for one in places:
        behind, room = one["behind"], one["headroom"]
        table.add_row(
            f"{one['topic']}[{one['partition']}]",
            grouped(one["next_offset"]),
            "not known" if behind is None else grouped(behind),
            "not known" if room is None else grouped(room),
        )
    return table


def _strategies(strategies: list[dict[str, Any]]) -> RenderableType:
    numbers = ("signals", "drops", "fills", "errors")
    table = table_of("strategy", "broker", "state", "since it", *numbers, right=numbers)
    colours = {"ACTIVE": "green", "PAUSED": "yellow", "ERROR": "red", "STOPPED": "dim"}
    from rich.text import Text

    for one in strategies:
        table.add_row(
            one["strategy_id"],
            one["broker"],
            Text(one["state"], colours.get(one["state"], "")),
            one["reason"],
            grouped(one["signals"]),
            grouped(sum(one["drops"].values())),
            grouped(one["fills"]),
            grouped(one["errors"]),
        )
    return table


def _latency(stages: dict[str, dict[str, float]]) -> RenderableType:
    names = ("count", "p50", "p99", "p99.9", "max")
    table = table_of("stage, ms", *names, right=names)
    for stage, one in stages.items():
        if one["count"]:
            values = (one[key] for key in ("p50", "p99", "p99_9", "max"))
            table.add_row(stage, grouped(int(one["count"])), *(f"{ms:.3f}" for ms in values))
    return table


def _lag(seconds: float) -> str:
    return f"{seconds:.3f} s" if abs(seconds) < 60 else _span(seconds)


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return counted(int(seconds // 60), "minute") if seconds < 7200 else f"{seconds / 3600:.1f} h"
