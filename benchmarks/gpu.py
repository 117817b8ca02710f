"""Everything worth recording on a machine with an NVIDIA GPU, in one call.

    python benchmarks/gpu.py DIR                 writes DIR/gpu-<date>.json
    python benchmarks/gpu.py DIR --only huge     one part or several, DIR/gpu-huge-<date>.json

Each part is run for itself: one that fails is recorded with its traceback, and the others still
run. The record is written anew after each, so that a crash loses one part and not all.
Exit status: 0 all parts passed, 1 a part failed, 2 bad usage, 3 no GPU (and nothing is written).
"""

import argparse
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)  # run as a file: `import benchmarks` works, `import timing` does not

Part = Callable[[], dict[str, Any]]
"""Measures, and returns findings that JSON can hold; `passed` is among them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts and write the record."""
    parser = argparse.ArgumentParser(prog="python benchmarks/gpu.py", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the record goes")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS, help="some parts")
    options = parser.parse_args(arguments)

    # Before JAX is imported: it would otherwise take three quarters of the GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from xpmlp.backends.cupy import ask_driver

    driver, gpus = ask_driver()
    if not driver or gpus == 0:
        cause = "no NVIDIA driver" if not driver else "the NVIDIA driver shows no GPU"
        print(f"no GPU here ({cause}): nothing measured, nothing written", file=sys.stderr)
        return 3

    from benchmarks.record import write_record

    stem = "-".join(["gpu", *(options.only or ())])

    def write(record: dict[str, Any]) -> None:
        path = write_record(record, options.directory, stem)
        print(f"written: {path}", flush=True)

    parts = {name: PARTS[name] for name in PARTS if name in (options.only or PARTS)}
    record = run_parts(parts, write)
    for line in figures(record):
        print(line)
    failed = [name for name, findings in record.items() if not findings["passed"]]
    print(f"failed: {', '.join(failed)}" if failed else "all parts passed")
    return int(bool(failed))


def run_parts(
    parts: Mapping[str, Part], write: Callable[[dict[str, Any]], None]
) -> dict[str, dict[str, Any]]:
    """The findings of each part by name, or its traceback; `write` gets the record after each."""
    record: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        try:
            findings = part()
        except Exception:  # whatever it is, it is what this part has to report
            findings = {"passed": False, "error": traceback.format_exc()}
            print(findings["error"], flush=True)
        record[name] = {**findings, "seconds": round(time.perf_counter() - started, 1)}
        write(record)
    return record


def describe() -> dict[str, Any]:
    """The machine as NVIDIA's tool and each library sees it; one that cannot say says why."""
    from benchmarks.machine import describe_machine

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    found = {
        "passed": True,
        "host": describe_machine(),
        "nvidia_smi": ask(_nvidia_smi),
        "cupy": ask(_cupy),
        "torch": ask(_torch),
        "jax": ask(_jax),
    }
    for name, said in found.items():
        print(f"{name}: {said}")
    return found


def _nvidia_smi() -> dict[str, str]:
    fields = (
        "name", "driver_version", "memory.total", "compute_cap", "pstate", "clocks.sm",
        "clocks.max.sm", "temperature.gpu", "power.draw", "power.limit", "mig.mode.current",
    )  # fmt: skip
    said = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    first = said.stdout.splitlines()[0]
    return dict(zip(fields, (value.strip() for value in first.split(",")), strict=True))


def _cupy() -> dict[str, Any]:
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return {
        "version": cupy.__version__,
        "gpu": properties["name"].decode(),
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "driver_supports_cuda": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cublas": cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle()),
        "nvrtc": list(cupy.cuda.nvrtc.getVersion()),
    }


def _torch() -> dict[str, Any]:
    import torch

    return {
        "version": torch.__version__,
        "cuda_runtime": torch.version.cuda,
        "gpu": torch.cuda.get_device_name(0),
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
    }


def _jax() -> dict[str, Any]:
    import jax

    return {"version": jax.__version__, "devices": [str(device) for device in jax.devices("cuda")]}


def run_tests(marker: str = "gpu", paths: Sequence[str] = ()) -> dict[str, Any]:
    """The repository's tests of a mark, in a process of their own; a skipped one is a failure."""
    command = [sys.executable, "-m", "pytest", "-m", marker, "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *paths], cwd=ROOT, capture_output=True, text=True, timeout=420, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    found = counts(done.stdout)
    passed = done.returncode == 0 and found.get("passed", 0) > 0 and not found.get("skipped")
    print("\n".join(lines[-5:]))
    return {
        "passed": passed,
        "command": command[1:],
        "status": done.returncode,
        "counts": found,
        "tail": lines[-60:],
    }


def counts(output: str) -> dict[str, int]:
    """Pytest's closing line as figures: "3 passed, 1 skipped in 0.2s"."""
    closing = [line for line in output.splitlines() if re.search(r" in [\d.]+s", line)]
    pairs = re.findall(r"(\d+) ([a-z]+)", closing[-1]) if closing else []
    return {what: int(number) for number, what in pairs}


def check_gradients(
    layer_sizes: Sequence[int] = (784, 64, 32, 10),
    backends: Sequence[str] | None = None,
    needed: str = "cupy",
    autodiff: Sequence[str] = ("torch", "jax"),
) -> dict[str, Any]:
    """The gradient check over the given backends, by default all; `needed` must be among them."""
    from xpmlp import MLP, select_backend
    from xpmlp.gradcheck import gradcheck

    chosen = None if backends is None else [select_backend(name) for name in backends]
    rows = gradcheck(MLP(layer_sizes), backends=chosen, autodiff=autodiff)
    witnesses = sorted({row.witness for row in rows})
    is_there = any(witness.startswith(needed) for witness in witnesses)
    disagreeing = [f"{row.parameter} {row.witness}" for row in rows if not row.agrees]
    print(f"witnesses: {', '.join(witnesses)}; disagreeing: {', '.join(disagreeing) or 'none'}")
    return {
        "passed": is_there and not disagreeing,
        "witnesses": witnesses,
        "disagreeing": disagreeing,
        "rows": [{**row._asdict(), "difference": repr(row.difference)} for row in rows],
    }


def run_recipe(
    backends: Sequence[str] = ("numpy", "cupy"),
    *,
    epochs: int | None = None,
    rows: int | None = None,
    tolerance: float = 1e-4,
) -> dict[str, Any]:
    """The lecture's whole recipe on each backend; their first losses must agree with the first's.

    `epochs` and `rows` cut it short. One CPU thread: the number that is best from moment to moment
    may give other last bits.
    """
    import numpy as np

    from xpmlp import Split, evaluate, load_mnist, select_backend, train
    from xpmlp.recipes import load_recipe

    recipe = load_recipe("lecture")
    mnist = load_mnist()
    runs: list[dict[str, Any]] = []
    first_losses: list[np.ndarray] = []
    for name in backends:
        run = train(
            recipe.model,
            Split(mnist.train.X[:rows], mnist.train.labels[:rows]),
            epochs=recipe.epochs if epochs is None else epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            seed=recipe.seed,
            shuffle=recipe.shuffle,
            backend=select_backend(name),
            threads=1,
        )
        test = evaluate(recipe.model, run.parameters, mnist.test, backend=run.backend)
        first_losses.append(run.history.loss[:64].astype("float64"))
        difference = float(np.abs(first_losses[-1] / first_losses[0] - 1.0).max())
        runs.append(
            {
                "backend": run.backend.name,
                "device": run.backend.device_name,
                "steps": run.iteration,
                "train_accuracy": float(run.history.accuracy[-1]),
                "test_accuracy": float(test.accuracy),
                "test_loss": float(test.loss),
                "us_per_step": run.seconds / run.iteration * 1e6,
                "first_losses_differ_by": difference,
            }
        )
        print(runs[-1], flush=True)
    passed = all(found["first_losses_differ_by"] <= tolerance for found in runs)
    return {"passed": passed, "tolerance": tolerance, "threads": 1, "runs": runs}


def train_lecture_step() -> dict[str, Any]:
    """A step of the lecture's network: captured, eager, the peers, and the CPU's competitors."""
    return train_network("lecture", ("cuda", "cpu"), steps=832)


def train_deep() -> dict[str, Any]:
    """784-1024x3-10, batch 512."""
    return train_network("deep")


def train_huge() -> dict[str, Any]:
    """784-4096x2-10, batch 8192, beside a large square product of the same precision."""
    return train_network("huge")


def train_network(
    name: str,
    devices: Sequence[str] = ("cuda",),
    *,
    steps: int | None = None,
    rounds: int = 10,
    needed: tuple[str, str] = ("xpmlp cupy", "cuda"),
) -> dict[str, Any]:
    """The table of `python -m benchmarks`; none may be wrong or fail, and `needed` must be timed.

    `needed` is a competitor's name and device.
    """
    from benchmarks.competitors import for_training
    from benchmarks.problems import NETWORKS, network_problem
    from benchmarks.tables import table
    from benchmarks.training import measure_training

    competitors = for_training(devices, ceiling=name != "lecture")
    record = measure_training(
        network_problem(name),
        competitors,
        steps=steps or NETWORKS[name].steps,
        rounds=rounds,
        threads=1,
    )
    print(table(record), flush=True)
    return {"passed": is_sound([record], needed), **record}


def infer(
    devices: Sequence[str] = ("cuda",),
    *,
    rounds: int = 10,
    needed: tuple[str, str] = ("xpmlp cupy", "cuda"),
) -> dict[str, Any]:
    """A call on 1 row and on 10,000, from host to host, by the lecture's network."""
    from benchmarks.competitors import for_inference
    from benchmarks.inference import CALLS, measure_inference
    from benchmarks.problems import lecture_problem
    from benchmarks.tables import table

    records = []
    for rows in CALLS:
        records.append(
            measure_inference(
                lecture_problem(), for_inference(devices), rows=rows, rounds=rounds, threads=1
            )
        )
        print(table(records[-1]), flush=True)
    return {"passed": is_sound(records, needed), "contests": records}


def start_processes() -> dict[str, Any]:
    """Whole processes on the GPU: seconds, host memory, and what the GPU's memory rose by."""
    from benchmarks.processes import measure_processes, process_table

    record = measure_processes(device="cuda", rounds=3)
    print(process_table(record), flush=True)
    return {"passed": is_sound([record], ("xpmlp train, 1 epoch", "cuda")), **record}


def scale() -> dict[str, Any]:
    """A step's cost against width, depth, batch and members."""
    from benchmarks.scaling import measure_scaling

    record = measure_scaling(device="cuda", rounds=5, threads=1)
    points = [point for sweep in record["sweeps"] for point in sweep["points"]]
    return {"passed": is_sound(points, ("xpmlp cupy", "cuda")), **record}


def fit_estimators() -> dict[str, Any]:
    """MLPClassifier on the GPU beside scikit-learn's on all cores of the CPU."""
    from benchmarks.estimators import measure_estimators

    record = measure_estimators(device="cuda", rounds=5, threads=None)
    return {"passed": is_sound(record["contests"], ("xpmlp cupy", "cuda")), **record}


def is_sound(contests: Sequence[Mapping[str, Any]], needed: tuple[str, str]) -> bool:
    """Whether nobody was wrong or failed, and the competitor needed was timed in all contests."""
    return all(
        row["status"] not in ("WRONG", "failed") for contest in contests for row in contest["rows"]
    ) and all(
        any((row["name"], row["device"], row["status"]) == (*needed, "timed") for row in rows)
        for rows in (contest["rows"] for contest in contests)
    )


def figures(record: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the design asks of a GPU, as far as the parts of this record show it."""
    found = []
    for part in ("lecture", "huge"):
        for row in record.get(part, {}).get("rows", ()):
            if (row["name"], row["device"]) == ("xpmlp cupy", "cuda") and row["median"]:
                share = row["share_of_ceiling"]
                of = "" if share is None else f", {share:.0%} of the square product's rate"
                found.append(f"{part}: {row['median']:.1f} us per step{of}")
    for sweep in record.get("scaling", {}).get("sweeps", ()):
        medians = {
            point["value"]: row["median"]
            for point in sweep["points"]
            for row in point["rows"]
            if row["name"] == "xpmlp cupy" and row["median"]
        }
        if sweep["quantity"] == "members" and {1, 32} <= medians.keys():
            found.append(f"32 members: {medians[32] / medians[1]:.2f} times the time of one")
    for contest in record.get("estimators", {}).get("contests", ()):
        found += [
            f"{contest['work']['name']}, {row['precision']}: "
            f"{row['speed']:.1f} times scikit-learn's speed on the CPU"
            for row in contest["rows"]
            if row["name"] == "xpmlp cupy" and row["speed"]
        ]
    return found


PARTS: dict[str, Part] = {
    "machine": describe,
    "tests": run_tests,
    "gradcheck": check_gradients,
    "recipe": run_recipe,
    "lecture": train_lecture_step,
    "huge": train_huge,
    "deep": train_deep,
    "inference": infer,
    "processes": start_processes,
    "scaling": scale,
    "estimators": fit_estimators,
}
"""In the order they run: what is right first, what takes longest last."""


if __name__ == "__main__":
    sys.exit(main())
