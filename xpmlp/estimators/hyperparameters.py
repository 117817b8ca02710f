"""The constructor's parameters with their defaults and limits, and the training they ask for."""

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import BACKENDS, PRECISIONS
from xpmlp.errors import InputError
from xpmlp.estimators import conventions
from xpmlp.network import MLP, NORMALIZATIONS
from xpmlp.optimizers import OPTIMIZERS, Optimizer, adam_outer_epsilon, sgd, velocity_descent
from xpmlp.recipes import MOST_MEMBERS, Recipe, by_name, load_recipe
from xpmlp.schedules import SCHEDULES
from xpmlp.training import AVERAGES, Callback, TrainConfig
from xpmlp.training.config import MOST_THREADS

NONNEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
FRACTION = Interval(Real, 0, 1, closed="left")
COUNT = Interval(Integral, 1, None, closed="left")


def limited(default: Any, *limits: Any, setting: str = "") -> Any:
    """Return a field: its default, scikit-learn's constraints, and a recipe's setting it gives."""
    return field(default=default, metadata={"limits": [*limits], "setting": setting})


@dataclass(eq=False, repr=False)
class Hyperparameters(BaseEstimator):
    """What both estimators are made with: scikit-learn's parameters, then those beyond them."""

    hidden_layer_sizes: Any = limited((100,), "array-like", COUNT)
    activation: str = limited(
        "relu", StrOptions({*conventions.ACTIVATION_NAMES, *ACTIVATIONS}), setting="activation"
    )
    _: KW_ONLY
    solver: str = limited("adam", StrOptions({"lbfgs", "sgd", "adam"}))
    alpha: float = limited(0.0001, NONNEGATIVE, setting="l2")
    batch_size: Any = limited("auto", StrOptions({"auto"}), COUNT, setting="batch_size")
    learning_rate: str = limited("constant", StrOptions({"constant", "invscaling", "adaptive"}))
    learning_rate_init: float = limited(0.001, POSITIVE, setting="learning_rate")
    power_t: float = limited(0.5, NONNEGATIVE)
    max_iter: int = limited(200, COUNT, setting="epochs")
    shuffle: bool = limited(True, "boolean")
    random_state: Any = limited(None, "random_state")
    tol: float = limited(1e-4, NONNEGATIVE)
    verbose: Any = limited(False, "verbose")
    warm_start: bool = limited(False, "boolean")
    momentum: float = limited(0.9, Interval(Real, 0, 1, closed="both"), setting="momentum")
    nesterovs_momentum: bool = limited(True, "boolean")
    early_stopping: bool = limited(False, "boolean")
    validation_fraction: float = limited(0.1, FRACTION)
    beta_1: float = limited(0.9, FRACTION, setting="beta1")
    beta_2: float = limited(0.999, FRACTION, setting="beta2")
    epsilon: float = limited(1e-8, POSITIVE, setting="epsilon")
    n_iter_no_change: float = limited(10, COUNT, Options(Real, {np.inf}))
    max_fun: int = limited(15000, COUNT)

    backend: str = limited("auto", StrOptions({"auto", *BACKENDS}))
    device: str | None = limited(None, str, None)
    dtype: str = limited("auto", StrOptions({"auto", *PRECISIONS}))
    optimizer: str | None = limited(None, StrOptions(set(OPTIMIZERS)), None, setting="optimizer")
    weight_decay: float | None = limited(None, NONNEGATIVE, None, setting="weight_decay")
    schedule: str = limited("constant", StrOptions(set(SCHEDULES)), setting="schedule")
    warm_up: float = limited(0.0, NONNEGATIVE, setting="warm_up")
    clip_norm: float = limited(0.0, NONNEGATIVE, setting="clip_norm")
    average: str = limited("none", StrOptions(set(AVERAGES)), setting="average")
    mixup: float = limited(0.0, NONNEGATIVE, setting="mixup")
    dropout: float = limited(0.0, FRACTION, setting="dropout")
    input_dropout: float = limited(0.0, FRACTION, setting="input_dropout")
    normalization: str = limited("none", StrOptions(set(NORMALIZATIONS)), setting="normalization")
    residual: bool = limited(False, "boolean", setting="residual")
    n_members: int = limited(1, Interval(Integral, 1, MOST_MEMBERS, closed="both"))
    time_limit: float | None = limited(None, POSITIVE, None)
    callbacks: Any = limited(None, list, tuple, callable, Callback, None)
    recipe: Any = limited(None, str, dict, None)
    threads: int = limited(0, Interval(Integral, 0, MOST_THREADS, closed="both"))

    @property
    def _parameter_constraints(self) -> dict[str, list[Any]]:
        """What scikit-learn checks the parameters by when a fit begins."""
        return {one.name: one.metadata["limits"] for one in dataclasses.fields(self)}

    @property
    def _takes_all_rows(self) -> bool:
        """Whether it is trained by L-BFGS, in no mini-batches."""
        return self.solver == "lbfgs" and self.optimizer is None


OPTIMIZER_PARAMETERS = ("momentum", "beta_1", "beta_2", "epsilon")
"""Parameters that are settings of `optimizer`, if it has them."""

ESTIMATOR_PARAMETERS = (
    "layer_sizes", "output", "seed", "members", "validation", "validate_every", "monitor",
    "patience", "restore_best", "shuffle", "data", "initial_weights", "backend", "device", "dtype",
    "threads", "compile", "time_limit",
)  # fmt: skip
"""Settings of a recipe that an estimator decides by its own parameters, or not at all."""

LECTURE_RECIPE = Recipe()
"""The recipe whose settings are taken where neither parameters nor a recipe give any."""


class FitConfig(NamedTuple):
    """What an estimator's parameters ask for, of data of a given width.

    `is_planned` is whether the number of epochs was laid out beforehand, by a schedule or a recipe:
    then a run is not ended because its loss falls slowly, nor called unfinished at its end.
    `has_initializer` is whether a recipe gives one, in place of scikit-learn's.
    """

    model: MLP
    training: TrainConfig
    batch_size: int | None
    is_planned: bool
    has_initializer: bool


def fit_config(estimator: Any, hidden: list[int]) -> FitConfig:
    """Return the network with these hidden widths, for data that is known, and its training.

    A dictionary of a recipe's settings comes first, then parameters that are not at their default,
    then a named recipe, then the other defaults.

    Raises `InputError` where parameters contradict each other.
    """
    rate = f"learning_rate={estimator.learning_rate}"
    if estimator.learning_rate != "constant" and estimator.schedule != "constant":
        raise InputError(f"{rate} and schedule={estimator.schedule}: choose one")
    if estimator.learning_rate != "constant" and estimator.optimizer is not None:
        raise InputError(
            f"{rate}: is of solver='sgd' alone; with optimizer={estimator.optimizer!r} use schedule"
        )
    recipe = estimator.recipe
    own = by_name(recipe)[0] if isinstance(recipe, Mapping) else {}
    for name in own:
        if name in ESTIMATOR_PARAMETERS:
            raise InputError(f"recipe: {name} is the estimator's own; leave it out")
    base: dict[str, Any] = {}
    if is_named := isinstance(recipe, str):
        base = dict(load_recipe(recipe).settings)
        parameter = estimator.__dataclass_fields__["hidden_layer_sizes"]
        if not _is_changed(parameter, estimator.hidden_layer_sizes):
            hidden = base["layer_sizes"][1:-1]
        base = {name: value for name, value in base.items() if name not in ESTIMATOR_PARAMETERS}
    given = _settings(estimator, base, own)
    settings = {**base, **given, **{name: _plain(value) for name, value in own.items()}}
    output = estimator._output_of_network()
    widths = [estimator.n_features_in_, *hidden, estimator.n_outputs_]
    checked = LECTURE_RECIPE.replace({**settings, "layer_sizes": widths, "output": output})
    config = checked.config()
    objective = dataclasses.replace(
        config.objective,
        loss=config.objective.loss or conventions.SKLEARN_LOSSES[output],
        divides_by_weight="l2" in given,
    )
    own_rule = {} if "optimizer" in settings else {"optimizer": _optimizer(estimator)}
    drop_last = bool(settings.get("drop_last", False))
    return FitConfig(
        model=checked.model,
        training=TrainConfig.of(config, objective=objective, drop_last=drop_last, **own_rule),
        batch_size=settings.get("batch_size"),
        is_planned=is_named or checked.schedule not in ("constant", "plateau"),
        has_initializer="initializer" in settings,
    )


def _settings(estimator: Any, base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are settings of a recipe: of a named one only those that were changed."""
    has_optimizer = any("optimizer" in one for one in (own, base)) or estimator.optimizer
    settings = {}
    for one in dataclasses.fields(estimator):
        name, value = one.name, getattr(estimator, one.name)
        if not one.metadata["setting"] or value is None or value == "auto":
            continue
        if name in OPTIMIZER_PARAMETERS and not (has_optimizer and _is_changed(one, value)):
            continue
        if base and not _is_changed(one, value):
            continue
        if name == "activation":
            value = conventions.ACTIVATION_NAMES.get(value, value)
        settings[one.metadata["setting"]] = _plain(value)
    return settings


def _is_changed(parameter: Any, value: Any) -> bool:
    """Whether a value is not the default; arrays and lists never are."""
    return type(value) is not type(parameter.default) or bool(value != parameter.default)


def _plain(value: Any) -> Any:
    """A NumPy number as Python's: a recipe takes no other."""
    return value.item() if isinstance(value, np.generic) else value


def _optimizer(estimator: Any) -> Optimizer:
    """The solver's rule in scikit-learn's own form."""
    if estimator.solver == "adam":
        return adam_outer_epsilon(
            beta1=estimator.beta_1, beta2=estimator.beta_2, epsilon=estimator.epsilon
        )
    if not estimator.momentum:
        return sgd()
    return velocity_descent(
        momentum=estimator.momentum, nesterov=bool(estimator.nesterovs_momentum)
    )
