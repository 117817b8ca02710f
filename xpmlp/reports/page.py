"""A run as one HTML file: what it learned, where it errs, how it was made.

The page needs nothing but itself: no network, no script, no font. `page.html` is its template.
"""

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import xpmlp
from xpmlp.backends import Backend
from xpmlp.data import Dataset, load_data
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.recipes import SETTINGS, Recipe, load_recipe
from xpmlp.reports import charts
from xpmlp.reports.flow import bar_length, first_batch, gradient_flow, verdict
from xpmlp.reports.metrics import (
    MulticlassReport,
    MultilabelReport,
    RegressionReport,
    mean_score,
    prediction_report,
)
from xpmlp.reports.pictures import is_picture, row_picture, weight_picture
from xpmlp.runs import RunDirectory, TrainedModel, load_checkpoint
from xpmlp.training import History, evaluate, predict
from xpmlp.training.batches import count_batches

TEMPLATE = "page.html"

MOST_CLASSES = 20
"""Of a confusion matrix that is a table; more are a chart."""

MOST_MISTAKES, MOST_CONFUSED, MOST_UNITS, MOST_OUTPUTS = 24, 10, 64, 4
MOST_WEIGHTS = 1 << 18
"""Of a first layer that is shown as one image, where rows are not images."""


class Figure(NamedTuple):
    """A chart and what it shows in words."""

    title: str
    svg: str
    words: str


class Picture(NamedTuple):
    """A small image, what it shows in words, and what stands below it."""

    source: str
    words: str
    caption: str


def write_report(
    run: RunDirectory, path: Path, *, data: str | None = None, backend: Backend | None = None
) -> None:
    """Write the report of a run to `path`.

    It reads the run's files and its data set, or the data set `data`.

    Raises `InputError` if a file of the run or the data is missing or does not fit, or if `path`
    cannot be written.
    """
    text = report(run, data=data, backend=backend)
    write_atomically(path, lambda file: file.write_text(text, "utf-8"))


def report(run: RunDirectory, *, data: str | None = None, backend: Backend | None = None) -> str:
    """Return the report of a run as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    recipe, trained, history = run.recipe, run.load_model(), run.load_history()
    model = trained.model
    dataset = load_data(data or recipe.data).for_network(model.layer_sizes, model.output)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "number": _number}
    Y_hat = predict(model, trained.parameters, dataset.test.X, backend=backend)
    found = prediction_report(model, np.asarray(dataset.test.labels), Y_hat)
    flow = gradient_flow(
        model, trained.parameters, first_batch(recipe, dataset.train), recipe.objective()
    )
    largest = max((one.gradients for one in flow), default=0.0)
    context = {
        "name": run.path.resolve().name,
        "network": str(model).removeprefix("the network "),
        "activation": model.activation,
        "dataset": dataset.name,
        "rows": len(dataset.test.labels),
        "is_other_data": data is not None,
        "is_regression": model.is_regression,
        "measured": measured(trained, dataset, recipe, backend),
        "summary": run.load_summary(),
        "figures": list(curves(history, recipe, dataset, is_regression=model.is_regression)),
        "classes": found if isinstance(found, MulticlassReport) else None,
        "answers": found if isinstance(found, MultilabelReport) else None,
        "numbers": found if isinstance(found, RegressionReport) else None,
        "number_figures": _number_figures(found) if isinstance(found, RegressionReport) else [],
        "mean": None if isinstance(found, RegressionReport) else mean_score(found.scores),
        "calibration": None if isinstance(found, RegressionReport) else _calibrated(found),
        "confusion_figure": _confusion(found) if isinstance(found, MulticlassReport) else None,
        "most_classes": MOST_CLASSES,
        "most_confused": MOST_CONFUSED,
        "most_mistakes": MOST_MISTAKES,
        "mistakes": _mistakes(found, trained, dataset)
        if isinstance(found, MulticlassReport)
        else [],
        "weights": list(first_layer(trained)),
        "units": model.layer_sizes[1],
        "has_members": trained.parameters.ndim == 2,
        "flow": [(one, bar_length(one.gradients, largest)) for one in flow],
        "verdict": verdict(flow),
        "batch_size": recipe.batch_size,
        "settings": _settings(recipe),
        "version": xpmlp.__version__,
        "environment": computed_by(run),
        "command": shlex.join(["xpmlp", "train", str(run.config)]),
    }
    return environment.get_template(TEMPLATE).render(context)


def computed_by(run: RunDirectory) -> str:
    """The versions of what computed it, as far as its checkpoint and its summary are there."""
    try:
        versions = load_checkpoint(run)[1].versions
    except InputError:
        versions = {}
    said = [f"{library} {version}" for library, version in versions.items()]
    summary = run.load_summary()
    if "python" in summary:
        said.append(f"Python {summary['python']} on {summary.get('platform', 'another system')}")
    return ", ".join(said)


def measured(
    trained: TrainedModel, dataset: Dataset, recipe: Recipe, backend: Backend | None
) -> dict[str, float]:
    """Loss and accuracy on the test rows; of members the means, and the ensemble's accuracy."""
    found = evaluate(
        trained.model,
        trained.parameters,
        dataset.test,
        objective=recipe.objective(),
        backend=backend,
    )
    values = {"loss": float(found.loss.mean()), "accuracy": float(found.accuracy.mean())}
    return values if found.ensemble is None else {**values, "ensemble": float(found.ensemble)}


def curves(
    history: History, recipe: Recipe, dataset: Dataset, *, is_regression: bool
) -> Iterator[Figure]:
    """What changed while it trained."""
    losses, accuracy = history.loss, history.accuracy
    if not len(losses):
        return
    _, _, _, mean = charts.grouped(losses)
    loss = "mean loss" if len(mean) < len(losses) or losses.ndim > 1 else "loss"
    yield Figure(
        "Training loss",
        charts.loss_chart(losses),
        f"{len(losses):,} iterations. The {loss} goes from {_number(mean[0])} to "
        f"{_number(mean[-1])}; the least of a single step is {_number(losses.min())}.",
    )
    measure = "R²" if is_regression else "accuracy"
    train, _ = recipe.held_out(dataset.train)
    steps = count_batches(len(train.labels), recipe.batch_size, drop_last=recipe.drop_last)
    validation = history.validation
    if len(accuracy):
        lines: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        lines["training"] = (np.arange(1, len(accuracy) + 1), accuracy)
        words = f"Training {measure}: {_spoken(accuracy, is_regression)}."
        if validation:
            places = validation["validation_iteration"] / max(1, steps)
            lines["validation"] = (places, validation["validation_accuracy"])
            words += f" Validation: {_spoken(validation['validation_accuracy'], is_regression)}."
        chart = charts.series_chart("accuracy", lines, x="epoch", y=measure)
        yield Figure(measure[0].upper() + measure[1:], chart, words)
    if validation:
        line = (validation["validation_iteration"], validation["validation_loss"])
        chart = charts.series_chart(
            "validation", {"validation": line}, x="iteration", y="validation loss"
        )
        best = int(np.nan_to_num(_means(line[1]), nan=np.inf).argmin())
        yield Figure(
            "Validation loss",
            chart,
            f"{len(line[0])} evaluations; the least, {_number(_means(line[1])[best])}, after "
            f"iteration {line[0][best]:,}.",
        )
    if steps:
        rates = recipe.descent.learning_rates(
            history, epochs=recipe.epochs, steps_per_epoch=steps, is_validated=bool(validation)
        )
        places, _, _, mean_rates = charts.grouped(rates)
        chart = charts.series_chart(
            "rate", {"learning rate": (places, mean_rates)}, x="iteration", y="learning rate"
        )
        low, high = float(rates.min()), float(rates.max())
        words = (
            f"It is {high:g} throughout."
            if low == high
            else (
                f"It begins at {_number(np.mean(rates[0]))}, is at most {_number(high)} and ends "
                f"at {_number(np.mean(rates[-1]))}."
            )
        )
        yield Figure("Learning rate", chart, f"{words} By the settings that the run has now.")


def _means(values: np.ndarray) -> np.ndarray:
    """Over members."""
    return values if values.ndim == 1 else values.mean(axis=1)


def _spoken(values: np.ndarray, is_regression: bool) -> str:
    means = _means(values)
    shown = _number if is_regression else _share
    return f"{shown(means[0])} at first, {shown(means[-1])} at last, {shown(means.max())} at best"


def _calibrated(found: MulticlassReport | MultilabelReport) -> Figure:
    calibration = found.calibration
    used = [one for one in calibration.bins if one.answers]
    least, most = used[0], used[-1]
    return Figure(
        "Calibration",
        charts.calibration_chart(calibration),
        f"Expected calibration error {_share(calibration.error)}. Of the {most.answers:,} most "
        f"confident answers (mean confidence {_share(most.confidence)}) {_share(most.accuracy)} "
        f"are right; of the {least.answers:,} least confident ({_share(least.confidence)}) "
        f"{_share(least.accuracy)}.",
    )


def _confusion(found: MulticlassReport) -> Figure | None:
    """Of many classes; those of few are a table."""
    if len(found.confusion) <= MOST_CLASSES:
        return None
    right, total = int(found.confusion.trace()), int(found.confusion.sum())
    words = f"Darker squares have a larger share of their class. {right:,} of {total:,} are right."
    return Figure("Confusion matrix", charts.confusion_chart(found.confusion), words)


def _number_figures(found: RegressionReport) -> list[Figure]:
    return [
        Figure(
            f"Output {number}",
            charts.numbers_chart(
                found.targets[:, number], found.predictions[:, number], f"output-{number}"
            ),
            f"Root mean square error {_number(errors.rmse)}, R² {_number(errors.r2)}.",
        )
        for number, errors in enumerate(found.errors[:MOST_OUTPUTS])
    ]


def _mistakes(found: MulticlassReport, trained: TrainedModel, dataset: Dataset) -> list[Picture]:
    """Return images of the most confident mistakes, if rows are images."""
    shape = trained.image_shape
    if not is_picture(shape, trained.model.layer_sizes[0]):
        return []
    return [
        Picture(
            row_picture(np.asarray(dataset.test.X[one.row : one.row + 1])[0], shape),
            f"Test row {one.row}: class {one.label}, taken for {one.said}",
            f"{one.label}, said {one.said} ({_share(one.probability)})",
        )
        for one in found.mistakes[:MOST_MISTAKES]
    ]


def first_layer(trained: TrainedModel) -> Iterator[Picture]:
    """The weights into each unit of the first layer as images, or all of them as one."""
    W = np.asarray(trained.model.layers(trained.parameters, xp=np)[0][0], np.float64)
    W = W[0] if W.ndim == 3 else W
    limit = float(np.quantile(np.abs(W), 0.995))
    shape = trained.image_shape
    if is_picture(shape, W.shape[0]):
        for number, weights in enumerate(W.T[:MOST_UNITS], start=1):
            picture = weights.reshape(shape)
            picture = picture if picture.ndim == 2 else picture.sum(axis=2)
            yield Picture(
                weight_picture(picture, limit),
                f"Weights into unit {number}, from {_number(weights.min())} to "
                f"{_number(weights.max())}",
                f"{number}",
            )
    elif W.size <= MOST_WEIGHTS:
        l0, l1 = W.shape
        words = (
            f"W1, {l0} values in (down) by {l1} units (across), from {_number(W.min())} to "
            f"{_number(W.max())}"
        )
        yield Picture(weight_picture(W, limit), words, words)


def _settings(recipe: Recipe) -> list[tuple[str, str, bool]]:
    """(name, value, whether it is the lecture's) of every setting that has a value."""
    usual = load_recipe("lecture").settings
    return [
        (SETTINGS[name].path, _shown(value), value == usual.get(name, 0))
        for name, value in recipe.settings.items()
        if value != ""
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value == math.inf else f"{value}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2%}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
