"""A fitted estimator in another process, on another machine, in a file without pickle."""

import copy
import pickle
import pickletools
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris

from xpmlp import BackendUnavailable, InputError, MLPClassifier, MLPRegressor
from xpmlp.backends import interchange as arrays
from xpmlp.backends.interchange import opened
from xpmlp.tensors import load_tensors, save_tensors

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, NUMBERS = load_iris(return_X_y=True)
Y = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]


def fitted(kind=MLPClassifier, **settings):
    settings = {"hidden_layer_sizes": (6, 4), "max_iter": 10, "random_state": 0, **settings}
    return kind(**settings).fit(X, Y if kind is MLPClassifier else NUMBERS)


def through_joblib(estimator, folder):
    joblib.dump(estimator, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def through_file(estimator, folder):
    estimator.save(folder / "model.safetensors")
    return type(estimator).load(folder / "model.safetensors")


WAYS = {
    "pickle": lambda one, _: pickle.loads(pickle.dumps(one)),  # noqa: S301
    "joblib": through_joblib,
    "deepcopy": lambda one, _: copy.deepcopy(one),
    "file": through_file,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_copied_estimator_is_the_same_and_continues_the_same(way, kind, solver, tmp_path):
    original = fitted(kind, solver=solver)
    returned = WAYS[way](original, tmp_path)
    np.testing.assert_array_equal(returned.predict(X), original.predict(X))
    assert returned.get_params() == original.get_params()
    for name in ("loss_curve_", "n_iter_", "t_", "best_loss_", "n_features_in_", "backend_"):
        assert getattr(returned, name) == getattr(original, name)
    for estimator in (original, returned):
        estimator.partial_fit(X[:90], (Y if kind is MLPClassifier else NUMBERS)[:90])
    for expected, found in zip(original.coefs_, returned.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)
    returned.coefs_[0] = np.zeros_like(returned.coefs_[0])
    returned.predict(X)
    assert not returned._learned.parameters[: 4 * 6].any()


@pytest.mark.extended(keep=6)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lbfgs"},
        {"early_stopping": True},
        {"n_members": 3},
        {"normalization": "batch", "dropout": 0.2, "optimizer": "lion"},
        {"class_weight": {"setosa": 2.0, "versicolor": 1, "virginica": 1}},
        {"recipe": {"power": 0.5, "schedule": "inverse_scaling"}},
        {"random_state": np.int64(3), "n_iter_no_change": np.inf},
    ],
)  # fmt: skip
def test_every_kind_of_estimator_comes_back(way, settings, tmp_path):
    original = fitted(**settings)
    returned = WAYS[way](original, tmp_path)
    np.testing.assert_array_equal(returned.predict_proba(X), original.predict_proba(X))
    assert returned.get_params() == original.get_params()


def test_a_pickle_names_no_library_but_numpy_and_has_the_numbers_once():
    original = fitted(hidden_layer_sizes=(300,), max_iter=1, solver="sgd", momentum=0.0)
    content = pickle.dumps(original)
    names = {
        argument for code, argument, _ in pickletools.genops(content)
        if isinstance(argument, str) and "." in argument
    }  # fmt: skip
    modules = {name.split(".")[0] for name in names if " " not in name}
    assert not modules & {"cupy", "torch", "jax", "jaxlib", "array_api_strict"}
    size = original._learned.parameters.nbytes
    assert len(content) < 2 * size + 10_000  # the parameters, and the best of them


@pytest.mark.extended
def test_to_load_and_predict_needs_no_other_library(tmp_path):
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(fitted()))
    code = f"""
import pickle, sys
print(pickle.load(open({str(path)!r}, "rb")).predict([[5.1, 3.5, 1.4, 0.2]]).shape)
print({{"cupy", "torch", "jax"}} & set(sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "(1,)\nset()\n"


def test_files_that_are_not_whole(tmp_path):
    path = tmp_path / "model.safetensors"
    fitted().save(path)
    content = path.read_bytes()
    for broken in (content[:-1], content[:100], b"", content[:-9] + b"\x07" + content[-8:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"model\.safetensors: "):
            MLPClassifier.load(path)
    with pytest.raises(InputError, match="there is no such file"):
        MLPClassifier.load(tmp_path / "none")


def test_no_flipped_bit_changes_what_is_loaded(tmp_path):
    path, original = tmp_path / "model.safetensors", fitted()
    original.save(path)
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 17):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            found = MLPClassifier.load(path)
        except InputError:
            refused += 1
            continue
        # A digit of a number that is behind the last one that counts.
        assert found.loss_curve_ == original.loss_curve_
        assert found.get_params() == original.get_params()
        np.testing.assert_array_equal(found.predict_proba(X), original.predict_proba(X))
    assert refused > 0.9 * len(content) / 17


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "model.safetensors"
    fitted(MLPRegressor).save(path)
    with pytest.raises(InputError, match=r"holds a MLPRegressor: call MLPRegressor.load"):
        MLPClassifier.load(path)
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3)}, path)
    with pytest.raises(InputError, match="not a file of xpmlp"):
        MLPClassifier.load(path)


CHANGES = {
    "NaN": lambda T, _: T["learned.parameters"].fill(np.nan),
    "another length": lambda T, _: T.update({"learned.parameters": np.ones(3)}),
    "a part missing": lambda T, _: T.pop("learned.rate"),
    "an unknown parameter": lambda _, M: M["parameters"].update(evil=3),
    "a method replaced": lambda _, M: M["fitted"].update(predict="x"),
    "a list for a table": lambda _, M: M.update(fitted=[1]),
    "fewer classes": lambda _, M: M["fitted"].update(classes_={"array": [1], "dtype": "<i8"}),
    "other features": lambda _, M: M["fitted"].update(n_features_in_=9),
    "a huge network": lambda _, M: M["model"].update(layer_sizes=[4, 10**9, 3]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_parts_that_do_not_fit_together(change, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted().save(path)
    tensors, metadata = load_tensors(path)
    CHANGES[change](tensors, metadata)
    save_tensors(path, tensors, metadata)  # with a digest that is right
    with pytest.raises(InputError, match="no whole estimator"):
        MLPClassifier.load(path)


def test_a_network_predicts_where_its_backend_is_missing(monkeypatch):
    one = fitted(backend="numpy")
    expected = one.predict_proba(X)

    def missing(name, device):
        if name == "cupy":
            raise BackendUnavailable("cupy", "there is no GPU", "use another")
        return opened(name, device)

    monkeypatch.setattr(arrays, "opened", missing)
    with pytest.warns(UserWarning, match="backend='cupy' cannot be had here .*predicting with"):
        found = one.set_params(backend="cupy").predict_proba(X)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(BackendUnavailable):
        one.fit(X, Y)


def test_estimator_that_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        MLPClassifier().save(tmp_path / "model.safetensors")
