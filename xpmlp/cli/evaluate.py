"""`xpmlp evaluate`."""

import json
import math

import numpy as np

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo, print_table, say_verbatim
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import BackendOption, DataOption, DeviceOption, JsonOption, RunArgument
from xpmlp.runs import RunDirectory
from xpmlp.training import Evaluation
from xpmlp.training import evaluate as evaluate_network
from xpmlp.training.metrics import METRICS, describe


def evaluate(
    run: RunArgument,
    data: DataOption = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained network on its test set, or on another's with --data.

    Example: xpmlp evaluate runs/lecture-1 --data fashion-mnist/
    """
    directory = RunDirectory.existing(run)
    trained, recipe = directory.load_model(), directory.recipe
    model, parameters, *_ = trained
    dataset = directory.load_data(trained, data)
    chosen = select_backend(backend or "auto", device)
    found = evaluate_network(
        model, parameters, dataset.test, objective=recipe.objective(), backend=chosen,
        all_metrics=True,
    )  # fmt: skip
    rows = len(dataset.test.labels)
    if as_json:
        say_verbatim(json.dumps({"data": dataset.name, "rows": rows, **_as_json(found)}))
        return
    name, values, loss = found.metric, found.metrics[found.metric], found.loss
    if found.ensemble_metrics:
        for member, (value, J) in enumerate(zip(values, loss, strict=True), start=1):
            echo(f"Member {member}: test {describe(name, value)}, test loss {J:.4f}")
        deviation = METRICS[name].form.format(values.std(ddof=1))
        echo(f"Mean: test {describe(name, values.mean())} +- {deviation} (standard deviation)")
        echo(
            f"Ensemble (averaged predictions): test {describe(name, found.ensemble_metrics[name])}"
        )
    else:
        echo(f"Test {describe(name, float(values))}, test loss {loss:.4f}")
    _print_others(found)
    echo(f"on {rows:,} rows of {dataset.name} with {chosen.name} on {chosen.device_name}")
    echo_next("xpmlp", "report", str(run))


def _as_json(found: Evaluation) -> dict[str, object]:
    """Each metric that is defined, and the loss; with members also theirs and the ensemble's."""
    measured = {name: one for name, one in found.metrics.items() if np.isfinite(one).all()}
    measured["loss"] = found.loss
    result: dict[str, object] = {name: float(one.mean()) for name, one in measured.items()}
    if found.ensemble_metrics:
        for name, values in measured.items():
            result[f"{name}_deviation"] = float(values.std(ddof=1))
            result[f"member_{name}"] = values.tolist()
            if math.isfinite(ensemble := found.ensemble_metrics.get(name, math.nan)):
                result[f"ensemble_{name}"] = ensemble
    return result


def _print_others(found: Evaluation) -> None:
    """A table of the other metrics, and a line for each that is not defined."""
    has_members, rows = bool(found.ensemble_metrics), []
    for name, values in found.metrics.items():
        label, form, *_, needs = METRICS[name]
        if np.isnan(values).any():
            echo(f"{label} is not defined here: it needs {needs}")
        elif name != found.metric:
            numbers = [values.mean()]
            if has_members:
                numbers += [values.std(ddof=1), found.ensemble_metrics[name]]
            rows.append([label, *map(form.format, numbers)])
    members = ["mean", "standard deviation", "ensemble"] if has_members else ["value"]
    print_table(["metric", *members], rows)
