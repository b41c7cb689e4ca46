"""Kernels on disk, a private driver cache, and a runner that hashes everything a kernel did."""

import hashlib
import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from parity import codegen
from parity.model.kernel import KernelStrategy, out_dtype

STATE = np.dtype([("count", "i8"), ("total", "f8"), ("ring", "f8", (4,))], align=True)
PARAMS = np.dtype([("limit", "f8")], align=True)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver cache of this test session, so that equal drivers compile once."""
    return tmp_path_factory.mktemp("drivers")


@pytest.fixture(autouse=True)
def private(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own cache out of it."""
    monkeypatch.setenv("PARITY_CACHE_DIR", str(shared_cache))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: None) -> Path:
    """A driver cache of this test's own, and nothing remembered from other tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PARITY_CACHE_DIR", str(folder))
    monkeypatch.setattr(codegen, "_BUILT", {})
    return folder


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import source text from a file by path, under a name nobody can import."""
    names: list[str] = []

    def from_text(source: str, file: str = "") -> ModuleType:
        name = file or f"kernel_{uuid.uuid4().hex}"
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        names.append(name)
        spec.loader.exec_module(module)
        return module

    yield from_text
    for name in names:
        sys.modules.pop(name, None)


def kernel_of(
    step: Callable[..., Any], *, columns: tuple[str, ...] = ("price",), limit: float = 1.0
) -> KernelStrategy:
    """Make a kernel of a step over the dtypes above, with one extra, `value`."""
    return KernelStrategy(
        name="probe",
        step=step,
        state=STATE,
        params=np.array((limit,), PARAMS),
        out=out_dtype(("value", "f8")),
        columns=columns,
        history=1,
        describe=lambda candidate: ("", {"value": candidate["value"]}),
    )


class Run:
    """Drives a kernel over a column of ticks and keeps what it said, by row."""

    def __init__(
        self, kernel: KernelStrategy, driver: Any, instruments: int, *, room: int = 64
    ) -> None:
        self.driver = driver
        self.states = np.zeros(instruments, kernel.state)
        self.params = kernel.params.reshape(1)
        self.lut = np.arange(instruments, dtype=np.int32)
        self.out = np.zeros(room, kernel.out)
        self.rows, self.codes = np.zeros(room, np.int64), np.zeros(room, np.int8)
        self.said: list[tuple[Any, ...]] = []

    def over(
        self, inst: np.ndarray, columns: tuple[np.ndarray, ...], edges: Sequence[int]
    ) -> "Run":
        """Feed rows 0..len(inst), one call per batch between the edges."""
        for lo, hi in zip((0, *edges), (*edges, len(inst)), strict=True):
            row = lo
            while row < hi:
                buffers = (self.out, self.rows, self.codes)
                count, row = self.driver(
                    self.states, self.params, self.lut, inst, columns, row, hi, *buffers
                )
                kept = (self.rows[:count], self.codes[:count], self.out[:count])
                self.said += zip(*(column.tolist() for column in kept), strict=True)
        return self

    def digest(self) -> str:
        """Hash every row, code and out field, floats as bits, and every state at the end."""
        fields = [self.states[name].tobytes() for name in self.states.dtype.names or ()]
        said = repr(
            [(r, c, [v.hex() if isinstance(v, float) else v for v in o]) for r, c, o in self.said]
        )
        return hashlib.sha256(said.encode() + b"".join(fields)).hexdigest()


def walk(rows: int, instruments: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make instruments interleaved at random and positive integer prices at scale 2."""
    random = np.random.default_rng(seed)
    inst = random.integers(0, instruments, rows).astype(np.int32)
    price_int = 10_000 + np.cumsum(random.integers(-25, 26, rows))
    return inst, np.maximum(price_int, 1)
