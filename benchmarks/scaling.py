"""What a step costs as one thing grows: width, depth, batch, members."""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.competitors import ARRAYS, for_training
from benchmarks.competitors.competitor import PRODUCTS, Competitor
from benchmarks.machine import describe_machine
from benchmarks.problems import Problem, make_problem
from benchmarks.training import measure_training

ROWS = 57_344
"""Rows at most, of MNIST's 60,000: 7 batches of 8,192, the most that is asked for at once."""

WORK = {"cpu": 4_000_000_000, "cuda": 4_000_000_000_000}
"""Multiply-adds that a turn may have: seconds at worst."""

BLOCKS = {"cpu": 2, "cuda": 12}
"""Blocks of steps under the clock, each an epoch: steps are short on a GPU, and a turn must be long
beside its end."""


class Sweep(NamedTuple):
    """One quantity that grows, on an otherwise fixed network."""

    quantity: str
    network: str
    values: tuple[int, ...]
    more_on_gpu: tuple[int, ...]

    def problem(self, value: int, device: str) -> Problem:
        """The network at one value, in blocks of steps that fit the data and the time."""
        layer_sizes: tuple[int, ...] = (784, 64, 32, 10)
        batch_size, members = 64, 1
        match self.quantity:
            case "width":
                layer_sizes = (784, value, value, 10)
            case "depth":
                layer_sizes = (784, *[64] * value, 10)
            case "batch":
                batch_size = value
            case "members":
                members = value
        sketch = make_problem(layer_sizes, batch_size, batches=1, warm=1, members=members)
        most = min(64, ROWS // batch_size, max(4, WORK[device] // sketch.multiply_adds))
        block = 2 ** (most.bit_length() - 1)
        return make_problem(layer_sizes, batch_size, batches=block, warm=block, members=members)


SWEEPS = (
    Sweep("width", "784-w-w-10, batch 64", (16, 32, 64, 128, 256, 512, 1024), (2048, 4096)),
    Sweep("depth", "784, hidden layers of 64, 10; batch 64", (1, 2, 4, 8, 16), ()),
    Sweep("batch", "784-64-32-10", (16, 64, 256, 1024, 4096), (8192,)),
    Sweep("members", "784-64-32-10, batch 64, trained at once", (1, 2, 4, 8, 16, 32), (64, 128)),
)


def measure_scaling(
    *,
    device: str = "cpu",
    rounds: int,
    threads: int | None,
    quick: bool = False,
    sweeps: Sequence[Sweep] = SWEEPS,
) -> dict[str, Any]:
    """The record of all sweeps: at each value a contest like any other; `quick` takes the ends, and
    one block of steps.
    """
    begun = datetime.datetime.now(datetime.UTC)
    found: list[dict[str, Any]] = []
    for sweep in sweeps:
        values = sweep.values + (sweep.more_on_gpu if device == "cuda" else ())
        points = []
        for value in (values[0], values[-1]) if quick else values:
            problem = sweep.problem(value, device)
            contest = measure_training(
                problem,
                contestants(device),
                steps=problem.warm * (1 if quick else BLOCKS[device]),
                rounds=rounds,
                threads=threads,
            )
            for row in contest["rows"]:
                del row["includes"]  # the same at every value
            points.append(
                {"value": value, **{key: contest[key] for key in ("problem", "threads", "rows")}}
            )
            print(f"{sweep.quantity} {value}: {shown(contest['rows'])}", flush=True)
        found.append({"quantity": sweep.quantity, "network": sweep.network, "points": points})
    return {
        "begun": begun.isoformat(timespec="seconds"),
        "device": device,
        "rounds": rounds,
        "threads": found[0]["points"][0]["threads"],
        "machine": describe_machine(),
        "sweeps": found,
    }


def contestants(device: str) -> list[Competitor]:
    """A line of the chart each: the products, xpmlp on its two engines, and the strongest peers."""
    names = (PRODUCTS, f"xpmlp {ARRAYS[device]}", "xpmlp jax", "JAX scan", "PyTorch eager")
    return [
        competitor
        for competitor in for_training((device,), quick=True)
        if competitor.name in names and competitor.precision == "float32"
    ]


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The medians of a point in microseconds, or why there is none."""
    return ", ".join(
        f"{row['name']} " + (row["status"] if row["median"] is None else f"{row['median']:.0f} us")
        for row in rows
    )
