"""The multilayer perceptron: a chain of layers with a loss at its end.

A network is a value that describes an architecture and holds no parameters. These are ONE
flat vector, W1 b1 W2 b2 ... one after another, and `MLP.layers` gives (W, b) as views of it:

    loss, gradients = model.loss_and_gradients(parameters, X, labels)
    parameters -= 0.03 * gradients

A leading axis of that vector, (E, P) in place of (P,), is E networks at once.

Hidden layer k computes, each part after the first two where the network has it,

    Z = A W + b   ->   normalised   ->   A = g(Z)   ->   dropout   ->   A after = A + A in

See `xpmlp.network.layers` for each of these, forward and backward.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from xpmlp import algebra, renamed
from xpmlp.algebra import ACTIVATIONS, OUTPUTS, max_norm, one_hot, running
from xpmlp.checks import (
    check_boolean,
    check_fields,
    check_layer_sizes,
    check_range,
    check_seed,
    one_of,
)
from xpmlp.compiler.scopes import marker
from xpmlp.display import TextTable, as_html, short_repr
from xpmlp.errors import InputError
from xpmlp.habits import HabitHints, widths_in_one
from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.layers import TRAINING, Activate, Chain, Dense, Dropout, Layer, Mode, Normalize
from xpmlp.network.objective import PLAIN, Objective
from xpmlp.network.parameters import Parameters
from xpmlp.randomness import WEIGHTS, generator
from xpmlp.typing import DTYPES, Array, Namespace

NORMALIZATIONS = ("none", *algebra.NORMALIZATIONS)

ARCHITECTURE = ("layer_sizes", "hidden", "output", "normalization", "residual")
"""What files say of a network, as `MLP` takes it; the activation by its name in 0.1.0."""

RUNNING_MOMENTUM = 0.1
"""The share of a batch in the running mean and variance of batch normalisation."""


class ForwardPass(NamedTuple):
    """What a forward pass returns.

    Attributes
    ----------
    L : array of shape (N, K)
        The output of the last layer (logits), before softmax or the like.
    saved : tuple
        What each layer saved for its backward pass.

    Examples
    --------
    >>> model = xpmlp.MLP((2, 3))
    >>> model.forward(model.initialize(), np.zeros((1, 2), np.float32)).L
    array([[0., 0., 0.]], dtype=float32)
    """

    L: Array
    saved: tuple[Any, ...]


class LossAndGradients(NamedTuple):
    """What `MLP.loss_and_gradients` returns: a scalar (or one per member) and a flat vector."""

    loss: Array
    gradients: Array


class BatchGradients(NamedTuple):
    """What a training step needs of a batch: J, the flat gradient (P,), the last layer's L, and
    the running statistics after it (S,), None where the network has none."""

    J: Array
    gradients: Array
    L: Array
    statistics: Array | None


@renamed.with_old_names
@widths_in_one
@dataclass(frozen=True)
class MLP(HabitHints):
    """A multilayer perceptron: dense layers, one activation between them, an output.

    It describes the architecture and holds no parameters; those are one flat vector.

    Parameters
    ----------
    layer_sizes
        Widths l0, l1, ..., K: values per row, hidden layers, outputs.
    activation
        The activation of the hidden layers.
    output
        The kind of prediction. `softmax`: one class of K; `sigmoid`: K independent yes/no labels;
        `identity`: K numbers; `exp`: K numbers of 0 or more, such as counts.
    normalization
        The normalisation between a hidden layer's product and its activation.
    residual
        Whether a hidden layer as wide as the one before it adds its input to its output.

    Raises
    ------
    InputError
        For fewer than two widths, a width below 1, unknown names, and a residual network without
        two consecutive hidden layers of the same width.

    Notes
    -----
    In shapes N is the number of rows, P the number of parameters, S that of running statistics (0
    without batch normalisation), and E that of networks trained together.

    References
    ----------
    Lecture 11: the network 784-64-32-10 is that of the recipe `lecture`.

    Examples
    --------
    >>> model = xpmlp.MLP((784, 64, 32, 10))
    >>> model.parameter_count
    52650
    """

    layer_sizes: Sequence[int]
    activation: str = "sigmoid"
    output: str = "softmax"
    normalization: str = "none"
    residual: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "layer_sizes", check_layer_sizes(self.layer_sizes))
        one_of(ACTIVATIONS, activation=self.activation)
        one_of(OUTPUTS, output=self.output)
        one_of(NORMALIZATIONS, normalization=self.normalization)
        if self.residual and not any(map(self.is_residual, range(1, len(self.layer_sizes)))):
            raise InputError(
                f"residual=True: {self} has no hidden layer as wide as the hidden layer before it; "
                "give two of the same width"
            )

    @property
    def architecture(self) -> dict[str, Any]:
        """What files say of the network, by the names in `ARCHITECTURE`."""
        return dict(zip(ARCHITECTURE, self.__getstate__().values(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle keeps: the fields, and nothing that follows from them."""
        return {name: getattr(self, name) for name in self.__match_args__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle; those of 0.1.0 have the activation as `hidden`."""
        known = {renamed.SETTINGS.get(name, name): state[name] for name in state}
        self.__dict__.update({name: known[name] for name in self.__match_args__ if name in known})

    @functools.cached_property
    def chain(self) -> Chain:
        """The layers in the order of the forward pass."""
        widths = self.layer_sizes
        last = len(widths) - 1
        layers: list[Layer] = [Dropout(0, widths[0])]
        for k, (l_in, l_out) in enumerate(itertools.pairwise(widths), start=1):
            is_hidden = k < last
            bias_cancels = is_hidden and self.normalization == "batch"
            block: list[Layer] = [Dense(k, l_out, l_in, k == 1, bias_cancels)]
            if is_hidden:
                if self.normalization != "none":
                    block.append(Normalize(k, l_out, self.normalization))
                block += [Activate(k, l_out, self.activation), Dropout(k, l_out)]
            if self.is_residual(k):
                block = [Chain(k, l_out, tuple(block), residual=True)]
            layers += block
        return Chain(0, widths[-1], tuple(layers))

    @functools.cached_property
    def parts(self) -> Parameters:
        """The layout of the flat vector: W1, b1, W2, ...

        A normalisation has gamma1 and beta1 after b1, and so on; the running statistics mean1,
        variance1, ... are at the end.
        """
        parts = (part for layer in self.chain.walk() for part in layer.parts)
        return Parameters(tuple(sorted(parts, key=lambda part: not part.is_learned)))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part of the flat vector by name, in its order."""
        return self.parts.shapes

    @functools.cached_property
    def parameter_count(self) -> int:
        """P, the number of learned parameters of one network."""
        return sum(part.size for part in self.parts.parts if part.is_learned)

    @functools.cached_property
    def size(self) -> int:
        """The length of the flat vector of one network: P and S running statistics."""
        return sum(part.size for part in self.parts.parts)

    def is_residual(self, number: int) -> bool:
        """Return whether a hidden layer adds its input to its output.

        Parameters
        ----------
        number : int
            The number of the layer, counted from 1.

        Returns
        -------
        bool
            Whether it does.
        """
        widths = self.layer_sizes
        is_inner = 1 < number < len(widths) - 1
        return self.residual and is_inner and widths[number] == widths[number - 1]

    def products(self, batch_size: int) -> list[tuple[int, int, int]]:
        """Return the matrix products of a training step.

        Parameters
        ----------
        batch_size : int
            Rows in a mini-batch.

        Returns
        -------
        list of (rows, inner, columns)
            The sizes of Z = A W + b and dW = Aᵀ dZ of each layer, and of dA = dZ Wᵀ of all but the
            first.
        """
        found = (layer.operations(batch_size) for layer in self.chain.walk())
        return [one.product for two in found for side in two for one in side if one.product]

    def initialize(
        self,
        seed: int | Iterable[int] = 0,
        *,
        initializer: str = "normal",
        scale: float = 1.0,
        zero_output: bool = False,
        backend: Any = None,
        dtype: str = "float32",
    ) -> Array:
        """Return initial parameters as a flat vector.

        The default is the lecture's: weights from N(0, 1), biases 0.

        Parameters
        ----------
        seed : int or iterable of int, default 0
            The seed; E seeds give E networks, each equal to that of its own seed.
        initializer : str, default 'normal'
            The distribution of the weights, one of `xpmlp.network.INITIALIZERS`.
        scale : float, default 1.0
            Factor on the weights, more than 0.
        zero_output : bool, default False
            Whether the last layer's weights are 0.
        backend : Backend, optional
            Where the vector is put; by default it is a NumPy array.
        dtype : str, default 'float32'
            `float32` or `float64`. The numbers are drawn in float64 on the host, so the weights of
            all backends and dtypes are the same to rounding.

        Returns
        -------
        array of shape (P + S,) or (E, P + S)
            The parameters, and the running statistics of batch normalisation.

        Raises
        ------
        InputError
            For an unknown name, a scale that is not above 0, and an invalid seed.

        References
        ----------
        Lecture 11, "initialize w, b".

        Examples
        --------
        >>> xpmlp.MLP((4, 3)).initialize(seed=[0, 1]).shape
        (2, 15)
        """
        one_of(DTYPES, dtype=dtype)
        one_of(INITIALIZERS, initializer=initializer)
        check_range("scale", scale, above=0.0, below=math.inf)
        check_boolean("zero_output", zero_output)
        seeds = check_seed(seed)

        def member(seed: int) -> np.ndarray:
            random = generator(seed, WEIGHTS)
            drawn = self._weights[:-1] if zero_output else self._weights
            parts = {
                part.name: scale * INITIALIZERS[initializer](random, *part.shape)
                if part.name in drawn
                else np.full(part.shape, float(part.kind in ("scale", "running variance")))
                for part in self.parts.parts
            }
            return self.flatten(parts)

        host = member(seeds) if isinstance(seeds, int) else np.stack(list(map(member, seeds)))
        return host.astype(dtype) if backend is None else backend.asarray(host, dtype)

    def unflatten(self, vector: Array, *, xp: Namespace | None = None) -> dict[str, Array]:
        """Return the parts of a flat vector by name.

        Parameters
        ----------
        vector : array of shape (P,), (P + S,) or (E, P + S)
            The flat vector, with or without running statistics.
        xp : namespace, optional
            The Array API library; by default that of the vector.

        Returns
        -------
        dict of str to array
            W1, b1, ...: views of the vector if the library has views.

        Raises
        ------
        InputError
            For a vector of another length.

        Examples
        --------
        >>> model = xpmlp.MLP((4, 3))
        >>> {name: part.shape for name, part in model.unflatten(model.initialize()).items()}
        {'W1': (4, 3), 'b1': (3,)}
        """
        xp = xp or array_api_compat.array_namespace(vector)
        if vector.shape[-1] not in (self.size, self.parameter_count):
            raise InputError(f"{vector.shape[-1]:,} parameters, but {self} has {self.size:,}")
        return self.parts.unflatten(vector, xp=xp)

    def flatten(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the flat vector of parameters given by name, the inverse of `unflatten`.

        Parameters
        ----------
        parts : mapping of str to ndarray
            Host arrays W1, b1, ... of the shapes in `shapes`.

        Returns
        -------
        ndarray of shape (P,) or (P + S,)
            The flat vector.

        Raises
        ------
        InputError
            For a missing or unknown name, and for a wrong shape.

        Examples
        --------
        >>> xpmlp.MLP((2, 1), output="identity").flatten({"W1": np.ones((2, 1)), "b1": np.zeros(1)})
        array([1., 1., 0.])
        """
        vector: np.ndarray = self.parts.flatten(parts, self.parts.check(parts, self), xp=np)
        return vector

    def layers(
        self, parameters: Array, *, xp: Namespace | None = None
    ) -> list[tuple[Array, Array]]:
        """Return the weights and biases of each layer as views of the flat vector.

        Parameters
        ----------
        parameters : array of shape (P + S,) or (E, P + S)
            The flat vector.
        xp : namespace, optional
            The Array API library; by default that of the parameters.

        Returns
        -------
        list of (W, b)
            Arrays of shapes (l_in, l_out) and (l_out,), with a leading axis if the vector has one.

        Examples
        --------
        >>> model = xpmlp.MLP((4, 5, 3))
        >>> [(W.shape, b.shape) for W, b in model.layers(model.initialize())]
        [((4, 5), (5,)), ((5, 3), (3,))]
        """
        p = self.unflatten(parameters, xp=xp)
        return [(p[f"W{k}"], p[f"b{k}"]) for k in range(1, len(self.layer_sizes))]

    def forward(
        self,
        parameters: Array,
        X: Array,
        mode: Mode = Mode(),  # noqa: B008 (a value that nothing changes)
        *,
        xp: Namespace | None = None,
    ) -> ForwardPass:
        """Compute the forward pass.

        Parameters
        ----------
        parameters : array of shape (P,), (P + S,) or (E, P + S)
            The flat vector, with or without the S running statistics; E networks with a leading
            axis.
        X : array of shape (N, l0)
            Rows, floating-point like the parameters.
        mode : Mode, default Mode()
            Whether the pass is for training, and the random numbers of dropout. By default it is
            for inference: running statistics, no dropout.
        xp : namespace, optional
            The Array API library; by default that of the parameters.

        Returns
        -------
        ForwardPass
            L of shape (N, K), or (E, N, K), and what each layer saved for its backward pass.

        References
        ----------
        Lecture 11, "forward propagation".
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        return ForwardPass(*self.chain.forward(self.unflatten(parameters, xp=xp), X, mode, xp=xp))

    @property
    def is_regression(self) -> bool:
        """Whether the network is a regression: predictions are not probabilities."""
        return OUTPUTS[self.output].is_regression

    def predictions(self, parameters: Array, X: Array, *, xp: Namespace | None = None) -> Array:
        """Return the prediction for each row.

        Parameters
        ----------
        parameters : array of shape (P,), (P + S,) or (E, P + S)
            The flat vector, with or without the S running statistics; E networks with a leading
            axis.
        X : array of shape (N, l0)
            Rows, floating-point like the parameters.
        xp : namespace, optional
            The Array API library; by default that of the parameters.

        Returns
        -------
        array of shape (N, K) or (E, N, K)
            The probability of each class (softmax) or of each label (sigmoid), numbers (identity),
            or positive numbers (exp).

        Examples
        --------
        >>> model = xpmlp.MLP((2, 4))
        >>> model.predictions(np.zeros(model.size), np.ones((1, 2)))
        array([[0.25, 0.25, 0.25, 0.25]])
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        return self.predictions_of(self.forward(parameters, X, xp=xp).L, xp=xp)

    def predictions_of(self, L: Array, *, xp: Namespace) -> Array:
        """Return the predictions for given outputs of the last layer.

        Parameters
        ----------
        L : array of shape (N, K)
            The output of the last layer, as `forward` returns it.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        array of shape (N, K)
            The predictions.
        """
        return OUTPUTS[self.output].forward(L, xp=xp)

    def input_gradients(
        self,
        parameters: Array,
        X: Array,
        labels: Array | None = None,
        *,
        objective: Objective = PLAIN,
        xp: Namespace | None = None,
    ) -> Array:
        """Return the derivatives of the predictions, or of the loss, by the input.

        Parameters
        ----------
        parameters : array of shape (P,) or (P + S,)
            The flat vector, with the running statistics of batch normalisation.
        X : array of shape (N, l0)
            Rows, floating-point like the parameters.
        labels : array of shape (N,) or (N, K), optional
            Integers, or floating-point targets: the loss is differentiated. By default the
            predictions are.
        objective : Objective, optional
            The objective whose loss is used, by default the usual one of the output. Label
            smoothing, class weights, penalties and dropout are ignored.
        xp : namespace, optional
            The Array API library; by default that of the parameters.

        Returns
        -------
        array of shape (N, K, l0) or (N, l0)
            dŶ/dX, or with labels dJ/dX. J is the mean over the N rows, so dJ/dX includes the factor
            1/N.

        Notes
        -----
        The extra product is dX = dZ1 W1ᵀ, with one backward pass for each output. Batch
        normalisation uses the running statistics.

        Examples
        --------
        >>> model = xpmlp.MLP((3, 2))
        >>> model.input_gradients(model.initialize(), np.zeros((5, 3), np.float32)).shape
        (5, 2, 3)
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        p, output = self.unflatten(parameters, xp=xp), OUTPUTS[self.output]
        dropout, _, *others = self.chain.layers
        first = Dense(1, self.layer_sizes[1], self.layer_sizes[0])
        chain = dataclasses.replace(self.chain, layers=(dropout, first, *others))
        L, saved = chain.forward(p, X, Mode(), xp=xp)

        def back(dL: Array) -> Array | None:
            return chain.backward(p, saved, dL, xp=xp)[0]

        device, K = array_api_compat.device(X), self.layer_sizes[-1]
        if labels is not None:
            loss = objective.loss_for(self.output)
            classes = xp.arange(K, device=device)
            Y = self.targets(labels, classes, dtype=parameters.dtype, xp=xp)
            _, kept = loss.forward(Y, L, None, xp=xp)
            return back(loss.backward(Y, kept, None, xp=xp))
        Y_hat = output.forward(L, xp=xp)
        units = xp.eye(K, dtype=Y_hat.dtype, device=device)
        rows = (xp.broadcast_to(units[k, :], Y_hat.shape) for k in range(K))
        return xp.stack([back(output.backward(row, Y_hat, xp=xp)) for row in rows], axis=-2)

    def loss_and_gradients(
        self,
        parameters: Array,
        X: Array,
        labels: Array,
        *,
        objective: Objective = PLAIN,
        weights: Array | None = None,
        mode: Mode = TRAINING,
        xp: Namespace | None = None,
    ) -> LossAndGradients:
        """Return the loss of a batch and its gradient as a flat vector.

        Parameters
        ----------
        parameters : array of shape (P,), (P + S,) or (E, P + S)
            The flat vector, with or without the S running statistics; E networks with a leading
            axis.
        X : array of shape (N, l0)
            Rows, floating-point like the parameters.
        labels : array of shape (N,) or (N, K)
            Integers from 0 to K-1, or floating-point targets.
        objective : Objective, optional
            The loss and its regularisation; by default the usual loss of the output, such as the
            mean cross-entropy.
        weights : array of shape (N,), optional
            A weight for each row.
        mode : Mode, default training
            How the forward pass is run.
        xp : namespace, optional
            The Array API library; by default that of the parameters.

        Returns
        -------
        LossAndGradients
            `loss`, a scalar or (E,), and `gradients`, shaped like the parameters. The gradient of
            running statistics is 0.

        Raises
        ------
        InputError
            For labels that don't fit X, and for batch normalisation outside training.

        Examples
        --------
        >>> model = xpmlp.MLP((2, 2))
        >>> p = model.initialize(dtype="float64")
        >>> loss, gradients = model.loss_and_gradients(p, np.eye(2), np.array([0, 1]))
        >>> p -= 0.1 * gradients  # a step of gradient descent
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        if self.normalization == "batch" and not mode.is_training:
            raise InputError(
                "mode: batch normalisation has gradients in training alone; give "
                "Mode(is_training=True)"
            )
        is_floating = xp.isdtype(labels.dtype, "real floating")
        if labels.shape[0] != X.shape[-2] or labels.ndim != 1 + is_floating:
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for X {tuple(X.shape)}: give one per row, "
                "integers (N,), or floating-point targets (N, K)"
            )
        classes = xp.arange(self.layer_sizes[-1], device=array_api_compat.device(labels))
        Y = self.targets(labels, classes, dtype=parameters.dtype, xp=xp)
        J, gradients, _, _ = self.forward_backward(
            parameters, X, Y, objective=objective, weights=weights, mode=mode, xp=xp
        )
        if parameters.shape[-1] != gradients.shape[-1]:
            still = xp.zeros_like(parameters[..., self.parameter_count :])
            gradients = xp.concat([gradients, still], axis=-1)
        return LossAndGradients(J, gradients)

    def targets(self, labels: Array, classes: Array, *, dtype: object, xp: Namespace) -> Array:
        """Return the targets Y of labels.

        Parameters
        ----------
        labels : array of shape (N,) or (N, K)
            Integers, which become one-hot rows (or one column for a sigmoid output of width 1), or
            floating-point targets, which are returned in the given dtype.
        classes : array of shape (K,)
            The numbers 0, ..., K-1.
        dtype : dtype
            The dtype of the targets.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        array of shape (N, K)
            The targets. With a leading axis, members have rows of their own.
        """
        if xp.isdtype(labels.dtype, "real floating"):
            return xp.astype(labels, dtype)
        if self.output == "softmax" or (self.output == "sigmoid" and self.layer_sizes[-1] > 1):
            return one_hot(labels, classes, dtype=dtype, xp=xp)
        return xp.astype(labels, dtype)[..., None]

    def forward_backward(
        self,
        parameters: Array,
        X: Array,
        Y: Array,
        *,
        objective: Objective = PLAIN,
        weights: Array | None = None,
        penalty_scale: Array | None = None,
        mode: Mode = TRAINING,
        statistics: Array | None = None,
        xp: Namespace,
    ) -> BatchGradients:
        """Compute the loss and the gradient of a batch with given targets.

        This is what a training step calls; nothing in it depends on the device or the library.

        Parameters
        ----------
        parameters : array of shape (P,) or (E, P)
            The learned parameters.
        X : array of shape (N, l0)
            Rows, floating-point like the parameters.
        Y : array of shape (N, K)
            Targets, as `targets` returns them.
        objective : Objective, optional
            The loss and its regularisation.
        weights : array of shape (N,), optional
            A weight for each row.
        penalty_scale : array of shape (1, 1) or (E, 1, 1), optional
            Factor on the penalties of the objective.
        mode : Mode, default training
            How the forward pass is run.
        statistics : array of shape (S,), optional
            The running statistics of batch normalisation, which are updated.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        BatchGradients
            J, the flat gradient, L of the last layer, and the new running statistics or None.

        References
        ----------
        Lecture 11, "forward propagation" and "backpropagation".
        """
        loss, mark = objective.loss_for(self.output), marker(xp)
        mark("W, b as views of one vector")
        p = self.unflatten(parameters, xp=xp)
        L, saved = self.chain.forward(p, X, mode, xp=xp)
        mark(loss.phase)
        Y = objective.smoothed(Y, xp=xp)
        J, kept = loss.forward(Y, L, weights, xp=xp)
        mark("backward dL")
        dL = loss.backward(Y, kept, weights, xp=xp)
        _, gradients = self.chain.backward(p, saved, dL, xp=xp)
        mark("penalties")
        for name in self._weights if objective.has_penalty else ():
            J, gradients[name] = objective.penalized(
                J, gradients[name], p[name], penalty_scale, xp=xp
            )
        mark("gradients as one vector")
        flat = self.parts.flatten(gradients, dL.shape[:-2], xp=xp)
        if statistics is not None:
            mark("running statistics")
            of_batch: dict[str, Array] = {}
            for layer, one in self.chain.with_saved(saved):
                if isinstance(layer, Normalize):
                    of_batch |= layer.statistics(one, L.shape[-2], xp=xp)
            now = self.parts.flatten(of_batch, statistics.shape[:-1], xp=xp)
            statistics = running(statistics, now, RUNNING_MOMENTUM, xp=xp)
        return BatchGradients(J, flat, L, statistics)

    @functools.cached_property
    def _weights(self) -> list[str]:
        """The names of all W."""
        return [part.name for part in self.parts.parts if part.kind == "weight"]

    def constrained(self, parameters: Array, limit: float, *, xp: Namespace) -> Array:
        """Return the parameters with a limit on the norm of each hidden unit's weights.

        Parameters
        ----------
        parameters : array of shape (P,) or (E, P)
            The learned parameters.
        limit : float
            The largest norm of the weights into a hidden unit, more than 0.
        xp : namespace
            The Array API library of the arrays.

        Returns
        -------
        array of shape (P,) or (E, P)
            The constrained parameters.

        References
        ----------
        Srivastava et al. 2014, Dropout, section 5.1.
        """
        parts = self.unflatten(parameters, xp=xp)
        for name in self._weights[:-1]:
            parts[name] = max_norm(parts[name], limit, xp=xp)
        return self.parts.flatten(parts, parameters.shape[:-1], xp=xp)

    def summary(self) -> str:
        """Return a table of the layers, with their widths and numbers of parameters.

        Returns
        -------
        str
            The table, which a notebook shows as it is.
        """
        rows = [f"{'layer':<10}{'computes':<20}{'out':>8}{'parameters':>14}"]
        for layer in self.chain.walk():
            if layer.k and not isinstance(layer, Dropout):
                learned = sum(part.size for part in layer.parts if part.is_learned)
                name = layer.phases[0].removeprefix("forward ")
                rows.append(f"{layer.k:<10}{name:<20}{layer.l_out:>8,}{learned:>14,}")
        total = f"{self.output} of the last layer; {self.parameter_count:,} parameters"
        return TextTable("\n".join([*rows, total]))

    def _repr_html_(self) -> str:
        facts = {"network": "-".join(map(str, self.layer_sizes)), "activation": self.activation}
        learned = f"{self.parameter_count:,}"
        return as_html({**facts, "output": self.output, "parameters": learned})

    __repr__ = short_repr

    def __str__(self) -> str:
        return f"the network {'-'.join(map(str, self.layer_sizes))}"
