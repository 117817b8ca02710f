"""`xpmlp export`: a run as an ONNX file."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from xpmlp.data import load_idx_directory
from xpmlp.data.tables import read_table
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


def write_trees(path: Path, count: int = 200) -> None:
    """A table with a column of each kind, a tenth of whose values is missing."""
    random = np.random.default_rng(3)
    days = np.datetime64("2001-03-04") + random.integers(0, 5000, count)
    columns = {
        "height": random.normal(20.0, 5.0, count).round(2),
        "is_old": random.choice(["true", "false"], count),
        "colour": random.choice(["green", "dark green", "red"], count),
        "planted": days.astype(str),
    }
    table = pd.DataFrame(
        {name: pd.Series(values, dtype=object) for name, values in columns.items()}
    )
    table = table.mask(random.random(table.shape) < 0.1)
    table["species"] = random.choice(["oak", "ash", "elm"], count)
    table.to_csv(path, index=False)


def test_graph_of_a_table_takes_its_columns(command) -> None:
    """The example of the documentation gives what `predict` does, on the same file."""
    write_trees(Path("trees.csv"))
    options = "--data trees.csv --epochs 2 --batch-size 20 --backend numpy --set scaling=robust"
    assert command("train", *options.split(), "--quiet", "--out", "run").status == 0
    said = command("export", "run", "trees.onnx")
    first, second, third, fourth = said.out.splitlines()
    assert first.startswith("trees.onnx: opset 17, ")
    assert second == (
        "takes height float64 (N, 1), is_old float64 (N, 1), colour string (N, 1) and 4 more"
    )
    assert third == "gives probabilities float32 (N, 3) and label string (N)"
    assert ".run(None, columns), columns being a dictionary of arrays (N, 1); or xpmlp" in fourth
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
    example = page.partition("## Columns of a table")[2].partition("```python\n")[2]
    found: dict[str, object] = {}
    code = example.partition("```")[0].replace("docs/trees.csv", "trees.csv")
    exec(code, found)  # noqa: S102
    X = read_table("trees.csv", RunDirectory(Path("run")).load_model().schema)
    assert_predicts(Path("run"), X, np.asarray(found["probabilities"]))
    answers = json.loads(command("predict", "run", "trees.csv", "--json").out)
    assert [one["class"] for one in answers] == list(found["label"])


def test_network_of_a_table_alone_takes_encoded_rows(command) -> None:
    write_trees(Path("trees.csv"))
    options = "--data trees.csv --epochs 1 --batch-size 20 --backend numpy"
    assert command("train", *options.split(), "--quiet", "--out", "run").status == 0
    said = command("export", "run", "m.onnx", "--input", "float32").out
    X = read_table("trees.csv", RunDirectory(Path("run")).load_model().schema).astype(np.float32)
    assert f"takes input float32 (N, {X.shape[1]})\n" in said
    Y_hat, _ = onnxruntime.InferenceSession("m.onnx").run(None, {"input": X})
    assert_predicts(Path("run"), X, Y_hat)
