"""`xpmlp.train`, what it returns, and `xpmlp.load`, as people type them."""

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from matplotlib.figure import Figure
from rich.console import Console

import xpmlp
from tests.callbacks import StopAt, hearing
from xpmlp import MLP, Callback, CallbackError, Diverged, InputError, Run, Split, select_backend
from xpmlp.cli.app import run as command
from xpmlp.data import load_data
from xpmlp.errors import for_commands
from xpmlp.optimizers import adam, adam_outer_epsilon, sgd, velocity_descent
from xpmlp.recipes import Recipe, load_recipe
from xpmlp.runs import RunDirectory
from xpmlp.schedules import cosine, plateau
from xpmlp.training import Plateau, TrainConfig, Trainer
from xpmlp.training.find_rate import find_rate
from xpmlp.training.progress import Progress

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 4)).astype(np.float32)
SIDES = np.where(X[:, 0] + 0.3 * X[:, 1] > 0.0, "right", "left")
NUMBERS = (SIDES == "right").astype(np.int64)
ROWS = Split(X, NUMBERS)
EVEN = np.arange(120) % 2
MODEL = MLP((4, 8, 2))


PIXELS = RANDOM.integers(0, 256, (120, 4), dtype=np.uint8)


def fit(X: Any = X, y: Any = SIDES, model: MLP = MODEL, **settings: Any) -> Run:
    chosen = {"epochs": 30, "batch_size": 12, "learning_rate": 0.5, "threads": 1, "verbose": 0}
    return xpmlp.train(model, X, y, **{**chosen, **settings})


@pytest.mark.parametrize(
    "rows",
    [
        X,
        X.tolist(),
        tuple(map(tuple, X.tolist())),
        pd.DataFrame(X, columns=list("abcd")),
        pl.DataFrame(X, schema=list("abcd")),
        scipy.sparse.csr_matrix(X),
        X.astype(np.float64),
    ],
    ids=["array", "lists", "tuples", "pandas", "polars", "sparse", "float64"],
)
def test_rows_of_every_kind_train_the_same_network(rows: Any) -> None:
    run = fit(rows)
    assert np.array_equal(run.parameters, fit().parameters)
    assert run.predict(rows).tolist() == fit().predict(X).tolist()


@pytest.mark.parametrize(
    "labels",
    [
        SIDES,
        SIDES.tolist(),
        pd.Series(SIDES),
        pl.Series(SIDES),
        SIDES[:, None],
        SIDES == "right",
        NUMBERS,
        NUMBERS.astype(np.int8),
    ],
    ids=["text", "list", "pandas", "polars", "column", "truth values", "integers", "int8"],
)
def test_labels_of_every_kind_train_the_same_network(labels: Any) -> None:
    run = fit(y=labels)
    assert np.array_equal(run.parameters, fit().parameters)
    assert np.mean(run.predict(X) == np.ravel(labels)) > 0.9
    assert run.evaluate(X, labels).accuracy == np.mean(run.predict(X) == np.ravel(labels))


@pytest.mark.oracle
def test_torch_and_jax_arrays_are_taken() -> None:
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    expected = fit().parameters
    for rows, labels in (
        (torch.tensor(X), torch.tensor(NUMBERS)),
        (jax.numpy.asarray(X), jax.numpy.asarray(NUMBERS.astype(np.int32))),
    ):
        run = fit(rows, labels, backend="numpy")
        assert np.array_equal(run.parameters, expected)
        assert run.predict(rows).tolist() == fit(y=NUMBERS).predict(X).tolist()


def test_classes_are_those_of_the_labels_in_sorted_order() -> None:
    run = fit()
    assert run.classes_.tolist() == ["left", "right"]
    probabilities = run.predict_proba(X)
    assert probabilities.shape == (120, 2)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert (run.predict(X) == run.classes_[probabilities.argmax(axis=1)]).all()


def test_frames_are_put_in_the_order_of_training() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    run = fit(frame)
    assert run.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    expected = run.predict_proba(X)
    for other in (frame[list("dcba")], frame.assign(e="text"), pl.DataFrame(frame)):
        assert np.array_equal(run.predict_proba(other), expected)


def test_one_answer_and_numbers_have_their_own_shapes() -> None:
    yes = fit(model=MLP((4, 8, 1), output="sigmoid"))
    assert (
        yes.predict(X).tolist()
        == np.where(yes.predict_proba(X)[:, 0] > 0.5, "right", "left").tolist()
    )
    number = fit(y=X[:, 1], model=MLP((4, 8, 1), output="identity"), learning_rate=0.1)
    assert number.predict(X).shape == (120,)
    assert number.evaluate(X, X[:, 1]).r2 > 0.8
    two = fit(y=X[:, :2], model=MLP((4, 8, 2), output="identity"), learning_rate=0.1)
    assert two.predict(X).shape == (120, 2)
    with pytest.raises(InputError, match="predict_proba: this network predicts numbers"):
        number.predict_proba(X)


def test_settings_are_those_of_a_configuration() -> None:
    named = fit(optimizer="adam", beta1=0.8, learning_rate=0.01, schedule="cosine", dropout=0.2)
    optimizer_config = xpmlp.OptimizerConfig(
        xpmlp.optimizers.adam(beta1=0.8), learning_rate=0.01, schedule=xpmlp.schedules.cosine()
    )
    config = xpmlp.TrainConfig(
        optimizer_config=optimizer_config, objective=xpmlp.Objective(dropout=0.2)
    )
    assert np.array_equal(named.parameters, fit(config=config, learning_rate=None).parameters)


def test_members_predict_together() -> None:
    run = fit(seed=[1, 2, 3])
    assert run.parameters.shape == (3, MODEL.size)
    alone = [fit(seed=seed).predict_proba(X) for seed in (1, 2, 3)]
    assert np.allclose(run.predict_proba(X), np.mean(alone, axis=0), atol=1e-6)
    assert run.evaluate(X, SIDES).accuracy.shape == (3,)


def test_validation_is_a_share_or_a_pair() -> None:
    share = fit(validation=0.25, patience=40, restore_best=True)
    assert len(share.history["validation_loss"]) == 30
    assert share.trainer.row_count == 90
    pair = fit(validation=(X[:20], SIDES[:20]))
    expected = pair.evaluate(X[:20], SIDES[:20])
    assert pair.history["validation_loss"][-1] == pytest.approx(float(expected.loss))


def test_weights_of_rows_count() -> None:
    only_left = fit(sample_weight=(SIDES == "left").tolist())
    assert set(only_left.predict(X)) == {"left"}


def test_saved_run_predicts_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    run = fit(frame, validation=0.2)
    run.save(tmp_path / "mine")
    loaded = xpmlp.load(tmp_path / "mine")
    assert np.array_equal(loaded.predict_proba(frame[list("badc")]), run.predict_proba(frame))
    assert loaded.predict(frame).tolist() == run.predict(frame).tolist()
    assert loaded.classes_.tolist() == run.classes_.tolist()
    assert loaded.evaluate(frame, SIDES) == run.evaluate(frame, SIDES)
    for name, series in run.history.series.items():
        assert np.array_equal(loaded.history[name], series)
    with pytest.raises(InputError, match="holds a run already; give another directory"):
        run.save(tmp_path / "mine")
    with pytest.raises(InputError, match="a loaded run has no rows"):
        loaded.resume(epochs=1)


def test_resumed_run_equals_one_that_was_never_stopped() -> None:
    settings = {"optimizer": "adam", "learning_rate": 0.01, "shuffle": True, "dropout": 0.1}
    run = fit(epochs=4, **settings)
    assert run.resume(epochs=3, verbose=0) is run
    assert np.array_equal(run.parameters, fit(epochs=7, **settings).parameters)
    assert run.history["accuracy"].shape == (7,)


def test_callbacks_hear_events_and_may_stop() -> None:
    assert len(fit(callbacks=[StopAt(21)]).history["accuracy"]) == 2


def test_interrupted_run_keeps_whole_epochs() -> None:
    def interrupt(trainer: Trainer) -> None:
        if trainer.iteration == 25:  # in the third epoch of ten steps
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="has what it learned in 2 epochs"):
        run = fit(callbacks=[hearing(1, on_tick=interrupt)])
    assert np.array_equal(run.parameters, fit(epochs=2).parameters)
    assert len(run.history["loss"]) == 20


def fail(trainer: Trainer) -> None:
    """In the second step of the third epoch, or later."""
    if trainer.iteration > 21:
        raise ValueError("no idea")


def test_failed_callback_leaves_the_run_in_the_error() -> None:
    with pytest.raises(CallbackError, match="callback Hearing failed in on_tick") as caught:
        fit(callbacks=[hearing(1, on_tick=fail)], epochs=4, shuffle=True)
    run = caught.value.run
    assert isinstance(run, Run)
    assert len(run.history["loss"]) == 22
    assert run.predict(X).shape == (120,)
    assert run.resume(epochs=2, verbose=0) is run
    assert np.array_equal(run.parameters, fit(epochs=4, shuffle=True).parameters)


def test_failed_callback_of_a_resumed_run_leaves_what_was_learned() -> None:
    run = fit(epochs=2)
    with pytest.raises(CallbackError) as caught:
        run.resume(epochs=2, callbacks=[hearing(1, on_tick=fail)], verbose=0)
    assert caught.value.run is run
    assert len(run.history["loss"]) == 22


def test_diverged_run_is_in_the_error() -> None:
    with pytest.raises(Diverged, match="the state after 0 epochs is kept") as caught:
        fit(learning_rate=1e30, model=MLP((4, 8, 2), activation="relu"))
    assert len(caught.value.run.history["accuracy"]) == 0
    assert np.isfinite(caught.value.run.parameters).all()


def test_run_says_who_stopped_it() -> None:
    run = fit(validation=(X[:9], 1 - NUMBERS[:9]), y=NUMBERS, patience=1)
    assert run.stopped_by.startswith("EarlyStopping: no better validation loss in the last 1")
    assert fit().stopped_by == ""


def test_data_set_brings_its_test_rows() -> None:
    mnist = xpmlp.load_mnist()
    few = xpmlp.Dataset(
        "few", mnist.train.__class__(mnist.train.X[:500], mnist.train.labels[:500]),
        mnist.test, mnist.image_shape, "here",
    )  # fmt: skip
    run = xpmlp.train(MLP((784, 10)), few, epochs=1, verbose=0, threads=1)
    assert run.evaluate() == run.evaluate(mnist.test.X, mnist.test.labels) == run.evaluate(mnist)
    assert run.image_shape == (28, 28)
    images = mnist.test.X[:3].reshape(3, 28, 28)
    assert run.predict(images).tolist() == run.predict(mnist.test.X[:3]).tolist()


def test_plot_draws_on_given_axes() -> None:
    figure_axes = Figure().subplots()
    run = fit(validation=0.2)
    assert run.plot(ax=figure_axes) is figure_axes
    training, validation = figure_axes.lines
    assert np.array_equal(training.get_ydata(), run.history["loss"])
    assert np.array_equal(validation.get_ydata(), run.history["validation_loss"])


def test_repr_of_a_run_is_short() -> None:
    run = fit(validation=0.2)
    assert re.fullmatch(
        r"<Run of the network 4-8-2: 30 epochs, loss [\d.]+, accuracy [\d.]+, "
        r"validation loss [\d.]+>",
        repr(run),
    )
    assert run._repr_html_().count("<tr>") == 5
    assert len(repr(run.history)) < 120
    assert "softmax of the last layer" in MODEL.summary()
    assert f"{MODEL.parameter_count:,} parameters" in MODEL.summary()


def trainer(**settings: Any) -> Trainer:
    return Trainer(MODEL, ROWS, **{"backend": select_backend("numpy"), **settings})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(epoch=3), "epoch: did you mean epochs? not a setting"),
        (lambda: fit(lr=0.1), "lr: did you mean learning_rate? not a setting"),
        (lambda: fit(optimizer="Adm"), "optimizer='adm': did you mean adam?"),
        (lambda: fit(epochs=2.5), "epochs=2.5: give an integer of 0 or more"),
        (lambda: fit(y=None), "y is missing: give X and y"),
        (lambda: fit(model="net"), "model of type str: give a network first"),
        (lambda: fit(y=SIDES[:7]), "120 rows and 7 labels"),
        (lambda: fit(y=["a", "b", "c"] * 40), "3 classes, the network has 2"),
        (lambda: fit(y=[None, *SIDES[1:]]), "no label in row 0"),
        (lambda: fit(y=np.array(["a", 1] * 60, object)), "labels of several kinds"),
        (lambda: fit(X[:, :3]), "rows are 3 values, the network takes 4"),
        (lambda: fit([[1.0, 2.0], [3.0]]), "give rows of equal length"),
        (
            lambda: fit(pd.DataFrame({"a": ["x", "y"] * 60, **dict.fromkeys("bcd", X[:, 0])})),
            "rows are 5 values",
        ),
        (lambda: fit().predict(pd.DataFrame(X[:, :3])), "rows are 3 values"),
        (lambda: fit(pd.DataFrame(X)).predict(pd.DataFrame(X[:, :3])), "no column '3'"),
        (lambda: fit().evaluate(X, ["up"] * 120), "class 'up' in row 0 is not one of the 2"),
        (lambda: fit().evaluate(), "this run has no test rows of its own"),
        (lambda: fit().history["losses"], "did you mean loss?"),
        (lambda: MLP(4, 8, 2), "give the widths as one sequence, MLP((4, 8, 2))"),
        (lambda: xpmlp.load("nowhere"), "nowhere"),
        (lambda: xpmlp.train(X, NUMBERS, MODEL), "model of type ndarray: give a network first"),
        (lambda: fit("train.csv"), "X of type str: give an array, a frame or a list of rows"),
        (lambda: fit(y=1), "y of type int"),
        (lambda: fit(y=pd.array([pd.NA, *SIDES[1:]], "string")), "no label in row 0"),
        (lambda: fit(model=MLP((4, 8, 5))), "2 classes, the network has 5"),
        (lambda: fit(model=MLP((4, 8, 3), output="sigmoid")), "one name per row for 3 outputs"),
        (lambda: fit(class_weights={"up": 2.0}), "class_weights: 'up' is not one of the classes"),
        (lambda: xpmlp.Objective(class_weights={0: 1, 1: 2}), "give a sequence"),
        (lambda: fit(sample_weight=np.zeros(120)), "sample_weight: all are 0"),
        (lambda: fit(sample_weight="balanced"), "sample_weight of type str"),
        (lambda: fit(callbacks=[print]), "callbacks: <built-in function print> is not a callback"),
        (lambda: fit(backend=3), "backend=3"),
        (lambda: fit(config={"epochs": 3}), "config={'epochs': 3}: give an xpmlp.TrainConfig"),
        (lambda: fit(objective={}), "objective={}: give an xpmlp.Objective"),
        (lambda: fit(optimizer=xpmlp.optimizers.adam), "or what xpmlp.optimizers make"),
        (lambda: fit(shuffle="yes"), "shuffle='yes': give True or False"),
        (lambda: fit(validation=0.2, restore_best="false"), "restore_best='false': give True or"),
        (lambda: fit(bias_decay="no"), "bias_decay='no': give True or False"),
        (lambda: fit(divides_by_weight=1), "divides_by_weight=1: give True or False"),
        (lambda: fit(allow_divergence=[True]), "allow_divergence=(True,): give True or False"),
        (lambda: MLP((4, 8, 2), residual="no"), "residual='no': give True or False"),
        (lambda: MODEL.initialize(zero_output="no"), "zero_output='no': give True or False"),
        (lambda: velocity_descent(nesterov="no"), "nesterov='no': give True or False"),
        (lambda: fit(time_limit=[3]), "time_limit=(3,): give seconds"),
        (lambda: fit(time_limit=True), "time_limit=True: give seconds"),
        (lambda: xpmlp.ValidationConfig(time_limit=None), "time_limit=None: give seconds"),  # type: ignore[arg-type]
        (lambda: plateau(plateau_patience=1.5), "plateau_patience=1.5: give an integer of 0"),  # type: ignore[arg-type]
        (lambda: fit(dropout=()), "dropout=: give a finite number at least 0 and below 1"),
        (lambda: fit(l2=[0.1]), "l2=0.1: give"),
        (lambda: fit(clip_norm=10**400), "clip_norm=1000"),
        (lambda: fit(average=["ema"]), "average=('ema',): use none, ema, swa"),
        (lambda: fit(loss=3), "loss=3: use "),
        (lambda: fit(loss=["ccee"]), "loss=('ccee',): use "),
        (lambda: fit(optimizer=[1]), "optimizer=(1,): give a name"),
        (lambda: xpmlp.OptimizerConfig(optimizer=None), "optimizer=None: give a name"),  # type: ignore[arg-type]
        (lambda: fit(class_weights=1.5), "class_weights=1.5: give a sequence"),
        (lambda: fit(seed={"a"}), "seed=a: give an integer of 0 or more"),
        (lambda: MLP({4, 8, 2}), "give all widths as one sequence"),  # type: ignore[arg-type]
        (lambda: MLP(np.array(3)), "layer_sizes=3: give all widths as one sequence"),  # type: ignore[arg-type]
        (lambda: fit(parameters="abc"), "parameters of type str: give numbers, (P,)"),
        (lambda: fit(parameters=np.array(["a"])), "parameters of type ndarray: give numbers"),
        (lambda: fit(parameters=np.arange(3)), "3 parameters, but"),
        (lambda: fit(parameters=3), "parameters of shape ()"),
        (lambda: fit(device=[3]), "device=[3]: give a name"),
        (lambda: fit(callbacks=np.array(3)), "callbacks: array(3) is not a callback"),
        (lambda: xpmlp.load(None), "path=None: give a path, such as 'runs/mine'"),  # type: ignore[arg-type]
        (lambda: fit(epochs=1).save(None), "path=None: give a path, such as 'runs/mine'"),
        (lambda: select_backend(None), "backend None is unknown: use auto, numpy"),  # type: ignore[arg-type]
        (lambda: select_backend("numpy", 3), "device 3 is unknown: use cpu, cuda"),  # type: ignore[arg-type]
        (lambda: find_rate(MODEL), "give an xpmlp.Trainer"),  # type: ignore[arg-type]
        (lambda: find_rate(trainer(), steps="a"), "steps=a: give an integer of 10 or more"),  # type: ignore[arg-type]
        (lambda: find_rate(trainer(), lowest="a"), "rates from a to 10: give two numbers"),  # type: ignore[arg-type]
        (lambda: trainer().run(3), "callbacks: 3 is not a callback"),  # type: ignore[arg-type]
        (lambda: trainer().set_learning_rate(None), "learning_rate=None: give a finite number"),  # type: ignore[arg-type]
        (lambda: trainer(backend="numpy"), "backend='numpy': give an xpmlp.Backend"),
        (lambda: trainer(parameters="abc"), "parameters='abc': give an array, (P,)"),
        *(
            (
                lambda seed=seed: xpmlp.cross_validate(MODEL, ROWS, seed=seed),
                f"seed={seed}: give an integer of 0 or more",
            )
            for seed in (None, 1.5, -1)
        ),
        (lambda: xpmlp.cross_validate("net", ROWS), "model='net': give an xpmlp.MLP"),  # type: ignore[arg-type]
        (lambda: xpmlp.cross_validate(MODEL, [X, NUMBERS]), "give an xpmlp.Split"),  # type: ignore[arg-type]
        (lambda: xpmlp.evaluate(MODEL, MODEL.initialize(), (X, NUMBERS)), "give an xpmlp.Split"),  # type: ignore[arg-type]
        (lambda: xpmlp.predict("net", X, X), "model='net': give an xpmlp.MLP"),  # type: ignore[arg-type]
        (lambda: fit(validation=True), "validation of type bool: give a fraction (0.1)"),
        (lambda: fit(validation=1.5), "validation=1.5"),
        (lambda: fit(parameters=np.zeros((1, 1, MODEL.size))), "parameters of shape (1, 1, 58)"),
        (lambda: fit(seed=[1, 2], parameters=np.zeros((3, MODEL.size))), "one for each seed"),
        (lambda: pickle.dumps(fit()), "use run.save(DIR) and xpmlp.load(DIR)"),
        (lambda: fit(PIXELS).predict(PIXELS.astype(int)), "the network was trained on bytes"),
        (
            lambda: fit(validation=(X[:9], 1 - NUMBERS[:9]), y=NUMBERS, patience=1).resume(
                epochs=1
            ),
            "the run ended early",
        ),
    ],
)
def test_refused_in_one_line(call: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_evaluation_numbers_classes_as_training_did() -> None:
    run, is_right = fit(y=NUMBERS), NUMBERS == 1
    assert run.evaluate(X[is_right], NUMBERS[is_right]).accuracy > 0.9
    assert run.evaluate(X[is_right], NUMBERS[is_right].astype(object)).accuracy > 0.9
    assert run.evaluate(X[is_right], NUMBERS[is_right].astype(float)).accuracy > 0.9
    with pytest.raises(InputError, match="class 'right' in row 0 is not one of the 2"):
        run.evaluate(X[is_right], SIDES[is_right])
    named = fit()
    assert named.evaluate(X[is_right], SIDES[is_right]).accuracy > 0.9


def test_validation_frame_is_put_in_the_order_of_training() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    run = fit(frame, validation=(frame[list("dcba")], SIDES))
    assert run.history["validation_accuracy"][-1] == run.evaluate(frame, SIDES).accuracy


def test_weights_of_classes_go_by_their_names() -> None:
    run = fit(class_weights={"right": 3.0})
    assert np.array_equal(run.parameters, fit(class_weights=(1.0, 3.0)).parameters)


def test_bytes_are_numbers_in_a_frame_and_pixels_in_an_array() -> None:
    tags = np.eye(4, dtype=np.uint8)[RANDOM.integers(0, 4, 120)]
    labels = tags.argmax(axis=1) % 2
    frame = pd.DataFrame(tags, columns=list("abcd"))
    as_numbers = fit(frame, labels)
    assert as_numbers.evaluate(frame, labels).accuracy == 1.0
    whole = fit(tags.astype(np.int64), labels)
    assert whole.predict(tags).tolist() == whole.predict(tags.astype(float)).tolist()
    pixels = fit(PIXELS, NUMBERS)
    assert np.allclose(
        pixels.predict_proba(PIXELS), pixels.predict_proba(PIXELS / np.float32(255)), atol=1e-6
    )


def test_loaded_run_measures_its_own_loss(tmp_path: Path) -> None:
    model = MLP((4, 8, 1), output="identity")
    run = fit(y=X[:, 0], model=model, loss="huber", huber_delta=0.1, learning_rate=0.1)
    run.save(tmp_path / "huber")
    loaded = xpmlp.load(tmp_path / "huber")
    assert loaded.evaluate(X, X[:, 0]) == run.evaluate(X, X[:, 0])


def test_weights_of_rows_are_held_out_with_the_rows() -> None:
    weights = RANDOM.uniform(0.5, 2.0, 120)
    share = fit(y=NUMBERS, validation=0.25, sample_weight=weights)
    kept, held = xpmlp.data.hold_out(xpmlp.Split(np.arange(120)[:, None], NUMBERS), 0.25, seed=0)
    rows, others = kept.X[:, 0], held.X[:, 0]
    pair = fit(
        X[rows], NUMBERS[rows], sample_weight=weights[rows],
        validation=(X[others], NUMBERS[others]),
    )  # fmt: skip
    assert np.array_equal(share.parameters, pair.parameters)


def test_history_is_a_mapping_of_series() -> None:
    history = fit(validation=0.2).history
    assert "validation_loss" in history
    assert dict(history).keys() == set(history) == set(history.keys())


def test_results_are_not_written_over() -> None:
    run = fit(epochs=2)
    before = run.parameters.copy()
    kept = run.parameters
    run.resume(epochs=1, verbose=0)
    assert np.array_equal(kept, before)
    assert not np.array_equal(run.parameters, before)
    assert run == run
    assert hash(run)


def test_progress_of_a_regression_names_its_measure() -> None:
    text = io.StringIO()
    model = MLP((4, 8, 1), output="identity")
    fit(y=X[:, 0], model=model, epochs=1, callbacks=[Progress(Console(file=text))])
    assert "R²" in text.getvalue()
    assert "accuracy" not in text.getvalue()


def test_numpy_scalars_are_numbers() -> None:
    model = MLP(np.array([4, 8, NUMBERS.max() + 1]))
    assert model == MODEL
    assert hash(model) == hash(MODEL)
    run = fit(
        model=model, epochs=np.int64(30), batch_size=np.int32(12), seed=np.int64(0),
        learning_rate=np.float32(0.5),
    )  # fmt: skip
    assert np.array_equal(run.parameters, fit().parameters)


def test_names_of_0_1_0_work_with_a_warning() -> None:
    run = fit()
    with pytest.warns(DeprecationWarning, match=r"run.iteration is run.trainer.iteration now"):
        assert run.iteration == 300
    with pytest.warns(DeprecationWarning, match="observers= is callbacks= now"):
        fit(observers=[], epochs=1)
    with pytest.raises(AttributeError, match="'Run' object has no attribute 'iterations'"):
        run.iterations  # noqa: B018


def test_progress_prints_the_mean_loss_of_each_epoch_in_a_pipe() -> None:
    text = io.StringIO()
    run = fit(epochs=3, callbacks=[Progress(Console(file=text))])
    losses = run.history["loss"].reshape(3, 10).mean(axis=1)
    shown = [float(loss) for loss in re.findall(r"epoch \d/3  loss ([\d.]+)", text.getvalue())]
    assert shown == pytest.approx(losses.tolist(), abs=6e-5)


def test_verbose_zero_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fit(verbose=0)
    assert capsys.readouterr() == ("", "")
    fit(verbose=1, epochs=2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("epoch") == 2


def test_run_at_chance_level_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.where(np.arange(120) % 4 == 0, "rare", "common")
    nothing = np.zeros_like(X)
    fit(nothing, labels, epochs=20, verbose=1)
    printed = capsys.readouterr().err
    assert "accuracy 75.00% on the training rows: no better than always predicting" in printed
    assert "the most frequent class (75.00%); try more epochs" in printed
    for quiet in (
        {"X": X, "y": SIDES},
        {"X": nothing, "y": labels, "sample_weight": np.arange(120)},
        {"X": nothing, "y": X[:, 0], "model": MLP((4, 1), output="identity")},
        {"X": nothing, "y": labels, "epochs": 0},
    ):
        fit(**{"verbose": 1, **quiet})
        assert "no better than" not in capsys.readouterr().err


def recipe_of(run: Run, directory: Path) -> Recipe:
    """The recipe with which a run is saved."""
    run.save(directory / "run")
    return RunDirectory.existing(directory / "run").recipe


def test_saved_run_is_a_run_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(optimizer="adam", beta1=0.8, learning_rate=0.01, validation=0.25, patience=50)
    run.save(tmp_path / "mine")
    xpmlp.load(tmp_path / "mine").save(tmp_path / "again")
    recipe = RunDirectory.existing(tmp_path / "mine").recipe
    assert (recipe.optimizer, recipe.beta1, recipe.learning_rate) == ("adam", 0.8, 0.01)
    assert (recipe.validation, recipe.patience, recipe.epochs) == (0.25, 50, 30)
    assert recipe.model == MODEL
    np.save(tmp_path / "rows.npy", X[:3])
    np.savez(tmp_path / "data.npz", x_train=X, y_train=SIDES, x_test=X, y_test=SIDES)
    data = ["--data", str(tmp_path / "data.npz")]
    for name in ("mine", "again"):
        path = str(tmp_path / name)
        assert command(["predict", path, str(tmp_path / "rows.npy"), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["class"] for row in rows] == run.predict(X[:3]).tolist()
        assert command(["evaluate", path, "--json", *data]) == 0
        accuracy = json.loads(capsys.readouterr().out)["accuracy"]
        assert accuracy == float(run.evaluate(X, SIDES).accuracy)
        for words in (["report", path], ["explain", path]):
            assert command([*words, *data]) == 0
        for words in (["evaluate", path], ["report", path], ["explain", path]):
            capsys.readouterr()
            assert command(words) == 2
            assert capsys.readouterr().err == (
                "xpmlp: this run was trained on rows given in Python: give a data set, such as "
                "--data FILE\n"
            )


def test_run_on_a_named_data_set_is_saved_with_its_name(tmp_path: Path) -> None:
    run = xpmlp.train(MLP((784, 10)), xpmlp.load_mnist(), epochs=1, verbose=0, threads=1)
    run.save(tmp_path / "mnist")
    assert RunDirectory.existing(tmp_path / "mnist").recipe.data == "mnist"


def test_settings_that_no_recipe_holds_are_left_out(tmp_path: Path) -> None:
    rule = xpmlp.optimizers.velocity_descent()
    with pytest.warns(UserWarning, match="own optimizer"):
        recipe = recipe_of(fit(optimizer=rule, epochs=1), tmp_path)
    assert (recipe.optimizer, recipe.layer_sizes) == ("sgd", [4, 8, 2])


def test_messages_name_what_the_asker_types(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train xpmlp\.MLP\(\(3,8,2\)\) or give other data"):
        fit(X[:, :3])
    with pytest.raises(InputError, match=r"use backend='cupy'$"):
        fit(backend="numpy", device="cuda")
    with for_commands(), pytest.raises(InputError, match=r"use --backend cupy$"):
        fit(backend="numpy", device="cuda")


HABITS = {
    "xpmlp.MLP(4, 8, 2)": "MLP((4, 8, 2))",
    "model.fit(X, y)": "run = xpmlp.train(model, X, y)",
    "model.compile(optimizer='adam')": "xpmlp.train: optimizer='adam'",
    "model.predict(X)": "run.predict(X)",
    "xpmlp.optimizers.adam(model.parameters())": "model.initialize(seed=0)",
    "xpmlp.optimizers.Adam(0.1)": "optimizer='adam'",
    "xpmlp.optimizers.AdamW": "optimizer='adamw'",
    "xpmlp.optimizers.SGD(lr=0.1)": "optimizer='sgd'",
    "model.to('cuda')": "backend='cupy'",
    "model.save('model')": "run.save(",
    "xpmlp.train(model, X, y, lr=0.1)": "did you mean learning_rate?",
    "xpmlp.train(model, X, y, validation_split=0.1)": "did you mean validation?",
    "xpmlp.train(model, X, y, optimizer='adamm')": "did you mean adam?",
    "xpmlp.train(model, X, 'label')": "X.drop(columns='label'), X['label']",
    "run.score(X, y)": "run.evaluate(X, y).accuracy",
    "run.fit(X, y)": "run.resume(",
    "run.summary()": "run.model.summary()",
    "run.history.history": "run.history['loss']",
}


@pytest.mark.parametrize(("typed", "instead"), HABITS.items())
def test_habit_of_another_library_says_what_to_type(typed: str, instead: str) -> None:
    X, y = np.zeros((8, 4), np.float32), np.arange(8) % 2
    model = MLP((4, 3, 2))
    run = xpmlp.train(model, X, y, epochs=1, verbose=0)
    names = {"xpmlp": xpmlp, "model": model, "run": run, "X": X, "y": y}
    with pytest.raises((InputError, AttributeError)) as caught:
        eval(typed, names)  # noqa: S307
    assert instead in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"optimizer": adam(beta1=0.5)}, {"optimizer": "adam", "beta1": 0.5}),
        ({"optimizer": "AdamW"}, {"optimizer": "adam", "weight_decay": 0.01}),
        ({"schedule": cosine(final_factor=0.5)}, {"schedule": "cosine", "final_factor": 0.5}),
        (
            {"config": TrainConfig.of(schedule="plateau", plateau_factor=0.5)},
            {"schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 5},
        ),
        ({"dropout": 0.25, "batch_size": 7}, {"dropout": 0.25, "batch_size": 7}),
        ({"class_weights": "balanced", "y": EVEN}, {"class_weights": [1.0, 1.0]}),
    ],
)
def test_saved_settings_are_those_of_the_run(
    given: dict[str, Any], kept: dict[str, Any], tmp_path: Path
) -> None:
    recipe = recipe_of(fit(**{"epochs": 1, "learning_rate": None, **given}), tmp_path)
    assert {name: getattr(recipe, name) for name in kept} == kept


def test_saved_settings_are_those_of_the_network(tmp_path: Path) -> None:
    X, y = np.ones((8, 4), np.float32), np.arange(8) % 2
    model = MLP((4, 3, 3, 2), "relu", normalization="layer", residual=True)
    xpmlp.train(model, X, y, epochs=1, verbose=0).save(tmp_path / "run")
    assert load_recipe(str(tmp_path / "run" / "config.toml")).model == model


def test_optimizer_of_your_own_is_no_setting(tmp_path: Path) -> None:
    rule = sgd()
    own = rule._replace(update=lambda *given, xp: rule.update(*given, xp=xp))
    with pytest.warns(UserWarning, match=r"cannot hold this run's own optimizer"):
        assert recipe_of(fit(epochs=1, optimizer=own), tmp_path).learning_rate == 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beta1": 0.9}, "beta1=0.9: optimizer=sgd has no such setting; leave it out, or use"),
        ({"optimizer": "adm", "beta1": 0.8}, "did you mean adam?"),
        ({"huber_delta": 2.0}, "use loss=huber"),
        ({"average_decay": 0.9}, "use average=ema"),
        ({"plateau_patience": 3}, "use schedule=plateau"),
        ({"time_limit": "10m"}, "time_limit='10m': give seconds"),
    ],
)
def test_setting_without_its_owner_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        TrainConfig.of(**given)


def test_setting_of_the_optimizer_of_a_configuration() -> None:
    config = TrainConfig.of(optimizer="adam", schedule="plateau")
    changed = TrainConfig.of(config, beta1=0.5, plateau_factor=0.2)
    assert dict(changed.optimizer_config.optimizer.options)["beta1"] == 0.5
    assert repr(changed.optimizer_config.schedule) == repr(Plateau(factor=0.2))
    assert TrainConfig.of(config, schedule="cosine").optimizer_config.schedule.name == "cosine"


def test_numbers_of_numpy_are_settings(tmp_path: Path) -> None:
    given = {"learning_rate": np.float64(0.25), "l2": np.float32(0.5), "batch_size": np.int64(4)}
    recipe = recipe_of(fit(epochs=1, compile="require", **given), tmp_path)
    assert (recipe.learning_rate, recipe.l2, recipe.batch_size) == (0.25, 0.5, 4)


@pytest.mark.parametrize("given", [np.array, tuple, np.float32])
def test_array_of_learning_rates_is_one_for_each_member(given: Any) -> None:
    rates = given([0.1, 0.5])
    run = fit(epochs=1, seed=[0, 1], learning_rate=rates, weight_decay=rates, dropout=rates)
    expected = tuple(float(one) for one in rates)
    config = run.trainer.optimizer_config
    assert config.learning_rate == config.weight_decay == run.trainer.objective.dropout
    assert config.learning_rate == expected
    assert fit(epochs=1, learning_rate=np.array(0.5)).trainer.optimizer_config.learning_rate == 0.5


def test_parameters_may_be_integers() -> None:
    zeros = np.zeros(MODEL.size)
    ours = fit(epochs=1, parameters=zeros.astype(int)).parameters
    assert np.array_equal(ours, fit(epochs=1, parameters=zeros).parameters)


def test_optimizer_of_another_form_has_its_own_name(tmp_path: Path) -> None:
    assert repr(adam_outer_epsilon()).startswith("adam_outer_epsilon(beta1=0.9")
    assert velocity_descent(nesterov=True).name == "velocity_descent"
    with pytest.warns(UserWarning, match="own optimizer"):
        recipe_of(fit(epochs=1, optimizer=adam_outer_epsilon()), tmp_path)


def test_interrupted_run_tells_its_callbacks_and_can_be_resumed() -> None:
    """Ctrl-C in the third epoch: `on_end` once, then the interrupt, at the end of the second."""

    class Interrupt(Callback):
        ends = 0

        def on_tick(self, trainer: Trainer, /) -> None:
            if trainer.epoch == 2 and not self.ends:
                raise KeyboardInterrupt

        def on_end(self, trainer: Trainer, /) -> None:
            self.ends += 1

    settings = {"epochs": 4, "optimizer": "adam", "shuffle": True}
    callback, interrupted = Interrupt(), trainer(**settings)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run([callback])
    assert (callback.ends, interrupted.epoch, interrupted.step) == (1, 2, 0)
    resumed = interrupted.run([callback])
    assert np.array_equal(resumed.parameters, trainer(**settings).run().parameters)


def test_callback_with_the_event_of_another_library_is_refused() -> None:
    with pytest.raises(InputError, match=r"Keras\.on_epoch_end: no event has this name"):
        type("Keras", (Callback,), {"on_epoch_end": lambda self, epoch, logs=None: None})
    with pytest.raises(InputError, match="callbacks: 5 is not a callback"):
        fit(callbacks=5)


@pytest.mark.parametrize("weights", [[1, "a"], [1, None]])
def test_class_weights_are_numbers(weights: list[Any]) -> None:
    with pytest.raises(InputError, match="class_weights=1"):
        fit(class_weights=weights)


def test_data_sets_of_another_schema_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(side=SIDES)
    data = load_data(frame, target="side", scaling="robust")
    run = xpmlp.train(MODEL, data, epochs=2, verbose=0)
    assert run.predict(frame[:3]).tolist() == run.predict(frame.iloc[:3, ::-1]).tolist()
    assert run.predict(data.test).shape == data.test.labels.shape
    turned = load_data(frame.iloc[:, ::-1], target="side", scaling="robust")
    with pytest.raises(InputError, match=r"load_data\(\.\.\., schema=run\.schema\)"):
        run.evaluate(turned)
    again = load_data(frame.iloc[:, ::-1], schema=run.schema, holds_out=False)
    assert run.evaluate(again).accuracy == run.evaluate(frame, SIDES).accuracy
    with pytest.raises(InputError, match="whose columns are encoded"):
        run.predict(X)


def test_weights_of_a_data_set_are_those_of_its_rows() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(w=(SIDES == "left") * 1.0, side=SIDES)
    data = load_data(frame, target="side", weights="w")
    run = xpmlp.train(MODEL, data, epochs=30, learning_rate=1.0, verbose=0)
    assert set(run.predict(data.train)) == {"left"}


def test_a_run_on_a_frame_is_measured_on_a_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    fit(frame).save(tmp_path / "run")
    frame.assign(side=SIDES).to_csv(tmp_path / "a.csv", index=False)
    assert command(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "a.csv")]) == 0
