"""xpmlp as its users have it: `Training.run`, clocked by a callback, and `predict`."""

import time
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import (
    Competitor,
    Start,
    TakeTurn,
    Turn,
    Unavailable,
    repeated,
)
from benchmarks.inputs import Inference
from benchmarks.problems import Problem

RUN = (
    "Training.run: rows gathered by the epoch's order and scaled, loss, accuracy, update; "
    "losses to the host and checked every tick"
)


def training(
    backend: str,
    device: str,
    dtype: str = "float32",
    *,
    name: str = "",
    threads: int | None = None,
    compile: str | None = None,
) -> Competitor:
    """xpmlp on a backend; `threads` and `compile` are handed on where given, else its defaults.

    A `dtype` of tf32 or float16 is the precision of the products: all else is float32.
    """

    def start(problem: Problem) -> TakeTurn:
        settings: dict[str, Any] = {}
        stored = dtype
        if dtype in ("tf32", "float16"):
            stored, settings["dtype"] = "float32", dtype
        if threads is not None:
            settings["threads"] = threads
        if compile is not None:
            settings["compile"] = compile
        return _training_turns(problem, open_backend(backend, device), stored, settings)

    return Competitor(name or f"xpmlp {backend}", device, dtype, RUN, start)


def _training_turns(
    problem: Problem, backend: Any, dtype: str, settings: dict[str, Any]
) -> TakeTurn:
    from xpmlp import MLP, Callback, OptimizerConfig, Trainer
    from xpmlp.data import Split

    model = MLP(problem.layer_sizes)
    host = model.flatten({name.replace("B", "b"): part for name, part in problem.weights.items()})

    class Stopwatch(Callback):
        """The time of the ticks that begin after the warm-up, losses on the host included.

        What happens between epochs (a copy of the parameters to the host) is no step's.
        """

        def __init__(self) -> None:
            self.seconds, self.steps = 0.0, 0

        def on_start(self, trainer: Trainer, /) -> None:
            self.since, self.iteration = time.perf_counter(), trainer.iteration

        def on_tick(self, trainer: Trainer, /) -> None:
            if self.iteration >= problem.warm:
                self.seconds += time.perf_counter() - self.since
                self.steps += trainer.iteration - self.iteration
            self.since, self.iteration = time.perf_counter(), trainer.iteration

        on_epoch = on_start

    def take_turn(count: int) -> Turn:
        steps = problem.warm + count
        epoch = min(steps, problem.batches)
        rows = epoch * problem.batch_size
        stopwatch = Stopwatch()
        run = Trainer.begin(
            model,
            Split(problem.images[:rows], problem.labels[:rows]),
            parameters=backend.asarray(host, dtype),
            optimizer_config=OptimizerConfig(learning_rate=problem.learning_rate),
            backend=backend,
            epochs=steps // epoch,
            batch_size=problem.batch_size,
            seed=0,
            shuffle=False,
            **settings,
        ).run([stopwatch])
        if not stopwatch.steps:
            raise RuntimeError(
                f"no tick began in steps {problem.warm + 1} to {steps}: give more --steps"
            )
        threads = run.threads.number  # 0: the library's own choice
        return Turn(
            stopwatch.seconds / stopwatch.steps,
            np.asarray(run.history.loss),
            note=f"threads {threads}" if threads else "",
        )

    return take_turn


def prediction(backend_name: str, device: str) -> Start:
    """`xpmlp.predict`: rows checked, probabilities copied to the host."""

    def start(inference: Inference) -> TakeTurn:
        from xpmlp import predict

        backend = open_backend(backend_name, device)
        model, host = _model(inference.problem)
        parameters = backend.asarray(host, "float32")
        return repeated(lambda: predict(model, parameters, inference.X, backend=backend))

    return start


def probabilities(inference: Inference) -> TakeTurn:
    """`MLP.predictions` on NumPy arrays: the algebra alone, no checks."""
    model, host = _model(inference.problem)
    parameters = host.astype("float32")
    return repeated(lambda: model.predictions(parameters, inference.X, xp=np))


def _model(problem: Problem) -> tuple[Any, np.ndarray]:
    from xpmlp import MLP

    model = MLP(problem.layer_sizes)
    parts = {name.replace("B", "b"): part for name, part in problem.weights.items()}
    return model, model.flatten(parts)


def open_backend(name: str, device: str) -> Any:
    """The backend, or `Unavailable` with its cause."""
    from xpmlp import BackendUnavailable, select_backend

    try:
        return select_backend(name, device)
    except BackendUnavailable as error:
        raise Unavailable(error.cause) from error
