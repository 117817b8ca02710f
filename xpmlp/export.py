"""A trained network as ONNX, which other programs, languages and devices run without xpmlp.

The graph is the forward pass, preprocessing inside: rows as they are stored go in, of any number,
and predictions come out. It needs opset 17 (2022: ONNX 1.12, onnxruntime 1.12, or newer).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import xpmlp
from xpmlp.algebra.normalization import EPSILON
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network import MLP
from xpmlp.training import predict

OPSET, IR_VERSION = 17, 8

LARGEST = (1 << 31) - (1 << 20)
"""Bytes of weights: a protobuf message holds less than 2 GiB."""

CHECKED, TOLERANCE = 64, 1e-5
"""How many rows of random numbers the graph is compared on, and how far predictions may differ,
relative to the largest where they are numbers."""

INPUT = "input"


class Step(NamedTuple):
    """An operation by its ONNX name; `Z` in its operands is what it is applied to."""

    name: str
    operands: tuple[str | float, ...] = ("Z",)
    attributes: Mapping[str, Any] = MappingProxyType({})


Z = "Z"
ACTIVATION_STEPS: dict[str, tuple[Step, ...]] = {
    "identity": (),
    "sigmoid": (Step("Sigmoid"),),
    "tanh": (Step("Tanh"),),
    "relu": (Step("Relu"),),
    "leaky_relu": (Step("LeakyRelu", attributes={"alpha": 0.01}),),
    "selu": (Step("Selu"),),
    "softplus": (Step("Softplus"),),
    "scaled_tanh": (Step("Mul", (Z, 2.0 / 3.0)), Step("Tanh", ("",)), Step("Mul", ("", 1.7159))),
    "silu": (Step("Sigmoid"), Step("Mul", (Z, ""))),
    "mish": (Step("Softplus"), Step("Tanh", ("",)), Step("Mul", (Z, ""))),
    "gelu": (
        Step("Mul", (Z, math.sqrt(0.5))),
        Step("Erf", ("",)),
        Step("Add", ("", 1.0)),
        Step("Mul", (Z, "")),
        Step("Mul", ("", 0.5)),
    ),
    "gelu_tanh": (
        Step("Mul", (Z, Z)),
        Step("Mul", ("", 0.044715)),
        Step("Add", ("", 1.0)),
        Step("Mul", (Z, "")),
        Step("Mul", ("", math.sqrt(2.0 / math.pi))),
        Step("Tanh", ("",)),
        Step("Add", ("", 1.0)),
        Step("Mul", (Z, "")),
        Step("Mul", ("", 0.5)),
    ),
}
"""Each activation of `xpmlp.algebra.ACTIVATIONS` as steps; `""` is what the step before gave."""


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
    rounded; batch normalisation is part of them.

    input           uint8 if `takes_bytes`, which the graph divides by 255, else float32, of shape
                    (N, *image_shape), or (N, l0) without that
    probabilities   float32 (N, K), of an output softmax or sigmoid; `predictions` of one of numbers
    label           int64 (N,), the likeliest class; of softmax alone

    Before it is written, the graph passes ONNX's own checker, and its predictions are compared
    with `xpmlp.predict`. Raises `InputError` for a missing package, weights beyond 2 GiB, a graph
    that does not compute what the network does, and a place that cannot be written.
    """
    onnx = _onnx()
    image_shape = tuple(image_shape)
    if image_shape and math.prod(image_shape) != model.layer_sizes[0]:
        raise InputError(
            f"image_shape={image_shape}: {math.prod(image_shape)} values, but {model} takes "
            f"{model.layer_sizes[0]}; leave it out for rows"
        )
    if parameters.size * 4 > LARGEST:
        raise InputError(
            f"{path}: {parameters.size * 4:,} bytes of weights, an ONNX file holds at most "
            f"{LARGEST:,}; export fewer members or a smaller network"
        )
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

    def build(self) -> Any:
        """The whole model."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        A = self._rows()
        for number, (W, b) in enumerate(_folded(self.model, self.parameters), start=1):
            Z = self._add("MatMul", A, self._weight(f"W{number}", W))
            Z = self._add("Add", Z, self._weight(f"b{number}", b))
            if number == len(self.model.layer_sizes) - 1:
                return self._finished(Z, helper, types)
            if self.model.normalization == "layer":
                Z = self._layer_norm(Z, number)
            A_out = self._activated(Z)
            A = self._add("Add", A_out, A) if self.model.is_residual(number) else A_out
        raise AssertionError("a network has a last layer")

    def _rows(self) -> str:
        """Stored rows as the network takes them."""
        rows = INPUT
        if self.takes_bytes:
            rows = self._add("Cast", rows, to=self.onnx.TensorProto.FLOAT)
            rows = self._add("Div", rows, self._constant(255.0))
        return self._add("Flatten", rows, axis=1) if len(self.image_shape) > 1 else rows

    def _activated(self, Z: str) -> str:
        before = Z
        for name, operands, attributes in ACTIVATION_STEPS[self.model.hidden]:
            given = [
                self._constant(one) if isinstance(one, float) else {"Z": Z, "": before}[one]
                for one in operands
            ]
            before = self._add(name, *given, **attributes)
        return before

    def _layer_norm(self, Z: str, number: int) -> str:
        parts = self.model.unflatten(self.parameters, xp=np)
        gamma, beta = (
            self._weight(f"{name}{number}", parts[f"{name}{number}"][..., None, :])
            for name in ("gamma", "beta")
        )
        centred = self._add("Sub", Z, self._add("ReduceMean", Z, axes=[-1], keepdims=1))
        squares = self._add("Mul", centred, centred)
        variance = self._add("ReduceMean", squares, axes=[-1], keepdims=1)
        deviation = self._add("Sqrt", self._add("Add", variance, self._constant(EPSILON)))
        return self._add("Add", self._add("Mul", self._add("Div", centred, deviation), gamma), beta)

    def _finished(self, L: str, helper: Any, types: Any) -> Any:
        """The model, once the last layer has given L."""
        model, K = self.model, self.model.layer_sizes[-1]
        last = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exp": "Exp", "identity": "Identity"}
        attributes: dict[str, Any] = {"axis": -1} if model.output == "softmax" else {}
        Y_hat = self._add(last[model.output], L, **attributes)
        name = "predictions" if model.predicts_numbers else "probabilities"
        if self.parameters.ndim == 2:
            self._add("ReduceMean", Y_hat, axes=[0], keepdims=0, result=name)
        else:
            self._add("Identity", Y_hat, result=name)
        outputs = [helper.make_tensor_value_info(name, types.FLOAT, ["N", K])]
        if model.output == "softmax":
            self._add("ArgMax", name, axis=-1, keepdims=0, result="label")
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

    def _add(self, name: str, *operands: str, result: str = "", **attributes: Any) -> str:
        result = result or f"{name}_{len(self.nodes) + 1}"
        node = self.onnx.helper.make_node(name, list(operands), [result], **attributes)
        self.nodes.append(node)
        return result

    def _weight(self, name: str, values: np.ndarray) -> str:
        array = np.ascontiguousarray(values, np.float32)
        self.weights[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def _constant(self, value: float) -> str:
        return self._weight(f"{value:.9g}", np.asarray(value))


def _folded(model: MLP, parameters: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """W and b of each layer, (l_in, l_out) and (l_out,), or (E, l_in, l_out) and (E, 1, l_out).

    Batch normalisation multiplies and adds after training, so its numbers go into them:
    (γ/σ) (A W + b) + (β - μ γ/σ). In float64, for it is rounded once more.
    """
    parts = {
        name: array.astype(np.float64) for name, array in model.unflatten(parameters, xp=np).items()
    }
    has_members = parameters.ndim == 2
    for number in range(1, len(model.layer_sizes)):
        W, b = parts[f"W{number}"], parts[f"b{number}"]
        if f"mean{number}" in parts:
            scale = parts[f"gamma{number}"] / np.sqrt(parts[f"variance{number}"] + EPSILON)
            W = W * scale[..., None, :]
            b = (b - parts[f"mean{number}"]) * scale + parts[f"beta{number}"]
        yield W, b[:, None, :] if has_members else b


def _compare(
    onnx: Any,
    found: Any,
    model: MLP,
    parameters: np.ndarray,
    image_shape: tuple[int, ...],
    takes_bytes: bool,
    path: Path | str,
) -> None:
    """Run the graph by ONNX's reference implementation, on random rows, beside the network."""
    random = np.random.Generator(np.random.Philox(0))
    shape = (CHECKED, *(image_shape or (model.layer_sizes[0],)))
    rows = (
        random.integers(0, 256, shape).astype(np.uint8)
        if takes_bytes
        else random.normal(size=shape).astype(np.float32)
    )
    with np.errstate(all="ignore"):
        given, *_ = onnx.reference.ReferenceEvaluator(found).run(None, {INPUT: rows})
        wanted = predict(model, parameters, rows.reshape(CHECKED, -1))
    scale = max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(given - wanted).max()) / scale
    if not difference <= TOLERANCE and np.isfinite(wanted).all():
        raise InputError(
            f"{path}: the graph's predictions differ from the network's by {difference:.2g}, at "
            f"most {TOLERANCE:g} is expected; nothing was written, please report it"
        )


def _described(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    sizes = ", ".join(one.dim_param or str(one.dim_value) for one in tensor.shape.dim)
    return f"{value.name} {kind} ({sizes})"
