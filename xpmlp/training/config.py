"""What a run is trained with: every setting, checked where it is declared."""

import dataclasses
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpmlp.algebra import LOSSES
from xpmlp.backends import PRECISIONS
from xpmlp.checks import by_habit, check_integer, check_range, nearest, one_of
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import INITIALIZERS, Objective, member_seeds
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY
from xpmlp.schedules import SCHEDULES
from xpmlp.training.control import ValidationConfig
from xpmlp.training.descent import OptimizerConfig, Plateau

COMPILE = ("auto", "require", "off")
"""Whether steps are compiled: if possible, or the run fails, or never."""

PLATEAU = "plateau"

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
    descent
        Optimizer, learning rate and schedule.
    control
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
    descent: OptimizerConfig = field(default_factory=OptimizerConfig)
    control: ValidationConfig = field(default_factory=ValidationConfig)
    dtype: str | None = None
    threads: int = 0
    compile: str = "auto"
    initializer: str = "normal"
    initial_scale: float = 1.0
    zero_output: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("batch_size", 1), ("threads", 0)):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least=least))
        check_range("threads", self.threads, least=0, below=MOST_THREADS + 1)
        check_range("initial_scale", self.initial_scale, above=0.0, below=math.inf)
        one_of(INITIALIZERS, initializer=self.initializer)
        seeds = self.seed if isinstance(self.seed, Iterable) else [self.seed]
        found = member_seeds(seeds)
        object.__setattr__(
            self, "seed", tuple(found) if isinstance(self.seed, Iterable) else found[0]
        )
        for name in ("shuffle", "drop_last", "zero_output"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_)):
                raise InputError(f"{name}={value!r}: give True or False")
        for part, kind in CONFIG_PARTS.items():
            _check_kind(part, getattr(self, part), kind)
        one_of(COMPILE, compile=self.compile)
        if self.dtype is not None:
            one_of(PRECISIONS, dtype=self.dtype)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each member."""
        return (self.seed,) if isinstance(self.seed, int) else tuple(self.seed)

    __repr__ = short_repr

    @classmethod
    def of(cls, config: "TrainConfig | None" = None, **settings: Any) -> "TrainConfig":
        """Return a configuration with settings of all its parts given by keyword.

        Parameters
        ----------
        config : TrainConfig, optional
            The configuration to start from; by default that with all defaults.
        **settings
            Fields of `TrainConfig`, `Objective`, `OptimizerConfig` and `ValidationConfig`. `optimizer` and
            `schedule` may be names, followed by their own settings: `optimizer="adam", beta1=0.95`.
            Names ignore case. None leaves a setting unchanged.

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
        _check_kind("config", config, cls)
        settings = {name: _plain(value) for name, value in settings.items() if value is not None}
        _check_own(settings, config)
        descent = config.descent
        own = _taken(OWN["schedule"][PLATEAU], settings)
        if own or settings.get("schedule") == PLATEAU:
            own = {name.removeprefix("plateau_"): value for name, value in own.items()}
            plateau = dataclasses.replace(descent.plateau or Plateau(), **own)
            settings |= {"schedule": "constant", "plateau": plateau}
        elif "schedule" in settings and descent.plateau:
            settings["plateau"] = None
        settings = _named("optimizer", OPTIMIZERS, settings, descent.optimizer)
        settings = _named("schedule", SCHEDULES, settings, descent.schedule)
        for part, kind in CONFIG_PARTS.items():
            if own := _taken(_fields(kind), settings):
                base = settings.get(part, getattr(config, part))
                _check_kind(part, base, kind)
                settings[part] = dataclasses.replace(base, **own)
        for name in settings:
            if name not in _fields(cls):
                near = meant(name, setting_names())
                raise InputError(f"{name}: {near}not a setting; see help(xpmlp.TrainConfig)")
        return dataclasses.replace(config, **settings)


CONFIG_PARTS = {"objective": Objective, "descent": OptimizerConfig, "control": ValidationConfig}
"""The settings that are made of settings."""


def _options(make: Any) -> dict[str, Any]:
    """The options of an optimizer, a schedule or the like, with their defaults."""
    return {one.name: one.default for one in inspect.signature(make).parameters.values()}


OWN: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer": {name: _options(make) for name, make in OPTIMIZERS.items()},
    "schedule": {
        **{name: _options(make) for name, make in SCHEDULES.items()},
        PLATEAU: {f"plateau_{name}": value for name, value in _options(Plateau).items()},
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


def setting_names() -> list[str]:
    """Every setting that `train` takes by keyword."""
    kinds = (TrainConfig, *CONFIG_PARTS.values())
    names = [name for kind in kinds for name in _fields(kind) if name not in CONFIG_PARTS]
    return [*names, *(name for one in OWN.values() for has in one.values() for name in has)]


HABITS = by_habit(
    {
        "learning_rate": "lr learning_rate_init step_size",
        "epochs": "max_iter n_epochs num_epochs",
        "batch_size": "batch bs",
        "l2": "alpha",
        "seed": "random_state",
        "validation": "validation_split validation_data validation_fraction",
        "patience": "early_stopping n_iter_no_change",
        "restore_best": "restore_best_weights",
        "dtype": "precision",
        "threads": "workers n_jobs",
        "backend": "gpu cpu cuda",
    }
)
"""What other libraries call these settings."""


def meant(name: str, known: Iterable[str]) -> str:
    """Return `did you mean NAME? ` for a habit of another library, else for a name that is near."""
    return f"did you mean {HABITS[name]}? " if name in HABITS else nearest(name, known)


def _check_own(settings: Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse a setting that the optimizer, schedule, loss or average chosen does not have."""
    before = {
        "optimizer": config.descent.optimizer,
        "schedule": PLATEAU if config.descent.plateau else config.descent.schedule,
        "loss": config.objective.loss,
        "average": config.descent.average,
    }
    for kind, has in OWN.items():
        chosen = settings.get(kind, before[kind])
        if isinstance(chosen, str) and (chosen or kind != "loss"):
            one_of(has, **{kind: chosen})
        chosen = getattr(chosen, "name", chosen)
        own = {name for one in has.values() for name in one} & settings.keys()
        for name in sorted(own - has.get(chosen, {}).keys()):
            with_it = [one for one, options in has.items() if name in options]
            raise InputError(
                f"{name}={settings[name]}: {kind}={chosen or 'the default'} has no such setting; "
                f"leave it out, or use {kind}={' or '.join(with_it)}"
            )


def _named(
    kind: str, known: Mapping[str, Any], settings: dict[str, Any], before: Any
) -> dict[str, Any]:
    """The settings with the optimizer or schedule made from its name, or from the one `before`,
    and its own settings."""
    chosen = settings.get(kind, before)
    is_name = isinstance(chosen, str)
    name = chosen if is_name else getattr(chosen, "name", "")
    own = _taken(OWN[kind].get(name, {}), settings)
    if not is_name and not own:
        return settings
    usual = {"weight_decay": WEIGHT_DECAY[name]} if is_name and name in WEIGHT_DECAY else {}
    base = {} if is_name else dict(chosen.options)
    return {**usual, **settings, kind: known[name](**{**base, **own})}


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, which a compiled step takes; a name in lower case."""
    if isinstance(value, np.generic):
        return value.item()
    return value.lower() if isinstance(value, str) else value


def _check_kind(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{name}={value!r:.60}: give an xpmlp.{kind.__name__}")


def _taken(names: Iterable[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Take those of these names out of the settings."""
    return {name: settings.pop(name) for name in names if name in settings}


def _fields(kind: Any) -> list[str]:
    return [one.name for one in dataclasses.fields(kind)]
