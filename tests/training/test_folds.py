"""Cross-validation: folds as members of one run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small_runs import bright
from xpmlp import MLP, InputError, Objective, Split, cross_validate, evaluate, select_backend
from xpmlp.training import train
from xpmlp.training.folds import fold_rows

MODEL = MLP((12, 8, 4))
SETTINGS = {"epochs": 4, "batch_size": 8, "learning_rate": 0.5, "shuffle": True}


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    folds=st.integers(2, 60),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_row_is_held_once_and_every_class_in_every_fold(labels, folds, seed) -> None:
    labels = np.array(labels)
    folds = min(folds, len(labels))
    rows, held = fold_rows(labels, folds, seed=seed)
    assert sorted(np.concatenate(held)) == list(range(len(labels)))
    assert rows.shape == (folds, len(labels) - max(map(len, held)))
    for trained, kept in zip(rows, held, strict=True):
        assert not set(trained) & set(kept)
        assert len(set(trained)) + len(kept) in (len(labels), len(labels) - 1)
        assert (np.diff(trained) > 0).all()
        assert (np.diff(kept) > 0).all()
    for label in set(labels.tolist()):
        counts = [np.count_nonzero(labels[kept] == label) for kept in held]
        assert max(counts) - min(counts) <= 1


def test_folds_are_a_function_of_the_seed() -> None:
    labels = bright(203).labels
    one, same, other = (fold_rows(labels, 4, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 20), np.eye(4)[np.arange(20) % 4]])
def test_targets_that_are_no_classes_are_dealt_at_random(targets: np.ndarray) -> None:
    _, held = fold_rows(targets, 3, seed=0)
    assert sorted(map(len, held)) == [6, 7, 7]
    assert sorted(np.concatenate(held)) == list(range(20))


@pytest.mark.parametrize("folds", [1, 0, -2, 204, 2.0, True])
def test_a_number_of_folds_that_cannot_be(folds) -> None:
    with pytest.raises(InputError, match=r"folds=.*give 2 to 203"):
        cross_validate(MODEL, bright(203), folds=folds)


@pytest.mark.parametrize("name", ["rows", "parameters"])
def test_setting_that_each_fold_has_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: each fold has its own"):
        cross_validate(MODEL, bright(203), **{name: np.zeros(3)})


def test_several_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="counted up"):
        cross_validate(MODEL, bright(203), seed=[1, 2])  # type: ignore[arg-type]


def test_each_fold_is_what_a_run_on_its_rows_comes_to() -> None:
    split, backend = bright(203), select_backend("numpy")
    found = cross_validate(MODEL, split, folds=4, seed=5, backend=backend, **SETTINGS)
    assert found.losses.shape == found.accuracies.shape == (4,)
    rows, held = fold_rows(split.labels, 4, seed=5)
    for fold, (trained, kept) in enumerate(zip(rows, held, strict=True)):
        # The order of rows is that of the first seed for all.
        parameters = MODEL.initialize(5 + fold, backend=backend)
        part = Split(split.X[trained], split.labels[trained])
        single = train(MODEL, part, seed=5, parameters=parameters, backend=backend, **SETTINGS)
        np.testing.assert_array_equal(found.run.parameters[fold], single.parameters)
        measured = evaluate(
            MODEL, found.run.parameters[fold], Split(split.X[kept], split.labels[kept])
        )
        assert found.losses[fold] == measured.loss
        assert found.accuracies[fold] == measured.accuracy


def test_cross_validation_learns() -> None:
    found = cross_validate(MODEL, bright(203), folds=3, **{**SETTINGS, "epochs": 30})
    assert found.accuracies.min() > 0.8


def test_settings_reach_the_run() -> None:
    objective = Objective(dropout=(0.0, 0.5), label_smoothing=0.1)
    found = cross_validate(
        MODEL, bright(203), folds=2, objective=objective, dtype="float64", **SETTINGS
    )
    assert found.run.objective == objective
    assert found.run.parameters.dtype == np.float64


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_labels_beyond_the_outputs_are_refused(output: str) -> None:
    with pytest.raises(InputError, match="the largest that fits is 2"):
        cross_validate(MLP((12, 8, 3), output=output), bright(203), **SETTINGS)


def test_one_answer_that_is_yes_or_no() -> None:
    split = bright(203)
    settings = {**SETTINGS, "epochs": 20}
    yes_or_no = Split(split.X, (split.labels > 1).astype(np.int64))
    found = cross_validate(MLP((12, 8, 1), output="sigmoid"), yes_or_no, folds=3, **settings)
    assert found.accuracies.min() > 0.7


def test_numbers_as_targets() -> None:
    split = bright(60)
    targets = split.X[:, :1] / 255.0
    found = cross_validate(
        MLP((12, 6, 1), output="identity"),
        Split(split.X, targets),
        folds=3,
        **{**SETTINGS, "learning_rate": 0.05},
    )
    assert np.isfinite(found.losses).all()
