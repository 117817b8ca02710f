"""How large activations and gradients are, layer by layer: what vanishes or explodes shows."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpmlp.data import Split, order
from xpmlp.network import MLP, PLAIN, TRAINING, Objective
from xpmlp.network.layers import Dense
from xpmlp.recipes import Recipe
from xpmlp.training.step import inputs

STEEP_FLOW_RATIO = 1e3
"""From this ratio on between a layer's gradients and the last layer's, it is vanishing or
exploding: steps of one learning rate then move one layer a thousand times as far."""


class LayerFlow(NamedTuple):
    """Root mean squares of a layer's activations, weights and gradient.

    The activations of the last layer are L. With members they are means."""

    layer: int
    activations: float
    weights: float
    gradients: float


def first_batch(recipe: Recipe, train: Split) -> Split:
    """Return the rows of a run's first batch."""
    train, _ = recipe.held_out(train)
    seed = recipe.seed if isinstance(recipe.seed, int) else recipe.seed[0]
    blocks = getattr(train.X, "blocks", None)
    count = len(train.labels)
    rows = order(count, seed=seed, epoch=0, shuffle=recipe.shuffle, blocks=blocks)
    chosen = rows[: recipe.batch_size]
    return Split(np.asarray(train.X[chosen]), train.labels[chosen])


def gradient_flow(
    model: MLP, parameters: np.ndarray, batch: Split, objective: Objective = PLAIN
) -> list[LayerFlow]:
    """Return the sizes of activations, weights and gradients in a training step.

    It is computed in float64, without dropout and class weights; the gradients are those of the
    loss with label smoothing and penalties.
    """
    objective = dataclasses.replace(
        objective, dropout=0.0, input_dropout=0.0, mixup=0.0, class_weights=()
    )
    parameters = parameters.astype(np.float64)
    X = inputs(batch.X, dtype=np.dtype(np.float64), xp=np)
    Y = model.targets(
        batch.labels, np.arange(model.layer_sizes[-1]), dtype=np.dtype(np.float64), xp=np
    )
    with np.errstate(over="ignore", invalid="ignore"):
        L, saved = model.forward(parameters, X, TRAINING, xp=np)
        learned = model.forward_backward(parameters, X, Y, objective=objective, xp=np)
        layers, gradients = (model.layers(v, xp=np) for v in (parameters, learned.gradients))
    entered = (one for layer, one in model.chain.with_saved(saved) if isinstance(layer, Dense))
    _, *A = (*entered, L)
    return [
        LayerFlow(number, _rms(A[number - 1]), _rms(W), _rms(dW))
        for number, ((W, _), (dW, _)) in enumerate(zip(layers, gradients, strict=True), start=1)
    ]


def verdict(flow: Sequence[LayerFlow]) -> str:
    """Return a sentence that says whether gradients vanish or explode."""
    sizes = [layer.gradients for layer in flow]
    if not np.isfinite(sizes).all():
        return "Gradients are NaN or infinite: they explode"
    if not any(sizes):
        return "All gradients are 0"
    if len(flow) == 1:
        return "One layer: its gradients are the loss's own"
    if not sizes[-1]:
        return "The last layer's gradients are 0"
    ratios = [size / sizes[-1] for size in sizes]
    least, most = min(ratios), max(ratios)
    if least >= 1 / STEEP_FLOW_RATIO and most <= STEEP_FLOW_RATIO:
        return f"Gradients reach every layer: {least:.2g} to {most:.2g} times the last layer's"
    if not least:
        layer = flow[sizes.index(0.0)].layer
        return f"Gradients vanish: layer {layer}'s are 0 while the last layer's are not"
    what, ratio = ("vanish", least) if least < 1 / STEEP_FLOW_RATIO else ("explode", most)
    layer = flow[ratios.index(ratio)].layer
    return f"Gradients {what}: layer {layer}'s are {ratio:.2g} times the last layer's"


BAR_DECADES = 6.0
"""By how many powers of ten a gradient is smaller than the largest that has no bar."""


def bar_length(value: float, largest: float) -> float:
    """Return the length of a value's bar, 0 to 1, on a logarithmic scale."""
    if not (0.0 < value < math.inf and largest < math.inf):
        return 0.0
    return max(0.0, 1.0 - math.log10(largest / value) / BAR_DECADES)


def _rms(Q: np.ndarray) -> float:
    """Of each member, then the mean over members."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(Q), axis=(-2, -1))).mean())
