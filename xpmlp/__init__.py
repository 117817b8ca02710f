"""xpmlp: the multilayer perceptron, written once as algebra, trained wherever arrays live.

    model = xpmlp.MLP((784, 64, 32, 10))
    mnist = xpmlp.load_mnist()
    run = xpmlp.train(model, mnist, epochs=5)
    run.evaluate()

Importing xpmlp loads nothing but the name that is used, and no array library but NumPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

from xpmlp import renamed

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xpmlp.backends import Backend, select_backend
    from xpmlp.data import Dataset, Split, load_idx_directory, load_mnist
    from xpmlp.errors import (
        BackendUnavailable,
        CallbackError,
        DeviceLost,
        Diverged,
        InputError,
        XpmlpError,
    )
    from xpmlp.estimators import MLPClassifier, MLPRegressor
    from xpmlp.network import MLP, Objective
    from xpmlp.run import Run, load, train
    from xpmlp.training import (
        Callback,
        CSVLogger,
        MLflowLogger,
        OptimizerConfig,
        Plateau,
        StopTraining,
        TensorBoardLogger,
        TrainConfig,
        Trainer,
        ValidationConfig,
        WandbLogger,
        cross_validate,
        evaluate,
        predict,
    )

__all__ = [
    "MLP",
    "Backend",
    "BackendUnavailable",
    "CSVLogger",
    "Callback",
    "CallbackError",
    "Dataset",
    "DeviceLost",
    "Diverged",
    "InputError",
    "MLPClassifier",
    "MLPRegressor",
    "MLflowLogger",
    "Objective",
    "OptimizerConfig",
    "Plateau",
    "Run",
    "Split",
    "StopTraining",
    "TensorBoardLogger",
    "TrainConfig",
    "Trainer",
    "ValidationConfig",
    "WandbLogger",
    "XpmlpError",
    "__version__",
    "cross_validate",
    "evaluate",
    "load",
    "load_idx_directory",
    "load_mnist",
    "predict",
    "select_backend",
    "train",
]

_HOMES = {
    "xpmlp.backends": ("Backend", "select_backend"),
    "xpmlp.data": ("Dataset", "Split", "load_idx_directory", "load_mnist"),
    "xpmlp.estimators": ("MLPClassifier", "MLPRegressor"),
    "xpmlp.errors": (
        "BackendUnavailable", "CallbackError", "DeviceLost", "Diverged", "InputError", "XpmlpError",
    ),
    "xpmlp.network": ("MLP", "Objective"),
    "xpmlp.run": ("Run", "load", "train"),
    "xpmlp.training": (
        "CSVLogger", "Callback", "MLflowLogger", "OptimizerConfig", "Plateau", "StopTraining",
        "TensorBoardLogger", "TrainConfig", "Trainer", "ValidationConfig", "WandbLogger",
        "cross_validate", "evaluate", "predict",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("optimizers", "schedules", "training"):
        return importlib.import_module(f"xpmlp.{name}")
    if name not in _HOME_OF:
        return __getattr__(renamed.attribute("xpmlp", name))
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
