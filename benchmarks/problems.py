"""What all competitors are given: a network with its initial weights, and rows to train it on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A network, its weights and its batches.

    `weights` are W1 B1 W2 B2 ... in float64, W (l_in, l_out), or (E, l_in, l_out) for E members
    that see the same batches; `images` (n, l0) bytes, `labels` (n,). Step t takes batch
    t mod `batches`. The first `warm` steps of a turn are not under the clock; `checked` is how
    many losses the oracle computes, 0 for all of them.
    """

    weights: Mapping[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray
    batch_size: int = 64
    learning_rate: float = 0.03
    warm: int = 64
    checked: int = 0

    @property
    def batches(self) -> int:
        """Full batches in the rows: the steps of an epoch."""
        return len(self.labels) // self.batch_size

    @property
    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W, b) of each layer in float32, copied."""
        count = len(self.weights) // 2
        names = [(f"W{number}", f"B{number}") for number in range(1, count + 1)]
        return [
            (self.weights[W].astype("float32"), self.weights[B].astype("float32")) for W, B in names
        ]

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """l0, l1, ..., K."""
        count = len(self.weights) // 2
        shapes = [self.weights[f"W{number}"].shape[-2:] for number in range(1, count + 1)]
        return (shapes[0][0], *(l_out for _, l_out in shapes))

    @property
    def members(self) -> int:
        """E, the networks trained at once."""
        return math.prod(self.weights["W1"].shape[:-2])

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a step's matrix products: Z, dW and, but for the first layer, dA."""
        sizes = [l_in * l_out for l_in, l_out in pairwise(self.layer_sizes)]
        return self.members * self.batch_size * (3 * sum(sizes) - sizes[0])

    def rows(self, step: int) -> slice:
        """The rows of a step."""
        start = step % self.batches * self.batch_size
        return slice(start, start + self.batch_size)

    def describe(self) -> dict[str, object]:
        """What a record says of it."""
        return {
            "layer_sizes": self.layer_sizes,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "members": self.members,
            "multiply_adds": self.multiply_adds,
        }


class Network(NamedTuple):
    """A network of the comparison and how long it is trained.

    An epoch has `batches` steps, a turn `warm` steps and then `steps` (`quick_steps` in the quick
    form) under the clock; a measurement has `rounds` turns of everyone (`quick_rounds`).
    """

    layer_sizes: tuple[int, ...]
    batch_size: int
    batches: int
    warm: int
    steps: int
    quick_steps: int
    rounds: int
    quick_rounds: int
    checked: int = 0
    lecture_weights: bool = False


NETWORKS = {
    "lecture": Network((784, 64, 32, 10), 64, 937, 64, 256, 128, 15, 3, lecture_weights=True),
    "wide": Network((784, 512, 512, 10), 256, 32, 32, 64, 32, 11, 2),
    "deep": Network((784, 1024, 1024, 1024, 10), 512, 8, 8, 16, 8, 5, 2),
    # A float64 step of this one takes a CPU seconds: an epoch and three steps are checked.
    "huge": Network((784, 4096, 4096, 10), 8192, 7, 7, 21, 7, 7, 2, checked=10),
}


def network_problem(name: str) -> Problem:
    """The problem of a network of `NETWORKS`."""
    network = NETWORKS[name]
    return make_problem(
        network.layer_sizes,
        network.batch_size,
        batches=network.batches,
        warm=network.warm,
        checked=network.checked,
        lecture_weights=network.lecture_weights,
    )


def lecture_problem() -> Problem:
    """The lecture's run: 784-64-32-10, batch 64, MNIST in file order, N(0, 1) weights."""
    return network_problem("lecture")


def make_problem(
    layer_sizes: Sequence[int],
    batch_size: int,
    *,
    batches: int,
    warm: int,
    members: int = 1,
    checked: int = 0,
    lecture_weights: bool = False,
    seed: int = 11,
) -> Problem:
    """Real MNIST in file order, and weights from N(0, 1/l_in), or the lecture's N(0, 1).

    The lecture's weights saturate sigmoids of wider layers: gradients would vanish, and any
    program would seem right. Raises `ValueError` for more rows than MNIST has.
    """
    from xpmlp import MLP, load_mnist

    images, labels = load_mnist().train
    rows = batches * batch_size
    if not batch_size <= rows <= len(labels):
        raise ValueError(
            f"batches={batches} of {batch_size}: MNIST has rows for {len(labels) // batch_size}"
        )
    model = MLP(layer_sizes)
    seeds = seed if members == 1 else range(seed, seed + members)
    parts = model.unflatten(model.initialize(seeds, dtype="float64"), xp=np)
    weights = {name.upper(): part for name, part in parts.items()}
    if not lecture_weights:
        for name, part in weights.items():
            if name.startswith("W"):
                part /= math.sqrt(part.shape[-2])
    return Problem(
        weights, images[:rows], labels[:rows], batch_size=batch_size, warm=warm, checked=checked
    )
