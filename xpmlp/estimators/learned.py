"""What a fit has found, on the host, behind an estimator's public attributes."""

from dataclasses import dataclass, field
from typing import Any

import array_api_compat
import numpy as np
import scipy.sparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import column_or_1d

from xpmlp.network import MLP
from xpmlp.typing import Array

MULTILABEL = "multilabel-indicator"


@dataclass
class FittedState:
    """The network, its flat parameters (P,) or (E, P), and where their training stands.

    `optimizer` has the arrays of the update rule by name; `rate` is the learning rate, or one for
    each member; the best losses, scores and parameters are those seen so far, as are the epochs
    without a better one. Of the last fit, `member_losses` (epochs, E) and `member_epochs`
    (E,) are each member's, or of the one network. `fitted_on` says whose arrays were fitted, where
    scikit-learn dispatches.
    """

    model: MLP
    parameters: np.ndarray
    best_parameters: np.ndarray
    rate: np.ndarray
    no_improvement_count: np.ndarray
    best_losses: np.ndarray
    best_scores: np.ndarray
    optimizer: dict[str, np.ndarray] | None = None
    fitted_on: str = ""
    member_losses: np.ndarray | None = None
    member_epochs: np.ndarray | None = None
    weights: list[np.ndarray] = field(default_factory=list)
    biases: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def nothing(cls, model: MLP, parameters: np.ndarray, *, rate: float) -> "FittedState":
        """Return what is known before the first epoch."""
        members = parameters.shape[:-1]
        return cls(
            model,
            parameters,
            best_parameters=parameters.copy(),
            rate=np.full(members, rate),
            no_improvement_count=np.zeros(members, np.int64),
            best_losses=np.full(members, np.inf),
            best_scores=np.full(members, -np.inf),
        )

    def show(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return all W and all b as views of the parameters, in lists that others may change."""
        layers = self.model.layers(self.parameters, xp=np)
        self.weights, self.biases = [W for W, _ in layers], [b for _, b in layers]
        return [*self.weights], [*self.biases]

    def take_back(self, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> np.ndarray:
        """Return the parameters with the arrays that others put into what `show` gave."""
        for name, given, views in (
            ("coefs_", coefs, self.weights),
            ("intercepts_", intercepts, self.biases),
        ):
            if len(given) != len(views):
                raise ValueError(f"{name} has {len(given)} arrays: give {len(views)}, one a layer")
            for number, (one, view) in enumerate(zip(given, views, strict=True)):
                if np.shape(one) != view.shape:
                    raise ValueError(
                        f"{name}[{number}] of shape {np.shape(one)}: the layer's is {view.shape}"
                    )
                if one is not view:
                    view[...] = one
        return self.parameters

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without the views, whose numbers would be there twice."""
        return {**vars(self), "weights": [], "biases": [], "fitted_on": ""}


Learned = FittedState
"""The name that pickles of 0.1.0 know it by."""


@dataclass
class Labels:
    """The classes that a classifier tells apart, in order, and what kind of answer it gives:
    sparse, where several labels a row were given so."""

    classes: np.ndarray
    kind: str
    is_sparse: bool = False

    @classmethod
    def of(cls, y: Any) -> "Labels":
        """Return those of labels as they were given; `ValueError` for what are no labels."""
        found = LabelBinarizer().fit(y)
        return cls(found.classes_, found.y_type_, found.sparse_input_)

    @property
    def output(self) -> str:
        """The network's output, of `xpmlp.network.OUTPUTS`."""
        return "softmax" if self.kind == "multiclass" else "sigmoid"

    @property
    def outputs(self) -> int:
        """How wide it is: two classes are one answer of yes or no."""
        return len(self.classes) if self.kind in ("multiclass", MULTILABEL) else 1

    def encode(self, y: Any) -> np.ndarray:
        """Return class numbers (n,), or answers (n, K)."""
        if self.kind == MULTILABEL:
            y = y.toarray() if hasattr(y, "toarray") else y
            return np.asarray(y, np.float64)
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(f"labels {unknown}: the classes learned are {self.classes}")
        return np.searchsorted(self.classes, y).astype(np.int64)

    def predicted(self, Y_hat: Array) -> Array:
        """Return what `encode` would give for the likeliest labels, where Ŷ (n, K) lies."""
        xp = array_api_compat.array_namespace(Y_hat)
        if self.kind == "multiclass":
            return xp.argmax(Y_hat, axis=1)
        answers = xp.astype(Y_hat > 0.5, xp.int64)
        return answers if self.kind == MULTILABEL else answers[:, 0]

    def decode(self, encoded: np.ndarray) -> Any:
        """Return the labels of class numbers or answers."""
        if self.kind == MULTILABEL:
            answers = encoded.astype(int)
            return scipy.sparse.csr_matrix(answers) if self.is_sparse else answers
        return self.classes[np.minimum(encoded, len(self.classes) - 1)]
