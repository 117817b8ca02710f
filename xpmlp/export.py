"""A trained network as ONNX, which other programs, languages and devices run without xpmlp.

The graph is the forward pass, preprocessing inside: rows as they are stored go in, of any number,
and predictions come out. It needs opset 17 (2022: ONNX 1.12, onnxruntime 1.12, or newer). Of a
network trained on a table each column is an input, and the encoding of the schema is inside, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import xpmlp
from xpmlp.algebra import OUTPUTS
from xpmlp.algebra.formulas import Expression, Node, node
from xpmlp.data.schema import LARGEST_SCALED, NAMELESS, SMOOTH_CLIP, Column, Schema
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network import MLP
from xpmlp.training.step import inputs

OPSET, IR_VERSION = 17, 8

TEXT_DOMAIN, TEXT_OPSET = "ai.onnx.ml", 3
"""Where operations on text are."""

LARGEST_ONNX = (1 << 31) - (1 << 20)
"""Bytes of weights: a protobuf message holds less than 2 GiB."""

CHECKED, TOLERANCE, ROUNDINGS = 64, 1e-5, 10.0
"""How many rows of random numbers the graph is compared on, how far predictions may differ,
relative to the largest where they are numbers, and how many times the network's own rounding
besides."""

FLOAT32 = np.finfo(np.float32)

INPUT, INPUTS_SHOWN = "input", 3


class Exported(NamedTuple):
    """The inputs and outputs of an exported graph, with `N` rows.

    Attributes
    ----------
    inputs : tuple of str
        Name, type and shape of each input.
    outputs : tuple of str
        Name, type and shape of each output.
    bytes : int
        The size of the file.

    Examples
    --------
    >>> from xpmlp.export import Exported
    >>> Exported(("input float32 (N, 4)",), ("probabilities float32 (N, 2)",), 500).input
    'input float32 (N, 4)'
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bytes: int

    @property
    def input(self) -> str:
        """The inputs in one line: the first, and how many more there are."""
        more = len(self.inputs) - INPUTS_SHOWN
        return ", ".join(self.inputs[:INPUTS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


class _Rows(NamedTuple):
    """The same rows as the inputs of a graph, by name, and as a network takes them, (n, l0)."""

    feed: dict[str, np.ndarray]
    X: np.ndarray


def export_onnx(
    model: MLP,
    parameters: np.ndarray,
    path: Path | str,
    *,
    image_shape: Sequence[int] = (),
    takes_bytes: bool = False,
    schema: Schema = NAMELESS,
) -> Exported:
    """Write a network as an ONNX file that takes rows as they are stored.

    Parameters
    ----------
    model : MLP
        The network.
    parameters : ndarray of shape (P + S,) or (E, P + S)
        The flat vector on the host. With members the graph is that of the ensemble, which averages
        their predictions. Weights are rounded to float32.
    path : path or str
        The file.
    image_shape : sequence of int, default ()
        The shape of an image; by default the input has rows, (N, l0).
    takes_bytes : bool, default False
        Whether the input is uint8, which the graph divides by 255; else it is float32.
    schema : Schema, optional
        That of the run. If its columns are encoded, or missing values filled in, each column is an
        input, and `image_shape` and `takes_bytes` mean nothing.

    Returns
    -------
    Exported
        The names, types and shapes of the graph's inputs and outputs.

    Raises
    ------
    InputError
        For a missing package, parameters on a device or of another network, weights beyond 2 GiB or
        beyond float32, a schema of another network, columns without a name of their own, a graph
        whose predictions differ from the network's, and a place that cannot be written.

    Notes
    -----
    The input is `input`, (N, l0) or (N, *image_shape). The inputs of a table are its columns, each
    (N, 1): float64, NaN where a value is missing; categories are strings, and one that was not
    there in training, such as "", is missing. A date is four inputs, its `Column.number_names`.

    The outputs are `probabilities` (N, K), or `predictions` of a regression, and with softmax
    `label` (N,), the most probable class: its name, a string, or its number, int64, where classes
    have no names. An output with the name of a column gets an underscore at its end.

    The opset is 17, the IR version 8. Before the file is written, the graph passes ONNX's checker,
    and its predictions on random rows are compared with the network's.

    References
    ----------
    ONNX operators, opset 17, https://onnx.ai/onnx/operators.

    Examples
    --------
    >>> from xpmlp.export import export_onnx
    >>> model = xpmlp.MLP((4, 2))
    >>> export_onnx(model, model.initialize(), "model.onnx").outputs
    ('probabilities float32 (N, 2)', 'label int64 (N)')
    """
    try:
        import onnx.reference
    except ImportError as error:
        raise InputError(
            f'ONNX needs the package onnx ({error}); pip install "xpmlp[onnx]"'
        ) from error
    _check_parameters(model, parameters, path)
    random = np.random.Generator(np.random.Philox(0))
    if schema.takes_missing:
        rows = _random_table(model, schema, random)
    else:
        schema = replace(schema, columns=())
        rows = _random_rows(model, tuple(image_shape), takes_bytes, random)
    made = _model(onnx, model, parameters, rows.feed, schema)
    onnx.checker.check_model(made, full_check=True)
    _compare(onnx.reference.ReferenceEvaluator(made), model, parameters, rows, path)
    data = made.SerializeToString(deterministic=True)
    write_atomically(Path(path), lambda file: file.write_bytes(data))
    inputs, outputs = (
        tuple(_shown(onnx, one) for one in ends) for ends in (made.graph.input, made.graph.output)
    )
    return Exported(inputs, outputs, len(data))


def _shown(onnx: Any, end: Any) -> str:
    """Name, type and shape of an input or an output."""
    tensor = end.type.tensor_type
    is_text = tensor.elem_type == onnx.TensorProto.STRING
    kind = "string" if is_text else onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    sizes = (one.dim_param or str(one.dim_value) for one in tensor.shape.dim)
    return f"{end.name} {kind} ({', '.join(sizes)})"


def _random_rows(
    model: MLP, image_shape: tuple[int, ...], takes_bytes: bool, random: np.random.Generator
) -> _Rows:
    """Return random rows of one input."""
    row_shape = image_shape or model.layer_sizes[:1]
    if math.prod(row_shape) != model.layer_sizes[0]:
        raise InputError(
            f"image_shape={row_shape}: {math.prod(row_shape)} values, but {model} takes "
            f"{model.layer_sizes[0]}; leave it out for rows"
        )
    shape = (CHECKED, *row_shape)
    if takes_bytes:
        rows = random.integers(0, 256, shape, np.uint8)
    else:
        rows = random.standard_normal(shape, np.float32)
    return _Rows({INPUT: rows}, rows.reshape(CHECKED, -1))


def _random_table(model: MLP, schema: Schema, random: np.random.Generator) -> _Rows:
    """Return random rows of a table, in which values of every column are missing."""
    if len(schema.encoded_names) != model.layer_sizes[0]:
        raise InputError(
            f"schema of {len(schema.encoded_names)} values a row, but {model} takes "
            f"{model.layer_sizes[0]}; give that of the run, run.schema"
        )
    values = {column.name: _random_values(column, random) for column in schema.columns}
    feed: dict[str, np.ndarray] = {}
    for column in schema.columns:
        given = values[column.name]
        is_text = column.kind == "category"
        table = given[:, None] if is_text else column.numbers(given).astype(np.float64)
        for place, name in enumerate([column.name] if is_text else column.number_names):
            if name in feed or not name:
                raise InputError(
                    f"column {name!r}: each input of a graph needs a name of its own; rename the "
                    "column and train again, or export with schema=Schema() (--input float32)"
                )
            feed[name] = table[:, [place]]
    with np.errstate(over="ignore"):
        return _Rows(feed, schema.encode(values).astype(np.float32))


def _random_values(column: Column, random: np.random.Generator) -> np.ndarray:
    """Return values (n,) as `Column.encode` takes them, a quarter of them missing if any may be."""
    missing: Any = math.nan
    values = random.standard_normal(CHECKED)
    if column.kind == "category":
        places = random.integers(0, len(column.categories), CHECKED)
        values, missing = np.array(column.categories, object)[places], ""
    elif column.kind == "date":
        days = column.first_day + random.integers(0, 10_000, CHECKED)
        values, missing = days.astype("datetime64[D]"), np.datetime64("NaT")
    elif column.medians:
        (median,), scale = column.medians, sum(column.scales)
        values = median + values * (1.0 / scale if scale else max(1.0, abs(median)))
    drawn = random.random(CHECKED)  # NumPy's Philox: repeatable, and no secret # nosec B311
    is_missing = (drawn < 0.25) & column.takes_missing
    return np.where(is_missing, missing, values)


class _Graph:
    """Nodes and weights in the making; their names are none of the inputs'."""

    def __init__(self, onnx: Any, inputs: Mapping[str, Any]) -> None:
        self.onnx = onnx
        self.inputs = inputs
        self.nodes: dict[str, Any] = {}
        self.weights: dict[str, Any] = {}

    def add(self, name: str, *operands: str, result: str = "", **attributes: Any) -> str:
        """Return the name of an operation's result; equal operations are one node."""
        result = self.free(result or f"{name}_{len(self.nodes) + 1}")
        made = self.onnx.helper.make_node(name, operands, [result], **attributes)
        made = self.nodes.setdefault(repr((name, operands, attributes)), made)
        return str(made.output[0])

    def lookup(self, values: str, **attributes: Any) -> str:
        """What each value stands for, where keys or values are text."""
        return self.add("LabelEncoder", values, domain=TEXT_DOMAIN, **attributes)

    def free(self, name: str) -> str:
        """This name, or with underscores one that no input has."""
        while name in self.inputs:
            name += "_"
        return name

    def weight(self, name: str, values: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """An array of numbers, by its name."""
        name, array = self.free(name), np.ascontiguousarray(values, dtype)
        self.weights[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def expression(self, formula: Expression, Z: str) -> str:
        """The result of a formula in Z."""
        if isinstance(formula, float):
            return self.weight(f"{formula:.9g}", formula)
        if not isinstance(formula, Node):
            return Z
        operands = [self.expression(one, Z) for one in formula.operands]
        return self.add(formula.name, *operands, **formula.attributes)


class _Part(NamedTuple):
    """A number that a network takes: what becomes of the number of a table at place `source`.

    It is filled in and scaled; or it says whether the number is `category`, or is missing.
    """

    source: int
    median: float = math.nan
    scale: float = math.nan
    category: float = math.nan
    is_indicator: bool = False


def _parts(schema: Schema) -> list[_Part]:
    """The numbers (l0,) that a network takes."""
    found: list[_Part] = []
    source = 0
    for column in schema.columns:
        width = 1 if column.is_one_hot else len(column.number_names)
        if column.is_one_hot:
            found += [_Part(source, category=place) for place in range(len(column.categories))]
        else:
            unknown = (math.nan,) * width
            numbers = zip(column.medians or unknown, column.scales or unknown, strict=True)
            found += [_Part(source + place, *one) for place, one in enumerate(numbers)]
        if column.has_missing:
            found.append(_Part(source, is_indicator=True))
        source += width
    return found


def _encoded(graph: _Graph, schema: Schema) -> str:
    """The rows (N, l0) of a table as `Schema.encode` has them, by operations on all columns."""
    types, add = graph.onnx.TensorProto, graph.add
    inputs: list[str] = []
    for column in schema.columns:
        if column.kind == "category":
            places = np.arange(len(column.categories), dtype=np.float64).tolist()
            keys = {"keys_strings": column.categories, "values_floats": places}
            place = graph.lookup(column.name, **keys, default_float=math.nan)
            inputs.append(add("Cast", place, to=types.DOUBLE))
        else:
            inputs += column.number_names
    sources, medians, scales, categories, indicators = np.array(_parts(schema), np.float64).T
    is_scaled, is_indicator = ~np.isnan(scales), indicators > 0
    is_truth = ~np.isnan(categories) | is_indicator
    rows = add("Concat", *inputs, axis=1)
    given = add("Gather", rows, graph.weight("sources", sources, np.int64), axis=1)
    is_missing, middle = add("IsNaN", given), graph.weight("medians", medians, np.float64)
    X = add("Where", is_missing, middle, given)
    if is_scaled.any():
        z = add("Mul", add("Sub", X, middle), graph.weight("scales", scales, np.float64))
        X = add("Where", graph.weight("is_scaled", is_scaled, np.bool_), _clipped(graph, z), X)
    X = add("Cast", X, to=types.FLOAT)
    if is_truth.any():
        is_category = add("Equal", given, graph.weight("categories", categories, np.float64))
        indicated = add("And", is_missing, graph.weight("is_indicator", is_indicator, np.bool_))
        truth = add("Cast", add("Or", is_category, indicated), to=types.FLOAT)
        X = add("Where", graph.weight("is_truth", is_truth, np.bool_), truth, X)
    return X


def _clipped(graph: _Graph, z: str) -> str:
    """Numbers in units of their quartiles, smoothly clipped."""
    add = graph.add
    least, most, three, one = (
        graph.weight(f"{value:g} in float64", value, np.float64)
        for value in (-LARGEST_SCALED, LARGEST_SCALED, SMOOTH_CLIP, 1.0)
    )
    z = add("Clip", z, least, most)
    ratio = add("Div", z, three)
    return add("Div", z, add("Sqrt", add("Add", one, add("Mul", ratio, ratio))))


def _model(
    onnx: Any, model: MLP, parameters: np.ndarray, feed: Mapping[str, np.ndarray], schema: Schema
) -> Any:
    """Return the network as an ONNX model of any number of rows with inputs such as these."""
    graph, A = _Graph(onnx, feed), INPUT
    notes = {"input": "as it is"}
    if schema.columns:
        notes = {"input": "columns of a table, encoded in the graph"}
        A = _encoded(graph, schema)
    elif feed[INPUT].dtype == np.uint8:
        notes = {"input": "bytes 0..255, divided by 255 in the graph"}
        A = graph.expression(node("Div", node("Cast", "Z", to=onnx.TensorProto.FLOAT), 255.0), A)
    if not schema.columns and feed[INPUT].ndim > 2:
        A = graph.add("Flatten", A, axis=1)
    for column in schema.columns:
        if column.kind == "date":
            notes[column.number_names[-1]] = f"since {np.datetime64(column.first_day, 'D')}"
    L = model.chain.onnx(model.unflatten(parameters, xp=np), A, graph)
    outputs = _outputs(graph, model, L, schema, members=parameters.ndim == 2)
    has_text = any(one.domain for one in graph.nodes.values())
    text = f', "{TEXT_DOMAIN}": {TEXT_OPSET}' if has_text else ""
    made = onnx.parser.parse_model(f"""<
            ir_version: {IR_VERSION}, opset_import: ["": {OPSET}{text}],
            producer_name: "xpmlp", producer_version: "{xpmlp.__version__}",
            doc_string: "{model}, {model.activation}, {model.output}"
        > xpmlp () => ({outputs}) {{}}""")
    onnx.helper.set_model_props(made, {**notes, "members": str(parameters.size // model.size)})
    for name, array in feed.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = ["N", *array.shape[1:]]
        made.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    made.graph.node.extend(graph.nodes.values())
    made.graph.initializer.extend(graph.weights.values())
    return made


def _outputs(graph: _Graph, model: MLP, L: str, schema: Schema, *, members: bool) -> str:
    """Add the outputs, and return their types and names as ONNX's parser takes them."""
    Y_hat = graph.expression(OUTPUTS[model.output].onnx, L)
    name = graph.free("predictions" if model.is_regression else "probabilities")
    outputs = f"float[N, {model.layer_sizes[-1]}] {name}"
    if members:
        graph.add("ReduceMean", Y_hat, axes=[0], keepdims=0, result=name)
    else:
        graph.add("Identity", Y_hat, result=name)
    if model.output != "softmax":
        return outputs
    label = graph.free("label")
    likeliest = graph.add("ArgMax", name, axis=-1, keepdims=1)
    # Of no rows onnxruntime 1.20 gives (0, K) here: as many numbers, but another shape.
    flat = (likeliest, graph.weight("flat", [-1], np.int64))
    if not schema.classes:
        graph.add("Reshape", *flat, result=label)
        return f"{outputs}, int64[N] {label}"
    numbers = range(model.layer_sizes[-1])
    names = [str(schema.class_name(number)) for number in numbers]
    keys = {"keys_int64s": numbers, "values_strings": names}
    graph.lookup(graph.add("Reshape", *flat), result=label, **keys)
    return f"{outputs}, string[N] {label}"


def _check_parameters(model: MLP, parameters: Any, path: Path | str) -> None:
    """Refuse, as `InputError`, what are no parameters of this network or no float32 can hold."""
    if not isinstance(parameters, np.ndarray):
        kind = type(parameters)
        raise InputError(
            f"parameters of type {kind.__module__}.{kind.__qualname__}: give an array of NumPy, "
            "such as run.backend.to_numpy(run.parameters)"
        )
    if parameters.ndim not in (1, 2) or parameters.shape[-1] != model.size:
        raise InputError(
            f"parameters of shape {parameters.shape}: {model} predicts with {model.size:,} "
            "numbers, for each member if there are several; give run.parameters"
        )
    if parameters.size * 4 > LARGEST_ONNX:
        raise InputError(
            f"{path}: {parameters.size * 4:,} bytes of weights, an ONNX file holds at most "
            f"{LARGEST_ONNX:,}; export fewer members or a smaller network"
        )
    with np.errstate(over="ignore"):
        if not np.isfinite(parameters.astype(np.float32)).all():
            raise InputError(
                "parameters that are NaN, infinite or beyond float32 (3.4e38); train again"
            )


def _compare(graph: Any, model: MLP, parameters: np.ndarray, rows: _Rows, path: Path | str) -> None:
    """Run the graph by ONNX's reference implementation beside the network in float64.

    In float32 neither can be nearer to that than rounding lets it, and how far that is depends on
    the weights. So a multiple of what float32 makes of the network's own L is allowed: softmax and
    sigmoid change by less than L does, as exp does relative to itself.
    """
    with np.errstate(all="ignore"):
        given, *_ = graph.run(None, rows.feed)
        L32, L64 = (
            model.forward(parameters.astype(dtype), inputs(rows.X, dtype=dtype, xp=np), xp=np).L
            for dtype in (np.float32, np.float64)
        )
        if not np.isfinite(L32).all():
            raise InputError(
                f"{path}: the network overflows float32 on ordinary rows; train it again, with "
                "smaller weights"
            )
        wanted = model.predictions_of(L64, xp=np).reshape(-1, *given.shape).mean(axis=0)
        if model.output == "exp":
            # As far as float32 holds them, and the sum of as many as there are members.
            most = FLOAT32.max / (parameters.size // model.size)
            given, wanted = (np.log(np.clip(Y, FLOAT32.tiny, most)) for Y in (given, wanted))
        difference = float(np.abs(given - wanted).max())
        rounding = float(np.abs(L32 - L64).max())
    limit = TOLERANCE * max(1.0, float(np.abs(wanted).max())) + ROUNDINGS * rounding
    if not difference <= limit:
        raise InputError(
            f"{path}: the graph's predictions differ from the network's by {difference:.2g}, at "
            f"most {limit:.2g} is expected; nothing was written, please report it"
        )
