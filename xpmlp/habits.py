"""What people type from habit of Keras, PyTorch and scikit-learn, and what to type here."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from xpmlp.errors import InputError

_Kind = TypeVar("_Kind", bound=type)


def by_habit(table: Mapping[str, str]) -> dict[str, str]:
    """Return what to type for each name of other programs; `table` has those as words."""
    return {habit: instead for instead, habits in table.items() for habit in habits.split()}


SETTING_HABITS = by_habit(
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
"""What other libraries call settings of `xpmlp.train`."""

ATTRIBUTE_HABITS = {
    "MLP": by_habit(
        {
            "run = xpmlp.train(model, X, y)": "fit train",
            "settings go to xpmlp.train: optimizer='adam', learning_rate=0.001": "compile",
            "run = xpmlp.train(model, X, y); run.predict(X)": "predict predict_proba "
            "evaluate score",
            "model.initialize(seed=0), or run.parameters": "parameters weights get_weights "
            "state_dict",
            "xpmlp.train(model, X, y, backend='cupy')": "to cuda cpu",
            "run = xpmlp.train(model, X, y); run.save('runs/mine')": "save save_weights",
        }
    ),
    "Run": by_habit(
        {
            "run.evaluate(X, y).accuracy": "score",
            "run.resume(epochs=5), or xpmlp.train(run.model, X, y)": "fit",
            "run.model.summary()": "summary",
            "run.model.layers(run.parameters)": "coefs_ weights state_dict",
        }
    ),
    "History": by_habit({"run.history['loss']": "history"}),
}
"""What other libraries' networks, trained networks and histories have, by the class of ours."""


def no_attribute(owner: object, name: str) -> AttributeError:
    """Return the error for a missing attribute, with what to type for another library's."""
    kind = type(owner).__name__
    instead = ATTRIBUTE_HABITS.get(kind, {}).get(name)
    said = f"{kind!r} object has no attribute {name!r}"
    return AttributeError(f"{said}; {instead}" if instead else said)


class HabitHints:
    """A class whose missing attributes say what to type for another library's."""

    if not TYPE_CHECKING:  # a type checker knows all attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name)


def widths_in_one(kind: _Kind) -> _Kind:
    """Let a class say that widths are one sequence, for `MLP(784, 64, 10)`: a decorator."""
    make = kind.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def construct(self: Any, *arguments: Any, **settings: Any) -> None:
        if len(arguments) > 1 and all(isinstance(one, int) for one in arguments[:2]):
            widths = ", ".join(map(str, arguments))
            raise InputError(f"MLP({widths}): give the widths as one sequence, MLP(({widths}))")
        make(self, *arguments, **settings)

    kind.__init__ = construct  # type: ignore[misc]
    return kind
