"""Whatever a session shows of an object is short, and its HTML holds no markup of its names."""

from typing import Any

import numpy as np
import pytest

import xpmlp
from xpmlp.display import LONGEST_REPR, as_html, short_repr, shortened
from xpmlp.runs import TrainedModel
from xpmlp.sweeps import Outcome

R = np.random.default_rng(0)
X = R.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
DEEP = xpmlp.MLP((4, *[8] * 60, 2))
SWEPT = Outcome({"<b>": 0.1, "seed": 3}, [3], np.array([0.5]), np.array([0.9]))


def trained(model: xpmlp.MLP = DEEP, **settings: Any) -> xpmlp.Run:
    return xpmlp.train(model, X, Y, epochs=2, batch_size=8, threads=1, verbose=0, **settings)


def shown() -> dict[str, Any]:
    run = trained(seed=range(20), validation=0.2)
    split = xpmlp.Split(X, Y)
    return {
        "model": DEEP,
        "run": run,
        "history": run.history,
        "trainer": run.trainer,
        "snapshot": run.trainer.snapshot(),
        "evaluation": run.evaluate(X, Y),
        "split": split,
        "data set": xpmlp.Dataset("<i>" * 200, split, split, (4,), "here"),
        "config": run.trainer.config,
        "validation_config": run.trainer.validation_config,
        "optimizer_config": xpmlp.OptimizerConfig(schedule=xpmlp.Plateau(), average="swa"),
        "objective": xpmlp.Objective(),
        "backend": run.backend,
        "trained model": TrainedModel(DEEP, np.zeros(DEEP.size), (4,), False),
        "outcome": SWEPT,
        "folds": xpmlp.cross_validate(
            xpmlp.MLP((4, 2)), split, folds=2, epochs=1, batch_size=4, threads=1
        ),
    }


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    return shown()


def test_every_repr_has_at_most_500_characters(objects: dict[str, Any]) -> None:
    lengths = {name: len(repr(one)) for name, one in objects.items()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


@pytest.mark.parametrize("name", ["model", "run", "history", "data set", "outcome"])
def test_html_is_short_and_escapes_names(objects: dict[str, Any], name: str) -> None:
    found = objects[name]._repr_html_()
    assert found.endswith("</table>")
    assert len(found) < 8000
    assert "<b>" not in found
    assert "<i>" not in found
    assert found.count("<svg") == (name in ("run", "history"))


def test_curve_goes_through_the_means_of_a_series() -> None:
    found = as_html({}, np.array([[3.0, 5.0], [2.0, 2.0], [np.nan, 1.0], [0.0, 0.0]]))
    assert 'points="2.0,2.0 160.0,48.0 318.0,94.0"' in found  # 4, 2, NaN, 0
    assert "<svg" not in as_html({}, np.array([1.0]))
    assert "<svg" not in as_html({}, np.full(5, np.nan))


def test_long_texts_keep_both_ends() -> None:
    assert shortened("short") == "short"
    found = shortened("a" * 500 + "b" * 500)
    assert len(found) <= LONGEST_REPR
    assert found.startswith("aaa")
    assert found.endswith("bbb")


def test_arrays_are_shown_by_type_and_shape() -> None:
    assert short_repr(xpmlp.Split(X, Y)) == "Split(X=float32 (40, 4), labels=int64 (40,))"


def test_settings_at_their_default_are_left_out() -> None:
    assert repr(xpmlp.MLP((784, 10))) == "MLP(layer_sizes=(784, 10))"
    assert repr(xpmlp.TrainConfig(epochs=3)) == "TrainConfig(epochs=3)"
    config = xpmlp.TrainConfig.of(optimizer="adam", dropout=0.2)
    assert repr(config) == (
        "TrainConfig(objective=Objective(dropout=0.2), "
        "optimizer_config=OptimizerConfig(optimizer=adam(beta1=0.9, beta2=0.999, epsilon=1e-08)))"
    )


def test_summary_is_shown_as_it_is_printed() -> None:
    summary = xpmlp.MLP((4, 3, 2)).summary()
    assert repr(summary) == str(summary)
    assert len(summary.splitlines()) == 5
