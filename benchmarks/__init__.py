"""Measurements of xpmlp beside its yardsticks and peers; the package never imports this folder.

    python -m benchmarks [--quick]         a training step of the lecture's network, on the CPU
    python -m benchmarks --help            the other parts: inference, threads, processes, ...
    python benchmarks/gpu.py DIR           everything worth recording on a machine with a GPU

problems.py, inputs.py   inputs of every competitor: a network with its weights, and rows
lecture.py               the lecture's program as it stands: the oracle of tests
reference.py             the same in float64 for any depth: the oracle of everything timed
competitors/             who takes part, one file a library
gpu_parts.py             what gpu.py measures, each part a process of its own
timing.py                the answer checked first, then turns in rounds
training.py, inference.py, threads.py, scaling.py
                         tasks for timing.py, and what varies
estimators.py            MLPClassifier beside scikit-learn's
processes.py             whole processes; launch.py and one_epoch.py are what it runs
machine.py               the machine, its cores, and how to keep them busy
bounded.py               a command with a time limit
record.py, tables.py, charts.py
                         results: JSON, text, figures
results/                 records, as the programs wrote them
"""
