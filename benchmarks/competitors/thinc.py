"""thinc on the CPU: hand-written backward passes like ours, as a chain of layer objects."""

from typing import Any

import numpy as np

from benchmarks.competitors.competitor import Advance, TakeTurn, clocked, refuse_members, repeated
from benchmarks.inputs import Inference
from benchmarks.problems import Problem


def training(problem: Problem) -> TakeTurn:
    """`begin_update`, its categorical cross-entropy's gradient, `finish_update` with its SGD."""
    from thinc.api import SGD, CategoricalCrossentropy

    refuse_members(problem)
    cross_entropy = CategoricalCrossentropy(normalize=True)
    positions = np.arange(problem.batch_size)

    def begin() -> Advance:
        model = _model(problem)
        optimizer = SGD(problem.learning_rate, L2=0.0, grad_clip=0.0, use_averages=False)

        def advance(first: int, stop: int) -> np.ndarray:
            losses = []
            for step in range(first, stop):
                rows = problem.rows(step)
                X = np.divide(problem.images[rows], 255.0, dtype=np.float32)
                labels = problem.labels[rows]
                Y_hat, backprop = model.begin_update(X)
                # Its own loss is the squared gradient; ours is comparable.
                losses.append(-np.log(Y_hat[positions, labels]).mean())
                backprop(cross_entropy.get_grad(Y_hat, labels))
                model.finish_update(optimizer)
            return np.array(losses)

        return advance

    return clocked(problem, begin)


def prediction(inference: Inference) -> TakeTurn:
    """`Model.predict`."""
    model = _model(inference.problem)
    return repeated(lambda: model.predict(inference.X))


def _model(problem: Problem) -> Any:
    from thinc.api import NumpyOps, Sigmoid, Softmax_v2, chain, set_current_ops

    set_current_ops(NumpyOps())  # the default, also where there is a GPU
    layers = []
    for number, (W, b) in enumerate(problem.layers, start=1):
        l_in, l_out = W.shape
        kind = Softmax_v2 if number == len(problem.layers) else Sigmoid
        layer = kind(nO=l_out, nI=l_in)
        layer.initialize()
        layer.set_param("W", np.ascontiguousarray(W.T))
        layer.set_param("b", b)
        layers.append(layer)
    return chain(*layers)
