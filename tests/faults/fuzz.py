"""Damaged files for every parser: a clear error or a right result, and no memory on their word.

    python tests/faults/fuzz.py --inputs 1000000 [--parser idx] [--seed 1]

Each input is a whole file with bytes flipped, cut, inserted, repeated or overwritten, or, where a
digest would notice all of these, one whose content was changed before the digest was made. What is
allowed: `InputError` of one line, or a result that, where a digest is, equals the original. What is
not: another exception, and a peak of memory above twice the file's size and what a small file
takes. (What pyarrow allocates for tables is its own, and not watched.) Prints a line for each
parser; the exit status is 1 if anything was found.
"""

import argparse
import contextlib
import copy
import gzip
import io
import json
import os
import random
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image
from safetensors.numpy import save

from xpmlp.data import load_data, read_idx, read_image, write_idx
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe, load_recipe
from xpmlp.runs import RunDirectory, RunFingerprint, load_checkpoint, save_checkpoint
from xpmlp.tensors import DIGEST, METADATA, digest_of, load_tensors
from xpmlp.training import History, Snapshot

SLACK = 1 << 21
"""Bytes that a parser takes whatever the file's size: modules, patterns, messages, and Pillow's
buffer of a megabyte."""

PICTURE = 4.0 * 1032
"""Bytes that a byte of a picture becomes: four colours, at deflate's best."""

NUMBERS = (0, 1, 127, 128, 255, 1 << 15, (1 << 16) - 1, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1)


@dataclass
class Parser:
    """A parser with whole files for it. `same` says whether a result is the original's, where
    damage can be noticed; `change` makes another file of a whole one, with a digest that is right;
    `grows` by how many times a file may become longer when it is read."""

    name: str
    file: str
    seeds: list[bytes]
    parse: Callable[[Path], Any]
    same: Callable[[Any], bool] | None = None
    change: Callable[[random.Random], bytes] | None = None
    grows: float = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parser", action="append")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
    found = 0
    with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
        for each in parsers(Path(folder)):
            if not asked.parser or each.name in asked.parser:
                found += fuzz(each, Path(folder), inputs=asked.inputs, seed=asked.seed)
    return 1 if found else 0


def fuzz(parser: Parser, folder: Path, *, inputs: int, seed: int) -> int:
    """How many findings there are; at most 5 of them are shown."""
    chance = random.Random(f"{seed} {parser.name}")  # noqa: S311
    path = folder / parser.file
    counts = dict.fromkeys(("refused", "read"), 0)
    worst, findings, began = 0.0, 0, time.perf_counter()
    path.write_bytes(parser.seeds[0])
    parser.parse(path)  # what is imported once is not its memory
    tracemalloc.start()
    for number in range(inputs):
        is_changed = parser.change is not None and number % 2 == 1
        content = parser.change(chance) if is_changed else damaged(parser.seeds, chance)
        path.write_bytes(content)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        problem = ""
        try:
            result = parser.parse(path)
        except InputError as error:
            counts["refused"] += 1
            if "\n" in str(error):
                problem = f"a message of several lines: {error}"
        except Exception:
            problem = traceback.format_exc(limit=-4)
        else:
            counts["read"] += 1
            if parser.same and not is_changed and not parser.same(result):
                problem = "another result than the original's, without a word"
            result = None
        peak = tracemalloc.get_traced_memory()[1] - before
        allowed = 2 * len(content) * parser.grows + SLACK
        worst = max(worst, peak / allowed)
        if peak > allowed:
            problem = f"{peak:,} bytes of memory for a file of {len(content):,}"
        if problem:
            findings += 1
            if findings <= 5:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{parser.name}-{number}.bin"
                kept.write_bytes(content)
                print(f"{parser.name}, input {number} (kept in {kept}): {problem}")
    tracemalloc.stop()
    print(
        f"{parser.name}: {inputs:,} inputs, {counts['refused']:,} refused, {counts['read']:,} "
        f"read, {findings} findings, memory at most {worst:.0%} of what is allowed, "
        f"{time.perf_counter() - began:.0f} s",
        flush=True,
    )
    return findings


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """A whole file, damaged in one to three ways."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1) if chance.random() < 0.5 else chance.randrange(
            min(len(content), 128) + 1
        )  # fmt: skip
        length = chance.choice((1, 1, 2, 4, 8, chance.randint(1, 64)))
        way = chance.randrange(7)
        if way == 0 and place < len(content):
            content[place] ^= 1 << chance.randrange(8)
        elif way == 1 and place < len(content):
            content[place] = chance.randrange(256)
        elif way == 2:
            number = chance.choice(NUMBERS).to_bytes(8, chance.choice(("big", "little")))
            content[place : place + length] = (number + number)[8 - length % 8 :][:length]
        elif way == 3:
            del content[place:]
        elif way == 4:
            del content[place : place + length]
        elif way == 5:
            content[place:place] = chance.randbytes(length)
        else:
            content[place:place] = content[place : place + length] * chance.randint(1, 50)
    return bytes(content)


def parsers(folder: Path) -> list[Parser]:
    """All of them, each with files of a run that was made for it."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (6, 4, 4), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.uint8)

    def made(write: Callable[[Path], object], name: str) -> bytes:
        path = folder / name
        write(path)
        return path.read_bytes()

    idx = [
        made(lambda path: write_idx(path, images), "a"),
        made(lambda path: write_idx(path, labels), "a"),
        made(lambda path: write_idx(path, chance.random((3, 5))), "a"),
    ]
    weights = {"W1": chance.random((4, 3)), "B1": chance.random(3)}
    rows = {"X_train": images, "y_train": labels, "X_test": images[:3], "y_test": labels[:3]}

    def npz(arrays: dict[str, np.ndarray], *, packed: bool = False) -> bytes:
        file = io.BytesIO()
        (np.savez_compressed if packed else np.savez)(file, **arrays)
        return file.getvalue()

    def parquet(table: pa.Table, **settings: str) -> bytes:
        return made(lambda path: pyarrow.parquet.write_table(table, path, **settings), "a")

    columns = {f"c{number}": chance.random(30) for number in range(4)}
    table = pa.table({**columns, "label": ["cat", "dog", "eel"] * 10})
    csv = "\n".join(
        ["a,b,label", *(f"{row},{row / 7:.3f},{('cat', 'dog')[row % 2]}" for row in range(30))]
    )

    def png(mode: str) -> bytes:
        file = io.BytesIO()
        Image.fromarray(images[0]).convert(mode).save(file, "png")
        return file.getvalue()

    run = RunDirectory.create(folder / "r", Recipe(layer_sizes=[4, 3, 2], optimizer="momentum"))
    history = History([np.float32(0.5)] * 6, [np.array(0.5)], [3], [np.array(0.4)], [np.array(0.5)])
    state = {"parameters": chance.random(23, np.float32), "optimizer.v": chance.random(23)}
    snapshot = Snapshot(state, 1, 2, np.array(3), history, 1.5)
    save_checkpoint(run, snapshot, RunFingerprint({"seed": 1}, "ab", {"numpy": "2"}))
    write_model(run, chance)
    original = load_checkpoint(run)[0].parameters
    model = run.load_model().parameters

    def of_run(name: str) -> tuple[str, list[bytes]]:
        return f"r/{name}", [(run.path / name).read_bytes()]

    return [
        Parser("idx", "a", idx, read_idx),
        Parser("idx.gz", "a", [gzip.compress(one, mtime=0) for one in idx], read_idx, grows=20.0),
        Parser("npz", "a.npz", [npz(weights), npz(weights, packed=True)], read_npz, grows=20.0),
        Parser(
            "dataset.npz", "a.npz", [npz(rows), npz(rows, packed=True)],
            lambda path: load_data(str(path)), grows=20.0,
        ),
        Parser(
            "checkpoint", *of_run("checkpoint.safetensors"), lambda _: load_checkpoint(run),
            same=lambda found: np.array_equal(found[0].parameters, original),
            change=changing(run.checkpoint),
        ),
        Parser(
            "model", *of_run("model.safetensors"), lambda _: run.load_model(),
            same=lambda found: np.array_equal(found.parameters, model),
            change=changing(run.path / "model.safetensors"),
        ),
        Parser("csv", "t.csv", [csv.encode()], lambda path: load_data(str(path)), grows=50.0),
        Parser(
            "parquet", "t.parquet", [parquet(table), parquet(table, compression="zstd")],
            lambda path: load_data(str(path)), grows=200.0,
        ),
        Parser("config", *of_run("config.toml"), lambda path: load_recipe(str(path)), grows=20.0),
        Parser("image", "a.png", [png("L"), png("RGB"), png("P")], read_image, grows=PICTURE),
    ]  # fmt: skip


def write_model(run: RunDirectory, chance: np.random.Generator) -> None:
    """The file of a trained network."""
    from xpmlp.network import MLP
    from xpmlp.tensors import save_tensors

    model = MLP((4, 3, 2))
    tensors = model.unflatten(chance.random(model.size, np.float32), xp=np)
    metadata = {
        "layer_sizes": [4, 3, 2], "hidden": "sigmoid", "output": "softmax",
        "normalization": "none", "residual": False, "image_shape": [2, 2], "version": "0",
    }  # fmt: skip
    save_tensors(run.path / "model.safetensors", tensors, metadata)


def changing(path: Path) -> Callable[[random.Random], bytes]:
    """What changes tensors and metadata of a file, and gives the new one a digest that is right."""
    tensors, metadata = load_tensors(path)

    def change(chance: random.Random) -> bytes:
        arrays, table = dict(tensors), json.loads(json.dumps(metadata))
        for _ in range(chance.randint(1, 3)):
            if chance.random() < 0.5:
                name = chance.choice(list(arrays))
                arrays[name] = another_array(arrays[name], chance)
            else:
                spoil(table, chance)
            if chance.random() < 0.1:
                arrays.pop(chance.choice(list(arrays)))
            if not arrays:
                arrays["x"] = np.zeros(1)
        text = json.dumps({**table, DIGEST: digest_of(arrays, table)}, sort_keys=True)
        return save(arrays, metadata={METADATA: text})

    return change


def another_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    """Of another type, shape or content."""
    way = chance.randrange(5)
    if way == 0:
        kinds = ("f4", "f8", "f2", "i8", "i4", "u1", "?")
        with np.errstate(all="ignore"):
            return array.astype(chance.choice(kinds))
    if way == 1:
        return np.resize(array, chance.choice(((), (0,), (1,), (3,), (2, 2), (1, 23), (2, 23))))
    if way == 2 and array.size and array.dtype.kind == "f":
        spoiled = array.ravel().copy()
        spoiled[chance.randrange(array.size)] = chance.choice((np.nan, np.inf, -1.0))
        return spoiled.reshape(array.shape)
    if way == 3:
        return array[..., None]
    return np.zeros_like(array)


VALUES = (None, True, -1, 0, 10**9, 1 << 70, 1.5, 1e999, "", "x", "../x", [], [1], {}, {"a": 1})


def spoil(table: dict[str, Any], chance: random.Random) -> None:
    """Another value in a table, a key less or one more."""
    name = chance.choice(list(table) or ["x"])
    way = chance.randrange(4)
    if way == 0:
        table.pop(name, None)
    elif way == 1:
        table[chance.choice(("x", "", "__class__"))] = copy.deepcopy(chance.choice(VALUES))
    elif isinstance(table.get(name), list) and table[name]:
        table[name][chance.randrange(len(table[name]))] = copy.deepcopy(chance.choice(VALUES))
    else:
        table[name] = copy.deepcopy(chance.choice(VALUES))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
