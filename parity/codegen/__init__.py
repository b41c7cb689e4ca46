"""Builds drivers: a kernel's step compiled into the one loop that replay and live both call."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numba
import numpy as np
import numpy.typing as npt
from numba.np.numpy_support import as_dtype

from parity.codegen.cache import driver_directory, key_of, require_private, store
from parity.codegen.canary import Canary, sing
from parity.codegen.certify import HOST_LIBM, PORTABLE, Certificate, certify
from parity.codegen.fuse import RAISED, driver_text
from parity.codegen.interpret import Interpreter
from parity.model.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from parity.model.kernel import KernelStrategy

__all__ = ["HOST_LIBM", "PORTABLE", "RAISED", "Canary", "Driver", "Interpreter", "build"]

_CONFIG: Final[Any] = numba.config  # Any: its settings are made at run time
_CONFIG.reload_config()  # numba may have been imported before `import parity` set what it reads

# By key: the same text is the same driver. A canary is sung for the first kernel of a process
# that asks for it; what it tries is the driver, not the parameters.
_BUILT: Final[dict[str, tuple[Any, Certificate, Canary]]] = {}


class Driver:
    """A compiled kernel.

    Attributes:
        name: the kernel's name.
        key: hash of the generated text, which holds everything the bits depend on.
        certificate: "portable" or "host-libm".
        calls: the calls that make it host-libm.
        canary: what it was compared with plain Python on, when it was loaded.
        cached: nothing was compiled to get it.
        path: the generated module.
    """

    __slots__ = ("_driver", "cached", "calls", "canary", "certificate", "key", "name", "path")

    def __init__(
        self,
        name: str,
        key: str,
        path: Path,
        compiled: Any,
        certificate: Certificate,
        canary: Canary,
        cached: bool,
    ) -> None:
        self.name = name
        self.key = key
        self.path = path
        self.certificate = certificate.kind
        self.calls = certificate.calls
        self.cached = cached
        self.canary = canary
        self._driver = compiled

    def __repr__(self) -> str:
        return f"Driver({self.name!r}, key={self.key[:12]!r}, certificate={self.certificate!r})"

    def __call__(
        self,
        states: npt.NDArray[Any],
        params: npt.NDArray[Any],
        lut: npt.NDArray[np.int32],
        inst: npt.NDArray[np.int32],
        columns: tuple[npt.NDArray[Any], ...],
        lo: int,
        hi: int,
        out: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int8],
    ) -> tuple[int, int]:
        """Run ticks lo..hi-1 and return (count of candidates, next row).

        Args:
            states: one record per executor-local instrument.
            params: shape (1,).
            lut: dense id -> local id, or -1 where the instrument is not this executor's.
            inst: dense id of each tick; each must be below len(lut), which the caller checks.
            columns: the declared columns, in order, contiguous.
            lo: first row.
            hi: row after the last.
            out: room for candidates; rows and codes have the same length, at least 1.
            rows: receives the row of each candidate.
            codes: receives the step's code of each.

        Next row is hi when done. It is less when `out` is full, or when a step failed: then
        codes[count - 1] is negative (RAISED where the step raised), rows[count - 1] is that row,
        next row the one behind it, and that instrument's state is undefined.
        """
        try:
            found: tuple[int, int] = self._driver(
                states, params, lut, inst, *columns, lo, hi, out, rows, codes
            )
        except (IndexError, TypeError) as error:  # boundscheck found something; a wrong dtype
            raise KernelError(f"kernel {self.name}: {str(error).splitlines()[0]}") from error
        except Exception:  # whatever a step raises is its error at that tick
            return self._raised(rows, codes)
        return found

    def _raised(self, rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int8]) -> tuple[int, int]:
        at = int(np.flatnonzero(codes == 0)[0])
        codes[at] = RAISED
        return at + 1, int(rows[at]) + 1

    def for_one_tick(
        self,
        states: npt.NDArray[Any],
        params: npt.NDArray[Any],
        lut: npt.NDArray[np.int32],
        out: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int8],
    ) -> Callable[[npt.NDArray[np.int32], tuple[npt.NDArray[Any], ...]], tuple[int, int]]:
        """Return the same call for batches of one tick, from inst and columns, with these arrays.

        The same machine code, entered without numba's look at the type of every argument: that
        takes longer than a tick does. Here it is looked at once, of columns their dtype each time.

        Raises:
            KernelError: an array is not what the driver takes.
        """
        (signature,) = self._driver.nopython_signatures
        kept = (states, params, lut, out, rows, codes)
        wanted = (*signature.args[:3], *signature.args[-3:])
        for array, one in zip(map(numba.typeof, kept), wanted, strict=True):
            if (array.dtype, array.ndim, array.layout) != (one.dtype, one.ndim, one.layout):
                raise KernelError(f"kernel {self.name}: its driver takes {one}, was {array}")
        inst_and_columns = [as_dtype(one.dtype) for one in signature.args[3:-5]]
        entry = self._driver.overloads[signature.args].entry_point

        def call(
            inst: npt.NDArray[np.int32], columns: tuple[npt.NDArray[Any], ...]
        ) -> tuple[int, int]:
            if [inst.dtype, *[column.dtype for column in columns]] != inst_and_columns:
                return self(states, params, lut, inst, columns, 0, 1, out, rows, codes)  # refuses
            try:
                found: tuple[int, int] = entry(
                    states, params, lut, inst, *columns, 0, 1, out, rows, codes
                )
            except (IndexError, TypeError) as error:
                raise KernelError(f"kernel {self.name}: {str(error).splitlines()[0]}") from error
            except Exception:
                return self._raised(rows, codes)
            return found

        return call


def build(kernel: KernelStrategy, *, boundscheck: bool = False) -> Driver:
    """Compile a kernel into its driver, or load it from the cache.

    Args:
        kernel: the kernel; only its step, dtypes and columns enter the driver.
        boundscheck: check every index (tests); part of the key.

    Raises:
        KernelError: it cannot be written down, compiled or certified, the cache is not private, or
            its canary finds that it does not do what plain Python does.
    """
    if _CONFIG.DISABLE_JIT:
        raise KernelError(
            f"kernel {kernel.name}: numba is switched off", cure="unset NUMBA_DISABLE_JIT"
        )
    text = driver_text(kernel, boundscheck=boundscheck)
    key = key_of(text)
    folder = driver_directory()
    path = folder / f"driver_{key}.py"
    if key in _BUILT:
        return Driver(kernel.name, key, path, *_BUILT[key], True)
    if _CONFIG.CACHE_DIR:
        require_private(Path(_CONFIG.CACHE_DIR))
    store(folder, path.name, text.encode())
    compiled = _load(path, kernel.name).driver
    cached = bool(compiled.stats.cache_hits)
    certificate = _certificate(folder / f"driver_{key}.certificate.json", compiled, kernel.name)
    driver = Driver(kernel.name, key, path, compiled, certificate, Canary(0, 0), cached)
    driver.canary = sing(kernel, driver, exact=certificate.kind == PORTABLE, folder=folder)
    _BUILT[key] = (compiled, certificate, driver.canary)
    return driver


def _load(path: Path, kernel_name: str) -> ModuleType:
    name = f"parity_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise KernelError(f"kernel {kernel_name}: {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks the module of a function up by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # numba lets bare KeyErrors and the like out, too
        del sys.modules[name]
        raise KernelError(
            f"kernel {kernel_name}: step does not compile: {_first_words(error)}",
            cure=f"the generated module is {path}",
        ) from error
    return module


def _first_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " | ".join(lines[1:6] if len(lines) > 1 else [type(error).__name__, *lines])


def _certificate(path: Path, compiled: Any, kernel_name: str) -> Certificate:
    # IR exists only behind a compile. A compile that was killed before it wrote its certificate,
    # or another process that is about to, is made up for by compiling again.
    if compiled.stats.cache_hits:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Certificate)
        except (OSError, msgspec.MsgspecError):
            compiled.recompile()
    ir = compiled.inspect_llvm(compiled.signatures[0])
    certificate = certify(ir, kernel_name)
    store(path.parent, path.name, msgspec.json.encode(certificate))
    return certificate
