"""Who takes part, one file a library: each is given the same `Problem`, and `Turn`s are timed.

Every peer is given what favours it: contiguous slices of data that is already on the device, and
no accuracy to count; xpmlp gathers rows by an order and counts right answers, as its users have it.
"""

from collections.abc import Sequence

from benchmarks.competitors import (
    jax,
    lecture_program,
    products,
    pytorch,
    scikit_learn,
    thinc,
    xpmlp,
)
from benchmarks.competitors.competitor import CEILING, PRODUCTS, Competitor, Start

__all__ = ["for_inference", "for_training"]

ARRAYS = {"cpu": "numpy", "cuda": "cupy"}
"""The backend that xpmlp chooses for a device."""

# What is under the clock, in words.
ALONE = "the matrix products of a step alone, into arrays made beforehand"
SQUARE = "the multiply-adds of a step's products at the rate of one large square product"
LOOP = "slice and scale a resident tensor, autograd, optim.SGD, loss; no accuracy"
STATIC = "torch.func autograd over static memory, batches counted on the device, loss; no accuracy"
JIT = "slice and scale a resident array, autodiff, SGD, loss; no accuracy; a call for each step"
SCAN = "as JAX jit, but in one call for all steps of the turn"
PROGRAM = "the lecture's loop: slice and scale, loss, accuracy, update"
PARTIAL_FIT = (
    "MLPClassifier.partial_fit, a block of batches a call: rows already scaled to float32, finite "
    "check off; it has mean losses of a block only, which are what is compared"
)
UPDATE = (
    "begin_update, gradient, finish_update; slice and scale, loss; the first layer's dA as well"
)
PREDICT = "xpmlp.predict: rows checked, softmax, a copy to the host"


def for_training(
    devices: Sequence[str] = ("cpu",), *, ceiling: bool = False, quick: bool = False
) -> list[Competitor]:
    """All who train, on the given devices of `cpu` and `cuda`.

    `ceiling` adds the rate of a large square product, `quick` leaves out float64 and what takes
    long to compile.
    """
    found = []
    for device in devices:
        found += _on_every_device(device, ceiling=ceiling, quick=quick)
        if device == "cuda":
            found += _on_gpu()
        else:
            found += _on_cpu(quick=quick)
    return found


def _on_every_device(device: str, *, ceiling: bool, quick: bool) -> list[Competitor]:
    arrays = ARRAYS[device]

    def single(name: str, includes: str, start: Start) -> Competitor:
        return Competitor(name, device, "float32", includes, start)

    found = [single(PRODUCTS, ALONE, products.training_products(device, "float32"))]
    if ceiling:
        found.append(single(CEILING, SQUARE, products.square_product(device, "float32")))
    found += [xpmlp.training(backend, device) for backend in (arrays, "jax", "torch")]
    if not quick:
        found.append(xpmlp.training(arrays, device, name=f"xpmlp {arrays} eager", compile="off"))
    found.append(single("PyTorch eager", LOOP, pytorch.eager(device)))
    if not quick or device == "cuda":
        found.append(single("PyTorch compiled", STATIC, pytorch.compiled(device)))
    return [
        *found,
        single("JAX jit", JIT, jax.training(device, scan=False)),
        single("JAX scan", SCAN, jax.training(device, scan=True)),
    ]


def _on_gpu() -> list[Competitor]:
    tf32 = jax.training("cuda", scan=True, precision="tf32")
    return [
        Competitor("products in a graph", "cuda", "float32", ALONE, pytorch.captured_products),
        Competitor("PyTorch graph", "cuda", "float32", STATIC, pytorch.captured),
        Competitor("JAX scan", "cuda", "tf32", f"{SCAN}; JAX's default precision here", tf32),
    ]


def _on_cpu(*, quick: bool) -> list[Competitor]:
    found = [
        Competitor("lecture", "cpu", "float32", PROGRAM, lecture_program.training("float32")),
        Competitor("scikit-learn", "cpu", "float32", PARTIAL_FIT, scikit_learn.training),
        Competitor("thinc", "cpu", "float32", UPDATE, thinc.training),
    ]
    if quick:
        return found
    alone = products.training_products("cpu", "float64")
    return [
        *found,
        Competitor(PRODUCTS, "cpu", "float64", ALONE, alone),
        Competitor("lecture", "cpu", "float64", PROGRAM, lecture_program.training("float64")),
        xpmlp.training("numpy", "cpu", "float64"),
    ]


def for_inference(devices: Sequence[str] = ("cpu",)) -> list[Competitor]:
    """All who predict, from rows on the host to probabilities on the host."""
    found = []
    for device in devices:
        starts: list[tuple[str, str, Start]] = [
            *(
                (f"xpmlp {backend}", PREDICT, xpmlp.prediction(backend, device))
                for backend in (ARRAYS[device], "jax", "torch")
            ),
            ("PyTorch eager", "nn.Sequential, inference mode", pytorch.prediction(device)),
            ("JAX jit", "a jitted forward pass and softmax", jax.prediction(device)),
        ]
        if device == "cpu":
            starts += [
                (
                    PRODUCTS,
                    "the products Z = A W, into arrays made before",
                    products.inference_products,
                ),
                ("xpmlp probabilities", "MLP.probabilities on NumPy arrays", xpmlp.probabilities),
                ("scikit-learn", "predict_proba, finite check off", scikit_learn.prediction),
                ("thinc", "Model.predict", thinc.prediction),
            ]
        found += [
            Competitor(name, device, "float32", includes, start) for name, includes, start in starts
        ]
    return found
