"""One step of mini-batch training, as a pure function of state and data.

It names no library, makes no array on a device of its choosing and never waits for the device,
so a backend may run it as it is, jit it or capture it. What a run has no use for is None in state
and data, and costs nothing.
"""

import functools
import itertools
from typing import Any, NamedTuple

from xpmlp import renamed
from xpmlp.algebra import mix
from xpmlp.backends import StepMetrics
from xpmlp.backends.base import Step
from xpmlp.compiler.scopes import marker
from xpmlp.network import MLP, PLAIN, DropoutKeys, Mode, Objective
from xpmlp.network.mlp import BatchGradients
from xpmlp.optimizers import average, clip_by_norm, clip_by_value, decay
from xpmlp.training.optimizer_config import OptimizerConfig
from xpmlp.typing import Array, Namespace


class TrainingState(NamedTuple):
    """The arrays that a training step changes, and its rates.

    Attributes
    ----------
    parameters : array of shape (P,) or (E, P)
        The learned parameters.
    optimizer : named tuple of arrays
        The state of the optimizer.
    learning_rate : array of shape (), (E, 1), (P,) or (E, P)
        The learning rate, before the schedule's factor.
    offset : array of shape (), int64
        The position of the next batch's first row in the order of the epoch.
    step : array of shape (1,), int64, or None
        The number of steps done.
    weight_decay : array or None
        The weight decay, shaped like the learning rate.
    statistics : array of shape (S,) or (E, S), or None
        The running statistics of batch normalisation.
    mean : array or None
        The mean of the parameters, if they are averaged.
    mean_statistics : array or None
        The mean of the running statistics likewise.

    Examples
    --------
    >>> run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, verbose=0)
    >>> run.trainer.state.parameters.shape
    (6,)
    """

    parameters: Array
    optimizer: Any
    learning_rate: Array
    offset: Array
    step: Array | None = None
    weight_decay: Array | None = None
    statistics: Array | None = None
    mean: Array | None = None
    mean_statistics: Array | None = None


@renamed.with_old_names
class TrainingData(NamedTuple):
    """The arrays that a training step reads, all on the device.

    Attributes
    ----------
    X : array of shape (n, l0)
        Rows as stored.
    labels : array of shape (n,) or (n, K)
        Labels or targets.
    order : array of shape (n,) or (E, n)
        The order of rows in this epoch, one for all members or one for each.
    positions : array of shape (N,)
        The numbers 0, ..., N-1 of the rows in a batch.
    classes : array of shape (K,)
        The numbers 0, ..., K-1.
    inverse_variance : array of shape (K,) or (E, 1, K), or None
        1 / variance of each target, for R².
    weights : array of shape (n,) or (E, n), or None
        The weight of each row, in the order of the epoch.
    mixup_lambda : array of shape (n,), or None
        The mixing weight of each row for mixup, in the order of the epoch.
    first : array of shape (1,), or None
        The number of the first step that the following series have.
    penalties : array of shape (steps,) or (E, steps), or None
        The factor on the penalties in each step.
    lr_factors : array of shape (steps,), or None
        The factor on the learning rate in each step.
    averaging : array of shape (steps,), or None
        The weight of the parameters in their mean after each step.
    key : array or None
        The key of dropout's random numbers.
    columns : array or None
        The numbers of the units, for dropout.
    input_rate : array of shape (E, 1, 1), or None
        The dropout rate of inputs, if members differ.
    hidden_rate : array of shape (E, 1, 1), or None
        The dropout rate of hidden units, if members differ.

    Examples
    --------
    >>> run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=1, verbose=0)
    >>> run.trainer.fixed.classes
    array([0, 1])
    """

    X: Array
    labels: Array
    order: Array
    positions: Array
    classes: Array
    inverse_variance: Array | None = None
    weights: Array | None = None
    mixup_lambda: Array | None = None
    first: Array | None = None
    penalties: Array | None = None
    lr_factors: Array | None = None
    averaging: Array | None = None
    key: Array | None = None
    columns: Array | None = None
    input_rate: Array | None = None
    hidden_rate: Array | None = None


@renamed.with_old_arguments
def make_step(
    model: MLP,
    objective: Objective = PLAIN,
    optimizer_config: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (nothing changes it)
    *,
    parts: int = 1,
    xp: Namespace,
) -> Step:
    """Return the training step of a network: (state, data) -> (state, metrics).

    Parameters
    ----------
    model : MLP
        The network.
    objective : Objective, default Objective()
        The loss and its regularisation.
    optimizer_config : OptimizerConfig, default OptimizerConfig()
        Optimizer, learning rate and limits.
    parts : int, default 1
        The number of parts that a batch is split into to save memory; their gradients are added up,
        which is mathematically the same.
    xp : namespace
        The Array API library of the arrays.

    Returns
    -------
    Step
        The step, a pure function.

    References
    ----------
    Lecture 11, the body of "for b_idx in range(n_batch)".

    Examples
    --------
    >>> from xpmlp.training import make_step
    >>> step = make_step(xpmlp.MLP((2, 2)), xp=np)
    >>> callable(step)
    True
    """

    mark = marker(xp)

    def step(state: TrainingState, data: TrainingData) -> tuple[TrainingState, StepMetrics]:
        mark("rows: take, scale, one-hot")
        X, labels, Y, weights, penalty_scale = take_batch(model, state, data, xp=xp)
        J, gradients, L, statistics = forward_backward(
            model,
            state.parameters,
            X,
            Y,
            parts=parts,
            objective=objective,
            weights=weights,
            penalty_scale=penalty_scale,
            mode=Mode(is_training=True, dropout=dropout_keys(objective, state, data)),
            statistics=state.statistics,
            xp=xp,
        )
        mark("count right answers")
        metric = batch_metric(model, L, labels, Y, data.inverse_variance, weights, xp=xp)
        mark("update")
        state = update(model, optimizer_config, state, data, gradients, statistics, xp=xp)
        return state, StepMetrics(J, metric)

    return step


def take_batch(
    model: MLP, state: TrainingState, data: TrainingData, *, xp: Namespace
) -> tuple[Array, Array, Array, Array | None, Array | None]:
    """Return X, labels, Y, weights and the scale of penalties of the rows whose turn it is.

    Rows are scaled, and mixed where asked for.
    """
    dtype = state.parameters.dtype
    places = state.offset + data.positions
    rows = xp.take(data.order, places, axis=-1)
    X = inputs(take_rows(data.X, rows, xp=xp), dtype=dtype, xp=xp)
    labels = take_rows(data.labels, rows, xp=xp)
    Y = model.targets(labels, data.classes, dtype=dtype, xp=xp)
    weights = None if data.weights is None else xp.take(data.weights, places, axis=-1)
    scale = None
    if data.penalties is not None:
        scale = xp.take(data.penalties, _number(state, data), axis=-1)[..., None]
    if data.mixup_lambda is not None:
        share = xp.take(data.mixup_lambda, places)[:, None]
        X, Y = (mix(one, rolled(one, xp=xp), share, xp=xp) for one in (X, Y))
    return X, labels, Y, weights, scale


def _number(state: TrainingState, data: TrainingData) -> Array | None:
    """Return which step of these data it is, (1,); None where nothing changes from step to step."""
    return None if data.first is None else state.step - data.first


def dropout_keys(
    objective: Objective, state: TrainingState, data: TrainingData
) -> DropoutKeys | None:
    """Return what dropout draws from in this step; None where nothing is dropped."""
    if data.key is None:
        return None
    return DropoutKeys(
        data.key,
        state.step,
        data.positions,
        data.columns,
        objective.input_dropout if data.input_rate is None else data.input_rate,
        objective.dropout if data.hidden_rate is None else data.hidden_rate,
    )


def update(
    model: MLP,
    config: OptimizerConfig,
    state: TrainingState,
    data: TrainingData,
    gradients: Array,
    statistics: Array | None,
    *,
    xp: Namespace,
) -> TrainingState:
    """Return the state after a step with these gradients and running statistics.

    Clip by value -> by norm -> decay -> rule -> max norm -> mean of the parameters.
    """
    rate, number = state.learning_rate, _number(state, data)
    if data.lr_factors is not None:
        rate = rate * xp.take(data.lr_factors, number)
    if config.clip_value:
        gradients = clip_by_value(gradients, config.clip_value, xp=xp)
    if config.clip_norm:
        gradients = clip_by_norm(gradients, config.clip_norm, xp=xp)
    parameters, optimizer = state.parameters, state.optimizer
    if state.weight_decay is not None:
        parameters = decay(parameters, rate, state.weight_decay, xp=xp)
    rule = config.optimizer
    parameters, optimizer = rule.update(parameters, gradients, optimizer, rate, xp=xp)
    if config.max_norm:
        parameters = model.constrained(parameters, config.max_norm, xp=xp)
    mean, mean_statistics = state.mean, state.mean_statistics
    if data.averaging is not None:
        weight = xp.take(data.averaging, number)
        mean = average(mean, parameters, weight, xp=xp)
        if statistics is not None:
            mean_statistics = average(mean_statistics, statistics, weight, xp=xp)
    offset = state.offset
    offset += data.positions.shape[0]
    return state._replace(
        parameters=parameters,
        optimizer=optimizer,
        offset=offset,
        step=None if state.step is None else state.step + 1,
        statistics=statistics,
        mean=mean,
        mean_statistics=mean_statistics,
    )


def forward_backward(
    model: MLP,
    parameters: Array,
    X: Array,
    Y: Array,
    *,
    parts: int,
    weights: Array | None,
    mode: Mode,
    xp: Namespace,
    **settings: Any,
) -> BatchGradients:
    """What `MLP.forward_backward` gives of a batch, of all rows at once or part by part.

    A loss is a mean over rows, so that of the batch is the parts' mean, each weighing as many rows
    as it has. Not for batch normalisation, which needs the whole batch.
    """
    learn = functools.partial(model.forward_backward, parameters, xp=xp, **settings)
    if parts == 1:
        return learn(X=X, Y=Y, weights=weights, mode=mode)
    mark, count, keys = marker(xp), X.shape[-2], mode.dropout
    bounds = [part * count // parts for part in range(parts + 1)]
    total: BatchGradients | None = None
    L: list[Array] = []  # alone: gradients of all parts would take more than halving saves
    for start, stop in itertools.pairwise(bounds):
        rows = slice(start, stop)
        if keys is not None:
            mode = mode._replace(dropout=keys._replace(positions=keys.positions[rows]))
        one = learn(
            X=X[..., rows, :],
            Y=Y[..., rows, :],
            weights=None if weights is None else weights[..., rows],
            mode=mode,
        )
        mark("sum of the parts")
        share = (stop - start) / count
        J, gradients = one.J * share, one.gradients * share
        if total is not None:
            J, gradients = total.J + J, total.gradients + gradients
        total = one._replace(J=J, gradients=gradients)
        L.append(one.L)
    assert total is not None  # for the type checker # nosec B101
    return total._replace(L=xp.concat(L, axis=-2))


def inputs(rows: Array, *, dtype: Any, xp: Namespace) -> Array:
    """Stored rows as the network takes them: bytes are pixels, 0..255 to 0..1; the rest as it is.

    Source: lecture 11, "X = images.reshape(b_size, -1) / 255.".
    """
    X = xp.astype(rows, dtype)
    if rows.dtype == xp.uint8:
        X /= 255.0
    return X


def take_rows(source: Array, rows: Array, *, xp: Namespace) -> Array:
    """Rows of an array by number: (N,) -> (N, ...), or a set for each member (E, N)."""
    if rows.ndim == 1:
        return xp.take(source, rows, axis=0)
    taken = xp.take(source, xp.reshape(rows, (-1,)), axis=0)
    return xp.reshape(taken, (*rows.shape, *source.shape[1:]))


def rolled(rows: Array, *, xp: Namespace) -> Array:
    """Each row's partner in mixup: the next row of the batch, of the last one the first."""
    return xp.concat([rows[..., 1:, :], rows[..., :1, :]], axis=-2)


def batch_metric(
    model: MLP,
    L: Array,
    labels: Array,
    Y: Array,
    inverse_variance: Array | None,
    weights: Array | None = None,
    *,
    xp: Namespace,
) -> Array:
    """Return the sum over rows of a metric, one per member: the mean over rows is accuracy or R².

    A row of weight 0 does not count. Softmax: 1 where the largest output is at the label. Sigmoid:
    1 where all K answers are right. Regression: 1 - (Ŷ - Y)² / variance, averaged over outputs.
    """
    if model.is_regression:
        D = model.predictions_of(L, xp=xp) - Y
        right = 1.0 - xp.mean(D * D * inverse_variance, axis=-1)
    elif model.output == "softmax":
        wanted = labels if labels.ndim < Y.ndim else xp.argmax(Y, axis=-1)
        right = xp.astype(xp.argmax(L, axis=-1) == wanted, xp.int64)
    else:
        wrong = xp.astype((L > 0.0) != (Y > 0.5), xp.int64)
        right = xp.astype(xp.sum(wrong, axis=-1) == 0, xp.int64)
    if weights is not None:
        right = right * xp.astype(weights > 0.0, right.dtype)
    return xp.sum(right, axis=-1)
