"""Which phase of which layer the operations of a traced step belong to, by who wrote them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from xpmlp.algebra import (
    ACTIVATIONS,
    LOSSES,
    batch_norm,
    batch_norm_backward,
    dense,
    dense_backward,
    dense_backward_parameters,
    layer_norm,
    layer_norm_backward,
    one_hot,
    running,
)
from xpmlp.compiler import Program
from xpmlp.compiler.program import Call
from xpmlp.network import MLP
from xpmlp.training.step import score


class Phase(NamedTuple):
    """A part of a step: of which layer, 1 being the first, or of none; and what it does."""

    layer: int | None
    name: str


class Kind(NamedTuple):
    """What a function does, and among whose calls a call of it is counted to find its layer."""

    name: str
    counted: str = ""


LOSS_PHASES = {"softmax_cross_entropy": "softmax, cross-entropy"}

ROWS = Kind("rows: take, scale, one-hot")


def phases_of(program: Program) -> list[Phase]:
    """The phase of each operation of a training step.

    Layers are numbered by the calls of `dense`, and counted down in the backward pass.
    """
    kinds = _kinds()
    found = [_kind_of(operation.calls, kinds) for operation in program.operations]
    calls: dict[str, list[int]] = {}
    for kind, number in found:
        known = calls.setdefault(kind.counted, [])
        if number not in known:
            known.append(number)
    last = len(calls.get("forward", []))
    phases = []
    for kind, number in found:
        place = calls[kind.counted].index(number)
        layer = {
            "forward": 1 + place,
            "activation": 1 + place,
            "backward": last - place,
            "backward activation": last - 1 - place,
            "norm": 1 + place,
            "backward norm": last - 1 - place,
        }.get(kind.counted)
        phases.append(Phase(layer, kind.name))
    return phases


def _kinds() -> dict[str, Kind]:
    """The kinds of the functions of a step, by the names that their calls are recorded by."""
    kinds: dict[Any, Kind] = {
        one_hot: ROWS,
        dense: Kind("forward product + bias", "forward"),
        dense_backward: Kind("backward dW, db, dA", "backward"),
        dense_backward_parameters: Kind("backward dW, db", "backward"),
        batch_norm: Kind("batch norm", "norm"),
        layer_norm: Kind("layer norm", "norm"),
        batch_norm_backward: Kind("backward batch norm", "backward norm"),
        layer_norm_backward: Kind("backward layer norm", "backward norm"),
        score: Kind("count right answers"),
        running: Kind("running statistics"),
    }
    for name, loss in LOSSES.items():
        kinds[loss.forward] = Kind(LOSS_PHASES.get(name, name.replace("_", " ")))
        kinds[loss.backward] = Kind("backward dL")
    for name, activation in ACTIVATIONS.items():
        kinds[activation.forward] = Kind(name, "activation")
        kinds[activation.backward] = Kind(f"backward {name}", "backward activation")
    return {_name_of(function): kind for function, kind in kinds.items()}


def _kind_of(calls: Sequence[Call], kinds: dict[str, Kind]) -> tuple[Kind, int]:
    """What the calls around an operation come to, and the number of the call that says so.

    The outermost function of the algebra does, if there is one: `softmax_cross_entropy`, not what
    it is made of.
    """
    for function, number in calls:
        if function in kinds:
            return kinds[function], number
        if function.startswith("xpmlp.algebra."):
            return Kind(function.rpartition(".")[2].replace("_", " ")), number
    names = [function for function, _ in calls]
    if not names or any(name.startswith("xpmlp.optimizers") for name in names):
        return Kind("update"), 0
    if _name_of(MLP.unflatten) in names:
        return Kind("W, b as views of one vector"), 0
    if _name_of(MLP.backward) in names:
        return Kind("gradients as one vector"), 0
    return ROWS, 0


def _name_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"
