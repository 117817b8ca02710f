"""`xpmlp predict`."""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from xpmlp.backends import select_backend
from xpmlp.cli.console import say
from xpmlp.cli.options import BackendOption, DeviceOption, JsonOption, RunArgument
from xpmlp.data import check_rows, read_image, read_rows
from xpmlp.errors import InputError
from xpmlp.runs import RunDirectory, TrainedModel
from xpmlp.training import predict as predict_rows


def predict(
    run: RunArgument,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Pictures, or .npy files of rows.")
    ],
    backend: BackendOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which class each input is, and how probable each class.

    Pictures may have any size and either background; the rows of a .npy file are taken as in
    training. With members, the committee answers.

    Example: xpmlp predict runs/lecture-1 seven.png three.png
    """
    trained = RunDirectory.existing(run).load_model()
    chosen = select_backend(backend or "auto", device)
    # Everything is read before anything is answered: a bad input leaves nothing half said.
    answers = []
    for path, rows in [(path, _rows(path, trained)) for path in inputs]:
        Y_hat = predict_rows(trained.model, trained.parameters, rows, backend=chosen)
        answers += [(path, row, probabilities) for row, probabilities in enumerate(Y_hat)]
    if as_json:
        say(
            json.dumps(
                [
                    {
                        "input": str(path),
                        "row": row,
                        "class": int(probabilities.argmax()),
                        "probabilities": [float(value) for value in probabilities],
                    }
                    for path, row, probabilities in answers
                ]
            )
        )
        return
    names = [f"{path}[{row}]" if path.suffix == ".npy" else f"{path}" for path, row, _ in answers]
    width = max(map(len, ["input", *names]))
    classes = "".join(f"{f'P({number})':>7}" for number in range(trained.model.layer_sizes[-1]))
    say(f"{'input':<{width}}  class  {classes}")
    for name, (_, _, probabilities) in zip(names, answers, strict=True):
        shown = "".join(f"{value:7.4f}" for value in probabilities)
        say(f"{name:<{width}}  {probabilities.argmax():>5}  {shown}")


def _rows(path: Path, trained: TrainedModel) -> np.ndarray:
    if path.suffix == ".npy":
        return check_rows(read_rows(path), where=str(path), layer_sizes=trained.model.layer_sizes)
    shape = trained.image_shape
    if len(shape) != 2 or math.prod(shape) != trained.model.layer_sizes[0]:
        raise InputError(f"{path}: this network was not trained on pictures; give a .npy file")
    return read_image(path, shape).reshape(1, -1)
