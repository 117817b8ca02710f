"""JAX by hand: autodiff of a plain function, jitted step by step or as one scan over the steps."""

from typing import Any

import numpy as np

from benchmarks.competitors.competitor import (
    Advance,
    Start,
    TakeTurn,
    Unavailable,
    clocked,
    refuse_members,
    repeated,
)
from benchmarks.inputs import Inference
from benchmarks.problems import Problem

PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32"}
"""JAX's names. On GPUs since Ampere its default is TF32: float32 has to be asked for."""


def training(device: str, *, scan: bool, precision: str = "float32") -> Start:
    """Members, where there are any, are one `vmap` over the step."""

    def start(problem: Problem) -> TakeTurn:
        import jax
        import jax.numpy as jnp

        place = _place(device)
        size = problem.batch_size
        images = jax.device_put(problem.images, place)
        labels = jax.device_put(problem.labels.astype(np.int32), place)

        def loss(layers: Any, X: Any, Y: Any) -> Any:
            log_Y_hat = jax.nn.log_softmax(_logits(layers, X))
            return -jnp.mean(jnp.take_along_axis(log_Y_hat, Y[:, None], axis=1))

        def step(layers: Any, images: Any, labels: Any, number: Any) -> tuple[Any, Any]:
            rows = jax.lax.dynamic_slice_in_dim(images, number * size, size)
            X = rows.astype(jnp.float32) / 255.0
            Y = jax.lax.dynamic_slice_in_dim(labels, number * size, size)
            J, gradients = jax.value_and_grad(loss)(layers, X, Y)
            rate = problem.learning_rate
            return jax.tree.map(lambda p, g: p - rate * g, layers, gradients), J

        if problem.members > 1:
            step = jax.vmap(step, in_axes=(0, None, None, None))

        def scanned(layers: Any, images: Any, labels: Any, numbers: Any) -> tuple[Any, Any]:
            return jax.lax.scan(
                lambda at, number: step(at, images, labels, number), layers, numbers
            )

        compiled = jax.jit(scanned if scan else step, donate_argnums=0)

        def begin() -> Advance:
            layers = jax.device_put(problem.layers, place)

            def advance(first: int, stop: int) -> np.ndarray:
                nonlocal layers
                numbers = np.arange(first, stop, dtype=np.int32) % problem.batches
                with jax.default_matmul_precision(PRECISIONS[precision]):
                    if scan:
                        layers, losses = compiled(layers, images, labels, numbers)
                        return np.asarray(losses)
                    each = []
                    for number in numbers.tolist():
                        layers, J = compiled(layers, images, labels, number)
                        each.append(J)
                    return np.asarray(jnp.stack(each))

            return advance

        return clocked(problem, begin)

    return start


def prediction(device: str) -> Start:
    """A jitted forward pass and softmax; rows to the device, probabilities to the host."""

    def start(inference: Inference) -> TakeTurn:
        import jax

        refuse_members(inference.problem)
        place = _place(device)
        layers = jax.device_put(inference.problem.layers, place)

        @jax.jit
        def probabilities(layers: Any, X: Any) -> Any:
            return jax.nn.softmax(_logits(layers, X))

        def call() -> np.ndarray:
            with jax.default_matmul_precision(PRECISIONS["float32"]):
                return np.asarray(probabilities(layers, jax.device_put(inference.X, place)))

        return repeated(call)

    return start


def _logits(layers: Any, X: Any) -> Any:
    import jax

    A = X
    *hidden, (W, b) = layers
    for W_hidden, b_hidden in hidden:
        A = jax.nn.sigmoid(A @ W_hidden + b_hidden)
    return A @ W + b


def _place(device: str) -> Any:
    import jax

    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise Unavailable(f"this JAX sees no {device}") from error
