"""A trained network as ONNX, which other programs, languages and devices run without xpmlp.

The graph is the forward pass, preprocessing inside: rows as they are stored go in, of any number,
and predictions come out. It needs opset 17 (2022: ONNX 1.12, onnxruntime 1.12, or newer).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import xpmlp
from xpmlp.algebra import OUTPUTS
from xpmlp.algebra.formulas import Expression, Node, node
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network import MLP
from xpmlp.training.step import inputs

OPSET, IR_VERSION = 17, 8

LARGEST_ONNX = (1 << 31) - (1 << 20)
"""Bytes of weights: a protobuf message holds less than 2 GiB."""

CHECKED, TOLERANCE, ROUNDINGS = 64, 1e-5, 10.0
"""How many rows of random numbers the graph is compared on, how far predictions may differ,
relative to the largest where they are numbers, and how many times the network's own rounding
besides."""

FLOAT32 = np.finfo(np.float32)

INPUT = "input"


class Exported(NamedTuple):
    """The inputs and outputs of an exported graph, with `N` rows.

    Attributes
    ----------
    input : str
        Name, type and shape of the input.
    outputs : tuple of str
        Name, type and shape of each output.
    bytes : int
        The size of the file.

    Examples
    --------
    >>> from xpmlp.export import Exported
    >>> Exported("input float32 (N, 4)", ("probabilities float32 (N, 2)",), 500).bytes
    500
    """

    input: str
    outputs: tuple[str, ...]
    bytes: int


def export_onnx(
    model: MLP,
    parameters: np.ndarray,
    path: Path | str,
    *,
    image_shape: Sequence[int] = (),
    takes_bytes: bool = False,
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

    Returns
    -------
    Exported
        The names, types and shapes of the graph's input and outputs.

    Raises
    ------
    InputError
        For a missing package, parameters on a device or of another network, weights beyond 2 GiB or
        beyond float32, a graph whose predictions differ from the network's, and a place that cannot
        be written.

    Notes
    -----
    The input is `input`, (N, l0) or (N, *image_shape). The outputs are `probabilities` (N, K), or
    `predictions` of a regression, and with softmax `label` (N,), int64, the most probable class.
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
    row_shape = tuple(image_shape) or model.layer_sizes[:1]
    if math.prod(row_shape) != model.layer_sizes[0]:
        raise InputError(
            f"image_shape={row_shape}: {math.prod(row_shape)} values, but {model} takes "
            f"{model.layer_sizes[0]}; leave it out for rows"
        )
    _check_parameters(model, parameters, path)
    random = np.random.Generator(np.random.Philox(0))
    shape = (CHECKED, *row_shape)
    if takes_bytes:
        rows = random.integers(0, 256, shape, np.uint8)
    else:
        rows = random.standard_normal(shape, np.float32)
    made = _model(onnx, model, parameters, rows)
    onnx.checker.check_model(made, full_check=True)
    _compare(onnx.reference.ReferenceEvaluator(made), model, parameters, rows, path)
    data = made.SerializeToString(deterministic=True)
    write_atomically(Path(path), lambda file: file.write_bytes(data))
    sizes = ", ".join(map(str, row_shape))
    predictions, *label = (one.name for one in made.graph.output)
    outputs = [f"{predictions} float32 (N, {model.layer_sizes[-1]})"]
    outputs += [f"{one} int64 (N)" for one in label]
    return Exported(f"{INPUT} {rows.dtype} (N, {sizes})", tuple(outputs), len(data))


class _Graph:
    """Nodes and weights in the making."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: dict[str, Any] = {}
        self.weights: dict[str, Any] = {}

    def add(self, name: str, *operands: str, result: str = "", **attributes: Any) -> str:
        """Return the name of an operation's result; equal operations are one node."""
        result = result or f"{name}_{len(self.nodes) + 1}"
        made = self.onnx.helper.make_node(name, operands, [result], **attributes)
        made = self.nodes.setdefault(repr((name, operands, attributes)), made)
        return str(made.output[0])

    def weight(self, name: str, values: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """An array of numbers, by its name."""
        array = np.ascontiguousarray(values, dtype)
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


def _model(onnx: Any, model: MLP, parameters: np.ndarray, rows: np.ndarray) -> Any:
    """Return the network as an ONNX model of any number of rows with this type and shape."""
    graph, A = _Graph(onnx), INPUT
    kind, meaning = "float", "as it is"
    if rows.dtype == np.uint8:
        kind, meaning = "uint8", "bytes 0..255, divided by 255 in the graph"
        A = graph.expression(node("Div", node("Cast", "Z", to=onnx.TensorProto.FLOAT), 255.0), A)
    if rows.ndim > 2:
        A = graph.add("Flatten", A, axis=1)
    L = model.chain.onnx(model.unflatten(parameters, xp=np), A, graph)
    Y_hat = graph.expression(OUTPUTS[model.output].onnx, L)
    name = "predictions" if model.is_regression else "probabilities"
    outputs = f"float[N, {model.layer_sizes[-1]}] {name}"
    if parameters.ndim == 2:
        graph.add("ReduceMean", Y_hat, axes=[0], keepdims=0, result=name)
    else:
        graph.add("Identity", Y_hat, result=name)
    if model.output == "softmax":
        likeliest = graph.add("ArgMax", name, axis=-1, keepdims=1)
        # Of no rows onnxruntime 1.20 gives (0, K) here: as many numbers, but another shape.
        graph.add("Reshape", likeliest, graph.weight("flat", [-1], np.int64), result="label")
        outputs += ", int64[N] label"
    sizes = ", ".join(map(str, rows.shape[1:]))
    made = onnx.parser.parse_model(f"""<
            ir_version: {IR_VERSION}, opset_import: ["": {OPSET}],
            producer_name: "xpmlp", producer_version: "{xpmlp.__version__}",
            doc_string: "{model}, {model.activation}, {model.output}",
            metadata_props: ["input": "{meaning}", "members": "{parameters.size // model.size}"]
        > xpmlp ({kind}[N, {sizes}] {INPUT}) => ({outputs}) {{}}""")
    made.graph.node.extend(graph.nodes.values())
    made.graph.initializer.extend(graph.weights.values())
    return made


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


def _compare(
    graph: Any, model: MLP, parameters: np.ndarray, rows: np.ndarray, path: Path | str
) -> None:
    """Run the graph by ONNX's reference implementation beside the network in float64.

    In float32 neither can be nearer to that than rounding lets it, and how far that is depends on
    the weights. So a multiple of what float32 makes of the network's own L is allowed: softmax and
    sigmoid change by less than L does, as exp does relative to itself.
    """
    with np.errstate(all="ignore"):
        given, *_ = graph.run(None, {INPUT: rows})
        X = rows.reshape(CHECKED, -1)
        L32, L64 = (
            model.forward(parameters.astype(dtype), inputs(X, dtype=dtype, xp=np), xp=np).L
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
