"""A run as one HTML file: what it learned, where it errs, how it was made.

The page needs nothing but itself: no network, no script, no font. `page.html` is its template, and
has all its words.
"""

import functools
import math
import shlex
from pathlib import Path

import numpy as np

import xpmlp
from xpmlp.backends import Backend
from xpmlp.errors import InputError
from xpmlp.files import write_text
from xpmlp.recipes import SETTINGS, load_recipe
from xpmlp.reports import charts, pictures
from xpmlp.reports.flow import bar_length, first_batch, gradient_flow, verdict
from xpmlp.reports.prediction_report import mean_score, prediction_report
from xpmlp.runs import RunDirectory, load_checkpoint
from xpmlp.training import evaluate, predict
from xpmlp.training.batches import count_batches
from xpmlp.training.metrics import METRICS, metrics_of


def write_report(
    run: RunDirectory, path: Path, *, data: str | None = None, backend: Backend | None = None
) -> None:
    """Write the report of a run to `path`.

    It reads the run's files and its data set, or the data set `data`.

    Raises `InputError` if a file of the run or the data is missing or does not fit, or if `path`
    cannot be written.
    """
    write_text(path, report(run, data=data, backend=backend))


def report(run: RunDirectory, *, data: str | None = None, backend: Backend | None = None) -> str:
    """Return the report of a run as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    recipe, trained = run.recipe, run.load_model()
    model, parameters, objective = trained.model, trained.parameters, recipe.objective()
    dataset = run.load_data(trained, data)
    Y_hat = predict(model, parameters, dataset.test.X, backend=backend)
    evaluation = evaluate(model, parameters, dataset.test, objective=objective, backend=backend)
    train, _ = recipe.held_out(dataset.train)
    W = np.asarray(model.layers(parameters, xp=np)[0][0], np.float64)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metric, labels = evaluation.metric, np.asarray(dataset.test.labels)
    environment.filters |= {
        "share": _share, "number": _number, "measure": functools.partial(_measure, metric)
    }  # fmt: skip
    return environment.get_template("page.html").render(
        np=np, charts=charts, pictures=pictures, mean_score=mean_score, bar_length=bar_length,
        name=run.path.resolve().name, model=model, activation=model.activation, recipe=recipe,
        history=run.load_history(), summary=run.load_summary(),
        dataset=dataset, is_other_data=data is not None, image_shape=trained.image_shape,
        class_name=trained.schema.class_name,
        output_names=trained.schema.output_names(model.output, model.layer_sizes[-1]),
        metric=metric, METRICS=METRICS, has_members=parameters.ndim == 2, evaluation=evaluation,
        others=[
            (METRICS[name].label, _measure(name, value))
            for name, value in metrics_of(model, labels, Y_hat).items() if name != metric
        ],
        found=prediction_report(model, labels, Y_hat),
        steps=count_batches(len(train.labels), recipe.batch_size, drop_last=recipe.drop_last),
        W=W[0] if W.ndim == 3 else W,
        flow=gradient_flow(model, parameters, first_batch(recipe, dataset.train), objective),
        verdict=verdict, SETTINGS=SETTINGS, usual=load_recipe("lecture").settings,
        version=xpmlp.__version__, computed_by=computed_by(run),
        command=shlex.join(["xpmlp", "train", str(run.config)]),
    )  # fmt: skip


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


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2%}"


def _measure(name: str, value: float) -> str:
    return "–" if math.isnan(value) else METRICS[name].form.format(value)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
