"""parity.live.inference: which models load, and that one row gives the same bits every time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from parity.live.inference import (
    ModelMissing,
    ModelUnavailable,
    OnnxModel,
    load_model,
    model_fingerprint,
    read_model,
    shipped_models,
)

MOMENTUM = "momentum.onnx"
ROWS = 2_000


def proto(
    inputs: int = 4, *, hidden: int = 8, outputs: int = 3, shape: tuple[object, ...] | None = None
) -> onnx.ModelProto:
    """Return a seeded Gemm-Relu-Gemm-Softmax model."""
    draw = np.random.default_rng(7)
    weights = {
        "w1": draw.standard_normal((inputs, hidden)),
        "b1": draw.standard_normal(hidden),
        "w2": draw.standard_normal((hidden, outputs)),
        "b2": draw.standard_normal(outputs),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"], axis=-1),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or [1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def rows(width: int) -> npt.NDArray[np.float32]:
    """Return seeded feature rows of mixed magnitudes."""
    draw = np.random.default_rng(11)
    scale = 10.0 ** draw.integers(-4, 1, (ROWS, width))
    return (draw.standard_normal((ROWS, width)) * scale).astype(np.float32)


def plain_session(data: bytes) -> onnxruntime.InferenceSession:
    """Return the session anybody would make, with its threads set to one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("inputs", [1, 3, 16])
def test_predict_gives_the_bits_of_a_plain_run(inputs: int) -> None:
    """Binding preallocated arrays changes no bit against session.run of one row."""
    data = proto(inputs, hidden=32).SerializeToString()
    model, session = OnnxModel(data), plain_session(data)
    features = rows(inputs)

    bound = np.array([model.predict(row) for row in features])
    plain = np.array([session.run(None, {"x": row[None]})[0][0] for row in features])

    assert len(np.unique(plain, axis=0)) > ROWS // 2
    assert plain.tobytes() == bound.tobytes()


def test_the_shipped_model_gives_the_bits_of_a_plain_run() -> None:
    """The model under strategies/models passes the same comparison."""
    model = load_model(MOMENTUM, root=shipped_models())
    session = plain_session((shipped_models() / MOMENTUM).read_bytes())
    draw = np.random.default_rng(3)
    features = np.column_stack([*rows(2).T, draw.normal(0, 0.005, ROWS)]).astype(np.float32)

    bound = np.array([model.predict(row) for row in features])
    plain = np.array([session.run(None, {"features": row[None]})[0][0] for row in features])

    assert plain.tobytes() == bound.tobytes()


def test_a_prediction_is_a_copy() -> None:
    """A later inference does not change what an earlier one returned."""
    model = OnnxModel(proto().SerializeToString())
    first = model.predict([1.0, 2.0, 3.0, 4.0])
    kept = first.tobytes()

    model.predict([4.0, -3.0, 2.0, 1.0])

    assert kept == first.tobytes()
    assert (np.dtype(np.float32), (3,)) == (first.dtype, first.shape)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
@settings(max_examples=25)
def test_a_prediction_depends_on_its_row_alone(features: list[float]) -> None:
    """A fresh model and one that has answered before give the same bits."""
    data = proto().SerializeToString()
    used, fresh = OnnxModel(data), OnnxModel(data)
    used.predict([1e9, -1e9, 5.0, 0.25])

    assert fresh.predict(features).tobytes() == used.predict(features).tobytes()


@pytest.mark.slow
def test_two_processes_give_the_same_bits() -> None:
    """Another process, with another hash seed, predicts the same bytes."""
    code = (
        "import hashlib, numpy as np\n"
        "from parity.live.inference import load_model, shipped_models\n"
        "m = load_model('momentum.onnx', root=shipped_models())\n"
        "r = np.random.default_rng(5).normal(0, 0.005, 500)\n"
        "print(hashlib.sha256(b''.join(m.predict([1, 1, x]).tobytes() for x in r)).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "4242")
    }

    assert 1 == len(found)
    assert 65 == len(found.pop())


def test_the_sha256_is_that_of_the_file() -> None:
    """A model is named by the hash of the bytes that lie on disk."""
    model = load_model(MOMENTUM, root=shipped_models())
    expected = hashlib.sha256((shipped_models() / MOMENTUM).read_bytes()).hexdigest()

    assert expected == model.sha256


def test_another_number_of_features_is_named() -> None:
    """A prediction refuses a row that is too long or too short, and a scalar never spreads."""
    model = OnnxModel(proto().SerializeToString(), name="m")

    for features in ([1.0], [1.0] * 5, []):
        with pytest.raises(ValueError, match=f"m: expected 4 features, was {len(features)}"):
            model.predict(features)


def test_a_free_batch_dimension_is_bound_to_one() -> None:
    """A model exported with a named batch size loads and answers one row."""
    model = OnnxModel(proto(shape=("batch", 4)).SerializeToString())

    assert (3,) == model.predict([0.0, 1.0, 2.0, 3.0]).shape


def test_a_missing_model_is_named_with_its_place(tmp_path: Path) -> None:
    """The error names the path that was asked for and the file that was looked for."""
    with pytest.raises(ModelMissing) as caught:
        load_model("absent.onnx", root=tmp_path)

    assert "absent.onnx" in str(caught.value)
    assert str(tmp_path.resolve() / "absent.onnx") in str(caught.value)


def test_a_model_that_went_meanwhile_has_a_cure(tmp_path: Path) -> None:
    """Found by one, then removed before it is read; or a run's own copy that is gone."""
    with pytest.raises(ModelMissing) as caught:
        read_model(tmp_path / "gone.onnx", name="m")

    assert f"model m: there is no file {tmp_path / 'gone.onnx'}" == caught.value.message
    assert "put the model there, or mend model_path" == caught.value.cure


@pytest.mark.parametrize("path", ["a" * 300, "a\0b", "ring"], ids=["long", "nul", "ring"])
def test_what_is_no_path_is_named(path: str, tmp_path: Path) -> None:
    """A name longer than a folder takes, a NUL, links in a circle: no bare error of the system."""
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with pytest.raises(ModelUnavailable, match="is no path") as caught:
        load_model(path, root=tmp_path)

    assert ascii(path) in caught.value.message
    assert "mend model_path" == caught.value.cure


@pytest.mark.parametrize("cut", [0, 1, 100, 484])
def test_a_cut_model_is_refused(tmp_path: Path, cut: int) -> None:
    """A file that stops short is refused by name, wherever it stops."""
    (tmp_path / "cut.onnx").write_bytes((shipped_models() / MOMENTUM).read_bytes()[:cut])

    with pytest.raises(ModelUnavailable, match=r"cut\.onnx") as caught:
        load_model("cut.onnx", root=tmp_path)
    assert not isinstance(caught.value, ModelMissing)  # nobody may take another one instead


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Whatever stands in the file, the only error is ModelUnavailable."""
    with pytest.raises(ModelUnavailable):
        OnnxModel(data)


@given(st.integers(0, 484), st.integers(1, 255))
@settings(max_examples=50)
def test_a_changed_byte_loads_or_is_refused(at: int, change: int) -> None:
    """A model with one byte changed is another model or none, never another exception."""
    data = bytearray((shipped_models() / MOMENTUM).read_bytes())
    data[at] ^= change
    try:
        model = OnnxModel(bytes(data))
    except ModelUnavailable:
        return

    assert hashlib.sha256(data).hexdigest() == model.sha256


@pytest.mark.parametrize("path", ["../secret.onnx", "a/../../secret.onnx", "link.onnx"])
def test_a_path_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    """Neither `..` nor a symlink leads out of the model folder."""
    root = tmp_path / "models"
    root.mkdir()
    (tmp_path / "secret.onnx").write_bytes(proto().SerializeToString())
    (root / "link.onnx").symlink_to(tmp_path / "secret.onnx")

    with pytest.raises(ModelUnavailable, match="outside the model folder"):
        load_model(path, root=root)


def test_an_absolute_path_loads_below_the_root(tmp_path: Path) -> None:
    """It is refused anywhere else, as any path that leads out of the root is."""
    file = tmp_path / "m.onnx"
    file.write_bytes(proto().SerializeToString())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert 4 == load_model(file, root=tmp_path).feature_count
    with pytest.raises(ModelUnavailable, match="outside the model folder"):
        load_model(file, root=elsewhere)


def test_external_data_is_refused(tmp_path: Path) -> None:
    """A model whose weights lie in another file is refused, though onnxruntime would take it."""
    file = tmp_path / "external.onnx"
    onnx.save(proto(hidden=64), file, save_as_external_data=True, size_threshold=0)
    onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])  # it is a valid model

    with pytest.raises(ModelUnavailable, match="external files"):
        load_model("external.onnx", root=tmp_path)


def test_external_data_inside_a_branch_is_refused() -> None:
    """The search for external tensors goes into the graphs of If nodes."""
    hidden = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1, 3])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="c.bin")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["z"], value=hidden)],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3])],
    )
    model = proto()
    model.graph.node.append(
        helper.make_node("If", ["cond"], ["unused"], then_branch=branch, else_branch=branch)
    )

    with pytest.raises(ModelUnavailable, match="external files"):
        OnnxModel(model.SerializeToString())


def test_inputs_of_another_kind_are_refused() -> None:
    """Two inputs, another type, another rank or a free width are refused with what was found."""
    two = proto()
    two.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, [1, 4]))
    double = proto()
    double.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.INT64, [1, 4]))
    double.graph.node.insert(0, helper.make_node("Cast", ["x"], ["xf"], to=TensorProto.FLOAT))
    double.graph.node[1].input[0] = "xf"
    cases = {
        "expected one input, was 2": two,
        r"tensor\(int64\)": double,
        r"\[2, 4\]": proto(shape=(2, 4)),
        "'n'": proto(shape=(1, "n")),
    }
    for message, model in cases.items():
        with pytest.raises(ModelUnavailable, match=message):
            OnnxModel(model.SerializeToString())


def test_a_second_float_output_is_refused() -> None:
    """Which of two outputs holds the odds is never guessed."""
    model = proto()
    model.graph.output.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 3]))

    with pytest.raises(ModelUnavailable, match="expected one tensor"):
        OnnxModel(model.SerializeToString())


def test_the_fingerprint_tells_what_decides_the_bits() -> None:
    """The version, one thread, the prepacking switch and batch 1 stand in the manifest."""
    found = model_fingerprint()

    assert onnxruntime.__version__ == found["onnxruntime"]
    assert (1, 1) == (
        found["options"]["intra_op_num_threads"],
        found["options"]["inter_op_num_threads"],
    )
    assert "0" == found["config"]["session.disable_prepacking"]
    assert (["CPUExecutionProvider"], 1) == (found["providers"], found["batch"])


def test_importing_the_module_leaves_onnxruntime_out() -> None:
    """A command that asks no model does not pay for loading onnxruntime."""
    code = "import sys, parity.live.inference; print('onnxruntime' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert "False" == found.stdout.strip()


def test_a_model_reports_to_nobody(tmp_path: Path) -> None:
    """Asking a model leaves no trace of onnxruntime's telemetry: no session file, no database."""
    code = (
        "from parity.live.inference import load_model, shipped_models as s;"
        "load_model('momentum.onnx', root=s())"
    )
    kept = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}

    subprocess.run([sys.executable, "-c", code], env={**kept, **places}, check=True)

    assert [] == list(tmp_path.rglob("*"))
