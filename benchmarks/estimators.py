"""xpmlp's MLPClassifier beside scikit-learn's, at equal settings: fit, partial_fit, predict.

Both start from the same weights and see the same batches, so their losses and probabilities are
the same up to rounding: that is checked before any time is taken.
"""

import datetime
import functools
import importlib
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.competitors import ARRAYS
from benchmarks.competitors.competitor import Competitor, Start, TakeTurn, Turn, repeated
from benchmarks.competitors.xpmlp import open_backend
from benchmarks.timing import measure

THEIRS = "scikit-learn"

TOLERANCES = {"float32": 1e-2, "float64": 1e-6}
"""Largest difference allowed between a loss or a probability and scikit-learn's in float64.

In float32 thousands of steps carry each its own rounding: Adam makes whole steps of some, and
scikit-learn's own probabilities of single rows end up to 0.1 away from those in float64.
"""

CHECKED = 1_000
"""Rows whose probabilities are compared."""

CHUNK = 1_000
"""Rows of a call of `partial_fit`."""


class Work(NamedTuple):
    """A task: a call on n rows, `epochs` in a fit, `calls` a turn."""

    name: str
    call: str
    hidden: tuple[int, ...] = (64, 32)
    batch_size: int | str = 64
    solver: str = "adam"
    data: str = "MNIST"
    rows: int = 60_000
    epochs: int = 1
    calls: int = 1
    precisions: tuple[str, ...] = ("float32", "float64")


WIDE: dict[str, Any] = {"hidden": (512, 512), "batch_size": 256}
DIGITS: dict[str, Any] = {"hidden": (100,), "batch_size": "auto", "data": "digits", "rows": 1_797}

WORKS = (
    Work("fit (64, 32) adam", "fit", epochs=2),
    Work("fit (64, 32) sgd", "fit", solver="sgd", epochs=2),
    Work("fit (512, 512) adam", "fit", **WIDE),
    Work("fit (512, 512) sgd", "fit", solver="sgd", **WIDE),
    Work("fit digits", "fit", epochs=20, calls=3, **DIGITS),
    Work("partial_fit", "partial_fit", calls=60),
    Work("predict 1 row", "predict", rows=1, calls=500, precisions=("float32",)),
    Work("predict 10,000 rows", "predict", rows=10_000, calls=5, precisions=("float32",)),
)


def shortened(work: Work) -> Work:
    """The same with few rows and calls."""
    return work._replace(
        rows=min(work.rows, 6_400),
        epochs=min(work.epochs, 2),
        calls=min(work.calls, 6 if work.call == "partial_fit" else 2),
    )


@functools.cache
def rows_of(data: str, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """X (n, features) from 0 to 1, and its labels (n,)."""
    if data == "digits":
        from sklearn.datasets import load_digits

        X, labels = load_digits(return_X_y=True)
        return (X / 16.0).astype(precision), labels
    from xpmlp import load_mnist

    images, labels = load_mnist().train
    return images.astype(precision) / np.dtype(precision).type(255), labels


class EstimatorTask:
    """One work, judged by what scikit-learn makes of it in float64."""

    tolerances: Mapping[str, float] = TOLERANCES

    def __init__(self, work: Work) -> None:
        self.given, self.count = work, work.calls
        self.unit = work.name
        self.expected = np.asarray(turns(THEIRS, "float64")(work)(work.calls).answer)

    def difference(self, turn: Turn) -> float:
        """The largest difference of a loss or a probability."""
        found = np.asarray(turn.answer)
        if found.shape != self.expected.shape or not np.isfinite(found).all():
            return float("inf")
        return float(np.abs(found - self.expected).max())

    def describe(self) -> dict[str, Any]:
        """The work."""
        return {"work": self.given._asdict()}


def turns(library: str, precision: str, backend: str = "", device: str = "cpu") -> Start:
    """Turns of scikit-learn's classifier, or of xpmlp's on a backend."""

    def start(work: Work) -> TakeTurn:
        module = "sklearn.neural_network" if library == THEIRS else "xpmlp"
        made = functools.partial(
            importlib.import_module(module).MLPClassifier,
            work.hidden,
            solver=work.solver,
            batch_size=work.batch_size,
            max_iter=work.epochs,
            n_iter_no_change=work.epochs + 1,
            random_state=0,
        )
        if backend:
            open_backend(backend, device)
            made = functools.partial(made, backend=backend, callbacks=[watch()])
        return CALLS[work.call](made, work, *rows_of(work.data, precision))

    return start


def fits(made: Any, work: Work, X: np.ndarray, labels: np.ndarray) -> TakeTurn:
    """New estimators, each fitted to all rows."""
    X, labels = X[: work.rows], labels[: work.rows]

    def take_turn(count: int) -> Turn:
        seconds = 0.0
        for _ in range(count):
            estimator = made()
            with unfinished():
                started = time.perf_counter()
                estimator.fit(X, labels)
                seconds += time.perf_counter() - started
        return Turn(seconds / count, answer_of(estimator, X), note=threads_of(estimator))

    return take_turn


def partial_fits(made: Any, work: Work, X: np.ndarray, labels: np.ndarray) -> TakeTurn:
    """A new estimator that is given one chunk of rows after another."""
    classes = np.unique(labels)

    def take_turn(count: int) -> Turn:
        estimator = made()
        started = time.perf_counter()
        for first in range(0, count * CHUNK, CHUNK):
            rows = slice(first, first + CHUNK)
            estimator.partial_fit(X[rows], labels[rows], classes=classes)
        seconds = (time.perf_counter() - started) / count
        return Turn(seconds, answer_of(estimator, X), note=threads_of(estimator))

    return take_turn


def predictions(made: Any, work: Work, X: np.ndarray, labels: np.ndarray) -> TakeTurn:
    """The same rows again and again, by an estimator fitted to a few."""
    with unfinished():
        estimator = made().fit(X[:CHUNK], labels[:CHUNK])
    rows = X[: work.rows]
    take_turn = repeated(lambda: estimator.predict(rows))
    return lambda count: take_turn(count)._replace(answer=answer_of(estimator, X))


CALLS = {"fit": fits, "partial_fit": partial_fits, "predict": predictions}


def watch() -> Any:
    """A callback that remembers how many threads a run was given."""
    from xpmlp import Callback, Trainer

    class Watch(Callback):
        number = 0

        def on_start(self, trainer: Trainer, /) -> None:
            self.number = trainer.threads.number

    return Watch()


def threads_of(estimator: Any) -> str:
    """The threads that xpmlp chose, in words; scikit-learn takes what BLAS gives."""
    number = estimator.callbacks[0].number if hasattr(estimator, "callbacks") else 0
    return f"threads {number}" if number else ""


def unfinished() -> warnings.catch_warnings:
    """Ignore that a fit ends before it converged, as it is meant to."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)


def answer_of(estimator: Any, X: np.ndarray) -> np.ndarray:
    """The loss curve and the mean probability of each class over some rows, end to end."""
    probabilities = estimator.predict_proba(X[:CHECKED])
    return np.concatenate([estimator.loss_curve_, probabilities.mean(axis=0)]).astype("float64")


def contestants(device: str, precisions: Sequence[str]) -> list[Competitor]:
    """xpmlp on a device beside scikit-learn on the CPU."""
    found = []
    for precision in precisions:
        for arrays in (ARRAYS[device], "jax"):
            ours = turns("xpmlp", precision, arrays, device)
            found.append(
                Competitor(f"xpmlp {arrays}", device, precision, "from NumPy's arrays", ours)
            )
        found.append(Competitor(THEIRS, "cpu", precision, "likewise", turns(THEIRS, precision)))
    return found


def measure_estimators(
    *,
    device: str = "cpu",
    rounds: int,
    threads: int | None,
    works: Sequence[Work] = WORKS,
) -> dict[str, Any]:
    """The record of all works, a contest each; `threads` None leaves BLAS as users find it."""
    begun = datetime.datetime.now(datetime.UTC)
    contests = []
    print(HEADER, flush=True)
    for work in works:
        contest = measure(
            EstimatorTask(work),
            contestants(device, work.precisions),
            rounds=rounds,
            threads=threads,
        )
        compare(contest["rows"])
        contests.append(contest)
        print(lines(contest), flush=True)
    return {
        "begun": begun.isoformat(timespec="seconds"),
        "device": device,
        "rounds": rounds,
        **{key: contests[0][key] for key in ("threads", "machine")},
        "contests": [{key: contest[key] for key in ("work", "rows")} for contest in contests],
    }


def compare(rows: Sequence[dict[str, Any]]) -> None:
    """Put each one's `speed` into its row: scikit-learn's time in the same precision over its."""
    theirs = {row["precision"]: row["median"] for row in rows if row["name"] == THEIRS}
    for row in rows:
        reference, own = theirs.get(row["precision"]), row["median"]
        row["speed"] = reference / own if reference and own else None


HEADER = (
    f"{'ms per call':22}{'precision':10}{'':14}{'median':>11}{'min..max':>24}{'speed':>8}"
    f"{'answer within':>15}"
)
"""Speed is that of scikit-learn in the same precision as 1."""


def lines(contest: dict[str, Any]) -> str:
    """A contest for people: a line each."""
    found = []
    for row in contest["rows"]:
        start = f"{contest['work']['name']:22}{row['precision']:10}{row['name']:14}"
        if row["status"] != "timed":
            found.append(f"{start}{row['status']}: {row['cause'].partition(chr(10))[0]}")
            continue
        spread = f"{min(row['microseconds']) / 1e3:.3f}..{max(row['microseconds']) / 1e3:.3f}"
        speed = "" if row["speed"] is None else f"{row['speed']:.2f}"
        found.append(
            f"{start}{row['median'] / 1e3:11.3f}{spread:>24}{speed:>8}{row['difference']:>15.1e}"
            f"  {'; '.join(row['notes'])}".rstrip()
        )
    return "\n".join(found)
