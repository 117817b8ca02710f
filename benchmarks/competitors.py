"""What is timed: each competitor trains the same network on the same batches from the same weights.

A competitor's `start` prepares a `Problem` (imports, copies to the device) and returns what takes a
turn: from the initial weights, `WARM` steps that compile and warm up, then `count` steps under the
clock. Reading their losses back to the host is inside the clock, so a GPU has finished by then.

Every peer is given what favours it: contiguous slices of data that is already on the device, and
no accuracy to count; xpmlp gathers rows by an order and counts right answers, as its users have it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.lecture import train_lecture

WARM = 64
"""Steps of a turn before the clock starts: xpmlp's loop looks at the device as often."""


@dataclass(frozen=True)
class Problem:
    """What all competitors are given.

    `weights` are W1 B1 W2 B2 ... in float64; `images` (n, l0) bytes, `labels` (n,).
    """

    weights: Mapping[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray
    batch_size: int = 64
    learning_rate: float = 0.03

    @property
    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W, b) of each layer in float32, copied."""
        count = len(self.weights) // 2
        names = [(f"W{number}", f"B{number}") for number in range(1, count + 1)]
        return [
            (self.weights[W].astype("float32"), self.weights[B].astype("float32")) for W, B in names
        ]

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """l0, l1, ..., K."""
        layers = self.layers
        return (layers[0][0].shape[0], *(W.shape[1] for W, _ in layers))


def lecture_problem(
    layer_sizes: Sequence[int] = (784, 64, 32, 10), batch_size: int = 64, *, seed: int = 11
) -> Problem:
    """The lecture's run, or one of other widths: real MNIST in file order, N(0, 1) weights."""
    from xpmlp import MLP, load_mnist

    model = MLP(layer_sizes)
    parts = model.unflatten(model.initialize(seed, dtype="float64"), xp=np)
    weights = {name.upper(): part for name, part in parts.items()}
    return Problem(weights, *load_mnist().train, batch_size=batch_size)


class Turn(NamedTuple):
    """`seconds` a step under the clock; `losses` of all steps, or their means over equal parts.

    Bare products have no losses.
    """

    seconds: float
    losses: np.ndarray | None


TakeTurn = Callable[[int], Turn]
Advance = Callable[[int, int], np.ndarray]
"""Train from one step to another, (first, stop), and return the losses, on the host."""


class Unavailable(Exception):
    """Raised by `start` where this machine has no such library or device; says which."""


class Competitor(NamedTuple):
    """`start` raises `Unavailable` or `ImportError` where it cannot run."""

    name: str
    device: str
    precision: str
    includes: str
    start: Callable[[Problem], TakeTurn]

    @property
    def is_yardstick(self) -> bool:
        """Whether the ratios of its device and precision are taken to it."""
        return self.name == PRODUCTS


PRODUCTS = "bare products"


def competitors(devices: Sequence[str] = ("cpu",)) -> list[Competitor]:
    """All there are for the given devices, of `cpu` and `cuda`."""
    products = "the matrix products of a step alone, into arrays made beforehand"
    program = "the lecture's loop: slice and scale, loss, accuracy, update"
    loop = "slice and scale a resident tensor, autograd, optim.SGD, loss; no accuracy"
    jit = "slice and scale a resident array, autodiff, SGD, loss; no accuracy; a call for each step"
    scan = "as JAX jit, but in one call for all steps of the turn"
    sklearn = (
        "MLPClassifier.partial_fit, 64 batches a call: rows already scaled to float32, finite"
        " check off; it has mean losses of 64 steps only, which are what is compared"
    )

    found: list[Competitor] = []
    for device in devices:
        array_library = "numpy" if device == "cpu" else "cupy"
        found += [
            Competitor(
                PRODUCTS, device, "float32", products, _bare_products(array_library, "float32")
            ),
            *(_xpmlp(backend, device, "float32") for backend in (array_library, "jax", "torch")),
            Competitor("PyTorch eager", device, "float32", loop, _pytorch(device)),
            Competitor("JAX jit", device, "float32", jit, _jax(device, scan=False)),
            Competitor("JAX scan", device, "float32", scan, _jax(device, scan=True)),
        ]
    if "cpu" in devices:
        found += [
            Competitor("lecture", "cpu", "float32", program, _lecture("float32")),
            Competitor("scikit-learn", "cpu", "float32", sklearn, _scikit_learn),
            Competitor(PRODUCTS, "cpu", "float64", products, _bare_products("numpy", "float64")),
            Competitor("lecture", "cpu", "float64", program, _lecture("float64")),
            _xpmlp("numpy", "cpu", "float64"),
        ]
    return found


def _clocked(begin: Callable[[], Advance]) -> TakeTurn:
    """Turns of a competitor that can start anew and train from one step to another."""

    def take_turn(count: int) -> Turn:
        advance = begin()
        warm = advance(0, WARM)
        started = time.perf_counter()
        losses = advance(WARM, WARM + count)
        seconds = time.perf_counter() - started
        return Turn(seconds / count, np.concatenate([warm, losses]))

    return take_turn


def _bare_products(library: str, dtype: str) -> Callable[[Problem], TakeTurn]:
    """Z = A W, dW = Aᵀ dZ and, but for the first layer, dA = dZ Wᵀ; arrays hold random numbers."""

    def start(problem: Problem) -> TakeTurn:
        if library == "cupy":
            _xpmlp_backend("cupy", "cuda")  # says what is missing
            import cupy as xp
        else:
            xp = np
        random = np.random.default_rng(0)

        def array(*shape: int) -> Any:
            return xp.asarray(random.standard_normal(shape, dtype))

        products = []
        for number, (l_in, l_out) in enumerate(pairwise(problem.layer_sizes)):
            A, W, dZ = (
                array(problem.batch_size, l_in),
                array(l_in, l_out),
                array(problem.batch_size, l_out),
            )
            products += [(A, W, xp.empty_like(dZ)), (A.T, dZ, xp.empty_like(W))]
            if number > 0:
                products.append((dZ, W.T, xp.empty_like(A)))

        def steps(count: int) -> float:
            started = time.perf_counter()
            for _ in range(count):
                for left, right, out in products:
                    xp.matmul(left, right, out=out)
            if library == "cupy":
                xp.cuda.get_current_stream().synchronize()
            return time.perf_counter() - started

        def take_turn(count: int) -> Turn:
            steps(WARM)
            return Turn(steps(count) / count, None)

        return take_turn

    return start


def _lecture(dtype: str) -> Callable[[Problem], TakeTurn]:
    def start(problem: Problem) -> TakeTurn:
        if len(problem.layers) != 3:
            raise Unavailable("the lecture's program has three layers")

        def begin() -> Advance:
            weights = problem.weights

            def advance(first: int, stop: int) -> np.ndarray:
                nonlocal weights
                rows = slice(first * problem.batch_size, stop * problem.batch_size)
                losses, _, weights = train_lecture(
                    weights,
                    problem.images[rows],
                    problem.labels[rows],
                    b_size=problem.batch_size,
                    lr=problem.learning_rate,
                    dtype=dtype,
                )
                return losses

            return advance

        return _clocked(begin)

    return start


def lecture_losses(problem: Problem, steps: int) -> np.ndarray:
    """What everyone's losses are compared with: the lecture's program in float64."""
    return train_lecture(
        problem.weights,
        problem.images,
        problem.labels,
        b_size=problem.batch_size,
        lr=problem.learning_rate,
        steps=steps,
    ).losses


def _xpmlp(backend_name: str, device: str, dtype: str) -> Competitor:
    """xpmlp as a user trains it: `Training.run`, clocked by an observer from tick to tick."""
    includes = (
        "Training.run: rows gathered by the epoch's order and scaled, loss, accuracy, update; "
        "losses to the host and checked every tick"
    )

    def start(problem: Problem) -> TakeTurn:
        from xpmlp import MLP, Observer, Training
        from xpmlp.data import Split
        from xpmlp.optimizers import sgd

        backend = _xpmlp_backend(backend_name, device)
        model = MLP(problem.layer_sizes)
        parts = {name.replace("B", "b"): part for name, part in problem.weights.items()}
        host = model.flatten(parts)

        class Stopwatch(Observer):
            """The time of each tick after the warm-up, and the step it came at."""

            def __init__(self) -> None:
                self.ticks: list[tuple[float, int]] = []

            def on_tick(self, training: Training, /) -> None:
                if training.iteration >= WARM:
                    self.ticks.append((time.perf_counter(), training.iteration))

        def take_turn(count: int) -> Turn:
            rows = (WARM + count) * problem.batch_size
            stopwatch = Stopwatch()
            run = Training.begin(
                model,
                Split(problem.images[:rows], problem.labels[:rows]),
                parameters=backend.asarray(host, dtype),
                optimizer=sgd(problem.learning_rate),
                backend=backend,
                epochs=1,
                batch_size=problem.batch_size,
                seed=0,
                shuffle=False,
            ).run([stopwatch])
            (started, first), *_, (ended, last) = stopwatch.ticks
            return Turn((ended - started) / (last - first), np.asarray(run.history.loss))

        return take_turn

    return Competitor(f"xpmlp {backend_name}", device, dtype, includes, start)


def _xpmlp_backend(name: str, device: str) -> Any:
    from xpmlp import BackendUnavailable, select_backend

    try:
        return select_backend(name, device)
    except BackendUnavailable as error:
        raise Unavailable(error.cause) from error


def _pytorch(device: str) -> Callable[[Problem], TakeTurn]:
    def start(problem: Problem) -> TakeTurn:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("this PyTorch sees no GPU")
        images = torch.tensor(problem.images, device=device)
        labels = torch.tensor(problem.labels, device=device)

        def begin() -> Advance:
            layers: list[torch.nn.Module] = []
            for W, b in problem.layers:
                linear = torch.nn.Linear(*W.shape, device=device)
                linear.load_state_dict({"weight": torch.tensor(W.T), "bias": torch.tensor(b)})
                layers += [linear, torch.nn.Sigmoid()]
            model = torch.nn.Sequential(*layers[:-1])
            cross_entropy = torch.nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=problem.learning_rate)

            def advance(first: int, stop: int) -> np.ndarray:
                losses = []
                for step in range(first, stop):
                    rows = slice(step * problem.batch_size, (step + 1) * problem.batch_size)
                    X = images[rows].to(torch.float32) / 255.0
                    loss = cross_entropy(model(X), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
                return torch.stack(losses).cpu().numpy()

            return advance

        return _clocked(begin)

    return start


def _jax(device: str, *, scan: bool) -> Callable[[Problem], TakeTurn]:
    def start(problem: Problem) -> TakeTurn:
        import jax
        import jax.numpy as jnp

        try:
            place = jax.devices(device)[0]
        except RuntimeError as error:
            raise Unavailable(f"this JAX sees no {device}") from error
        size = problem.batch_size
        images = jax.device_put(problem.images, place)
        labels = jax.device_put(problem.labels.astype(np.int32), place)

        def loss(layers: Any, X: Any, Y: Any) -> Any:
            A = X
            *hidden, (W, b) = layers
            for W_hidden, b_hidden in hidden:
                A = jax.nn.sigmoid(A @ W_hidden + b_hidden)
            log_Y_hat = jax.nn.log_softmax(A @ W + b)
            return -jnp.mean(jnp.take_along_axis(log_Y_hat, Y[:, None], axis=1))

        def step(layers: Any, images: Any, labels: Any, number: Any) -> tuple[Any, Any]:
            rows = jax.lax.dynamic_slice_in_dim(images, number * size, size)
            X = rows.astype(jnp.float32) / 255.0
            Y = jax.lax.dynamic_slice_in_dim(labels, number * size, size)
            J, gradients = jax.value_and_grad(loss)(layers, X, Y)
            rate = problem.learning_rate
            return jax.tree.map(lambda p, g: p - rate * g, layers, gradients), J

        def scanned(layers: Any, images: Any, labels: Any, numbers: Any) -> tuple[Any, Any]:
            return jax.lax.scan(
                lambda at, number: step(at, images, labels, number), layers, numbers
            )

        compiled = jax.jit(scanned if scan else step, donate_argnums=0)

        def begin() -> Advance:
            layers = jax.device_put(problem.layers, place)

            def advance(first: int, stop: int) -> np.ndarray:
                nonlocal layers
                with jax.default_matmul_precision("highest"):
                    if scan:
                        numbers = np.arange(first, stop, dtype=np.int32)
                        layers, losses = compiled(layers, images, labels, numbers)
                        return np.asarray(losses)
                    each = []
                    for number in range(first, stop):
                        layers, J = compiled(layers, images, labels, number)
                        each.append(J)
                    return np.asarray(jnp.stack(each))

            return advance

        return _clocked(begin)

    return start


def _scikit_learn(problem: Problem) -> TakeTurn:
    import sklearn
    from sklearn.neural_network import MLPClassifier

    size = problem.batch_size
    X = problem.images.astype(np.float32) / np.float32(255.0)

    def begin() -> Advance:
        classifier = MLPClassifier(
            problem.layer_sizes[1:-1],
            activation="logistic",
            solver="sgd",
            alpha=0.0,
            batch_size=size,
            learning_rate_init=problem.learning_rate,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
        )
        # The weights exist after a first call only; then they are set to everyone's.
        classes = np.arange(problem.layer_sizes[-1])
        classifier.partial_fit(X[:size], problem.labels[:size], classes=classes)
        for (W, b), coefs, intercepts in zip(
            problem.layers, classifier.coefs_, classifier.intercepts_, strict=True
        ):
            coefs[...], intercepts[...] = W, b

        def advance(first: int, stop: int) -> np.ndarray:
            losses = []
            with sklearn.config_context(assume_finite=True):
                for start in range(first, stop, WARM):
                    rows = slice(start * size, (start + WARM) * size)
                    classifier.partial_fit(X[rows], problem.labels[rows])
                    losses.append(classifier.loss_)
            return np.array(losses)

        return advance

    return _clocked(begin)
