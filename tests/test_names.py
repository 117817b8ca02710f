"""Names: one meaning each, and those of 0.1.0 work for one more release with a warning."""

import ast
import collections
import dataclasses
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpmlp
import xpmlp.training
from xpmlp import MLP, OptimizerConfig, Split, Trainer, ValidationConfig, renamed
from xpmlp.backends import StepMetrics
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe, load_recipe
from xpmlp.recipes.settings import by_name
from xpmlp.training import Evaluation, TrainingData

PACKAGE = Path(xpmlp.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SHARED_MODULES = {
    "__init__",
    "base",  # what the backends, the optimizers or the estimators have in common
}
"""Names of modules that several packages have; a command's module is named like its subject."""

ROWS = Split(np.eye(4), np.arange(4) % 2)
MODEL = MLP((4, 3, 2))
SETTINGS: dict[str, Any] = {"epochs": 1, "batch_size": 2, "verbose": 0, "backend": "numpy"}


def test_no_two_modules_share_a_name() -> None:
    names = collections.Counter(
        path.stem for path in MODULES if path.parent.name != "cli" and path.name != "__main__.py"
    )
    assert {name for name, count in names.items() if count > 1} == SHARED_MODULES


def test_no_two_classes_share_a_name() -> None:
    homes = collections.defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


GONE = {
    "Feed", "Resident", "Streamed", "Segment", "Pace", "first_fault", "NoNumber", "Classes",
    "Answers", "Task", "Plan", "Origin", "Way", "Descent", "Control", "Observer",
    "NUMBERS", "Noise", "at_most_one", "above_zero", "say", "complain", "_tell", "begin_training",
    "LARGEST", "SHARE", "committee", "predicts_numbers", "lets_members_diverge", "keep_best",
    "descent", "control",
}  # fmt: skip
GONE_MODULES = {
    "feeding",
    "pace",
    "beginning",
    "replay",
    "findings",
    "schedule",
    "noise",
    "descent",
    "control",
}


def test_private_names_of_0_1_0_are_gone() -> None:
    """`Learned` alone stays, for pickles."""
    assert not {path.stem for path in MODULES} & GONE_MODULES
    used = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for field in ("id", "attr", "name", "arg"):
                used.add(getattr(node, field, None))
    assert not GONE & used


def validated() -> ValidationConfig:
    return ValidationConfig(ROWS, restore_best=True, allow_divergence=True)


def trainer(**settings: Any) -> Trainer:
    settings = {"backend": xpmlp.select_backend("numpy"), "epochs": 1, "batch_size": 2, **settings}
    return Trainer(MODEL, ROWS, **settings)


def folds(**settings: Any) -> Any:
    return xpmlp.cross_validate(MODEL, ROWS, folds=2, epochs=1, batch_size=2, **settings)


def data(**old: int) -> TrainingData:
    fields = {"inverse_variance": 7, "mixup_lambda": 7, "lr_factors": 7}
    new = [renamed.ARGUMENTS["TrainingData"][name] for name in old]
    return TrainingData(*range(5), **{n: v for n, v in fields.items() if n not in new}, **old)  # type: ignore[arg-type]


def fitted(**settings: Any) -> Any:
    return xpmlp.train(MODEL, ROWS, validation=ROWS, **{**SETTINGS, **settings}).trainer


ONES = np.ones(1)
OLD: dict[str, tuple[Callable[[], object], object]] = {
    "Control is xpmlp.ValidationConfig": (lambda: xpmlp.Control, ValidationConfig),
    "Descent is xpmlp.OptimizerConfig": (lambda: xpmlp.Descent, OptimizerConfig),
    "Observer is xpmlp.Callback": (lambda: xpmlp.Observer, xpmlp.Callback),
    "Training is xpmlp.Trainer": (lambda: xpmlp.Training, Trainer),
    "training.Control is": (lambda: xpmlp.training.Control, ValidationConfig),
    "training.Descent is": (lambda: xpmlp.training.Descent, OptimizerConfig),
    "training.Observer is": (lambda: xpmlp.training.Observer, xpmlp.Callback),
    "training.Training is": (lambda: xpmlp.training.Training, Trainer),
    "keep_best= is restore_best=": (
        lambda: ValidationConfig(ROWS, keep_best=True).restore_best, True  # type: ignore[call-arg]
    ),
    "plateau= is schedule=": (
        lambda: OptimizerConfig(plateau=xpmlp.Plateau()).schedule.name,  # type: ignore[call-arg]
        "plateau",
    ),
    "lets_members_diverge= is allow_divergence=": (
        lambda: ValidationConfig(lets_members_diverge=True).allow_divergence,  # type: ignore[call-arg]
        True,
    ),
    "ValidationConfig.keep_best is": (lambda: validated().keep_best, True),
    "ValidationConfig.lets_members_diverge is": (lambda: validated().lets_members_diverge, True),
    "observers= is callbacks=": (lambda: fitted(observers=[]).epoch, 1),
    "sample_weights= is sample_weight=": (lambda: fitted(sample_weights=[1.0] * 4).epoch, 1),
    "^keep_best= is restore_best=": (
        lambda: fitted(keep_best=True).validation_config.restore_best, True
    ),
    "^lets_members_diverge= is": (
        lambda: fitted(lets_members_diverge=True).validation_config.allow_divergence, True
    ),
    "^observers= is": (
        lambda: xpmlp.training.train(MODEL, ROWS, observers=[], epochs=1, batch_size=2).epoch, 1
    ),
    "keep_best=, descent=, control= are restore_best=, optimizer_config=, validation_config=": (
        lambda: trainer(
            keep_best=True, descent=OptimizerConfig(), control=ValidationConfig(ROWS)
        ).validation_config.restore_best,
        True,
    ),
    "^descent= is optimizer_config=": (
        lambda: fitted(descent=OptimizerConfig(clip_norm=2.0)).optimizer_config.clip_norm, 2.0
    ),
    "^descent= is optimizer_config= now": (
        lambda: callable(xpmlp.training.make_step(MODEL, descent=OptimizerConfig(), xp=np)), True
    ),
    "Trainer.descent is": (lambda: trainer().descent.learning_rate, 0.03),
    "Trainer.control is": (lambda: trainer().control, ValidationConfig()),
    "hidden= is activation=": (lambda: MLP((4, 3, 2), hidden="relu").activation, "relu"),  # type: ignore[call-arg]
    "MLP.hidden is": (lambda: MLP((4, 3, 2), "relu").hidden, "relu"),
    "MLP.predicts_numbers is": (lambda: MODEL.predicts_numbers, False),
    "Evaluation.committee is": (lambda: Evaluation(ONES, ONES, 0.5).committee, 0.5),
    "correct= is metric_sum=": (lambda: StepMetrics(1, correct=2).metric_sum, 2),  # type: ignore[call-arg]
    "^committee= is ensemble=": (
        lambda: Evaluation(ONES, ONES, committee=0.5).ensemble, 0.5  # type: ignore[call-arg]
    ),
    "spread= is inverse_variance=": (lambda: data(spread=6).inverse_variance, 6),
    "shares= is mixup_lambda=": (lambda: data(shares=6).mixup_lambda, 6),
    "^factors= is lr_factors=": (lambda: data(factors=6).lr_factors, 6),
    "observers= is callbacks= now$": (lambda: folds(observers=[]).run.epoch, 1),
    "^keep_best= is restore_best= now$": (
        lambda: trainer(keep_best=False).validation_config.restore_best, False
    ),
    "^xpmlp.Control is": (
        lambda: __import__("xpmlp", fromlist=["Control"]).Control, ValidationConfig
    ),
    "StepMetrics.correct is": (lambda: StepMetrics(1, 2).correct, 2),
    "Snapshot.correct is": (lambda: trainer().snapshot().correct.item(), 0),
    "Trainer.correct is": (lambda: trainer().correct.item(), 0),
    "TrainingData.spread is inverse_variance": (lambda: data().spread, 7),
    "TrainingData.shares is mixup_lambda": (lambda: data().shares, 7),
    "TrainingData.factors is lr_factors": (lambda: data().factors, 7),
}  # fmt: skip


@pytest.mark.parametrize("warning", OLD)
def test_a_public_name_of_0_1_0_works_and_warns(warning: str) -> None:
    use, expected = OLD[warning]
    with pytest.warns(DeprecationWarning, match=warning) as caught:
        assert use() == expected
    assert caught[0].filename == __file__
    assert len(caught) == 1


def test_every_old_name_is_tried() -> None:
    tried = " ".join(OLD)
    names = [
        *renamed.CLASSES,
        *(f"{old}=" for table in renamed.ARGUMENTS.values() for old in table),
    ]
    names += [f"{kind}.{old}" for kind, table in renamed.ATTRIBUTES.items() for old in table]
    assert [name for name in names if name not in tried] == []


def test_old_keys_of_a_recipe_work_and_warn(caplog: pytest.LogCaptureFixture) -> None:
    found, old = by_name({"hidden": "relu", "keep_best": True})
    assert found == {"activation": "relu", "restore_best": True}
    assert old == {"hidden": "model.activation", "keep_best": "early_stopping.restore_best"}
    with caplog.at_level(logging.WARNING):
        recipe = load_recipe("lecture", ["keep_best=true", "validation=0.1"])
    assert recipe.restore_best
    assert "write early_stopping.restore_best for keep_best" in caplog.text
    assert set(renamed.SETTINGS) == set(old)


def test_new_names_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(restore_best=True, allow_divergence=True).snapshot()
        assert repr(MLP((4, 3, 2), activation="relu"))
        assert Recipe(restore_best=True, validation=0.1).model.activation


def test_old_and_new_name_together_are_refused() -> None:
    with pytest.raises(InputError, match="hidden and activation: give activation alone"):
        MLP((3, 2), hidden="tanh", activation="relu")


def test_pickle_of_a_network_has_its_fields_alone() -> None:
    """So a name inside the package may change without breaking a pickled estimator."""
    model = MLP((3, 2))
    assert model.parts.shapes  # computed on first use
    assert model.__getstate__().keys() == {one.name for one in dataclasses.fields(model)}
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301
