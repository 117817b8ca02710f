"""What a run is trained with: every setting, checked where it is declared."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpmlp import habits, renamed
from xpmlp.algebra import LOSSES
from xpmlp.backends import PRECISIONS, Backend
from xpmlp.checks import (
    check_fields,
    check_kind,
    check_range,
    check_seed,
    nearest,
    one_of,
)
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import INITIALIZERS, MLP, Objective
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY, ema_weights, swa_weights
from xpmlp.schedules import SCHEDULES, warm_up
from xpmlp.training.history import History
from xpmlp.training.optimizer_config import OptimizerConfig
from xpmlp.training.validation_config import ValidationConfig
from xpmlp.typing import Array

COMPILE = ("auto", "require", "off")
"""Whether steps are compiled: if possible, or the run fails, or never."""

MOST_THREADS = 1024


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training run.

    Anything you leave out takes the lecture's value.

    Parameters
    ----------
    epochs
        Passes over the training rows.
    batch_size
        Rows in a mini-batch.
    seed
        Seed of shuffling, dropout and initial weights; E seeds train E networks at once.
    shuffle
        Whether each epoch takes the rows in a new order.
    drop_last
        Whether the last incomplete batch is dropped; else it is a smaller batch.
    objective
        What is minimised: a loss with its regularisation.
    optimizer_config
        Optimizer, learning rate and schedule.
    validation_config
        Validation, early stopping and the time limit.
    dtype
        The precision of training; in Python None takes that of the parameters.
    threads
        CPU threads; 0 finds the best number.
    compile
        `auto`: compile if possible; `require`: fail if not; `off`: never.
    initializer
        The distribution of the initial weights; for a ReLU take `he_normal`.
    initial_scale
        Factor on the initial weights.
    zero_output
        Whether the last layer's weights start at zero.

    Raises
    ------
    InputError
        For a value out of range.

    Examples
    --------
    >>> config = xpmlp.TrainConfig.of(epochs=5, optimizer="adam", beta1=0.95, dropout=0.2)
    >>> config.epochs, config.objective.dropout
    (5, 0.2)
    """

    epochs: int = 20
    batch_size: int = 64
    seed: int | Sequence[int] = 0
    shuffle: bool = False
    drop_last: bool = True
    objective: Objective = field(default_factory=Objective)
    optimizer_config: OptimizerConfig = field(default_factory=OptimizerConfig)
    validation_config: ValidationConfig = field(default_factory=ValidationConfig)
    dtype: str | None = None
    threads: int = 0
    compile: str = "auto"
    initializer: str = "normal"
    initial_scale: float = 1.0
    zero_output: bool = False

    def __post_init__(self) -> None:
        check_fields(self, batch_size=1)
        check_range("threads", self.threads, least=0, below=MOST_THREADS + 1)
        check_range("initial_scale", self.initial_scale, above=0.0)
        one_of(INITIALIZERS, initializer=self.initializer)
        object.__setattr__(self, "seed", check_seed(self.seed))
        for part, kind in CONFIG_PARTS.items():
            check_kind(part, getattr(self, part), kind)
        one_of(COMPILE, compile=self.compile)
        if self.dtype is not None:
            one_of(PRECISIONS, dtype=self.dtype)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each member."""
        return (self.seed,) if isinstance(self.seed, int) else tuple(self.seed)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by the names that `of` takes.

        Settings of other optimizers, schedules, losses and averages than the chosen ones are left
        out. An optimizer and a schedule are names with their options; a custom one is itself.
        """
        found: dict[str, Any] = {}
        for config in (self, *(getattr(self, part) for part in CONFIG_PARTS)):
            found |= {
                name: getattr(config, name) for name in _fields(config) if name not in CONFIG_PARTS
            }
        for kind, part in (("optimizer", "update"), ("schedule", "factor")):
            chosen = found[kind]
            rule = getattr(chosen, part)
            # One of your own may have kept a name: adam()._replace(update=...).
            if chosen.name in OWN_SETTINGS[kind] and rule.__module__.startswith("xpmlp."):
                found |= {kind: chosen.name, **dict(chosen.options)}
        for kind, has in OWN_SETTINGS.items():
            for name in _all_own(kind) - has.get(found[kind], {}).keys():
                found.pop(name, None)
        return found

    __repr__ = short_repr

    def initialize(
        self, model: MLP, seeds: int | Sequence[int], *, dtype: str, backend: Backend | None = None
    ) -> Array:
        """Draw the initial parameters of a network.

        Parameters
        ----------
        model : MLP
            The network.
        seeds : int or sequence of int
            The seed, or one for each member.
        dtype : str
            The dtype of the parameters.
        backend : Backend, optional
            Where they lie; by default on the host.

        Returns
        -------
        array of shape (P,) or (E, P)
            The parameters.
        """
        return model.initialize(
            seeds,
            initializer=self.initializer,
            scale=self.initial_scale,
            zero_output=self.zero_output,
            dtype=dtype,
            backend=backend,
        )

    def lr_factors(self, epoch: int, history: History, steps_per_epoch: int) -> np.ndarray:
        """Return the factor on the learning rate in each step of an epoch.

        Parameters
        ----------
        epoch : int
            The number of the epoch, from 0.
        history : History
            The history; a plateau looks at its losses before the epoch.
        steps_per_epoch : int
            The number of steps in an epoch.

        Returns
        -------
        ndarray of shape (steps_per_epoch,)
            The factors.
        """
        schedule, warm_up_epochs = self.optimizer_config.schedule, self.optimizer_config.warm_up
        if warm_up_epochs:
            schedule = warm_up(schedule, max(1, round(warm_up_epochs * steps_per_epoch)))
        losses: Sequence[float] = ()
        if schedule.reads_losses:
            is_validated = self.validation_config.validation is not None
            losses = history.epoch_losses(epoch, steps_per_epoch, is_validated=is_validated)
        return schedule(
            np.arange(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch),
            total=self.epochs * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            losses=losses,
        )

    def learning_rates(self, history: History, steps_per_epoch: int) -> np.ndarray:
        """Return the learning rate in each step of a history.

        Parameters
        ----------
        history : History
            The history of a run with this configuration.
        steps_per_epoch : int
            The number of steps in an epoch.

        Returns
        -------
        ndarray of shape (steps,) or (steps, E)
            The learning rates.
        """
        steps = len(history.losses)
        epochs = range(-(-steps // steps_per_epoch))
        lr_factors = [self.lr_factors(epoch, history, steps_per_epoch) for epoch in epochs]
        done = np.concatenate([np.empty(0), *lr_factors])[:steps]
        return np.asarray(np.multiply.outer(done, self.optimizer_config.learning_rate))

    def averaging(self, epoch: int, steps_per_epoch: int) -> np.ndarray:
        """Return the weight of the parameters in their mean after each step of an epoch.

        Parameters
        ----------
        epoch : int
            The number of the epoch, from 0.
        steps_per_epoch : int
            The number of steps in an epoch.

        Returns
        -------
        ndarray of shape (steps_per_epoch,)
            The weights.
        """
        first, end = epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch
        if self.optimizer_config.average == "ema":
            return ema_weights(end, self.optimizer_config.average_decay)[first:]
        begun = (
            self.optimizer_config.average_start * (self.epochs * steps_per_epoch) / steps_per_epoch
        )
        start = max(1, round(begun)) * steps_per_epoch - 1
        weights = swa_weights(end, start, steps_per_epoch)
        weights[:start] = 1.0  # until the mean begins it is the parameters themselves
        return weights[first:]

    @classmethod
    def of(cls, config: "TrainConfig | None" = None, **settings: Any) -> "TrainConfig":
        """Return a configuration with settings of all its parts given by keyword.

        Parameters
        ----------
        config : TrainConfig, optional
            The configuration to start from; by default that with all defaults.
        **settings
            Fields of `TrainConfig`, `Objective`, `OptimizerConfig` and `ValidationConfig`.
            `optimizer` and `schedule` may be names, followed by their own settings:
            `optimizer="adam", beta1=0.95`. Names ignore case. None leaves a setting unchanged.

        Returns
        -------
        TrainConfig
            The new configuration.

        Raises
        ------
        InputError
            For an unknown setting, and for a value out of range.
        """
        config = cls() if config is None else config
        check_kind("config", config, cls)
        settings = renamed.arguments("TrainConfig", settings)
        settings = {name: _plain(value) for name, value in settings.items() if value is not None}
        for kind, before in (
            ("optimizer", config.optimizer_config.optimizer),
            ("schedule", config.optimizer_config.schedule),
            ("loss", config.objective.loss),
            ("average", config.optimizer_config.average),
        ):
            settings = _with_own(kind, settings, before)
        for part, has in CONFIG_PARTS.items():
            if own := _taken(_fields(has), settings):
                base = settings.get(part, getattr(config, part))
                check_kind(part, base, has)
                settings[part] = dataclasses.replace(base, **own)
        for name in settings:
            if name not in _fields(cls):
                near = meant(name, setting_names())
                raise InputError(f"{name}: {near}not a setting; see help(xpmlp.TrainConfig)")
        return dataclasses.replace(config, **settings)


CONFIG_PARTS = {
    "objective": Objective,
    "optimizer_config": OptimizerConfig,
    "validation_config": ValidationConfig,
}
"""The settings that are made of settings."""


def _options(make: Any) -> dict[str, Any]:
    """The options of an optimizer, a schedule or the like, with their defaults."""
    return {one.name: one.default for one in inspect.signature(make).parameters.values()}


MAKERS: dict[str, Mapping[str, Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
"""What makes an optimizer or a schedule, by its name."""

OWN_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    **{
        kind: {name: _options(make) for name, make in makers.items()}
        for kind, makers in MAKERS.items()
    },
    "loss": {
        **{name: {} for name in LOSSES},
        "huber": {"huber_delta": Objective.huber_delta},
        "quantile": {"quantile": Objective.quantile},
    },
    "average": {
        "none": {},
        "ema": {"average_decay": OptimizerConfig.average_decay},
        "swa": {"average_start": OptimizerConfig.average_start},
    },
}
"""The settings that belong to one value of another setting, with their defaults."""


def _all_own(kind: str) -> set[str]:
    return {name for options in OWN_SETTINGS[kind].values() for name in options}


def setting_names() -> list[str]:
    """Every setting that `train` takes by keyword."""
    kinds = (TrainConfig, *CONFIG_PARTS.values())
    names = [name for kind in kinds for name in _fields(kind) if name not in CONFIG_PARTS]
    return [*names, *(name for kind in OWN_SETTINGS for name in _all_own(kind))]


def meant(name: str, known: Iterable[str]) -> str:
    """Return `did you mean NAME? ` for a habit of another library, else for a name that is near."""
    found = habits.SETTING_HABITS.get(name)
    return f"did you mean {found}? " if found else nearest(name, known)


def _with_own(kind: str, settings: dict[str, Any], before: Any) -> dict[str, Any]:
    """The settings with the optimizer or schedule made from its name, or from the one `before`,
    and its own settings.

    Refuses a setting that the optimizer, schedule, loss or average chosen does not have.
    """
    has, chosen = OWN_SETTINGS[kind], settings.get(kind, before)
    is_name = isinstance(chosen, str)
    if is_name and (chosen or kind != "loss"):
        one_of(has, **{kind: chosen})
    name = chosen if is_name else getattr(chosen, "name", "")
    own = _taken(_all_own(kind), settings)
    for wrong in sorted(own.keys() - has.get(name, {}).keys()):
        with_it = [one for one, options in has.items() if wrong in options]
        raise InputError(
            f"{wrong}={own[wrong]}: {kind}={name or 'the default'} has no such setting; "
            f"leave it out, or use {kind}={' or '.join(with_it)}"
        )
    make = MAKERS.get(kind, {}).get(name)
    if make is None or not (is_name or own):
        return {**settings, **own}
    usual = {"weight_decay": WEIGHT_DECAY[name]} if is_name and name in WEIGHT_DECAY else {}
    base = {} if is_name else dict(chosen.options)
    return {**usual, **settings, kind: make(**{**base, **own})}


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, which a compiled step takes; a name in lower case."""
    if isinstance(value, np.generic):
        return value.item()
    return value.lower() if isinstance(value, str) else value


def _taken(names: Iterable[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Take those of these names out of the settings."""
    return {name: settings.pop(name) for name in names if name in settings}


def _fields(kind: Any) -> list[str]:
    return [one.name for one in dataclasses.fields(kind)]
