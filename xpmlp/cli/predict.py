"""`xpmlp predict`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo_row, output, say_verbatim
from xpmlp.cli.habits import swapped
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import BackendOption, DeviceOption, JsonOption, RunArgument
from xpmlp.data import check_rows, read_image, read_rows
from xpmlp.data.table_files import is_table
from xpmlp.data.tables import read_table
from xpmlp.errors import InputError
from xpmlp.runs import RunDirectory, TrainedModel
from xpmlp.training import predict as predict_rows


def predict(
    run: RunArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Images, or .npy, CSV or Parquet files of rows."),
    ],
    backend: BackendOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of each input and the probability of each class, or its numbers.

    Images may have any size and become rows as in training; drawings for networks of MNIST's kind
    are centred and may have either background. The rows of a .npy file are taken as in training.
    With members, the ensemble predicts.

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
    model = trained.model
    if as_json:
        values_are = "values" if model.is_regression else "probabilities"
        found = [
            {
                "input": str(path),
                "row": row,
                **_answer(trained, values),
                values_are: values.tolist(),
            }
            for path, row, values in answers
        ]
        say_verbatim(json.dumps(found))
        return
    names = [f"{path}[{row}]" if _has_rows(path) else f"{path}" for path, row, _ in answers]
    width = max(map(len, ["input", *names]))
    symbol = "Y" if model.is_regression else "P"
    called = trained.schema.output_names(model.output, model.layer_sizes[-1])
    heads = [f"{symbol}({name})" for name in called]
    longest = max(5, *(len(str(one)) for one in trained.schema.classes or [""]))
    answer = "".join(f"{name:>{longest + 2}}" for name in _answer(trained, answers[0][2]))
    digits, cells = 4, [max(10, len(head) + 2) for head in heads]
    if output().is_terminal and width + len(answer) + sum(cells) > output().width:
        digits, longest_value = 3, max(len(f"{one:.3f}") for *_, row in answers for one in row)
        cells = [max(len(head), longest_value) + 1 for head in heads]
    columns = "".join(f"{head:>{cell}}" for head, cell in zip(heads, cells, strict=True))
    echo_row(f"{'input':<{width}}{answer}{columns}")
    for name, (_, _, values) in zip(names, answers, strict=True):
        said = "".join(
            f"{' '.join(map(str, np.atleast_1d(one))) or 'none':>{longest + 2}}"
            for one in _answer(trained, values).values()
        )
        pairs = zip(cells, values, strict=True)
        columns = "".join(f"{value:{cell}.{digits}f}" for cell, value in pairs)
        echo_row(f"{name:<{width}}{said}{columns}")
    echo_next("xpmlp", "report", str(run))


def _answer(trained: TrainedModel, values: np.ndarray) -> dict[str, Any]:
    """The class; with a sigmoid 0 or 1, or all classes whose answer is yes; of numbers nothing."""
    model, class_name = trained.model, trained.schema.class_name
    if model.output == "softmax":
        return {"class": class_name(int(values.argmax()))}
    if model.is_regression:
        return {}
    yes = np.flatnonzero(values > 0.5).tolist()
    if len(values) == 1:
        return {"class": class_name(len(yes))}
    names = trained.schema.output_names(model.output, len(values))
    return {"classes": [names[one] for one in yes]}


def _has_rows(path: Path) -> bool:
    """Whether a file has rows, in place of an image."""
    return path.suffix == ".npy" or is_table(path)


def _rows(path: Path, trained: TrainedModel) -> np.ndarray:
    if _has_rows(path):
        if is_table(path):
            rows = read_table(path, trained.schema)
        else:
            rows = trained.schema.encode_array(read_rows(path), where=str(path))
        rows = trained.as_trained(rows, where=str(path))
        return check_rows(rows, where=str(path), layer_sizes=trained.model.layer_sizes)
    shape = trained.image_shape
    if len(shape) != 2 or math.prod(shape) != trained.model.layer_sizes[0]:
        raise InputError(f"{path}: this network was not trained on images; give a .npy file")
    image = read_image(path, shape, images=trained.schema.images).reshape(1, -1)
    return trained.as_trained(image, where=str(path))
