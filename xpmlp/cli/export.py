"""`xpmlp export`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from xpmlp.cli.console import echo
from xpmlp.cli.options import RunArgument, check_ending
from xpmlp.errors import InputError
from xpmlp.export import OPSET, export_onnx
from xpmlp.runs import RunDirectory


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="Where to write.")],
    input_type: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="uint8|float32",
            help="What rows are: bytes, scaled inside, or numbers (as in training). With this, a "
            "graph of a table takes encoded rows, not columns.",
        ),
    ] = None,
) -> None:
    """Write a trained network, or an ensemble, as ONNX: preprocessing inside, any number of rows.

    Before it is written, its predictions are compared with the network's. Needs the extra onnx.

    Example: xpmlp export runs/lecture-1 model.onnx
    """
    check_ending(out, ".onnx")
    if input_type not in (None, "uint8", "float32"):
        raise InputError(f"--input {input_type}: give uint8 or float32")
    trained = RunDirectory.existing(run).load_model()
    takes_bytes = trained.takes_bytes if input_type is None else input_type == "uint8"
    schema = trained.schema if input_type is None else replace(trained.schema, columns=())
    found = export_onnx(
        trained.model,
        trained.parameters,
        out,
        image_shape=trained.image_shape,
        takes_bytes=takes_bytes,
        schema=schema,
    )
    echo(f"{out}: opset {OPSET}, {found.bytes:,} bytes")
    echo(f"takes {found.input}")
    echo(f"gives {' and '.join(found.outputs)}")
    name = repr(str(out))
    feed = "columns" if schema.takes_missing else "{'input': rows}"
    call = f"onnxruntime.InferenceSession({name}).run(None, {feed})"
    if schema.takes_missing:
        call += ", columns being a dictionary of arrays (N, 1)"
    echo(f"(next, in Python: {call}; or xpmlp report {shlex.quote(str(run))})")
