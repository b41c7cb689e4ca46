"""One turn of one case, in a process of its own and on one CPU; the environments; the ticks.

Each peer has an environment of its own, `.venv-peers/NAME`, from the hash-locked
`requirements/peers-NAME.txt`: NautilusTrader wants pandas below 3, vectorbt wants 3. A peer that
cannot be installed is left out and named.

Every turn runs on one and the same CPU. Two threads that share caches and an execution unit each
spend more CPU seconds than one of them alone would, so that the sum says more of the machine than
of the work; on one CPU parity's reader works inline, too. Never here: what is measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import generate
from parity import import_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.recording.reader import Recording

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
ENVIRONMENTS: Final = ROOT / ".venv-peers"
PEERS: Final = ("csp", "nautilus", "hftbacktest", "vectorbt", "backtesting")
# None of them takes so long at the sizes that are used here.
_TURN_S_MAX: Final = 600


class Data(NamedTuple):
    """The same ticks twice: parity's recording, and the plain table that peers read."""

    recording: Path
    table: Path
    ticks: int
    instruments: list[dict[str, int]]  # token, price_scale, quantity_scale


class Failed(Exception):
    """A turn that did not end well, with what it said."""


def environment(peer: str) -> str:
    """Return a peer's Python, its environment made first where it is not there or too old.

    Raises:
        Failed: it cannot be installed here.
    """
    folder, wanted = ENVIRONMENTS / peer, ROOT / "requirements" / f"peers-{peer}.txt"
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    if not stamp.exists() or stamp.stat().st_mtime < wanted.stat().st_mtime:
        print(f"bench-peers: installing {peer} into .venv-peers/{peer} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        said = subprocess.run(
            [*pip, "--require-hashes", "-r", wanted], check=False, capture_output=True, text=True
        )
        if said.returncode:
            why = said.stderr.strip() or f"pip ended with {said.returncode}"
            raise Failed(f"not installed: {why.splitlines()[-1]}")
        stamp.touch()
    return str(python)


def environments() -> tuple[dict[str, str], dict[str, str]]:
    """Return parity's Python as "", the Python of each peer, and why peers are not installed."""
    pythons, absent = {"": sys.executable}, {}
    for peer in PEERS:
        try:
            pythons[peer] = environment(peer)
        except Failed as failure:
            absent[peer] = str(failure)
    return pythons, absent


def export(recording: Recording, folder: Path) -> Data:
    """Write a recording's ticks as the plain table the peers read."""
    batches = [b.ticks for b in recording.batches()]
    names = ("ts_event", "instrument_token", "price", "price_int", "quantity", "side")
    columns = {name: np.concatenate([b.column(name) for b in batches]) for name in names}
    at = pa.array(columns.pop("ts_event"), pa.timestamp("ns", "UTC"))
    columns["side"] = columns["side"].astype(np.int64)
    table = folder / "ticks.parquet"
    pq.write_table(pa.table({"ts": at, **columns}), table)
    instruments = [
        {"token": i.token, "price_scale": i.price_scale, "quantity_scale": i.quantity_scale}
        for i in recording.table
    ]
    return Data(recording.path, table, len(at), instruments)


def real_trades(folder: Path) -> Data | str:
    """Return the real trades of the BTCUSDT perpetual, imported; or why they are not there."""
    shared = Path(os.environ.get("PARITY_SHARED_DATA", ROOT.parent / "shared" / "data"))
    source = shared / "binance_usdm_BTCUSDT_20240808_trades.parquet"
    if not source.exists():
        return f"market data absent: {source}; set PARITY_SHARED_DATA to its folder"
    return export(import_ticks(source, to=folder / "real"), folder)


def turn(python: str, script: str, data: Data, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Let one case take its turn; return its CPU seconds and how many signals it kept.

    Raises:
        Failed: it did not end well.
    """
    whole = {"recording": str(data.recording), "table": str(data.table), **asked}
    run = [python, str(HERE / f"{script}.py"), json.dumps(whole)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with generate.pinned(1):  # a child may use what its parent may
        try:
            said = subprocess.run(
                run, check=False, capture_output=True, text=True, env=env, timeout=_TURN_S_MAX
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{script} {dict(asked)} took longer than {_TURN_S_MAX} s") from late
    if said.returncode:
        raise Failed(f"{script} {dict(asked)} failed:\n{said.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return answer


def versions(pythons: Mapping[str, str]) -> str:
    """Return which version of each peer was measured."""
    names = {"nautilus": "nautilus_trader"}
    asks = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    said = [f"Python {platform.python_version()}"]
    for peer, python in pythons.items():
        if peer:
            name = names.get(peer, peer)
            run = [python, "-c", asks, name]
            answer = subprocess.run(run, check=True, capture_output=True, text=True)
            said.append(f"{name} {answer.stdout.strip()}")
    return ", ".join(said)


def conditions() -> str:
    """Return what the figures depend on: rounds, CPU, what else the machine does."""
    where = "one CPU each" if hasattr(os, "sched_setaffinity") else "not pinned: no way to, here"
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"fastest of {generate.ROUNDS} rounds, CPU seconds, {where}, {load}"
