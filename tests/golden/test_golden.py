"""What each command makes of the files that 0.1.0 left behind: runs, recipes, estimators, ONNX.

The tables below are the promise; `README.md` beside this says what the files are. A command that
works gives the answers that 0.1.0 gave, to rounding. A later version may change a line of a table,
in its own commit and with the reason; it may not change the files.

Commands run in a copy of this directory, from inside it: runs name their data by relative paths.
"""

import json
import logging
import pickle
import shutil
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

import xpmlp
from xpmlp.cli.app import run
from xpmlp.training import Best

pytestmark = pytest.mark.extended(keep=35)

GOLDEN = Path(__file__).parent
EXPECTED = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
MADE = EXPECTED["made"]

WORKS, ONE_WARNING, REFUSED, FAILS = "works", "works with one warning", "is refused", "exits with 1"
"""What a command does: exit status 0 with nothing on stderr, or with one line; 2 or 1 with one."""

WARNS_AND_REFUSES, WARNS_AND_FAILS = "warns and is refused", "warns and exits with 1"
"""As before, after a line about the flat keys of 0.1.0."""

VERSIONS = (xpmlp.__version__, np.__version__)
AS_BEGUN = WORKS if (MADE["xpmlp"], MADE["numpy"]) == VERSIONS else REFUSED
"""A run is resumed with the versions that it began with; with others it takes --force."""

RUNS = sorted(EXPECTED["runs"])
RECIPES = sorted(EXPECTED["recipes"])
SOME = ("diverged", "letters", "members", "regression")
"""Runs that differ in what a figure shows: for commands that take long."""


def all_of(names: Iterable[str], outcome: str, **others: str) -> dict[str, str]:
    return {**dict.fromkeys(names, outcome), **others}


# Beside what is kept there are, made from it: `killed`, a run after SIGKILL, which has its recipe
# and a checkpoint only; `moved`, one whose data is no longer where it was.
TABLE = {
    "evaluate": all_of(RUNS, WORKS, killed=REFUSED, moved=REFUSED),
    "evaluate --data": {"moved": WORKS},
    "predict": all_of(RUNS, WORKS, killed=REFUSED, moved=WORKS),
    "export": all_of(RUNS, WORKS, killed=REFUSED),
    "plot": all_of(SOME, WORKS, killed=REFUSED),
    "compare": all_of(SOME, WORKS, killed=REFUSED),
    "report": all_of(SOME, WORKS, killed=REFUSED, moved=REFUSED),
    "explain RUN": all_of(SOME, WORKS, killed=REFUSED, moved=REFUSED),
    # A recipe of 0.1.0 has flat keys: a file of them gives one warning line, run directories none.
    "train RUN/config.toml": all_of(
        RUNS, ONE_WARNING, diverged=WARNS_AND_FAILS, moved=WARNS_AND_REFUSES
    ),
    "train --resume": {
        "stopped/float64": AS_BEGUN,
        "stopped/float32": AS_BEGUN,
        "runs/killed": AS_BEGUN,
        "runs/lecture": REFUSED,  # its epochs are done
        "runs/moved": REFUSED,
    },
    "train --resume --force": {
        "stopped/float64": WORKS,
        "stopped/float32": WORKS,
        "runs/killed": WORKS,
        "runs/moved": REFUSED,
    },
    "train --resume --force --epochs": {"runs/members": WORKS},
    "train RECIPE": all_of(RECIPES, ONE_WARNING),
    "train SWEEP/recipe.toml": {"sweep": ONE_WARNING},
    "explain RECIPE": all_of(RECIPES, ONE_WARNING),
    "find-rate RECIPE": all_of(("plain", "members", "weights"), ONE_WARNING),
    "sweep RECIPE": {"plain": ONE_WARNING, "classes": ONE_WARNING},
    "sweep --out SWEEP": {"sweep": WARNS_AND_REFUSES},  # holds a sweep
    "gradcheck RECIPE": {"huber": ONE_WARNING},
}  # fmt: skip


class Said(NamedTuple):
    status: int
    out: str
    notices: set[str]
    """Lines of stderr and warnings of Python and of the log, each once."""


Command = Callable[..., Said]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this directory that tests read and never change."""
    path = tmp_path_factory.mktemp("golden") / "kept"
    shutil.copytree(GOLDEN, path, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    killed = path / "runs" / "killed"
    killed.mkdir()
    for name in ("config.toml", "checkpoint.safetensors"):
        shutil.copy(path / "stopped" / "float64" / name, killed)
    moved = path / "runs" / "moved"
    shutil.copytree(path / "runs" / "early-stopping", moved)
    config = (moved / "config.toml").read_text("utf-8")
    assert 'data = "data/digits"' in config
    elsewhere = config.replace('data = "data/digits"', 'data = "/nowhere/digits"')
    (moved / "config.toml").write_text(elsewhere, "utf-8")
    return path


@pytest.fixture(autouse=True)
def _beside_the_data(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a directory of its own, with data and rows beside what it copies there."""
    for name in ("data", "rows", "weights.npz"):
        (tmp_path / name).symlink_to(kept / name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Command:
    """Runs a command in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        caplog.clear()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        logged = {one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING}
        lines = {line.removeprefix("xpmlp: ") for line in err.splitlines() if line.strip()}
        assert "Traceback" not in err
        return Said(status, out, lines | logged | {str(one.message) for one in warned})

    return call


def assert_outcome(said: Said, outcome: str) -> bool:
    """Whether the command did its work, as the table says."""
    status = {REFUSED: 2, WARNS_AND_REFUSES: 2, FAILS: 1, WARNS_AND_FAILS: 1}.get(outcome, 0)
    assert said.status == status, said
    is_first_warned = outcome in (WARNS_AND_REFUSES, WARNS_AND_FAILS)
    assert len(said.notices) == (outcome != WORKS) + is_first_warned, said.notices
    return outcome in (WORKS, ONE_WARNING)


undrawn = pytest.mark.usefixtures("drawn")
"""Figures are made but not encoded, which takes longer than all the rest."""


def cases(name: str) -> pytest.MarkDecorator:
    """A test for each artefact of the table's row."""
    row = TABLE[name]
    return pytest.mark.parametrize(("artefact", "outcome"), row.items(), ids=list(row))


def copied(kept: Path, name: str) -> Path:
    """A copy, in the test's directory, of something that the command changes."""
    shutil.copytree(kept / name, name)
    return Path(name)


Stored = Callable[[str], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def stored() -> Stored:
    """The arrays of expected.npz whose names begin so, by what is left of their names."""
    with np.load(GOLDEN / "expected.npz") as file:
        arrays = dict(file)

    def beginning(start: str) -> dict[str, np.ndarray]:
        prefix = f"{start}/"
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    return beginning


def parameters_of(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model.safetensors")


BACKEND = ("--backend", "numpy")

PREDICTIONS = {"rtol": 1e-5, "atol": 1e-6}
"""Of one network, forward alone: float32 has 1.2e-7, and no row sums more than 784 products."""

TRAINED = {"float64": {"rtol": 1e-12, "atol": 1e-12}, "float32": {"rtol": 1e-4, "atol": 1e-4}}
"""Of a network that was trained again: rounding differs from one processor to another, and training
amplifies it. Measured: up to 6.4e-6 in float32 and 1.1e-15 in float64; see README.md."""

ROWS_OF_MNIST = 2e-4
"""Two of MNIST's 10,000 test rows, whose two likeliest classes may tie to rounding. The other data
sets are so small that this is less than one row."""


def assert_measured(found: Mapping[str, Any], expected: Mapping[str, Any], *, rtol: float) -> None:
    """The loss and the accuracy, or for a regression R², that `evaluate --json` prints."""
    score = next(found[name] for name in ("accuracy", "r2") if name in found)
    assert score == pytest.approx(expected["accuracy"], rel=rtol, abs=ROWS_OF_MNIST)
    assert found["loss"] == pytest.approx(expected["loss"], rel=rtol)


def assert_same_parameters(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    assert expected
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, **TRAINED[array.dtype.name], err_msg=name)


@cases("evaluate")
def test_evaluate_gives_what_the_summary_says(artefact, outcome, kept, command) -> None:
    said = command("evaluate", kept / "runs" / artefact, "--json", *BACKEND)
    if assert_outcome(said, outcome):
        found = json.loads(said.out)
        assert_measured(found, EXPECTED["runs"][artefact], rtol=1e-5)
        summary = json.loads((kept / "runs" / artefact / "summary.json").read_text("utf-8"))
        written = {"accuracy": summary["test_accuracy"], "loss": summary["test_loss"]}
        assert_measured(found, written, rtol=1e-5)


@cases("evaluate --data")
def test_evaluate_finds_moved_data(artefact, outcome, kept, command) -> None:
    said = command(
        "evaluate", kept / "runs" / artefact, "--data", "data/digits", "--json", *BACKEND
    )
    assert assert_outcome(said, outcome)
    assert_measured(json.loads(said.out), EXPECTED["runs"]["early-stopping"], rtol=1e-5)


@cases("predict")
def test_predict_gives_the_same_predictions(artefact, outcome, kept, command) -> None:
    of = EXPECTED["runs"].get(artefact, EXPECTED["runs"]["early-stopping"])
    said = command("predict", kept / "runs" / artefact, *of["rows"].split(), "--json", *BACKEND)
    if assert_outcome(said, outcome):
        found = [row.get("probabilities", row.get("values")) for row in json.loads(said.out)]
        np.testing.assert_allclose(found, of["predictions"], **PREDICTIONS)


@cases("export")
def test_export_gives_the_same_predictions(artefact, outcome, kept, command) -> None:
    if not assert_outcome(command("export", kept / "runs" / artefact, "out.onnx"), outcome):
        assert not Path("out.onnx").exists()
        return
    of = EXPECTED["runs"][artefact]
    session = onnxruntime.InferenceSession("out.onnx")
    taken = session.get_inputs()[0]
    given = of["rows"].split()
    files = [name for name in given if name.endswith(".npy")] or given
    assert files
    for name in files:
        rows = np.load(name) if name.endswith(".npy") else np.asarray(Image.open(name))[None]
        if taken.type == "tensor(float)":
            rows = rows.astype(np.float32)
        rows = rows.reshape(len(rows), *taken.shape[1:])
        found = session.run(None, {taken.name: rows})[0]
        expected = of["predictions"][: len(rows)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@undrawn
@cases("plot")
def test_plot(artefact, outcome, kept, command) -> None:
    said = command("plot", kept / "runs" / artefact, "--out", "out.png")
    assert assert_outcome(said, outcome) == Path("out.png").exists()


@undrawn
@cases("compare")
def test_compare_gives_what_the_summaries_say(artefact, outcome, kept, command) -> None:
    """Each beside the run of early stopping."""
    runs = [kept / "runs" / name for name in ("early-stopping", artefact)]
    said = command("compare", *runs, "--json", "--out", "out.png")
    if assert_outcome(said, outcome):
        for found, path in zip(json.loads(said.out), runs, strict=True):
            summary = json.loads((path / "summary.json").read_text("utf-8"))
            for name in ("test_loss", "epochs", "steps"):
                assert found[name] == summary[name]


@pytest.mark.extended(keep=1)
@cases("report")
def test_report_shows_the_accuracy(artefact, outcome, kept, command) -> None:
    said = command("report", kept / "runs" / artefact, "--out", "out.html", *BACKEND)
    if assert_outcome(said, outcome):
        page = Path("out.html").read_text("utf-8")
        assert page.count("<svg") >= 2
        accuracy = EXPECTED["runs"][artefact]["accuracy"]
        assert any(f"{accuracy:{form}}" in page for form in (".2%", ".4f", ".4g"))


@cases("explain RUN")
def test_explain_a_run(artefact, outcome, kept, command) -> None:
    said = command("explain", kept / "runs" / artefact)
    if assert_outcome(said, outcome):
        sizes = read_recipe(kept / "runs" / artefact / "config.toml")["layer_sizes"]
        assert f"{sizes[0]}×{sizes[1]}" in said.out


def read_recipe(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


@pytest.mark.extended(keep=4)
@undrawn
@cases("train RUN/config.toml")
def test_train_again_repeats_the_run(artefact, outcome, kept, command) -> None:
    before = kept / "runs" / artefact
    said = command("train", before / "config.toml", "--quiet", "--out", "again")
    if assert_outcome(said, outcome):
        assert_same_parameters(parameters_of(Path("again")), parameters_of(before))


@undrawn
@cases("train --resume")
def test_resume(artefact, outcome, kept, command) -> None:
    said = command("train", "--resume", copied(kept, artefact), "--quiet")
    if assert_outcome(said, outcome):
        assert_is_the_whole_run(Path(artefact), kept)


@undrawn
@cases("train --resume --force")
def test_resume_with_force(artefact, outcome, kept, command) -> None:
    said = command("train", "--resume", copied(kept, artefact), "--force", "--quiet")
    if assert_outcome(said, outcome):
        assert_is_the_whole_run(Path(artefact), kept)


def assert_is_the_whole_run(found: Path, kept: Path) -> None:
    """It ends as the same run did that nothing had disturbed."""
    whole = kept / "whole" / ("float32" if found.name == "float32" else "float64")
    assert_same_parameters(parameters_of(found), parameters_of(whole))
    tolerance = TRAINED[whole.name]
    with np.load(found / "history.npz") as a, np.load(whole / "history.npz") as b:
        for name in b.files:
            np.testing.assert_allclose(a[name], b[name], **tolerance, err_msg=name)


@undrawn
@cases("train --resume --force --epochs")
def test_resume_for_more_epochs(artefact, outcome, kept, command, stored) -> None:
    path = copied(kept, artefact)
    said = command("train", "--resume", path, "--force", "--epochs", 10, "--quiet")
    assert assert_outcome(said, outcome)
    assert_same_parameters(parameters_of(path), stored("more"))


class FirstBest(Best):
    """0.1.0 restored the first of equally good evaluations."""

    def or_as_good(self, cost: np.ndarray, parameters: np.ndarray) -> Best:
        return FirstBest(*super().or_as_good(cost, parameters)) if cost < self.cost else self


@undrawn
@cases("train RECIPE")
def test_train_an_old_recipe(artefact, outcome, kept, command, stored, monkeypatch) -> None:
    if artefact == "classes":  # its accuracies tie; all else is as it was
        monkeypatch.setattr("xpmlp.training.trainer.Best", FirstBest)
    recipe = kept / "recipes" / f"{artefact}.toml"
    said = command("train", recipe, "--threads", 1, *BACKEND, "--quiet", "--out", "run")
    if assert_outcome(said, outcome):
        assert_same_parameters(parameters_of(Path("run")), stored(f"recipes/{artefact}"))
        found = json.loads(command("evaluate", "run", "--json", *BACKEND).out)
        assert_measured(found, EXPECTED["recipes"][artefact], rtol=1e-3)


@undrawn
@cases("train SWEEP/recipe.toml")
def test_train_the_recipe_of_a_sweep(artefact, outcome, kept, command) -> None:
    """As the sweep proposes, with the best of its settings; the network is the sweep's."""
    best = pd.read_csv(kept / artefact / "sweep.csv").iloc[:2]
    assert len(set(best.learning_rate)) == 1
    rate, out = best.learning_rate[0], ("--quiet", "--out", "run")
    recipe = kept / artefact / "recipe.toml"
    said = command("train", recipe, "--learning-rate", rate, *out)
    if assert_outcome(said, outcome):
        with np.load("run/history.npz") as history:
            losses = history["validation_loss"][-1]
        np.testing.assert_allclose(losses, best.validation_loss, rtol=1e-3)


@cases("explain RECIPE")
def test_explain_an_old_recipe(artefact, outcome, kept, command) -> None:
    path = kept / "recipes" / f"{artefact}.toml"
    said = command("explain", path)
    if assert_outcome(said, outcome):
        sizes = read_recipe(path)["layer_sizes"]
        assert f"{sizes[0]}×{sizes[1]}" in said.out


@undrawn
@cases("find-rate RECIPE")
def test_find_a_rate_for_an_old_recipe(artefact, outcome, kept, command) -> None:
    recipe = kept / "recipes" / f"{artefact}.toml"
    said = command("find-rate", recipe, "--steps", 60, "--from", 1e-4, *BACKEND)
    assert assert_outcome(said, outcome) == Path("find-rate.png").exists()


@undrawn
@cases("sweep RECIPE")
def test_sweep_an_old_recipe(artefact, outcome, kept, command) -> None:
    recipe = kept / "recipes" / f"{artefact}.toml"
    rates = "learning_rate=0.03,0.1"
    said = command(
        "sweep", recipe, "--over", rates, "--set", "epochs=2", "--out", "swept", *BACKEND
    )
    # A sweep shows its progress on stderr, and has no --quiet.
    notices = {line for line in said.notices if not line.startswith(("run ", "epoch "))}
    if assert_outcome(said._replace(notices=notices), outcome):
        table = pd.read_csv("swept/sweep.csv")
        assert sorted(table.learning_rate) == [0.03, 0.1]
        assert np.isfinite(table.validation_loss).all()


@cases("sweep --out SWEEP")
def test_sweep_is_not_overwritten(artefact, outcome, kept, command) -> None:
    path = copied(kept, artefact)
    before = {file: file.read_bytes() for file in path.iterdir()}
    options = ("--over", "learning_rate=0.1,0.2", "--out", path)
    said = command("sweep", kept / "recipes" / "plain.toml", *options)
    assert not assert_outcome(said, outcome)
    assert {file: file.read_bytes() for file in path.iterdir()} == before


@cases("gradcheck RECIPE")
def test_gradients_of_an_old_recipe(artefact, outcome, kept, command, monkeypatch) -> None:
    """Without JAX and PyTorch, which take long to compile and know no recipe."""
    for name in ("jax", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    said = command("gradcheck", kept / "recipes" / f"{artefact}.toml", "--batch-size", 4)
    assert_outcome(said, outcome)


@undrawn
def test_initial_weights_of_an_npz(kept: Path, command: Command, stored: Stored) -> None:
    """The option in place of the recipe's setting: the same run."""
    text = (kept / "recipes" / "weights.toml").read_text("utf-8")
    assert 'initial_weights = "weights.npz"\n' in text
    without = text.replace('initial_weights = "weights.npz"\n', "")
    Path("without.toml").write_text(without, "utf-8")
    weights = ("--initial-weights", kept / "weights.npz", "--quiet", "--out", "run")
    assert_outcome(command("train", "without.toml", *BACKEND, *weights), ONE_WARNING)
    assert_same_parameters(parameters_of(Path("run")), stored("recipes/weights"))


@pytest.mark.parametrize("name", ["classifier", "regression"])
def test_onnx_file_gives_the_same_predictions(name: str, kept: Path, stored: Stored) -> None:
    rows = np.load("rows/digits.npy" if name == "classifier" else "rows/houses.npy")
    session = onnxruntime.InferenceSession(kept / "onnx" / f"{name}.onnx")
    rows = rows if name == "classifier" else rows.astype(np.float32)
    found = session.run(None, {"input": rows})[0]
    np.testing.assert_allclose(found, stored("onnx")[name], rtol=1e-5, atol=1e-5)


ESTIMATORS = {
    # How it is read: what loading it does.
    "classifier.safetensors": WORKS,
    "regressor.safetensors": WORKS,
    "classifier.pickle": WORKS,
    "regressor.pickle": WORKS,
}


def read_estimator(path: Path, kind: type) -> tuple[Any, list[str]]:
    """The estimator, and what was warned of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        is_pickle = path.suffix == ".pickle"
        estimator = pickle.loads(path.read_bytes()) if is_pickle else kind.load(path)  # noqa: S301
    assert type(estimator) is kind
    return estimator, [str(one.message) for one in warned]


@pytest.mark.parametrize(("name", "outcome"), ESTIMATORS.items(), ids=list(ESTIMATORS))
def test_estimator_gives_the_same_predictions(name: str, outcome: str, kept, stored) -> None:
    is_classifier = name.startswith("classifier")
    kind = xpmlp.MLPClassifier if is_classifier else xpmlp.MLPRegressor
    estimator, warned = read_estimator(kept / "estimators" / name, kind)
    assert len(warned) == (outcome == ONE_WARNING)
    if is_classifier:
        of = stored("classifier")
        X = pd.DataFrame(of["X"], columns=estimator.feature_names_in_)
        np.testing.assert_allclose(estimator.predict_proba(X), of["probabilities"], **PREDICTIONS)
        assert estimator.predict(X).tolist() == of["labels"].tolist()
        assert estimator.classes_.tolist() == sorted(set(of["y"].tolist()))
        assert (estimator.n_features_in_, estimator.max_iter) == (4, 12)
        assert estimator.get_params()["class_weight"] == "balanced"
        return
    of = stored("regressor")
    np.testing.assert_allclose(estimator.predict(of["X"]), of["predictions"], **PREDICTIONS)
    further = estimator.partial_fit(of["X"], of["y"]).predict(of["X"])
    np.testing.assert_allclose(further, of["further"], **TRAINED["float64"])


NAMES = (
    "MLP", "Backend", "BackendUnavailable", "Control", "Dataset", "Descent", "DeviceLost",
    "Diverged", "InputError", "MLPClassifier", "MLPRegressor", "Objective", "Observer",
    "Plateau", "Split", "StopTraining", "Training", "XpmlpError", "cross_validate", "evaluate",
    "load_idx_directory", "load_mnist", "predict", "select_backend", "train",
)  # fmt: skip
"""What 0.1.0 had in `xpmlp.__all__`."""

NAME_TABLE: dict[str, str] = {
    **all_of(NAMES, WORKS),
    **all_of(("Control", "Descent", "Observer", "Training"), ONE_WARNING),  # renamed
}  # fmt: skip
"""What taking each of them from xpmlp does."""

PYTHON = {
    "MLP(hidden=)": ONE_WARNING,  # activation= now
    "train(objective=, descent=, control=, observers=)": ONE_WARNING,  # renamed
    "cross_validate(model, split)": WORKS,
    "runs.RunDirectory.existing(RUN).load_model()": WORKS,
}
"""What Python code of 0.1.0 does; any error that a changed signature can give refuses it."""


def outcome_of(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a call does, and what it returns."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = call()
        except (TypeError, AttributeError, ImportError, xpmlp.InputError):
            return REFUSED, None
    assert len(warned) <= 1, warned
    return ONE_WARNING if warned else WORKS, found


@pytest.mark.parametrize(("name", "outcome"), NAME_TABLE.items(), ids=NAMES)
def test_name_of_0_1_0(name: str, outcome: str) -> None:
    assert outcome_of(lambda: getattr(xpmlp, name))[0] == outcome


def test_cross_validation(stored: Stored) -> None:
    def validate() -> Any:
        digits = xpmlp.load_idx_directory("data/digits")
        model = xpmlp.MLP((16, 8, 10))
        options = {"backend": xpmlp.select_backend("numpy"), "threads": 1}
        return xpmlp.cross_validate(model, digits.train, folds=3, epochs=2, **options)

    outcome, found = outcome_of(validate)
    assert outcome == PYTHON["cross_validate(model, split)"]
    if outcome != REFUSED:
        expected = stored("python")["fold_losses"]
        np.testing.assert_allclose(found.losses, expected, **TRAINED["float32"])


def test_model_of_a_run_in_python(kept: Path) -> None:
    def predict() -> Any:
        from xpmlp.runs import RunDirectory

        trained = RunDirectory.existing(kept / "runs" / "regression").load_model()
        return xpmlp.predict(trained.model, trained.parameters, np.load("rows/houses.npy"))

    outcome, found = outcome_of(predict)
    assert outcome == PYTHON["runs.RunDirectory.existing(RUN).load_model()"]
    if outcome != REFUSED:
        expected = EXPECTED["runs"]["regression"]["predictions"]
        np.testing.assert_allclose(found, expected, **PREDICTIONS)


def test_python_code_of_the_readme(stored: Stored) -> None:
    """The lines of `make.py`: the README's second example, small."""
    # Imported here: a later version may refuse them.
    outcome, model = outcome_of(
        lambda: xpmlp.MLP((16, 12, 12, 10), hidden="gelu", normalization="batch", residual=True)
    )
    assert outcome == PYTHON["MLP(hidden=)"]
    if outcome == REFUSED:
        return

    heard = []

    def train() -> Any:
        from xpmlp.data import hold_out
        from xpmlp.optimizers import adam
        from xpmlp.schedules import one_cycle

        class Listener(xpmlp.Callback):
            def on_epoch(self, trainer: Any, /) -> None:
                heard.append(trainer.epoch)

        digits = xpmlp.load_idx_directory("data/digits")
        rows, held_out = hold_out(digits.train, 0.1, seed=0)
        return xpmlp.train(
            model,
            rows,
            parameters=model.initialize(seed=0, initializer="he_normal", dtype="float64"),
            epochs=4,
            batch_size=18,
            shuffle=True,
            objective=xpmlp.Objective(dropout=0.2, label_smoothing=0.05),
            descent=xpmlp.OptimizerConfig(
                adam(), learning_rate=0.02, schedule=one_cycle(), weight_decay=0.01
            ),
            control=xpmlp.ValidationConfig(held_out, patience=3, restore_best=True),
            backend=xpmlp.select_backend("numpy"),
            threads=1,
            observers=[Listener()],
        )

    outcome, found = outcome_of(train)
    assert outcome == PYTHON["train(objective=, descent=, control=, observers=)"]
    if outcome != REFUSED:
        assert heard == [1, 2, 3, 4]
        expected = stored("python")
        tolerance = TRAINED["float64"]
        np.testing.assert_allclose(found.parameters, expected["parameters"], **tolerance)
        losses = found.history.validation_losses
        np.testing.assert_allclose(losses, expected["validation_losses"], **tolerance)


KEYS = {
    "data", "validation", "layer_sizes", "hidden", "output", "normalization", "residual",
    "initializer", "initial_scale", "zero_output", "initial_weights", "loss", "label_smoothing",
    "huber_delta", "quantile", "class_weights", "l1", "l2", "dropout", "input_dropout", "mixup",
    "epochs", "batch_size", "shuffle", "drop_last", "optimizer", "momentum", "rho", "beta1",
    "beta2", "epsilon", "learning_rate", "bias_rate", "weight_decay", "bias_decay", "clip_norm",
    "clip_value", "max_norm", "schedule", "decay_every", "decay_factor", "final_factor",
    "peak_at", "initial_factor", "power", "plateau_patience", "plateau_factor", "warm_up",
    "average", "average_decay", "average_start", "validate_every", "monitor", "patience",
    "keep_best", "time_limit", "seed", "members", "dtype", "compile", "threads", "backend",
    "device",
}  # fmt: skip
"""Every key of a recipe of 0.1.0, as its documentation listed them."""


def test_recipes_have_every_key_of_0_1_0() -> None:
    recipes = [read_recipe(path) for path in (GOLDEN / "recipes").glob("*.toml")]
    assert {key for recipe in recipes for key in recipe} == KEYS
    assert sorted(path.stem for path in (GOLDEN / "recipes").glob("*.toml")) == RECIPES


def test_files_are_those_that_the_tables_name() -> None:
    assert sorted(path.name for path in (GOLDEN / "runs").iterdir()) == RUNS
    assert sorted(path.name for path in (GOLDEN / "estimators").iterdir()) == sorted(ESTIMATORS)


def test_files_are_small_and_of_no_machine() -> None:
    files = [path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 1 << 20
    for path in files:
        if path.suffix in (".toml", ".json", ".csv", ".safetensors", ".pickle", ".onnx"):
            content = path.read_bytes()
            assert not any(root in content for root in (b"/home/", b"/root/", b"/tmp/")), path
