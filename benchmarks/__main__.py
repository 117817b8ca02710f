"""Microseconds per training step of the lecture's run, beside its yardsticks, on the CPU."""

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Run the benchmark; 1 if a competitor was wrong or failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write lecture-step-<date>.json")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of a turn, in 64s")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each competitor")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="cores to use (1)")
    options = parser.parse_args()
    if min(options.threads, options.steps or 1, options.rounds or 1) < 1:
        parser.error("--threads, --steps and --rounds take whole numbers from 1")
    pin(options.threads)

    from benchmarks.competitors import WARM, competitors, lecture_problem
    from benchmarks.timing import measure, table, write_record

    try:
        record = measure(
            lecture_problem(),
            competitors(),
            steps=-(-(options.steps or (128 if options.quick else 256)) // WARM) * WARM,
            rounds=options.rounds or (3 if options.quick else 15),
            threads=options.threads,
        )
    except ValueError as error:
        parser.error(str(error))
    print(table(record))
    if options.out:
        print(f"\nwritten: {write_record(record, options.out, 'lecture-step')}")
    return int(any(row["status"] in ("WRONG", "failed") for row in record["rows"]))


def pin(threads: int) -> None:
    """Hold this process to some cores, before NumPy and JAX are imported and count them.

    JAX's CPU pool has no other switch; BLAS and torch are limited by name as well, in timing.py.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


if __name__ == "__main__":
    sys.exit(main())
