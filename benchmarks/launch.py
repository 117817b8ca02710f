"""Run a command and report its time and peak memory: python launch.py REPORT COMMAND...

A process of its own, and a small one: the peak that the system counts for a child begins with what
its parent held when it was started. Writes JSON to REPORT: `status`, `seconds` from start to end,
`peak_bytes` of host memory and, with `--watch-gpu` before REPORT, `gpu_peak_bytes`, what the GPU's
used memory rose by; without an nvidia-smi that answers it is left out.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time

ANSWER_SECONDS = 10
"""How long to wait for nvidia-smi's first figure, and for its end."""


def main(arguments: list[str]) -> None:
    """Run the command of the arguments; its output is not ours to touch."""
    watch = arguments[0] == "--watch-gpu"
    report, *command = arguments[1:] if watch else arguments
    with tempfile.TemporaryFile("w+") as used:
        watcher = _watch_gpu(used) if watch else None
        started = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        found = {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": seconds,
            "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        if watcher is not None:
            _end(watcher)
            used.seek(0)
            mebibytes = [int(line) for line in used.read().splitlines() if line.strip().isdigit()]
            if mebibytes:
                found["gpu_peak_bytes"] = (max(mebibytes) - mebibytes[0]) * 2**20
    with open(report, "w") as file:
        json.dump(found, file)


def _watch_gpu(used: io.TextIOWrapper) -> subprocess.Popen[bytes] | None:
    """Start nvidia-smi, which writes the used memory every 20 ms; None if it does not answer."""
    try:
        watcher = subprocess.Popen(
            ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits",
             "-lms", "20"],
            stdout=used,
        )  # fmt: skip
    except OSError:
        return None
    until = time.monotonic() + ANSWER_SECONDS
    while os.fstat(used.fileno()).st_size == 0:
        if watcher.poll() is not None or time.monotonic() > until:
            _end(watcher)
            return None
        time.sleep(0.01)
    return watcher


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process; one stuck in a driver is left to itself."""
    for end in (process.terminate, process.kill):
        end()
        try:
            process.wait(ANSWER_SECONDS / 2)
            return
        except subprocess.TimeoutExpired:
            pass


if __name__ == "__main__":
    main(sys.argv[1:])
