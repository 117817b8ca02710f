"""The constructor's parameters: what each may be, and the training that they ask for."""

import dataclasses
import inspect
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import BACKENDS, PRECISIONS
from xpmlp.errors import InputError
from xpmlp.estimators import conventions
from xpmlp.network import MLP, NORMALIZATIONS, Objective
from xpmlp.optimizers import (
    OPTIMIZERS,
    Optimizer,
    adam_outer_epsilon,
    sgd,
    velocity_descent,
)
from xpmlp.recipes import Recipe, by_name, load_recipe
from xpmlp.schedules import SCHEDULES
from xpmlp.training import AVERAGES, Callback, Descent

NONNEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")

ORIGINAL: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({*conventions.ACTIVATIONS, *ACTIVATIONS})],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [NONNEGATIVE],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [NONNEGATIVE],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [NONNEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [SHARE],
    "beta_1": [SHARE],
    "beta_2": [SHARE],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
}
"""The parameters of scikit-learn's estimators, with its own limits."""

BEYOND: dict[str, list[Any]] = {
    "backend": [StrOptions({"auto", *BACKENDS})],
    "device": [str, None],
    "dtype": [StrOptions({"auto", *PRECISIONS})],
    "optimizer": [StrOptions(set(OPTIMIZERS)), None],
    "weight_decay": [NONNEGATIVE, None],
    "schedule": [StrOptions({*SCHEDULES, "plateau"})],
    "warm_up": [NONNEGATIVE],
    "clip_norm": [NONNEGATIVE],
    "average": [StrOptions(set(AVERAGES))],
    "mixup": [NONNEGATIVE],
    "dropout": [SHARE],
    "input_dropout": [SHARE],
    "normalization": [StrOptions(set(NORMALIZATIONS))],
    "residual": ["boolean"],
    "n_members": [Interval(Integral, 1, 4096, closed="both")],
    "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    "callbacks": [list, tuple, callable, Callback, None],
    "recipe": [str, dict, None],
    "threads": [Interval(Integral, 0, 1024, closed="both")],
}
"""The parameters that only xpmlp's have."""

OF_CLASSIFIER: dict[str, list[Any]] = {
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "label_smoothing": [SHARE],
}

SAME = (
    "dropout", "input_dropout", "label_smoothing", "mixup", "normalization", "residual", "average",
    "weight_decay", "schedule", "warm_up", "clip_norm", "shuffle",
)  # fmt: skip
"""Parameters that are settings of a recipe by the same name."""

RENAMED = {
    "learning_rate_init": "learning_rate",
    "alpha": "l2",
    "max_iter": "epochs",
    "activation": "activation",
    "optimizer": "optimizer",
    "batch_size": "batch_size",
}
"""Parameters whose setting has another name."""

OF_OPTIMIZER = {
    "momentum": "momentum",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "epsilon": "epsilon",
}
"""Parameters that an optimizer takes, if it has them."""


OF_ESTIMATOR = (
    "layer_sizes", "output", "seed", "members", "validation", "validate_every", "monitor",
    "patience", "keep_best", "shuffle", "data", "initial_weights", "backend", "device", "dtype",
    "threads", "compile", "time_limit",
)  # fmt: skip
"""Settings of a recipe that an estimator decides by its own parameters, or not at all."""

LECTURE = Recipe()
"""The recipe whose settings are taken where neither parameters nor a recipe give any."""


class Plan(NamedTuple):
    """What an estimator's parameters ask for, of data of a given width.

    `is_planned` is whether the number of epochs was laid out beforehand, by a schedule or a recipe:
    then a run is not ended because its loss falls slowly, nor called unfinished at its end.
    `initializer` has the settings of `MLP.initialize` where a recipe gives them.
    """

    model: MLP
    objective: Objective
    descent: Descent
    epochs: int
    batch_size: int | None
    drop_last: bool
    is_planned: bool
    initializer: dict[str, Any]


def plan(estimator: Any, hidden: list[int], *, inputs: int, outputs: int, output: str) -> Plan:
    """The network and its training; `output` is one of `xpmlp.network.OUTPUTS`.

    What a dictionary of a recipe's settings says comes first, then parameters that are not at their
    default, then a named recipe, then the other defaults.

    Raises `InputError` where parameters contradict each other.
    """
    if estimator.learning_rate != "constant" and estimator.schedule != "constant":
        raise InputError(
            f"learning_rate={estimator.learning_rate} and schedule={estimator.schedule}: choose one"
        )
    if estimator.learning_rate != "constant" and estimator.optimizer is not None:
        raise InputError(
            f"learning_rate={estimator.learning_rate}: is of solver='sgd' alone; with "
            f"optimizer={estimator.optimizer!r} use schedule"
        )
    given = _given(estimator)
    recipe = estimator.recipe
    base: dict[str, Any] = {}
    if isinstance(recipe, str):
        base = dict(load_recipe(recipe).settings)
        given = {name: value for name, value in given.items() if not _is_default(estimator, name)}
        hidden = (
            hidden
            if not _is_default(estimator, "hidden_layer_sizes")
            else base["layer_sizes"][1:-1]
        )
    own = (
        {name: _plain(value) for name, value in by_name(recipe)[0].items()}
        if isinstance(recipe, Mapping)
        else {}
    )
    for name in OF_ESTIMATOR:
        if name in own:
            raise InputError(f"recipe: {name} is the estimator's own; leave it out")
        base.pop(name, None)
    settings = {**base, **_settings(estimator, given, base, own), **own}
    checked = LECTURE.replace(
        {**settings, "layer_sizes": [inputs, *hidden, outputs], "output": output}
    )
    objective = checked.objective()
    if not checked.loss:
        objective = dataclasses.replace(objective, loss=conventions.LOSSES[output])
    descent = checked.descent
    if "optimizer" not in settings:
        descent = dataclasses.replace(descent, optimizer=_optimizer(estimator))
    is_named = isinstance(recipe, str)
    return Plan(
        model=checked.model,
        objective=dataclasses.replace(objective, divides_by_weight="alpha" in given),
        descent=descent,
        epochs=checked.epochs,
        batch_size=settings.get("batch_size"),
        drop_last=bool(settings.get("drop_last", False)),
        is_planned=is_named or checked.schedule not in ("constant", "plateau"),
        initializer={
            "initializer": checked.initializer,
            "scale": checked.initial_scale,
            "zero_output": checked.zero_output,
        }
        if "initializer" in settings
        else {},
    )


def _given(estimator: Any) -> dict[str, Any]:
    """The estimator's parameters that are settings of a recipe."""
    names = (*SAME, *RENAMED, *OF_OPTIMIZER)
    # Not get_params: a subclass names only its own there, and has set the others.
    return {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}


def _settings(
    estimator: Any, given: Mapping[str, Any], base: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Those parameters as settings; what an optimizer does not have is left out."""
    settings = {}
    for name, value in given.items():
        if name in OF_OPTIMIZER:
            optimizer = own.get("optimizer", estimator.optimizer) or base.get("optimizer")
            has = inspect.signature(OPTIMIZERS[optimizer]).parameters if optimizer else {}
            if not optimizer or _is_default(estimator, name):
                continue
            if OF_OPTIMIZER[name] not in has:
                raise InputError(
                    f"{name}={value}: optimizer={optimizer} has no such setting; leave it out"
                )
            settings[OF_OPTIMIZER[name]] = value
            continue
        if value is None or value == "auto":
            continue
        if name == "activation":
            value = conventions.ACTIVATIONS.get(value, value)
        settings[RENAMED.get(name, name)] = _plain(value)
    return settings


def _plain(value: Any) -> Any:
    """A NumPy number as Python's: a recipe takes no other."""
    return value.item() if isinstance(value, np.generic) else value


def _is_default(estimator: Any, name: str) -> bool:
    # Of the class that has the parameter: a subclass may leave it out of its own constructor.
    constructors = (
        inspect.signature(vars(one)["__init__"]).parameters
        for one in type(estimator).__mro__
        if "__init__" in vars(one)
    )
    default = next(found[name].default for found in constructors if name in found)
    value = getattr(estimator, name)
    return type(value) is type(default) and value == default


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
