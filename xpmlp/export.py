"""A trained network as ONNX, which other programs, languages and devices run without xpmlp.

The graph is the forward pass, preprocessing inside: rows as they are stored go in, of any number,
and predictions come out. It needs opset 17 (2022: ONNX 1.12, onnxruntime 1.12, or newer).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import xpmlp
from xpmlp.algebra.formulas import Expression, Node
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network import MLP
from xpmlp.training import predict
from xpmlp.training.step import inputs

OPSET, IR_VERSION = 17, 8

LARGEST = (1 << 31) - (1 << 20)
"""Bytes of weights: a protobuf message holds less than 2 GiB."""

CHECKED, TOLERANCE, ROUNDINGS = 64, 1e-5, 10.0
"""How many rows of random numbers the graph is compared on, how far predictions may differ,
relative to the largest where they are numbers, and how many times the network's own rounding
besides."""

FLOAT32 = np.finfo(np.float32)

INPUT = "input"


class Exported(NamedTuple):
    """What a graph takes and gives: names with types and shapes, `N` rows."""

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

    `parameters` is the flat vector (P,), or (E, P): then the graph is the ensemble's, and its
    predictions are the members' averaged. Weights are float32 in the graph, those in float64 are
    rounded. Its opset is 17, its IR version 8.

    input           uint8 if `takes_bytes`, which the graph divides by 255, else float32, of shape
                    (N, *image_shape), or (N, l0) without that
    probabilities   float32 (N, K), of an output softmax or sigmoid; `predictions` of one of numbers
    label           int64 (N,), the likeliest class; of softmax alone

    Before it is written, the graph passes ONNX's own checker, and its predictions are compared
    with the network's own. Raises `InputError` for a missing package, parameters on a device or of
    another network, weights beyond 2 GiB or beyond float32, a graph that does not compute what the
    network does, and a place that cannot be written.
    """
    onnx = _onnx()
    image_shape = tuple(image_shape)
    if image_shape and math.prod(image_shape) != model.layer_sizes[0]:
        raise InputError(
            f"image_shape={image_shape}: {math.prod(image_shape)} values, but {model} takes "
            f"{model.layer_sizes[0]}; leave it out for rows"
        )
    _check_parameters(model, parameters, path)
    found = _Graph(onnx, model, parameters, image_shape, takes_bytes).build()
    data = found.SerializeToString(deterministic=True)
    onnx.checker.check_model(found, full_check=True)
    _compare(onnx, found, model, parameters, image_shape, takes_bytes, path)
    write_atomically(Path(path), lambda file: file.write_bytes(data))
    return Exported(
        _described(found.graph.input[0], onnx),
        tuple(_described(one, onnx) for one in found.graph.output),
        len(data),
    )


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.reference
    except ImportError as error:
        raise InputError(
            f'ONNX needs the package onnx ({error}); pip install "xpmlp[onnx]"'
        ) from error
    return onnx


class _Graph:
    """Nodes and weights in the making."""

    def __init__(
        self,
        onnx: Any,
        model: MLP,
        parameters: np.ndarray,
        image_shape: tuple[int, ...],
        takes_bytes: bool,
    ) -> None:
        self.onnx, self.model, self.parameters = onnx, model, parameters
        self.image_shape, self.takes_bytes = image_shape, takes_bytes
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.known: dict[str, str] = {}

    def build(self) -> Any:
        """The whole model."""
        p = self.model.unflatten(self.parameters, xp=np)
        L = self.model.chain.onnx(p, self._rows(), self)
        return self._finished(L, self.onnx.helper, self.onnx.TensorProto)

    def _rows(self) -> str:
        """Stored rows as the network takes them."""
        rows = INPUT
        if self.takes_bytes:
            rows = self.add("Cast", rows, to=self.onnx.TensorProto.FLOAT)
            rows = self.add("Div", rows, self.constant(255.0))
        return self.add("Flatten", rows, axis=1) if len(self.image_shape) > 1 else rows

    def _finished(self, L: str, helper: Any, types: Any) -> Any:
        """The model, once the last layer has given L."""
        model, K = self.model, self.model.layer_sizes[-1]
        last = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exp": "Exp", "identity": "Identity"}
        attributes: dict[str, Any] = {"axis": -1} if model.output == "softmax" else {}
        Y_hat = self.add(last[model.output], L, **attributes)
        name = "predictions" if model.predicts_numbers else "probabilities"
        if self.parameters.ndim == 2:
            self.add("ReduceMean", Y_hat, axes=[0], keepdims=0, result=name)
        else:
            self.add("Identity", Y_hat, result=name)
        outputs = [helper.make_tensor_value_info(name, types.FLOAT, ["N", K])]
        if model.output == "softmax":
            likeliest = self.add("ArgMax", name, axis=-1, keepdims=1)
            # Of no rows onnxruntime 1.20 gives (0, K) here: as many numbers, but another shape.
            self.weights["flat"] = self.onnx.numpy_helper.from_array(np.array([-1]), "flat")
            self.add("Reshape", likeliest, "flat", result="label")
            outputs.append(helper.make_tensor_value_info("label", types.INT64, ["N"]))
        graph = helper.make_graph(
            self.nodes,
            "xpmlp",
            [
                helper.make_tensor_value_info(
                    INPUT,
                    types.UINT8 if self.takes_bytes else types.FLOAT,
                    ["N", *(self.image_shape or (model.layer_sizes[0],))],
                )
            ],
            outputs,
            list(self.weights.values()),
        )
        made = helper.make_model(
            graph,
            producer_name="xpmlp",
            producer_version=xpmlp.__version__,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            doc_string=f"{model}, {model.hidden}, {model.output}",
        )
        scaled = "bytes 0..255, divided by 255 in the graph" if self.takes_bytes else "as it is"
        members = str(len(self.parameters)) if self.parameters.ndim == 2 else "1"
        helper.set_model_props(made, {"input": scaled, "members": members})
        return made

    def add(self, name: str, *operands: str, result: str = "", **attributes: Any) -> str:
        """An operation, by the name of its result."""
        result = result or f"{name}_{len(self.nodes) + 1}"
        node = self.onnx.helper.make_node(name, list(operands), [result], **attributes)
        self.nodes.append(node)
        return result

    def weight(self, name: str, values: np.ndarray) -> str:
        """An array of numbers, by its name."""
        array = np.ascontiguousarray(values, np.float32)
        self.weights[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def constant(self, value: float) -> str:
        """A number, by its name."""
        return self.weight(f"{value:.9g}", np.asarray(value))

    def expression(self, formula: Expression, Z: str) -> str:
        """The result of a formula in Z."""
        if not isinstance(formula, Node):
            return self.constant(formula) if isinstance(formula, float) else Z
        key = repr((formula, Z))  # what stands in a formula twice is computed once
        if key not in self.known:
            operands = [self.expression(one, Z) for one in formula.operands]
            self.known[key] = self.add(formula.name, *operands, **formula.attributes)
        return self.known[key]


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
    if parameters.size * 4 > LARGEST:
        raise InputError(
            f"{path}: {parameters.size * 4:,} bytes of weights, an ONNX file holds at most "
            f"{LARGEST:,}; export fewer members or a smaller network"
        )
    with np.errstate(over="ignore"):
        if not np.isfinite(parameters.astype(np.float32)).all():
            raise InputError(
                "parameters that are NaN, infinite or beyond float32 (3.4e38); train again"
            )


def _compare(
    onnx: Any,
    found: Any,
    model: MLP,
    parameters: np.ndarray,
    image_shape: tuple[int, ...],
    takes_bytes: bool,
    path: Path | str,
) -> None:
    """Run the graph by ONNX's reference implementation, on random rows, beside the network in
    float64.

    In float32 neither can be nearer to that than rounding lets it, and how far that is depends on
    the weights. So a multiple of what float32 makes of the network's own L is allowed: softmax and
    sigmoid change by less than L does, as exp does relative to itself.
    """
    random = np.random.Generator(np.random.Philox(0))
    shape = (CHECKED, *(image_shape or (model.layer_sizes[0],)))
    rows = (
        random.integers(0, 256, shape).astype(np.uint8)
        if takes_bytes
        else random.normal(size=shape).astype(np.float32)
    )
    X = rows.reshape(CHECKED, -1)
    with np.errstate(all="ignore"):
        given, *_ = onnx.reference.ReferenceEvaluator(found).run(None, {INPUT: rows})
        wanted = predict(model, parameters.astype(np.float64), X)
        L32, L64 = (
            model.forward(parameters.astype(dtype), inputs(X, dtype=dtype, xp=np), xp=np).L
            for dtype in (np.float32, np.float64)
        )
        if not np.isfinite(L32).all():
            raise InputError(
                f"{path}: the network overflows float32 on ordinary rows; train it again, with "
                "smaller weights"
            )
        rounding = float(np.abs(L32 - L64).max())
        if model.output == "exp":
            # As far as float32 holds them, and the sum of as many as there are members.
            most = FLOAT32.max / (len(parameters) if parameters.ndim == 2 else 1)
            given, wanted = (np.log(np.clip(Y, FLOAT32.tiny, most)) for Y in (given, wanted))
        difference = float(np.abs(given - wanted).max())
        scale = max(1.0, float(np.abs(wanted).max()))
    limit = TOLERANCE * scale + ROUNDINGS * rounding
    if not difference <= limit:
        raise InputError(
            f"{path}: the graph's predictions differ from the network's by {difference:.2g}, at "
            f"most {limit:.2g} is expected; nothing was written, please report it"
        )


def _described(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    sizes = ", ".join(one.dim_param or str(one.dim_value) for one in tensor.shape.dim)
    return f"{value.name} {kind} ({sizes})"
