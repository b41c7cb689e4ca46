"""Asks an ONNX model one row at a time; the only owner of onnxruntime.

A model is read once, as bytes, and named by their sha256. One thread, sequential, batch 1, CPU:
batching and threads change the bits of some operators. Never: external data, another provider,
a path outside the given root.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parity.model.errors import ParityError, did_you_mean

MODEL_BYTES_MAX: Final = 256 << 20
PROVIDERS: Final = ("CPUExecutionProvider",)
# What decides the bits of an inference; written to the manifest word for word.
SESSION_OPTIONS: Final[dict[str, int | str]] = {
    "intra_op_num_threads": 1,
    "inter_op_num_threads": 1,
    "execution_mode": "ORT_SEQUENTIAL",
    "graph_optimization_level": "ORT_ENABLE_ALL",
}
SESSION_CONFIG: Final[dict[str, str]] = {
    "session.disable_prepacking": "0",  # turning it off changes the bits of MLPs (measured)
    "session.load_model_format": "ONNX",  # the other format would pass the external-data scan
}
# CPU features that pick other inner loops, and so other bits, in the CPU provider.
_CPU_FLAGS: Final = ("fma", "avx2", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve")
_MEND: Final = "mend model_path"
_PUT: Final = f"put the model there, or {_MEND}"


class ModelUnavailable(ParityError):
    """A model cannot be loaded; its strategy is skipped at start, visibly."""


class ModelMissing(ModelUnavailable):
    """There is no such file; only then is it right to look for the model elsewhere."""


class OnnxModel:
    """A loaded model (`parity.model.protocols.Model`); not safe to share between threads.

    Args:
        data: the bytes of an ONNX model with one float32 input [1, n].
        name: what errors call it.

    Raises:
        ModelUnavailable: the bytes are no such model.

    Attributes:
        inference_count: how often this one was asked; a copy (`copy.copy`) shares the session and
            counts for itself.
    """

    def __init__(self, data: bytes, *, name: str = "model") -> None:
        self.name = name
        self.data = data
        self.inference_count = 0
        self.sha256 = hashlib.sha256(data).hexdigest()
        _refuse_external_data(data, name)
        self._session = _session(data, name)
        input_name, self.feature_count = _input(self._session, name)
        output_name = _output_name(self._session, name)
        self._features = np.zeros((1, self.feature_count), np.float32)
        self._outputs = self._dry_run(input_name, output_name)
        self._binding = self._bind(input_name, output_name)

    def predict(
        self, features: Sequence[float] | npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return the model's outputs for one row of features, as a new array.

        Raises:
            ValueError: another number of features than the model takes.
        """
        if len(features) != self.feature_count:
            raise ValueError(
                f"model {self.name}: expected {self.feature_count} features, was {len(features)}"
            )
        self.inference_count += 1
        self._features[0] = features
        self._session.run_with_iobinding(self._binding)
        row: npt.NDArray[np.float32] = self._outputs[0].copy()
        return row

    def _dry_run(self, input_name: str, output_name: str) -> npt.NDArray[np.float32]:
        try:
            (found,) = self._session.run([output_name], {input_name: self._features})
        except Exception as error:  # onnxruntime's exceptions share no narrower class
            raise _unavailable(self.name, f"its first inference failed: {_line(error)}") from error
        if found.ndim != 2 or found.shape[0] != 1 or found.shape[1] < 1:
            raise _unavailable(
                self.name, f"output {output_name!r}: expected shape [1, m], was {list(found.shape)}"
            )
        return np.zeros(found.shape, np.float32)

    def _bind(self, input_name: str, output_name: str) -> Any:
        # The numpy arrays and onnxruntime share memory both ways: write, run, read.
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        binding.bind_ortvalue_input(input_name, OrtValue.ortvalue_from_numpy(self._features))
        binding.bind_ortvalue_output(output_name, OrtValue.ortvalue_from_numpy(self._outputs))
        return binding


def load_model(path: str | Path, *, root: Path) -> OnnxModel:
    """Read a model once and make it ready.

    Args:
        path: relative to root, or absolute.
        root: the folder models lie in; a path that leads out of it (`..`, a symlink, an absolute
            path elsewhere) is refused.

    Raises:
        ModelMissing: there is no such file under the root.
        ModelUnavailable: outside the root, not a model, or not one of our kind.
    """
    return read_model(find_model(path, [root]), name=str(path))


def find_model(path: str | Path, places: Sequence[Path]) -> Path:
    """Return the first file of this name below one of several folders.

    Args:
        path: relative to the folders, or absolute and inside one of them.
        places: the folders; a path that leads out of all of them is refused.

    Raises:
        ModelMissing: there is no such file; names every place looked at.
        ModelUnavailable: it leads out of every folder.
    """
    bases = [place.resolve() for place in places]
    try:  # joining an absolute path gives that path
        found = [file for base in bases if (file := (base / path).resolve()).is_relative_to(base)]
        there = next((file for file in found if file.exists()), None)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, links in a circle, too long
        raise _unavailable(ascii(str(path)), f"is no path: {error}", cure=_MEND) from error
    if not found:
        raise _unavailable(
            str(path),
            f"leads outside {_folders(bases)}",
            cure="put the model into such a folder, and name it by its path from there",
        )
    if there is not None:  # a damaged one is never replaced by another of its name
        return there
    others = {file.name for base in bases if base.is_dir() for file in base.glob("*.onnx")}
    meant = f"{did_you_mean(str(path), others)} else " if others else ""
    raise ModelMissing(
        f"model {path}: there is no file {' or '.join(str(file) for file in found)}",
        cure=meant + _PUT,
    )


def _folders(bases: Sequence[Path]) -> str:
    if len(bases) == 1:
        return f"the model folder {bases[0]}"
    return f"the folders a model may lie in: {', '.join(str(base) for base in bases)}"


def read_model(file: Path, *, name: str) -> OnnxModel:
    """Read the model of a file.

    Args:
        file: where it lies.
        name: what errors call it.

    Raises:
        ModelMissing: it is not there.
        ModelUnavailable: it is not a model, or not one of our kind.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(MODEL_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ModelMissing(f"model {name}: there is no file {file}", cure=_PUT) from None
    except OSError as error:
        raise _unavailable(name, f"cannot be read: {error}") from error
    if len(data) > MODEL_BYTES_MAX:
        raise _unavailable(name, f"larger than {MODEL_BYTES_MAX >> 20} MB")
    return OnnxModel(data, name=name)


def model_fingerprint() -> dict[str, Any]:
    """Return what besides the model's bytes decides an inference's bits, for the manifest."""
    return {
        "onnxruntime": _onnxruntime().__version__,
        "providers": list(PROVIDERS),
        "options": dict(SESSION_OPTIONS),
        "config": dict(SESSION_CONFIG),
        "batch": 1,
        "machine": platform.machine(),
        "cpu_flags": _cpu_flags(),
    }


def shipped_models() -> Path:
    """Return the folder of the models that ship with parity, the usual root."""
    import parity.strategies

    return Path(next(iter(parity.strategies.__path__))).resolve() / "models"


def _unavailable(name: str, reason: str, cure: str = "") -> ModelUnavailable:
    return ModelUnavailable(f"model {name}: {reason}", cure=cure)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _onnxruntime() -> Any:
    # Its official builds report each session to their maker over HTTPS; only this, and only before
    # the first import, turns that off.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelUnavailable(
            f"onnxruntime cannot be imported: {_line(error)}", cure="pip install 'parity[ml]'"
        ) from error
    return onnxruntime


def _session(data: bytes, name: str) -> Any:
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures come back as exceptions, nothing goes to stderr
    for key, value in SESSION_OPTIONS.items():
        enum = {
            "execution_mode": ort.ExecutionMode,
            "graph_optimization_level": ort.GraphOptimizationLevel,
        }.get(key)
        setattr(options, key, getattr(enum, str(value)) if enum is not None else value)
    for entry, text in SESSION_CONFIG.items():
        options.add_session_config_entry(entry, text)
    try:
        return ort.InferenceSession(data, options, providers=list(PROVIDERS))
    except Exception as error:  # onnxruntime's exceptions share no narrower class
        raise _unavailable(name, f"onnxruntime refused it: {_line(error)}") from error


def _input(session: Any, name: str) -> tuple[str, int]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _unavailable(name, f"expected one input, was {len(inputs)}")
    (only,) = inputs
    shape = list(only.shape)
    # A named or absent first dimension is a free batch size, which we bind to 1.
    fits = len(shape) == 2 and (shape[0] == 1 or not isinstance(shape[0], int))
    if only.type != "tensor(float)" or not fits or not isinstance(shape[1], int):
        raise _unavailable(
            name,
            f"input {only.name!r}: expected tensor(float) [1, n], was {only.type} {shape}",
            cure="export the model with one float32 input of fixed width",
        )
    return only.name, shape[1]


def _output_name(session: Any, name: str) -> str:
    floats = [out.name for out in session.get_outputs() if out.type == "tensor(float)"]
    if len(floats) != 1:
        kinds = ", ".join(f"{out.name} {out.type}" for out in session.get_outputs())
        raise _unavailable(
            name,
            f"expected one tensor(float) output, was {kinds}",
            cure="export classifiers without the zipmap of probabilities",
        )
    return str(floats[0])


def _cpu_flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            have = set(value.split())
            return [flag for flag in _CPU_FLAGS if flag in have]
    return []


# External data would be read from the working directory, past the sha256. onnxruntime has no
# switch against it and the onnx package is not needed to run, so the wire format is walked here:
# which fields of which message lead to a tensor (onnx.proto3).
_LEADS_TO: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEPTH_MAX = 64
_FIXED_BYTES: Final = {1: 8, 5: 4}  # by wire type


def _refuse_external_data(data: bytes, name: str) -> None:
    try:
        external = _has_external_data(memoryview(data), "model", 0)
    except (ValueError, IndexError) as error:
        raise _unavailable(name, f"is not an ONNX model: {error}") from None
    if external:
        raise _unavailable(
            name,
            "keeps tensors in external files, which its sha256 does not cover",
            cure="save it as one file (onnx.save without save_as_external_data)",
        )


def _has_external_data(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested deeper than {_DEPTH_MAX}")
    for field, value in _fields(message):
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value == 1):
                return True
            continue
        inner = _LEADS_TO[kind].get(field)
        if inner and isinstance(value, memoryview) and _has_external_data(value, inner, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in _FIXED_BYTES:
            size = _FIXED_BYTES[wire]
        else:
            raise ValueError(f"field {key >> 3} at byte {at} has wire type {wire}")
        if at + size > len(message):
            raise ValueError(f"field {key >> 3} at byte {at} does not fit")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
    raise ValueError(f"number at byte {at} is too long")
