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
from xpmlp.export import IR_VERSION, OPSET, export_onnx
from xpmlp.network import MLP
from xpmlp.network.mlp import NORMALIZATIONS, OUTPUTS
from xpmlp.training import predict

pytestmark = pytest.mark.extended(keep=15)


def random() -> np.random.Generator:
    """A generator of its own for each array, so that no test depends on those before it."""
    return np.random.default_rng(4)


def parameters_of(model: MLP, members: int | None = None, dtype: str = "float32") -> np.ndarray:
    """Parameters that let every unit do something, and statistics of no usual batch."""
    shape = (model.size,) if members is None else (members, model.size)
    vector = random().normal(size=shape) * 0.7
    statistics = model.size - model.parameter_count
    if statistics:
        vector[..., -statistics:] = np.abs(vector[..., -statistics:]) + 0.1
    return vector.astype(dtype)


def run(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options).run(None, {"input": rows})


def assert_same_predictions(
    model: MLP, parameters: np.ndarray, X: np.ndarray, path: Path, **settings
) -> None:
    """What onnxruntime makes of a graph is what the network predicts, to 1e-5; of the largest,
    where predictions are numbers."""
    export_onnx(model, parameters, path, **settings)
    wanted = predict(model, parameters, X)
    given, *label = run(path, X)
    assert given.dtype == np.float32
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(given / scale, wanted / scale, rtol=0.0, atol=1e-5)
    assert len(label) == (model.output == "softmax")
    if label:
        assert label[0].dtype == np.int64
        np.testing.assert_array_equal(label[0], given.argmax(axis=1))


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_a_graph_predicts_what_the_network_does(hidden: str, output: str, tmp_path: Path) -> None:
    X = random().normal(size=(40, 5)).astype(np.float32) * 2
    for normalization, residual, members in itertools.product(
        NORMALIZATIONS, (False, True), (None, 1, 3)
    ):
        model = MLP((5, 7, 7, 3), hidden, output, normalization, residual)
        parameters = parameters_of(model, members)
        if output == "exp":
            parameters *= 0.5  # else it overflows, in both
        assert_same_predictions(model, parameters, X, tmp_path / "m.onnx")


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("widths", [(5, 3), (5, 1), (1, 1), (5, 4, 1)])
@pytest.mark.parametrize("output", OUTPUTS)
def test_networks_of_any_depth(
    widths: tuple[int, ...], output: str, members: int | None, tmp_path: Path
) -> None:
    """Without a hidden layer, with one value in, and with one out."""
    model = MLP(widths, output=output)
    X = random().integers(0, 256, (9, widths[0])).astype(np.uint8)
    assert_same_predictions(
        model, parameters_of(model, members), X, tmp_path / "m.onnx", takes_bytes=True
    )


@pytest.mark.extended(keep=1)
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


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_any_number_of_rows(normalization: str, members: int | None, tmp_path: Path) -> None:
    model = MLP((6, 4, 3), normalization=normalization)
    path = tmp_path / "m.onnx"
    export_onnx(model, parameters_of(model, members), path, image_shape=(2, 3))
    X = random().normal(size=(5_000, 2, 3)).astype(np.float32)
    all_at_once, _ = run(path, X)
    for n in (0, 1, 7):
        given, label = run(path, X[:n])
        assert given.shape == (n, 3)
        assert label.shape == (n,)
        np.testing.assert_allclose(given, all_at_once[:n], rtol=0.0, atol=1e-6)


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
    X = random().normal(size=(20, 5))
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


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("sigmoid", "tanh"), ("gelu", "gelu_tanh"), ("gelu_tanh", "gelu"), ("silu", "mish")]
    + [(name, "identity") for name in ACTIVATIONS if name != "identity"],
)
def test_a_wrong_graph_is_not_written(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though gelu and gelu_tanh are at most 0.0005 apart."""
    other = ACTIVATIONS[right]._replace(onnx=ACTIVATIONS[wrong].onnx)
    monkeypatch.setitem(ACTIVATIONS, right, other)
    model = MLP((6, 16, 16, 3), right)
    parameters = parameters_of(model)
    with pytest.raises(InputError, match=r"m.onnx: the graph's predictions differ .* at most .*e-"):
        export_onnx(model, parameters, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_right_graph_is_not_taken_for_a_wrong_one(
    normalization: str, output: str, dtype: str, tmp_path: Path
) -> None:
    """Large weights, whose rounding shows in predictions; exp of what they give, which overflows;
    and Z far beyond 88, of which no runtime may take exp."""
    for hidden, members in itertools.product(ACTIVATIONS, (None, 3)):
        model = MLP((32, 32, 32, 32, 10), hidden, output, normalization, residual=True)
        parameters = 5 * parameters_of(model, members, dtype)
        assert export_onnx(model, np.abs(parameters), tmp_path / "m.onnx").bytes
        if model.normalization != "batch":  # whose variance is not below 0
            assert export_onnx(model, parameters, tmp_path / "m.onnx").bytes


def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MLP((6, 4, 3))
    parameters = parameters_of(model)
    path = tmp_path / "m.onnx"
    with pytest.raises(InputError, match=r"image_shape=\(2, 2\): 4 values, but .* takes 6"):
        export_onnx(model, parameters, path, image_shape=(2, 2))
    with pytest.raises(InputError, match=r"no/m.onnx"):
        export_onnx(model, parameters, tmp_path / "no" / "m.onnx")
    with pytest.raises(InputError, match=r"of type builtins.list: give an array of NumPy, such as"):
        export_onnx(model, parameters.tolist(), path)
    for wrong in (parameters[:-1], parameters[None, None]):
        with pytest.raises(
            InputError, match=r"of shape \(.*\): the network 6-4-3 predicts with 43"
        ):
            export_onnx(model, wrong, path)
    normalized = MLP((6, 4, 3), normalization="batch")
    learned = parameters_of(normalized)[: normalized.parameter_count]
    with pytest.raises(InputError, match=r"predicts with 59 numbers.*; give run.parameters"):
        export_onnx(normalized, learned, path)
    for bad in (np.nan, -np.inf, 1e39):
        worse = parameters.astype(np.float64)
        worse[7] = bad
        with pytest.raises(InputError, match="NaN, infinite or beyond float32"):
            export_onnx(model, worse, path)
    with pytest.raises(InputError, match="the network overflows float32 on ordinary rows"):
        export_onnx(MLP((6, 4, 3), "relu"), np.full(43, 3e38, np.float32), path)
    monkeypatch.setattr("xpmlp.export.LARGEST_ONNX", 100)
    with pytest.raises(InputError, match=r"172 bytes of weights, an ONNX file holds at most 100"):
        export_onnx(model, parameters, path)
    assert not list(tmp_path.iterdir())


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
