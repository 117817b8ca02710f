"""Make what is kept here with xpmlp 0.1.0: `python tests/golden/make.py`, at commit 256bb6e.

Kept for the record: a later version must read these files, not write them again, so this refuses to
run with any other. The recipes beside it are written by hand; all else comes from here, the same
each time but for times of day. In `config.toml` and in checkpoints 0.1.0 writes the path of the
data from the root of the file system; here it stays relative to this directory, so that no path of
one machine is in the files. That is the only thing that differs from what a user's run left behind.
"""

import contextlib
import io
import json
import os
import pickle
import platform
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import load_file

import xpmlp
from xpmlp.backends import Backend
from xpmlp.cli.app import run as command
from xpmlp.cli.watching import Interruption
from xpmlp.data import hold_out, write_idx
from xpmlp.optimizers import adam
from xpmlp.recipes import Recipe
from xpmlp.schedules import one_cycle
from xpmlp.training import Trainer

HERE = Path(__file__).parent
VERSION = "0.1.0"

COMMON = "--backend numpy --threads 1 --quiet"

DIGITS = "--data data/digits --set layer_sizes=16,12,12,10"

RUNS = {
    # The four recipes that 0.1.0 ships, each in a short form; the lecture's on MNIST itself.
    "lecture": "lecture --hidden 6,4 --epochs 1 --batch-size 500 --learning-rate 2",
    "modern": f"modern {DIGITS} --batch-size 20 --epochs 8 --learning-rate 0.03"
    " --set average_decay=0.9 --set dropout=0.1 --set input_dropout=0.05",
    "keras-mnist-mlp": f"keras-mnist-mlp {DIGITS} --batch-size 20 --epochs 8 --learning-rate 0.01",
    "srivastava2014": "srivastava2014 --data data/digits --set layer_sizes=16,12,12,12,10"
    " --batch-size 20 --epochs 8 --members 2 --set dropout=0.1 --set input_dropout=0.05",
    # What else a run can be.
    "members": "lecture --data data/digits --set layer_sizes=16,8,10 --batch-size 10 --epochs 8"
    " --members 3 --learning-rate 0.5,1,2 --set seed=5,6,7",
    "regression": "lecture --data data/houses --set layer_sizes=3,8,1 --set output=identity"
    " --set hidden=tanh --set initializer=glorot_normal --set validation=0.2 --set keep_best=true"
    " --set optimizer=adam --learning-rate 0.05 --batch-size 12 --epochs 12 --shuffle",
    "batch-norm": "lecture --data data/digits.npz --set layer_sizes=16,12,12,10 --set hidden=relu"
    " --set normalization=batch --set residual=true --set initializer=he_normal --epochs 6"
    " --set average=swa --set average_start=0.5 --batch-size 20 --learning-rate 0.2 --shuffle",
    "layer-norm": "lecture --data data/flowers.csv --set layer_sizes=4,8,8,3 --set hidden=gelu"
    " --set normalization=layer --set residual=true --set initializer=glorot_uniform --epochs 5"
    " --batch-size 9 --learning-rate 0.1 --shuffle --dtype float64",
    "early-stopping": "lecture --data data/digits --set layer_sizes=16,16,10 --set hidden=tanh"
    " --set initializer=glorot_uniform --set validation=0.2 --set patience=2 --set keep_best=true"
    " --set optimizer=adam --learning-rate 0.1 --batch-size 16 --epochs 60 --shuffle",
    "npy": "lecture --data data/arrays --set layer_sizes=5,6,1 --set output=sigmoid --epochs 4"
    " --set hidden=tanh --set initializer=lecun_normal --batch-size 10 --learning-rate 0.5"
    " --dtype float64",
    "tags": "lecture --data data/tags.npz --set layer_sizes=5,7,3 --set output=sigmoid --epochs 5"
    " --set hidden=silu --set initializer=glorot_normal --batch-size 10 --learning-rate 0.5",
    "counts": "lecture --data data/counts.npz --set layer_sizes=2,6,1 --set output=exp --epochs 5"
    " --set hidden=tanh --set initializer=glorot_normal --batch-size 10 --learning-rate 0.02",
    "letters": "lecture --data data/letters --set layer_sizes=36,8,3 --set hidden=tanh --epochs 8"
    " --set initializer=glorot_normal --batch-size 6 --learning-rate 0.3",
    "pixels": "lecture --data data/pixels.parquet --set layer_sizes=16,8,10 --set hidden=tanh"
    " --set initializer=glorot_normal --batch-size 10 --learning-rate 0.5 --epochs 5",
    "diverged": "lecture --data data/houses --set layer_sizes=3,8,1 --set output=identity"
    " --set hidden=identity --learning-rate 0.5 --batch-size 12 --epochs 9",
}  # fmt: skip

STOPPED = {
    # Name: the signal, the step after which it comes, and the run.
    "float64": (
        signal.SIGINT,
        14,
        "lecture --data data/digits --set layer_sizes=16,12,12,10 --set hidden=gelu"
        " --set initializer=glorot_uniform --set validation=0.1 --set keep_best=true"
        " --set optimizer=adam --set schedule=one_cycle --set dropout=0.1 --set clip_norm=3"
        " --learning-rate 0.02 --batch-size 12 --epochs 4 --shuffle --dtype float64",
    ),
    "float32": (
        signal.SIGTERM,
        7,
        "lecture --data data/digits --set layer_sizes=16,8,10 --set hidden=tanh"
        " --set initializer=glorot_uniform --set normalization=batch --set optimizer=momentum"
        " --set average=ema --set average_decay=0.9 --set mixup=0.2 --members 2"
        " --learning-rate 0.05,0.1 --batch-size 24 --epochs 3 --shuffle",
    ),
}

CLASSES = ["setosa", "versicolor", "virginica"]


def main() -> None:
    if xpmlp.__version__ != VERSION:
        sys.exit(f"xpmlp {xpmlp.__version__}: these files are those of {VERSION}, never others")
    os.chdir(HERE)
    for name in ("data", "rows", "runs", "stopped", "whole", "sweep", "estimators", "onnx"):
        shutil.rmtree(name, ignore_errors=True)
    platform.platform = lambda: "Linux-x86_64"  # of no use to a test, and some machine's own
    expected: dict[str, Any] = {
        "made": {
            "xpmlp": VERSION,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "python": platform.python_version(),
        }
    }
    arrays: dict[str, np.ndarray] = {}
    with paths_kept():
        make_data()
        make_runs(expected)
        make_stopped()
        make_recipes(expected, arrays)
        make_more_epochs(arrays)
        make_sweep()
    make_onnx(arrays)
    make_estimators(arrays)
    make_python(arrays)
    text = json.dumps(expected, indent=1, sort_keys=True) + "\n"
    Path("expected.json").write_text(text, "utf-8")
    np.savez_compressed("expected.npz", **arrays)


@contextlib.contextmanager
def paths_kept() -> Iterator[None]:
    """The paths that a recipe gives stay as they are: see the top."""
    resolved = Recipe.resolved

    def relative(recipe: Recipe, backend: Backend) -> Recipe:
        paths = {"data": recipe.data, "initial_weights": recipe.initial_weights}
        return resolved(recipe, backend).replace(paths)

    Recipe.resolved = relative
    yield
    Recipe.resolved = resolved


def xpmlp_command(line: str, *, status: int = 0) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        found = command(line.split())
    assert found == status, (line, found)
    return out.getvalue()


def digits(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """4 x 4 images in which the pixel of the label is the brightest."""
    labels = random.integers(0, 10, count).astype(np.uint8)
    X = random.integers(0, 120, (count, 16)).astype(np.uint8)
    X[np.arange(count), labels] = random.integers(170, 256, count)
    return X.reshape(-1, 4, 4), labels


def make_data() -> None:
    random = np.random.default_rng(1)
    data, rows = Path("data"), Path("rows")
    for path in (data / "digits", data / "arrays", data / "houses", rows):
        path.mkdir(parents=True)

    train, test = digits(120, random), digits(40, random)
    for part, (X, labels) in (("train", train), ("t10k", test)):
        write_idx(data / "digits" / f"{part}-images-idx3-ubyte", X)
        write_idx(data / "digits" / f"{part}-labels-idx1-ubyte", labels)
    np.savez_compressed(
        data / "digits.npz", X_train=train[0], y_train=train[1], X_test=test[0], y_test=test[1]
    )
    np.save(rows / "digits.npy", test[0][:4])
    Image.fromarray(test[0][4].repeat(3, axis=0).repeat(3, axis=1)).save(rows / "digit.png")
    X, labels = digits(100, random)
    columns = {f"p{number}": column for number, column in enumerate(X.reshape(-1, 16).T)}
    parquet.write_table(pa.table({**columns, "label": labels.astype(np.int64)}),
                        data / "pixels.parquet", compression="zstd")  # fmt: skip
    np.save(rows / "mnist.npy", xpmlp.load_mnist().test.X[:3])

    flowers(random, 72).to_csv(data / "flowers.csv", index=False)
    np.save(rows / "flowers.npy", flowers(random, 4).to_numpy()[:, :4].astype(np.float64))

    def houses(count: int) -> pd.DataFrame:
        X = random.uniform(-1, 1, (count, 3)).round(3)
        price = 2 * X[:, 0] - X[:, 1] ** 2 + X[:, 0] * X[:, 2] + random.normal(0, 0.1, count)
        return pd.DataFrame({"size": X[:, 0], "age": X[:, 1], "rooms": X[:, 2],
                             "target": price.round(3)})  # fmt: skip

    houses(80).to_csv(data / "houses" / "train.csv", index=False)
    houses(24).to_csv(data / "houses" / "test.csv", index=False)
    np.save(rows / "houses.npy", houses(4).to_numpy()[:, :3])

    X = random.normal(size=(110, 5)).round(3)
    tags = np.stack([X[:, 0] + X[:, 1] > 0, X[:, 2] > X[:, 3], X[:, 4] > 0.5], 1).astype(np.int64)
    np.savez_compressed(data / "tags.npz", X_train=X[:80], y_train=tags[:80], X_test=X[80:],
                        y_test=tags[80:])  # fmt: skip
    np.save(rows / "tags.npy", X[:4])
    for name, array in (("X_train", X[:80]), ("y_train", tags[:80, 0]), ("X_test", X[80:]),
                        ("y_test", tags[80:, 0])):  # fmt: skip
        np.save(data / "arrays" / f"{name}.npy", array)

    X = random.uniform(-1, 1, (100, 2)).round(3)
    counts = random.poisson(np.exp(1 + X[:, 0] - X[:, 1])).astype(np.int64)
    np.savez_compressed(data / "counts.npz", X=X, y=counts)
    np.save(rows / "counts.npy", X[:4])

    for part, count in (("train", 8), ("test", 4)):
        for letter in "ILO":
            folder = data / "letters" / part / letter
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(drawn(letter, random)).save(folder / f"{number}.png")
    Image.fromarray(drawn("L", random)).save(rows / "letter.png")

    W = {"W1": (4, 6), "B1": (6,), "W2": (6, 3), "B2": (3,)}
    np.savez("weights.npz", **{name: random.normal(0, 0.5, shape) for name, shape in W.items()})


def flowers(random: np.random.Generator, count: int) -> pd.DataFrame:
    """Four lengths and widths, and the class as text."""
    kinds = random.integers(0, 3, count)
    means = np.array([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]])
    X = (means[kinds] + random.normal(0, 0.35, (count, 4))).round(2)
    table = pd.DataFrame(X, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"])
    return table.assign(species=[CLASSES[kind] for kind in kinds])


def drawn(letter: str, random: np.random.Generator) -> np.ndarray:
    """A letter of 6 x 6 pixels, light on dark, with noise."""
    image = random.integers(0, 90, (6, 6))
    image[1:5, {"I": 3, "L": 1, "O": 1}[letter]] += 150
    if letter == "O":
        image[1:5, 4] += 150
    if letter in "LO":
        image[4, 1:5] = 220
    return image.astype(np.uint8)


ROWS = {
    "lecture": "rows/mnist.npy", "regression": "rows/houses.npy", "diverged": "rows/houses.npy",
    "layer-norm": "rows/flowers.npy", "npy": "rows/tags.npy", "tags": "rows/tags.npy",
    "counts": "rows/counts.npy", "letters": "rows/letter.png",
}  # fmt: skip
"""What `predict` is asked of each run; the others take digits."""


def answers(run: str, rows: str) -> dict[str, Any]:
    """What `evaluate` and `predict` say of a run."""
    found = json.loads(xpmlp_command(f"evaluate {run} --backend numpy --json"))
    rows = json.loads(xpmlp_command(f"predict {run} {rows} --backend numpy --json"))
    values = [row.get("probabilities", row.get("values")) for row in rows]
    return {"accuracy": found["accuracy"], "loss": found["loss"], "predictions": values}


def make_runs(expected: dict[str, Any]) -> None:
    runs = expected["runs"] = {}
    for name, line in RUNS.items():
        status = 1 if name == "diverged" else 0
        xpmlp_command(f"train {line} {COMMON} --out runs/{name}", status=status)
        rows = ROWS.get(name, "rows/digits.npy rows/digit.png")
        if name in ("pixels", "modern"):
            rows = "rows/digits.npy"
        runs[name] = {"rows": rows, **answers(f"runs/{name}", rows)}
        without_figure(Path("runs") / name, keep=name == "lecture")


def without_figure(run: Path, *, keep: bool = False) -> None:
    """The figures would be two thirds of all bytes here; the one of the lecture's run is kept."""
    if not keep:
        (run / "training.png").unlink(missing_ok=True)


def make_stopped() -> None:
    """The same run twice: ended by a signal in the middle of an epoch, and undisturbed."""
    for name, (number, step, line) in STOPPED.items():
        xpmlp_command(f"train {line} {COMMON} --out whole/{name}")
        with signalled(number, step):
            xpmlp_command(
                f"train {line} {COMMON} --checkpoint-every 7 --out stopped/{name}",
                status=128 + number,
            )
        for run in (Path("whole") / name, Path("stopped") / name):
            without_figure(run)


@contextlib.contextmanager
def signalled(number: int, step: int) -> Iterator[None]:
    """The process sends itself a signal after this number of steps."""
    on_tick = Interruption.on_tick

    def hear(self: Interruption, training: Trainer, /) -> None:
        if training.iteration == step:
            assert 0 < training.step < training.steps_per_epoch
            os.kill(os.getpid(), number)
        on_tick(self, training)

    Interruption.on_tick = hear
    yield
    Interruption.on_tick = on_tick


def parameters(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model.safetensors")


def make_recipes(expected: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    recipes = expected["recipes"] = {}
    for path in sorted(Path("recipes").glob("*.toml")):
        xpmlp_command(f"train {path} {COMMON} --out made")
        found = json.loads(xpmlp_command("evaluate made --backend numpy --json"))
        recipes[path.stem] = {"accuracy": found["accuracy"], "loss": found["loss"]}
        arrays |= {f"recipes/{path.stem}/{name}": a for name, a in parameters(Path("made")).items()}
        shutil.rmtree("made")


def make_more_epochs(arrays: dict[str, np.ndarray]) -> None:
    """A finished run that is resumed for two more epochs."""
    shutil.copytree("runs/members", "made")
    xpmlp_command("train --resume made --epochs 10 --quiet")
    arrays |= {f"more/{name}": array for name, array in parameters(Path("made")).items()}
    shutil.rmtree("made")


def make_sweep() -> None:
    xpmlp_command(
        "sweep lecture --data data/digits --set layer_sizes=16,8,10 --set epochs=8"
        " --set batch_size=12 --over learning_rate=0.3,1,3 --members 2 --set threads=1"
        " --backend numpy --out sweep"
    )
    Path("sweep/sweep.png").unlink()


def make_onnx(arrays: dict[str, np.ndarray]) -> None:
    import onnxruntime

    Path("onnx").mkdir()
    for name, run in (("classifier", "batch-norm"), ("regression", "regression")):
        xpmlp_command(f"export runs/{run} onnx/{name}.onnx")
        session = onnxruntime.InferenceSession(f"onnx/{name}.onnx")
        rows = np.load("rows/digits.npy" if name == "classifier" else "rows/houses.npy")
        rows = rows if name == "classifier" else rows.astype(np.float32)
        arrays[f"onnx/{name}"] = session.run(None, {"input": rows})[0]


def make_estimators(arrays: dict[str, np.ndarray]) -> None:
    Path("estimators").mkdir()
    random = np.random.default_rng(2)
    table, more = flowers(random, 60), flowers(random, 20)
    X, y = table.drop(columns="species"), table["species"].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that is not converged
        classifier = xpmlp.MLPClassifier(
            (6, 5), activation="tanh", max_iter=12, random_state=0, normalization="layer",
            learning_rate_init=0.02, batch_size=15, class_weight="balanced", threads=1,
            early_stopping=True, backend="numpy",
        ).fit(X, y)  # fmt: skip
        A = random.normal(size=(50, 3))
        b = np.stack([A[:, 0] + 1, A[:, 1] * A[:, 2]], axis=1)
        regressor = xpmlp.MLPRegressor(
            hidden_layer_sizes=(7,), activation="tanh", max_iter=15, random_state=1, n_members=2,
            batch_size=10, learning_rate_init=0.02, threads=1, backend="numpy",
        ).fit(A, b)  # fmt: skip
    for name, estimator in (("classifier", classifier), ("regressor", regressor)):
        estimator.save(f"estimators/{name}.safetensors")
        Path(f"estimators/{name}.pickle").write_bytes(pickle.dumps(estimator, protocol=5))
    more_X = more.drop(columns="species")
    arrays["classifier/X"] = more_X.to_numpy()
    arrays["classifier/y"] = more["species"].to_numpy().astype(str)
    arrays["classifier/probabilities"] = classifier.predict_proba(more_X)
    arrays["classifier/labels"] = classifier.predict(more_X).astype(str)
    arrays["regressor/X"], arrays["regressor/y"] = A[:10], b[:10]
    arrays["regressor/predictions"] = regressor.predict(A[:10])
    regressor = xpmlp.MLPRegressor.load("estimators/regressor.safetensors")
    arrays["regressor/further"] = regressor.partial_fit(A[:10], b[:10]).predict(A[:10])


def make_python(arrays: dict[str, np.ndarray]) -> None:
    """The README's second example, small, and a cross-validation: `test_golden.py` has the same."""
    digits = xpmlp.load_idx_directory("data/digits")
    rows, held_out = hold_out(digits.train, 0.1, seed=0)
    model = xpmlp.MLP((16, 12, 12, 10), hidden="gelu", normalization="batch", residual=True)
    run = xpmlp.train(
        model,
        rows,
        parameters=model.initialize(seed=0, initializer="he_normal", dtype="float64"),
        epochs=4,
        batch_size=18,
        shuffle=True,
        objective=xpmlp.Objective(dropout=0.2, label_smoothing=0.05),
        descent=xpmlp.Descent(adam(), learning_rate=0.02, schedule=one_cycle(), weight_decay=0.01),
        control=xpmlp.Control(held_out, patience=3, keep_best=True),
        backend=xpmlp.select_backend("numpy"),
        threads=1,
    )
    arrays["python/parameters"] = np.asarray(run.parameters)
    folds = xpmlp.cross_validate(
        xpmlp.MLP((16, 8, 10)), digits.train, folds=3, epochs=2, threads=1,
        backend=xpmlp.select_backend("numpy"),
    )  # fmt: skip
    arrays["python/fold_losses"] = folds.losses
    arrays["python/validation_losses"] = np.asarray(run.history.validation_losses)


if __name__ == "__main__":
    main()
