"""Sweeps: one recipe with many settings, trained together where the shapes allow.

Settings that differ in learning rate, weight decay, dropout or seed are members of one run: the
same steps train them all, and each comes to what it would have come to by itself, on the batches
of the first seed. Others take a run each, one after another.

    runs = plan(recipe, grid([("learning_rate", [0.01, 0.1]), ("activation", ["relu", "tanh"])]))
    check(runs, dataset, backend)
    outcomes = sweep(runs, dataset, backend)
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend
from xpmlp.data import Dataset
from xpmlp.display import as_html, brief, short_repr
from xpmlp.errors import Diverged, InputError
from xpmlp.recipes import Recipe
from xpmlp.recipes.recipe import BY_MEMBER
from xpmlp.runs import trainer_from_recipe
from xpmlp.training import Callback, Trainer
from xpmlp.training.metrics import METRICS, tracked_metric

SHARED = {
    "backend": "all settings are trained by one; give it as --backend",
    "data": "results on other rows cannot be compared; give one --data",
    **dict.fromkeys(
        ("target", "drop", "weights", "scaling"),
        "results on other data cannot be compared; give one to all settings",
    ),
    "device": "all settings are trained on one; give it as --device",
    "huber_delta": "another loss has another scale; give one with --set objective.huber_delta=1",
    "loss": "another loss has another scale; give one with --set objective.loss=huber",
    "members": "says how many seeds each setting has; give it as --members",
    "quantile": "another quantile is another question; give one with --set objective.quantile=0.5",
    "validation": "results on other rows cannot be compared; give one with --set validation=0.1",
}
"""What all settings of a sweep have in common, and why."""

Settings = dict[str, Any]
"""Values of a recipe by name."""


class PlannedRun(NamedTuple):
    """One of the runs that a sweep takes: its recipe, and for each member its setting and seed."""

    recipe: Recipe
    settings: list[Settings]
    seeds: list[int]

    def __repr__(self) -> str:
        return short_repr(self)


class Outcome(NamedTuple):
    """What came of one setting: validation loss and accuracy, one for each of its seeds.

    Of a regression the accuracy is R², and `metric` says so. A network whose loss became NaN or
    infinite has NaN in both.
    """

    settings: Settings
    seeds: list[int]
    losses: np.ndarray
    accuracies: np.ndarray
    metric: str = "accuracy"

    def __repr__(self) -> str:
        return short_repr(self)

    def _repr_html_(self) -> str:
        label = METRICS[self.metric].label
        measured = {"validation loss": f"{self.loss:.4g}", label: f"{self.accuracy:.4f}"}
        return as_html({**self.settings, "seeds": brief(self.seeds), **measured})

    @property
    def loss(self) -> float:
        """The mean over seeds; NaN if one of them diverged."""
        return float(self.losses.mean())

    @property
    def accuracy(self) -> float:
        """The mean over seeds; NaN if one of them diverged."""
        return float(self.accuracies.mean())

    def cost(self, monitor: str) -> float:
        """What should be small: the loss, or for `accuracy` how much is missing of it."""
        return self.loss if monitor == "loss" else -self.accuracy

    @property
    def diverged(self) -> int:
        """How many of its networks did."""
        return int(np.isnan(self.losses).sum())


def grid(over: Iterable[tuple[str, Sequence[Any]]]) -> list[Settings]:
    """Every combination of some names' values, the last name's changing fastest.

    Raises `InputError` for a name or a value that is there twice, and for a name without values.
    """
    values_of: dict[str, Sequence[Any]] = {}
    for name, values in over:
        if name in values_of:
            raise InputError(f"--over {name}: there twice; give all its values at once")
        if not values:
            raise InputError(f"--over {name}: no values; give some, such as {name}=V1,V2")
        for number, value in enumerate(values):
            if value in values[:number]:
                raise InputError(f"--over {name}: {value} is there twice; give it once")
        values_of[name] = values
    return [
        dict(zip(values_of, values, strict=True))
        for values in itertools.product(*values_of.values())
    ]


def plan(recipe: Recipe, combinations: Sequence[Settings]) -> list[PlannedRun]:
    """The runs that a sweep takes.

    A recipe of several members has as many seeds for every setting. The first seed of a run also
    decides the validation rows and the order of the others. Where networks of one run
    would touch one another (an early end, a plateau or a time limit is that of the run), each
    setting has a run of its own.

    Raises `InputError` for whatever the recipe refuses, for what a sweep has only one of, and for
    a recipe without validation or with members that already differ in something else than seeds.
    """
    if not recipe.validation:
        raise InputError("validation=0: a sweep needs validation rows; --set validation=0.1")
    swept = set(combinations[0])
    for name in sorted(swept & SHARED.keys()):
        raise InputError(f"--over {name}: {SHARED[name]}")
    for name in BY_MEMBER:
        value = getattr(recipe, name)
        if name != "seed" and name not in swept and isinstance(value, list):
            shown = ",".join(map(str, value))
            raise InputError(f"{name}={shown}: members that differ; try them by --over {name}=...")
    if "seed" in swept and recipe.members > 1:
        raise InputError(
            f"--over seed: each of the {recipe.members} members has a seed of its own; --members 1"
        )
    seeds = recipe.seeds if isinstance(recipe.seeds, list) else [recipe.seeds]
    recipe = recipe.of_one_network
    groups: dict[str, list[Settings]] = {}
    for settings in combinations:
        whole = recipe.replace(settings)  # refused for its own sake
        touches = whole.patience or whole.time_limit < math.inf or whole.schedule == "plateau"
        apart = settings.keys() if touches else settings.keys() - set(BY_MEMBER)
        key = repr([(name, settings[name]) for name in settings if name in apart])
        groups.setdefault(key, []).append(settings)
    return [_run(recipe, group, seeds) for group in groups.values()]


def _run(recipe: Recipe, group: Sequence[Settings], seeds: Sequence[int]) -> PlannedRun:
    """Settings that differ by member only, each with all seeds or with its own, as one run.

    Where settings have seeds of their own, the recipe has one member and one seed.
    """
    owners = [settings for settings in group for _ in seeds]
    members = [{"seed": seed, **settings} for settings in group for seed in seeds]
    changes: Settings = {**members[0], "members": len(members)}
    if len(members) > 1:
        by_member = [name for name in BY_MEMBER if name in members[0]]
        changes |= {name: [member[name] for member in members] for name in by_member}
    return PlannedRun(recipe.replace(changes), owners, [member["seed"] for member in members])


def check(runs: Iterable[PlannedRun], dataset: Dataset, backend: Backend) -> None:
    """Begin every run and forget it: raises `InputError` for what the data or the backend refuse.

    So nothing is trained in vain where a later run cannot be.
    """
    for run in runs:
        trainer_from_recipe(run.recipe, dataset, backend)


def sweep(
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    backend: Backend,
    *,
    tell: Callable[[PlannedRun, int, int], Sequence[Callback]] = lambda *_: (),
) -> list[Outcome]:
    """Train every run and return each setting's result on the validation rows.

    `tell` is asked, before each run, for its callbacks; it is given the run, its number from 1
    on, and how many there are. A network that diverges does not stop the others. A callback that
    stops a run stops the sweep: the outcomes are those of the runs that were finished.
    """
    outcomes: list[Outcome] = []
    for number, run in enumerate(runs, start=1):
        trainer = trainer_from_recipe(run.recipe, dataset, backend, allow_divergence=True)
        try:
            trainer.run(tell(run, number, len(runs)))
        except Diverged:  # all of them
            nothing = np.full(len(run.seeds), np.nan)
            outcomes += _outcomes(run, nothing, nothing)
            continue
        if trainer.epoch < trainer.epochs and not trainer.ended:
            break
        outcomes += _outcomes(run, *_results(trainer))
    return outcomes


def _results(trainer: Trainer) -> tuple[np.ndarray, np.ndarray]:
    """Validation loss and accuracy of each member as it ends: its best, where the run keeps it."""
    assert trainer.validation_config.validation is not None  # for the type checker # nosec B101
    found = trainer.evaluate(trainer.validation_config.validation)
    losses, accuracies = np.atleast_1d(found.loss), np.atleast_1d(found.tracked)
    is_number = np.isfinite(losses)
    return np.where(is_number, losses, np.nan), np.where(is_number, accuracies, np.nan)


def _outcomes(run: PlannedRun, losses: np.ndarray, accuracies: np.ndarray) -> list[Outcome]:
    """The members of a run gathered by setting; those of one setting stand side by side."""
    found, metric = [], tracked_metric(run.recipe.model)
    for _, group in itertools.groupby(range(len(run.seeds)), lambda place: run.settings[place]):
        places = list(group)
        seeds = [run.seeds[place] for place in places]
        results = losses[places], accuracies[places]
        found.append(Outcome(run.settings[places[0]], seeds, *results, metric))
    return found
