"""What a run is trained with: every setting, checked where it is declared."""

import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpmlp.backends import PRECISIONS
from xpmlp.checks import check_integer, nearest, one_of
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import Objective, member_seeds
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY
from xpmlp.schedules import SCHEDULES
from xpmlp.training.control import Control
from xpmlp.training.descent import Descent, Plateau

COMPILE = ("auto", "require", "off")
"""Whether steps are compiled: if possible, or the run fails, or never."""

PLATEAU = "plateau"


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training run. Anything you leave out takes the lecture's value.

    Parameters
    ----------
    epochs
        Passes over the training rows, 0 or more.
    batch_size
        Rows of a step.
    seed
        Where shuffling, dropout and initial weights come from; a sequence of E seeds trains E
        networks at once.
    shuffle
        Whether each epoch takes the rows in a new order.
    drop_last
        Whether rows left over after the last full batch are dropped; else they are a smaller batch.
    objective
        What is minimised: a loss with its regularisation.
    descent
        Optimizer, learning rate and schedule.
    control
        Validation, early stopping and the time limit.
    dtype
        One of `xpmlp.backends.PRECISIONS`; None takes that of the parameters.
    threads
        CPU threads; 0 finds the best number.
    compile
        `auto`: compile if possible; `require`: fail if not; `off`: never.
    initializer, initial_scale, zero_output
        Where weights start, as for `MLP.initialize`; for a ReLU take `initializer="he_normal"`.

    Raises
    ------
    InputError
        For a value out of range.
    """

    epochs: int = 20
    batch_size: int = 64
    seed: int | Sequence[int] = 0
    shuffle: bool = False
    drop_last: bool = True
    objective: Objective = field(default_factory=Objective)
    descent: Descent = field(default_factory=Descent)
    control: Control = field(default_factory=Control)
    dtype: str | None = None
    threads: int = 0
    compile: str = "auto"
    initializer: str = "normal"
    initial_scale: float = 1.0
    zero_output: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("batch_size", 1), ("threads", 0)):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least=least))
        seeds = self.seed if isinstance(self.seed, Iterable) else [self.seed]
        found = member_seeds(seeds)
        object.__setattr__(
            self, "seed", tuple(found) if isinstance(self.seed, Iterable) else found[0]
        )
        for name in ("shuffle", "drop_last", "zero_output"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_)):
                raise InputError(f"{name}={value!r}: give True or False")
        for part, kind in PARTS.items():
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
        """Return the configuration with these settings in it.

        Settings are fields of `TrainConfig`, `Objective`, `Descent` and `Control`. `optimizer` and
        `schedule` may be names, followed by their own settings: `optimizer="adam", beta1=0.95`.

        Raises
        ------
        InputError
            For an unknown setting, and for a value out of range.
        """
        config = cls() if config is None else config
        _check_kind("config", config, cls)
        settings = {name: value for name, value in settings.items() if value is not None}
        if settings.get("schedule") == PLATEAU:
            renamed = {"plateau_patience": "patience", "plateau_factor": "factor"}
            own = {renamed[key]: value for key, value in _taken(renamed, settings).items()}
            settings |= {"schedule": "constant", "plateau": Plateau(**own)}
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if isinstance(chosen := settings.get(name), str):
                one_of(known, **{name: chosen})
                make = known[chosen]
                own = {
                    key: settings.pop(key)
                    for key in inspect.signature(make).parameters
                    if key in settings
                }
                settings[name] = make(**own)
                if chosen in WEIGHT_DECAY:
                    settings.setdefault("weight_decay", WEIGHT_DECAY[chosen])
        for part, kind in PARTS.items():
            if own := _taken(_fields(kind), settings):
                base = settings.get(part, getattr(config, part))
                _check_kind(part, base, kind)
                settings[part] = dataclasses.replace(base, **own)
        for name in settings:
            if name not in _fields(cls):
                names = [*_fields(cls), *(key for kind in PARTS.values() for key in _fields(kind))]
                near = f"did you mean {HABITS[name]}? " if name in HABITS else nearest(name, names)
                raise InputError(f"{name}: {near}not a setting; see help(xpmlp.TrainConfig)")
        return dataclasses.replace(config, **settings)


PARTS = {"objective": Objective, "descent": Descent, "control": Control}
"""The settings that are made of settings."""


HABITS = {
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "max_iter": "epochs",
    "n_epochs": "epochs",
    "alpha": "l2",
    "random_state": "seed",
    "validation_split": "validation",
    "validation_data": "validation",
    "restore_best_weights": "keep_best",
}
"""What other libraries call these settings."""


def _check_kind(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{name}={value!r:.60}: give an xpmlp.{kind.__name__}")


def _taken(names: Iterable[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Take those of these names out of the settings."""
    return {name: settings.pop(name) for name in names if name in settings}


def _fields(kind: Any) -> list[str]:
    return [one.name for one in dataclasses.fields(kind)]
