"""ONNX graphs, run by onnxruntime beside the network they are made of."""

import builtins
import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import xpmlp
from xpmlp.algebra import ACTIVATIONS
from xpmlp.errors import InputError
from xpmlp.export import ACTIVATION_STEPS, IR_VERSION, OPSET, export_onnx
from xpmlp.network import MLP
from xpmlp.network.mlp import NORMALIZATIONS, OUTPUTS
from xpmlp.training import predict

RANDOM = np.random.default_rng(4)


def parameters_of(model: MLP, members: int | None = None, dtype: str = "float32") -> np.ndarray:
    """Parameters that let every unit do something, and statistics of no usual batch."""
    shape = (model.size,) if members is None else (members, model.size)
    vector = RANDOM.normal(size=shape) * 0.7
    statistics = model.size - model.parameter_count
    if statistics:
        vector[..., -statistics:] = np.abs(vector[..., -statistics:]) + 0.1
    return vector.astype(dtype)


def run(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options).run(None, {"input": rows})


COMBINATIONS = [
    *((MLP((5, 7, 7, 3), hidden), members) for hidden in ACTIVATIONS for members in (None, 3)),
    *(
        (MLP((5, 7, 7, 3), "tanh", output, normalization, residual), members)
        for output, normalization, residual, members in itertools.product(
            OUTPUTS, NORMALIZATIONS, (False, True), (None, 2)
        )
    ),
    (MLP((5, 3)), None),
    (MLP((5, 3)), 2),
    (MLP((5, 4, 1), output="sigmoid"), None),
]
IDS = [
    f"{model}-{model.hidden}-{model.output}-{model.normalization}-{model.residual}-{members}"
    for model, members in COMBINATIONS
]


@pytest.mark.parametrize(("model", "members"), COMBINATIONS, ids=IDS)
def test_a_graph_predicts_what_the_network_does(
    model: MLP, members: int | None, tmp_path: Path
) -> None:
    parameters = parameters_of(model, members)
    X = RANDOM.normal(size=(40, 5)).astype(np.float32) * 2
    export_onnx(model, parameters, tmp_path / "m.onnx")
    wanted = predict(model, parameters, X)
    given, *label = run(tmp_path / "m.onnx", X)
    assert given.dtype == np.float32
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(given / scale, wanted / scale, rtol=0.0, atol=1e-5)
    if model.output == "softmax":
        assert label[0].dtype == np.int64
        np.testing.assert_array_equal(label[0], given.argmax(axis=1))


def test_every_activation_has_steps() -> None:
    assert ACTIVATION_STEPS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("members", [None, 3])
def test_ten_thousand_digits(members: int | None, tmp_path: Path) -> None:
    mnist = xpmlp.load_mnist()
    model = MLP((784, 64, 32, 10))
    seeds = 11 if members is None else range(members)
    backend = xpmlp.select_backend("numpy")
    trained = xpmlp.train(
        model, mnist.train, parameters=model.initialize(seeds), epochs=1, backend=backend
    )
    parameters = trained.backend.to_numpy(trained.parameters)
    path = tmp_path / "digits.onnx"
    found = export_onnx(model, parameters, path, image_shape=(28, 28), takes_bytes=True)
    assert found.input == "input uint8 (N, 28, 28)"
    X = mnist.test.X
    wanted = predict(model, parameters, X)
    given, label = run(path, X.reshape(-1, 28, 28))
    np.testing.assert_allclose(given, wanted, rtol=0.0, atol=1e-5)
    # Labels may differ only where two classes are equally likely to that much.
    differs = label != wanted.argmax(axis=1)
    top = np.sort(wanted[differs], axis=1)
    assert (top[:, -1] - top[:, -2] < 2e-5).all()
    np.testing.assert_allclose(given.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_any_number_of_rows(n: int, tmp_path: Path) -> None:
    model = MLP((6, 4, 3))
    export_onnx(model, parameters_of(model), tmp_path / "m.onnx", image_shape=(2, 3))
    given, label = run(tmp_path / "m.onnx", np.ones((n, 2, 3), np.float32))
    assert given.shape == (n, 3)
    assert label.shape == (n,)


def test_extreme_numbers_overflow_in_neither(tmp_path: Path) -> None:
    for hidden in ("softplus", "mish", "gelu", "gelu_tanh", "silu", "selu", "sigmoid"):
        model = MLP((3, 4, 2), hidden)
        parameters = parameters_of(model)
        X = np.array([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4], [0, 0, 0]], np.float32)
        export_onnx(model, parameters, tmp_path / f"{hidden}.onnx")
        given, _ = run(tmp_path / f"{hidden}.onnx", X)
        np.testing.assert_allclose(given, predict(model, parameters, X), rtol=0.0, atol=1e-5)


def test_float64_is_rounded(tmp_path: Path) -> None:
    model = MLP((5, 7, 3), normalization="batch")
    parameters = parameters_of(model, dtype="float64")
    export_onnx(model, parameters, tmp_path / "m.onnx")
    X = RANDOM.normal(size=(20, 5))
    given, _ = run(tmp_path / "m.onnx", X.astype(np.float32))
    np.testing.assert_allclose(given, predict(model, parameters, X), rtol=0.0, atol=1e-5)


def test_a_graph_says_what_it_is_and_is_the_same_every_time(tmp_path: Path) -> None:
    model = MLP((6, 4, 3), "relu", normalization="batch")
    parameters = parameters_of(model, 2)
    for name in ("a.onnx", "b.onnx"):
        found = export_onnx(model, parameters, tmp_path / name, takes_bytes=True)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert found.bytes == (tmp_path / "a.onnx").stat().st_size
    made = onnx.load(tmp_path / "a.onnx")
    assert made.producer_name == "xpmlp"
    assert made.producer_version == xpmlp.__version__
    assert made.ir_version == IR_VERSION
    assert [one.version for one in made.opset_import] == [OPSET]
    assert {one.key: one.value for one in made.metadata_props} == {
        "input": "bytes 0..255, divided by 255 in the graph",
        "members": "2",
    }
    assert made.doc_string == "the network 6-4-3, relu, softmax"
    assert found.outputs == ("probabilities float32 (N, 3)", "label int64 (N)")


def test_a_wrong_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATION_STEPS, "sigmoid", ACTIVATION_STEPS["tanh"])
    model = MLP((6, 4, 3))
    with pytest.raises(InputError, match=r"m.onnx: the graph's predictions differ .* by 0\.\d"):
        export_onnx(model, parameters_of(model), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MLP((6, 4, 3))
    parameters = parameters_of(model)
    with pytest.raises(InputError, match=r"image_shape=\(2, 2\): 4 values, but .* takes 6"):
        export_onnx(model, parameters, tmp_path / "m.onnx", image_shape=(2, 2))
    with pytest.raises(InputError, match=r"no/m.onnx"):
        export_onnx(model, parameters, tmp_path / "no" / "m.onnx")
    monkeypatch.setattr("xpmlp.export.LARGEST", 100)
    with pytest.raises(InputError, match=r"172 bytes of weights, an ONNX file holds at most 100"):
        export_onnx(model, parameters, tmp_path / "m.onnx")


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object):
        if name.partition(".")[0] == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    model = MLP((6, 4, 3))
    with pytest.raises(InputError, match=r'pip install "xpmlp\[onnx\]"'):
        export_onnx(model, parameters_of(model), tmp_path / "m.onnx")
