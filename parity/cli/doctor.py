"""`parity doctor`: this machine, the settings in force, and whether parity works here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from parity.cli.console import say, show, show_json
from parity.cli.options import Json, Servers, settings_of
from parity.model.errors import ParityError

if TYPE_CHECKING:
    from parity.settings.settings import Settings

EXAMPLE = "Examples:\n\nparity doctor\n\nparity doctor --config"
BROKER_LIMIT_S: Final = 3.0
_LIBRARIES: Final = (
    "duckdb", "pyarrow", "polars", "numpy", "numba", "llvmlite", "msgspec", "pydantic",
    "confluent-kafka", "onnxruntime", "altair", "typer", "rich",
)  # fmt: skip


def command(
    config: Annotated[
        bool, typer.Option("--config", help="Only the settings, and which layer gave each.")
    ] = False,
    servers: Servers = None,
    as_json: Json = False,
) -> None:
    """Show the machine, the settings with their origins, the broker, the kernels and the models.

    Exit code 1 where a kernel or a model that ships with parity does not work here.
    """
    settings = settings_of(bootstrap_servers=servers)
    found: dict[str, Any] = {"settings": _settings(settings)}
    if not config:
        found = {
            "machine": _machine(),
            "libraries": _libraries(),
            **found,
            "broker": _broker(settings),
            "kernels": _kernels(),
            "models": _models(),
        }
    if as_json:
        show_json(found)
    else:
        _show(found)
    broken = [one for one in (*found.get("kernels", ()), *found.get("models", ())) if one["error"]]
    for one in broken:
        say("error: ", f"{one['name']}: {one['error']}", style="bold red")
    if broken:
        raise typer.Exit(1)


def _settings(settings: Settings) -> dict[str, dict[str, str]]:
    return {
        name: {"value": origin.value, "where": origin.where}
        for name, origin in settings.origins().items()
    }


def _machine() -> dict[str, Any]:
    import os
    import platform

    from parity import __version__

    return {
        "parity": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")


def _libraries() -> dict[str, str | None]:
    from importlib import metadata

    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _broker(settings: Settings) -> dict[str, Any]:
    from parity.cli.logs import log_to_stderr

    found = {"bootstrap_servers": settings.bootstrap_servers, "answers": False, "error": ""}
    log_to_stderr("CRITICAL")  # what librdkafka says of a dead broker is in the error
    try:
        from parity.publishers.redpanda import TickProducer

        with TickProducer(
            settings.bootstrap_servers,
            settings.ticks_topics[0],
            settings=settings.client_config(),
            connect_limit_s=BROKER_LIMIT_S,
        ):
            found["answers"] = True
    except ImportError:
        found["error"] = "confluent-kafka is not installed: pip install 'parity[live]'"
    except ParityError as error:
        found["error"] = error.message
    return found


def _kernels() -> list[dict[str, Any]]:
    """Build each shipped kernel, which compiles it where the cache does not have it."""
    import msgspec

    from parity import codegen
    from parity.strategies import REGISTRY

    rows = []
    for name in REGISTRY:
        if not name.endswith("_kernel"):  # looking at the others would load onnxruntime
            continue
        row: dict[str, Any] = {"name": name, "certificate": "", "canary": None, "cached": False}
        row["error"] = ""
        try:
            driver = codegen.build(REGISTRY[name].create({}))
            row |= {"certificate": driver.certificate, "cached": driver.cached}
            row |= {"key": driver.key, "path": str(driver.path)}
            row["canary"] = msgspec.to_builtins(driver.canary)
        except ParityError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def _models() -> list[dict[str, Any]]:
    from parity.live.inference import load_model, shipped_models

    root = shipped_models()
    rows = []
    for path in sorted(root.glob("*.onnx")):
        row: dict[str, Any] = {"name": path.name, "sha256": "", "features": None, "error": ""}
        try:
            model = load_model(path.name, root=root)
            row |= {"sha256": model.sha256, "features": model.feature_count}
        except ParityError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def _show(found: dict[str, Any]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    def section(title: str, rows: list[tuple[str, str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=20)
        table.add_column(overflow="fold")
        table.add_column(overflow="fold", style="dim")
        for row in rows:
            table.add_row(*map(Text, row))
        show(Text(title, style="bold"), Padding(table, (0, 0, 1, 2)))

    if "machine" in found:
        section("machine", [(k, str(v), "") for k, v in found["machine"].items()])
        libraries = found["libraries"].items()
        section("libraries", [(name, version or "absent", "") for name, version in libraries])
    section("settings", [(n, s["value"], s["where"]) for n, s in found["settings"].items()])
    if "machine" not in found:
        return
    broker = found["broker"]
    word = "answers" if broker["answers"] else "no answer"
    section("broker", [(word, broker["bootstrap_servers"], broker["error"])])
    section("kernels", [_kernel_row(k) for k in found["kernels"]])
    models = [(m["name"], m["error"] or f"sha256 {m['sha256'][:12]}", "") for m in found["models"]]
    section("models", models)


def _kernel_row(kernel: dict[str, Any]) -> tuple[str, str, str]:
    if kernel["error"]:
        return kernel["name"], kernel["error"], ""
    how = "from the cache" if kernel["cached"] else "compiled now"
    heard = kernel["canary"]
    canary = f"canary alive over {heard['ticks']} ticks"
    if not heard["ticks"]:
        canary = f"canary compared nothing: {heard['raised']}"
    return kernel["name"], f"{kernel['certificate']}, {canary}, {how}", kernel["path"]
