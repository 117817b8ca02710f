"""Estimators for scikit-learn: its MLPClassifier and MLPRegressor, trained by xpmlp's engines.

classifier.py    MLPClassifier
regressor.py     MLPRegressor
base.py          what both have in common: fit, fitted state, predictions
hyperparameters.py  what the constructor takes, and the training that it asks for
learned.py       what a fit has found; the classes
conventions.py   scikit-learn's conventions: its losses, initial weights, learning rates
stochastic.py    mini-batch training: sgd, adam and xpmlp's optimizers
convergence.py   loss curve, validation scores, when to stop; what `verbose` shows
lbfgs.py         L-BFGS on all rows at once
saving.py        a fitted estimator as one file, without pickle
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "MLPClassifier and MLPRegressor need scikit-learn: pip install 'xpmlp[sklearn]'"
    ) from error

from xpmlp.estimators.classifier import MLPClassifier
from xpmlp.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
