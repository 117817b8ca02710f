"""`xpmlp predict`."""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo
from xpmlp.cli.habits import swapped
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import BackendOption, DeviceOption, JsonOption, RunArgument
from xpmlp.data import check_rows, read_image, read_rows
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.runs import RunDirectory, TrainedModel
from xpmlp.training import predict as predict_rows


def predict(
    run: RunArgument,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Images, or .npy files of rows.")
    ],
    backend: BackendOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of each input and the probability of each class, or its numbers.

    Images may have any size and either background; the rows of a .npy file are taken as in
    training. With members, the ensemble predicts.

    Example: xpmlp predict runs/lecture-1 seven.png three.png
    """
    if instead := swapped(run, inputs):
        raise InputError(f"{run}: no run is here; did you mean {instead}?")
    trained = RunDirectory.existing(run).load_model()
    chosen = select_backend(backend or "auto", device)
    # Everything is read before anything is answered: a bad input leaves nothing half said.
    answers = []
    for path, rows in [(path, _rows(path, trained)) for path in inputs]:
        Y_hat = predict_rows(trained.model, trained.parameters, rows, backend=chosen)
        answers += [(path, row, probabilities) for row, probabilities in enumerate(Y_hat)]
    if as_json:
        echo(
            json.dumps(
                [
                    {
                        "input": str(path),
                        "row": row,
                        **_answer(trained.model, values),
                        _name(trained.model): [float(value) for value in values],
                    }
                    for path, row, values in answers
                ]
            )
        )
        return
    names = [f"{path}[{row}]" if path.suffix == ".npy" else f"{path}" for path, row, _ in answers]
    width = max(map(len, ["input", *names]))
    model = trained.model
    symbol = "Y" if model.is_regression else "P"
    columns = "".join(f"{f'{symbol}({number})':>10}" for number in range(model.layer_sizes[-1]))
    answer = "" if model.is_regression else f"{_word(model):>7}"
    echo(f"{'input':<{width}}{answer}{columns}")
    for name, (_, _, values) in zip(names, answers, strict=True):
        said = "".join(
            f"{' '.join(map(str, np.atleast_1d(one))) or 'none':>7}"
            for one in _answer(model, values).values()
        )
        echo(f"{name:<{width}}{said}" + "".join(f"{value:10.4f}" for value in values))
    echo_next("xpmlp", "report", str(run))


def _name(model: MLP) -> str:
    return "values" if model.is_regression else "probabilities"


def _word(model: MLP) -> str:
    return "classes" if model.output == "sigmoid" and model.layer_sizes[-1] > 1 else "class"


def _answer(model: MLP, values: np.ndarray) -> dict[str, int | list[int]]:
    """The class; with a sigmoid 0 or 1, or all classes whose answer is yes; of numbers nothing."""
    if model.output == "softmax":
        return {"class": int(values.argmax())}
    if model.is_regression:
        return {}
    yes = np.flatnonzero(values > 0.5).tolist()
    return {"class": len(yes)} if len(values) == 1 else {"classes": yes}


def _rows(path: Path, trained: TrainedModel) -> np.ndarray:
    if path.suffix == ".npy":
        return check_rows(read_rows(path), where=str(path), layer_sizes=trained.model.layer_sizes)
    shape = trained.image_shape
    if len(shape) != 2 or math.prod(shape) != trained.model.layer_sizes[0]:
        raise InputError(f"{path}: this network was not trained on images; give a .npy file")
    return read_image(path, shape).reshape(1, -1)
