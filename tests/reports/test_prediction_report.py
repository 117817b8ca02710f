"""What a network makes of rows, beside scikit-learn's metrics."""

import numpy as np
import pytest
from sklearn import metrics

from xpmlp.network import MLP
from xpmlp.reports.prediction_report import (
    MulticlassReport,
    MultilabelReport,
    RegressionReport,
    calibration,
    mean_score,
    multiclass_report,
    prediction_report,
)

RANDOM = np.random.default_rng(1)


def probabilities(n: int, K: int) -> np.ndarray:
    found = RANDOM.dirichlet(np.full(K, 0.5), n)
    return found.astype(np.float32)


def test_classes_agree_with_scikit_learn() -> None:
    labels, Y_hat = RANDOM.integers(0, 7, 500), probabilities(500, 7)
    found = prediction_report(MLP((3, 7)), labels, Y_hat)
    assert isinstance(found, MulticlassReport)
    said = Y_hat.argmax(axis=1)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, said))
    expected = metrics.precision_recall_fscore_support(labels, said)
    np.testing.assert_allclose(np.transpose(found.scores), expected)
    means = metrics.precision_recall_fscore_support(labels, said, average="macro")
    assert mean_score(found.scores)[:3] == pytest.approx(means[:3])


def test_mistakes_are_the_most_confident_first_and_all_wrong() -> None:
    labels, Y_hat = RANDOM.integers(0, 3, 200), probabilities(200, 3)
    found = multiclass_report(labels, Y_hat)
    assert len(found.mistakes) == (Y_hat.argmax(axis=1) != labels).sum()
    shares = [one.probability for one in found.mistakes]
    assert shares == sorted(shares, reverse=True)
    for one in found.mistakes:
        assert (labels[one.row], Y_hat[one.row].argmax()) == (one.label, one.predicted)
        assert one.label != one.predicted
        assert one.probability == Y_hat[one.row].max()


def test_confusions_are_counted() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    said = np.array([1, 1, 0, 2, 1, 2])
    found = multiclass_report(labels, np.eye(3)[said])
    assert found.confused == [(0, 1, 2), (1, 2, 1)]


def test_a_class_that_nobody_has_or_says_has_no_score() -> None:
    found = multiclass_report(np.array([0, 1]), np.eye(4)[[0, 0]])
    precision, recall, f1, support = np.transpose(found.scores)
    np.testing.assert_array_equal(precision, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(recall, [1.0, 0.0, np.nan, np.nan])
    np.testing.assert_allclose(f1, [2 / 3, 0.0, np.nan, np.nan])
    assert support.tolist() == [1, 1, 0, 0]


def test_calibration_is_that_of_guo_et_al() -> None:
    confidence = np.array([0.05, 0.95, 0.97, 1.0, 0.3, 0.39])
    is_right = np.array([0, 1, 1, 0, 1, 0], bool)
    found = calibration(confidence, is_right)
    assert [one.answers for one in found.bins] == [1, 0, 0, 2, 0, 0, 0, 0, 0, 3]
    last = found.bins[-1]
    assert (last.confidence, last.accuracy) == (pytest.approx(2.92 / 3), pytest.approx(2 / 3))
    expected = (1 * 0.05 + 2 * abs(0.345 - 0.5) + 3 * abs(2.92 / 3 - 2 / 3)) / 6
    assert found.error == pytest.approx(expected)


def test_one_sigmoid_has_two_classes() -> None:
    labels, P = RANDOM.integers(0, 2, 50), RANDOM.uniform(size=(50, 1))
    model = MLP((3, 1), output="sigmoid")
    for given in (labels, labels[:, None].astype(np.float32)):
        found = prediction_report(model, given, P)
        assert isinstance(found, MulticlassReport)
        np.testing.assert_array_equal(
            found.confusion, metrics.confusion_matrix(labels, P[:, 0] > 0.5)
        )


def test_answers_agree_with_scikit_learn() -> None:
    labels, P = RANDOM.integers(0, 2, (80, 4)), RANDOM.uniform(size=(80, 4))
    found = prediction_report(MLP((3, 4), output="sigmoid"), labels.astype(np.float32), P)
    assert isinstance(found, MultilabelReport)
    expected = metrics.precision_recall_fscore_support(labels, P > 0.5)
    np.testing.assert_allclose(np.transpose(found.scores), expected)
    assert sum(one.answers for one in found.calibration.bins) == labels.size


def test_distributions_have_the_likeliest_class() -> None:
    targets, Y_hat = probabilities(60, 4), probabilities(60, 4)
    found = prediction_report(MLP((3, 4)), targets, Y_hat)
    assert isinstance(found, MulticlassReport)
    expected = metrics.confusion_matrix(targets.argmax(axis=1), Y_hat.argmax(axis=1))
    np.testing.assert_array_equal(found.confusion, expected)


def test_numbers_agree_with_scikit_learn() -> None:
    targets, said = RANDOM.normal(size=(40, 2)), RANDOM.normal(size=(40, 2))
    found = prediction_report(MLP((3, 2), output="identity"), targets, said)
    assert isinstance(found, RegressionReport)
    rmse, mae, r2 = np.transpose(found.errors)
    np.testing.assert_allclose(
        rmse, metrics.root_mean_squared_error(targets, said, multioutput="raw_values")
    )
    np.testing.assert_allclose(
        mae, metrics.mean_absolute_error(targets, said, multioutput="raw_values")
    )
    np.testing.assert_allclose(r2, metrics.r2_score(targets, said, multioutput="raw_values"))


def test_a_constant_target_has_no_r2() -> None:
    found = prediction_report(MLP((3, 1), output="identity"), np.ones(5), np.zeros((5, 1)))
    assert isinstance(found, RegressionReport)
    assert found.errors[0].rmse == 1.0
    assert np.isnan(found.errors[0].r2)


def test_a_no_is_as_confident_as_its_own_probability() -> None:
    P = np.array([[0.05, 0.95]])
    found = prediction_report(MLP((3, 2), output="sigmoid"), np.array([[0.0, 0.0]]), P)
    assert isinstance(found, MultilabelReport)
    assert [one.answers for one in found.calibration.bins] == [0] * 9 + [2]
    assert found.calibration.bins[-1].accuracy == 0.5
