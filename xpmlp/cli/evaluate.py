"""`xpmlp evaluate`."""

import json

import numpy as np

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo, say_verbatim
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import BackendOption, DataOption, DeviceOption, JsonOption, RunArgument
from xpmlp.runs import RunDirectory
from xpmlp.training import evaluate as evaluate_network


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
        model, parameters, dataset.test, objective=recipe.objective(), backend=chosen
    )
    accuracy, loss = np.atleast_1d(found.accuracy), np.atleast_1d(found.loss)
    rows = len(dataset.test.labels)
    if as_json:
        result: dict[str, object] = {
            "data": dataset.name,
            "rows": rows,
            "accuracy": float(accuracy.mean()),
            "loss": float(loss.mean()),
        }
        if found.ensemble is not None:
            result["accuracy_deviation"] = float(accuracy.std(ddof=1))
            result["member_accuracy"] = accuracy.tolist()
            result["member_loss"] = loss.tolist()
            result["ensemble_accuracy"] = found.ensemble
        say_verbatim(json.dumps(result))
        return
    if found.ensemble is not None:
        for member, (share, value) in enumerate(zip(accuracy, loss, strict=True), start=1):
            echo(f"Member {member}: test accuracy {share:.2%}, test loss {value:.4f}")
        deviation = accuracy.std(ddof=1)
        echo(f"Mean: test accuracy {accuracy.mean():.2%} +- {deviation:.2%} (standard deviation)")
        echo(f"Ensemble (averaged probabilities): test accuracy {found.ensemble:.2%}")
    else:
        echo(f"Test accuracy {accuracy[0]:.2%}, test loss {loss[0]:.4f}")
    echo(f"on {rows:,} rows of {dataset.name} with {chosen.name} on {chosen.device_name}")
    echo_next("xpmlp", "report", str(run))
