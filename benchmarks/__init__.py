"""Measurements of xpmlp beside its yardsticks; the package never imports this folder.

    python -m benchmarks [--quick]     microseconds per training step on this machine's CPU
    python benchmarks/gpu.py DIR       everything worth recording on a machine with an NVIDIA GPU

lecture.py      the lecture's program as it stands: the oracle of tests and competitors
competitors.py  what is timed, one function each
timing.py       the answer checked first, then turns in rounds; machine, table, record
results/        records, as the programs wrote them
"""
