"""`xpmlp export`: a run as an ONNX file."""

import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from xpmlp.data import load_idx_directory
from xpmlp.runs import RunDirectory
from xpmlp.tensors import load_tensors, save_tensors
from xpmlp.training import predict


def assert_predicts(run: Path, X: np.ndarray, Y_hat: np.ndarray) -> np.ndarray:
    """The graph's predictions are the run's; its parameters."""
    found = RunDirectory(run).load_model()
    wanted = predict(found.model, found.parameters, X)
    np.testing.assert_allclose(Y_hat, wanted, rtol=0.0, atol=1e-5)
    return found.parameters


def test_a_run_goes_into_a_file_that_another_program_runs(command, trained, data) -> None:
    said = command("export", trained, "model.onnx")
    assert said.err == ""
    size = Path("model.onnx").stat().st_size
    assert said.out.splitlines()[:3] == [
        f"model.onnx: opset 17, {size:,} bytes",
        "takes input uint8 (N, 4, 4)",
        "gives probabilities float32 (N, 10) and label int64 (N)",
    ]
    X = load_idx_directory(data).test.X
    rows = X.reshape(-1, 4, 4)
    # The line that the command says comes next.
    call = said.out.splitlines()[3].removeprefix("(next, in Python: ").partition("; or ")[0]
    Y_hat, _ = eval(call, {"onnxruntime": onnxruntime, "rows": rows})  # noqa: S307
    assert_predicts(trained, X, Y_hat)
    assert said.out.splitlines()[3].endswith(f"; or xpmlp report {trained})")


def test_an_ensemble_is_one_graph(command, trained_members, data) -> None:
    assert command("export", trained_members, "three.onnx").status == 0
    X = load_idx_directory(data).test.X
    session = onnxruntime.InferenceSession("three.onnx")
    Y_hat, _ = session.run(None, {"input": X.reshape(-1, 4, 4)})
    assert assert_predicts(trained_members, X, Y_hat).shape[0] == 3


def test_type_of_rows_is_that_of_training(command, tiny, make_data, tmp_path) -> None:
    """Images of floats are not scaled in training, and so not in the graph."""
    numbers = make_data(tmp_path / "numbers", images=">f4")
    command(*tiny, "--quiet", "--data", numbers, "--out", "run")
    assert "takes input float32 (N, 4, 4)" in command("export", "run", "m.onnx").out
    said = command("export", "run", "m.onnx", "--input", "uint8")
    assert "takes input uint8 (N, 4, 4)" in said.out


@pytest.mark.parametrize(
    ("image_shape", "takes"), [([4, 4], "uint8 (N, 4, 4)"), ([16], "float32 (N, 16)")]
)
def test_export_of_a_model_without_takes_bytes(
    command, trained, tmp_path, image_shape: list[int], takes: str
) -> None:
    """Images were bytes, and the rows of a table numbers."""
    old = Path(shutil.copytree(trained, tmp_path / "old"))
    tensors, metadata = load_tensors(old / "model.safetensors")
    del metadata["takes_bytes"]
    metadata["image_shape"] = image_shape
    save_tensors(old / "model.safetensors", tensors, metadata)
    assert f"takes input {takes}" in command("export", old, "m.onnx").out


def test_export_without_onnx_says_what_to_install(refused, trained, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not there
    assert 'pip install "xpmlp[onnx]"' in refused("export", trained, "m.onnx")


def test_export_replaces_an_existing_file(command, trained) -> None:
    """As `plot` does: the same run gives the same bytes."""
    Path("m.ONNX").write_text("another")
    assert command("export", trained, "m.ONNX").status == 0
    assert command("export", trained, "again.onnx").status == 0
    assert Path("m.ONNX").read_bytes() == Path("again.onnx").read_bytes()


def test_a_run_in_float64(command, tiny, data) -> None:
    command(*tiny, "--quiet", "--dtype", "float64", "--out", "run")
    assert command("export", "run", "m.onnx").status == 0
    X = load_idx_directory(data).test.X
    Y_hat, _ = onnxruntime.InferenceSession("m.onnx").run(None, {"input": X.reshape(-1, 4, 4)})
    assert assert_predicts(Path("run"), X, Y_hat).dtype == np.float64
