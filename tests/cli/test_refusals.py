"""Bad input to every command: status 2, one line that names value, limit and remedy, nothing left.

The wording of refusals is checked here alone. `places` has everything that the table names.
"""

import gzip
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from xpmlp.data import write_idx
from xpmlp.tensors import load_tensors, save_tensors

pytestmark = [pytest.mark.extended(keep=40), pytest.mark.usefixtures("undrawn")]

SHORT = {
    "TINY": "--set model.layer_sizes=16,8,10 --batch-size 4 --epochs 2 --backend numpy --data tiny",
    "SMALL": "--set model.layer_sizes=16,8,10 --set batch_size=4 --set epochs=2 "
    "--set validation=0.2 --backend numpy --data tiny",
    "SEARCH": "--set model.layer_sizes=16,16,10 --set batch_size=100 --backend numpy --to 10 "
    "--set model.activation=tanh --set initializer=glorot_uniform --data tiny",
    "LONG": "x" * 300,
}
"""What these words stand for in a row; EMPTY is an argument without characters."""

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FILES = IMAGES, LABELS, "t10k-images-idx3-ubyte"

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "wrong-magic": lambda content: b"\x01\x02" + content[2:],
    "truncated": lambda content: content[:-1],
    "oversized": lambda content: content + b"\0",
    "promises-everything": lambda _: b"\0\0\x08\x03" + b"\xff" * 12,
    "cut-gzip": lambda content: gzip.compress(content)[:-9],
    "empty-file": lambda _: b"",
}
"""What is done to an IDX file; the data set is called after it and the file."""

DATA: dict[str, tuple[str, np.ndarray]] = {
    "99-labels": (LABELS, np.zeros(99, np.uint8)),
    "label-10": (LABELS, np.full(100, 10, np.uint8)),
    "label-below-0": (LABELS, np.full(100, -1, np.int8)),
    "float-labels": (LABELS, np.zeros(100, np.float32)),
    "labels-in-a-column": (LABELS, np.zeros((100, 1), np.uint8)),
    "5-by-5": (IMAGES, np.zeros((100, 5, 5), np.uint8)),
    "flat": (IMAGES, np.zeros(100, np.uint8)),
    "no-rows": (IMAGES, np.zeros((0, 4, 4), np.uint8)),
    "nan": (IMAGES, np.pad(np.full((1, 4, 4), np.nan, np.float32), ((7, 92), (0, 0), (0, 0)))),
    "inf": (IMAGES, np.pad(np.full((1, 4, 4), np.inf, np.float32), ((7, 92), (0, 0), (0, 0)))),
}
"""Data sets of which one file is another array."""

RECIPES = {
    "no-value": b"epochs = \n",
    "twice": b"epochs = 1\nepochs = 2\n",
    "no-text": b"\xff\xfe",
    "text-for-integer": b'epochs = "3"\n',
    "float-for-integer": b"epochs = 3.0\n",
    "text-for-number": b'learning_rate = "fast"\n',
    "unknown-key": b"epoch = 3\n",
    "unknown-section": b"[train]\nepochs = 3\n",
    "two-faults": b"layer_sizes = [16, 0, 10]\nseed = -2\n",
}


def network(**changes: Any) -> str:
    """The metadata of a model's file; what is None is left out."""
    whole = {"layer_sizes": [16, 8, 10], "hidden": "sigmoid", "output": "softmax"}
    whole |= {"image_shape": [4, 4], **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not None})


def rewritten(change: Callable[[dict[str, np.ndarray]], Any], metadata: str = network()) -> Any:
    """Write a model again after a change of its tensors, with this metadata."""

    def damage(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"xpmlp": metadata})

    return damage


def resealed(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    """Write tensors again after a change, with a digest that is right."""

    def damage(path: Path) -> None:
        tensors, metadata = load_tensors(path)
        change(tensors)
        save_tensors(path, tensors, metadata)

    return damage


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


BOTH: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "foreign": lambda path: save_file({"weight": np.zeros((2, 3), np.float32)}, path),
    "text": lambda path: path.write_text("what is this?"),
    "missing": Path.unlink,
    "flipped": flipped,
}
MODELS: dict[str, Callable[[Path], Any]] = {
    **BOTH,
    "nan-in-it": rewritten(lambda tensors: tensors["W1"].fill(np.nan)),
    "no-shape": rewritten(lambda _: None, network(hidden=None, output=None, image_shape=None)),
    "other-shape": rewritten(lambda _: None, network(layer_sizes=[16, 9, 10])),
    "strange-widths": rewritten(lambda _: None, network(layer_sizes=5, image_shape=None)),
    "no-json": rewritten(lambda _: None, "{"),
    "integers": resealed(lambda one: one.update({k: A.astype(int) for k, A in one.items()})),
    "rank-5": resealed(lambda one: one.update({k: A[None, None, None] for k, A in one.items()})),
}
CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    **BOTH,
    "other-network": resealed(lambda one: one.update({"state.parameters": np.zeros(3, "f4")})),
    "short-correct": resealed(lambda one: one.update(correct=np.zeros(3, one["correct"].dtype))),
    "wide-loss": resealed(lambda one: one.update(loss=np.zeros((len(one["loss"]), 2)))),
    "no-accuracy": resealed(lambda one: one.update(accuracy=one["accuracy"][:0])),
    "nan-parameters": resealed(lambda one: one["state.parameters"].fill(np.nan)),
    "other-optimizer": resealed(lambda one: one.update({"state.optimizer.momentum": np.zeros(1)})),
}
"""What is done to the file of a run that is called `model-` or `checkpoint-` and this."""

WEIGHTS: dict[str, dict[str, np.ndarray]] = {
    "no-B2": {"B2": None},
    "turned-W1": {"W1": np.zeros((8, 16))},
    "three-W2": {"W2": np.zeros((3, 8, 10))},
    "nan-B1": {"B1": np.full(8, np.nan)},
    "inf-W1": {"W1": np.full((16, 8), np.inf)},
    "complex-W1": {"W1": np.full((16, 8), 1j)},
    "objects-B1": {"B1": np.array([{}] * 8)},
    "text-B1": {"B1": np.array(["x"] * 8)},
}
"""Files of initial weights of which one array is another."""

UNWHOLE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:300] + bytes([content[300] ^ 0xFF]) + content[301:],
    "foreign": lambda _: b"not a zip file",
    "empty": lambda _: b"",
}

UNWRITABLE = {one: one for one in ("file", "file/below", "/proc/xpmlp", "/dev/null")}
UNWRITABLE["LONG"] = SHORT["LONG"]
WITHOUT_RUN = {"empty": "empty", "nowhere": "nowhere", "LONG": SHORT["LONG"]}

REFUSALS: dict[str, list[tuple[str, ...]]] = {
    # -- train: data
    "train TINY --out new --data": [
        *((f"{damage}-{file}", file) for damage, file in itertools.product(DAMAGES, FILES)),
        (f"truncated-{IMAGES}", "where its header promises"),
        ("99-labels", "99-labels", "100 rows and 99 labels", "one label per row"),
        ("label-10", "label-10", "label 10 in row 0", "the largest that fits is 9", "16,8,11"),
        ("label-below-0", "label-below-0", "label -1 in row 0", "renumber"),
        ("float-labels", "float-labels", "float32", "convert"),
        ("labels-in-a-column", "labels-in-a-column", "shape (100, 1)", "one integer per row"),
        ("5-by-5", "5-by-5", "(5, 5)", "(4, 4)", "one shape"),
        ("flat", "flat", "an array of shape (100,)", "(rows, values)"),
        ("no-rows", "no-rows", "(0, 4, 4)"),
        ("nan", "nan", "values are NaN or infinite", "row 7", "remove or replace"),
        ("inf", "inf", "NaN or infinite", "row 7", "remove or replace"),
        ("nowhere", "nowhere", "give a directory"),
        ("empty", "empty", "no data set, it has nothing", "give a directory"),
        ("file", "file", "give a directory"),
        ("EMPTY", "data="),
        ("LONG", SHORT["LONG"][:100]),
    ],
    # -- train: places
    "train TINY --out": [
        ("run", "run: holds a run already", "--out", "--resume run"),
        *((out, said, "cannot be made", "--out") for out, said in UNWRITABLE.items()),
    ],
    # -- train: settings
    "train TINY --out new": [
        (
            "--set model.layer_sizes=784,8,10",
            "4 x 4 = 16",
            "the network takes 784",
            "sizes=16,8,10",
        ),
        ("--hidden 64,0,10", "64,0,10", "width 2 is 0", ">= 1"),
        ("--hidden=-5", "-5", ">= 1"),
        ("--hidden a,b", "a,b", "integers", "64,32"),
        ("--hidden 8,,8", "8,,8", "integers"),
        ("--hidden 99999999999999999999", "layer_sizes=16,99999999999999999999,10", "less"),
        ("--learning-rate -1", "learning_rate=-1", "above 0"),
        ("--learning-rate 0", "learning_rate=0", "above 0"),
        ("--learning-rate nan", "learning_rate=nan", "finite"),
        ("--learning-rate inf", "learning_rate=inf", "finite"),
        ("--learning-rate fast", "learning_rate=fast", "number"),
        ("--members 2 --learning-rate 0.1,-2", "learning_rate=0.1,-2", "above 0"),
        ("--learning-rate 0.1,0.2", "learning_rate=0.1,0.2", "2 values", "--members 2"),
        ("--set optimizer.learning_rate=[0.1,'x']", "learning_rate=0.1,x", "number"),
        ("--set optimizer.learning_rate=true", "learning_rate=True", "number"),
        ("--epochs -1", "epochs=-1", "1"),
        ("--epochs 0", "epochs=0", "1"),
        ("--epochs 1.5", "epochs=1.5", "integer"),
        ("--batch-size 0", "batch_size=0", "1"),
        ("--batch-size -4", "batch_size=-4", "1"),
        ("--seed -1", "seed=-1", "0"),
        ("--seed 99999999999999999999", "seed=99999999999999999999", "less"),
        ("--members 0", "members=0: give 1 to 4096\n"),
        ("--members 5000", "members=5000", "4096"),
        ("--dtype float16", "dtype=float16", "numpy computes in float32 or float64"),
        ("--dtype half", "dtype='half'", "float32, float64"),
        ("--compile yes", "compile='yes'", "auto, require, off"),
        ("--threads many", "threads='many'", "integer"),
        ("--backend nunpy", "backend='nunpy'", "did you mean numpy?", "jax"),
        ("--backend tensorflow", "backend='tensorflow'", "auto, numpy, cupy, jax, torch"),
        ("--device tpu", "'tpu'", "cpu, cuda"),
        ("--device cuda", "'cuda'", "--backend cupy"),
        ("--set epoch=3", "'epoch'", "did you mean epochs?"),
        ("--set epochs", "--set epochs", "key=value"),
        ("--set =3", "setting ''"),
        ("--set hidden_sizes=4", "'hidden_sizes'", "unknown"),
        ("--set model.activation=sigmod", "sigmod", "did you mean sigmoid?"),
        ("--set model.activation=[red]x[/red]", "[red]x[/red]", "use identity, sigmoid, tanh"),
        ("--set model.output=linear", "linear", "softmax"),
        ("--set seed=two", "seed=two", "integer"),
        ("--set seed=2.0", "seed=2.0", "integer"),
        ("--set seed=true", "seed=True", "integer"),
        ("--set shuffle=maybe", "shuffle='maybe'", "true or false"),
        ("--set model.layer_sizes=16", "layer_sizes=16", "at least two widths"),
        ("--set model.layer_sizes=5 --hidden 3", "layer_sizes=5", "at least two widths"),
        ("--set model.layer_sizes=[]", "at least two widths"),
        ("--set model.layer_sizes=[16,'x',10]", "16,x,10", "integers"),
        ("--set model.layer_sizes=[16,true,10]", "16,True,10", "integers"),
        ("--time-limit -3s", "-3s", "give a time above 0", "60s"),
        ("--checkpoint-every 0", "0", "give 1 or more steps"),
        ("--checkpoint-every often", "--checkpoint-every often"),
        ("--log paper", "paper", "use csv, tensorboard, mlflow, wandb"),
        ("--log tensorboard", "tensorboard is not installed", 'pip install "xpmlp[tensorboard]"'),
    ],
    # -- train: initial weights
    "train TINY --out new --initial-weights": [
        ("nowhere.npz", "nowhere.npz", "give the path of a readable file"),
        ("no-B2.npz", "no-B2.npz", "B2", "W1, B1, W2"),
        ("turned-W1.npz", "turned-W1.npz", "W1", "(8, 16)", "(16, 8)"),
        ("three-W2.npz", "three-W2.npz", "W2", "(3, 8, 10)"),
        ("nan-B1.npz", "nan-B1.npz", "B1", "NaN", "finite"),
        ("inf-W1.npz", "inf-W1.npz", "W1", "infinity"),
        ("complex-W1.npz", "complex-W1.npz", "W1", "complex128", "real"),
        ("objects-B1.npz", "objects-B1.npz", "B1", "object", "real"),
        ("text-B1.npz", "text-B1.npz", "B1", "real"),
        *((f"{name}-weights.npz", f"{name}-weights.npz") for name in UNWHOLE),
        ("empty", "empty"),
        ("pipe.npz", "pipe.npz", "not a regular file"),
        ("/dev/zero", "/dev/zero", "not a regular file"),
    ],
    # -- train: recipes
    "train": [
        ("TINY", "runs: cannot be made", "--out"),
        ("lectur TINY", "'lectur' is unknown", "did you mean lecture?", ".toml"),
        ("nonsense TINY", "'nonsense'", "lecture, modern"),
        ("EMPTY TINY", "recipe ''"),
        ("empty/nowhere.toml TINY", "nowhere.toml", "No such file", "give a .toml file"),
        ("pipe.toml", "pipe.toml", "not a regular file"),
        ("no-value.toml", "no-value.toml: ", "no valid TOML", "line 1"),
        ("twice.toml", "twice.toml: ", "no valid TOML", "line 2"),
        ("no-text.toml", "no-text.toml: ", "no valid TOML", "utf-8"),
        ("text-for-integer.toml", "text-for-integer.toml: ", "epochs='3'", "integer"),
        ("float-for-integer.toml", "float-for-integer.toml: ", "epochs=3.0", "integer"),
        ("text-for-number.toml", "text-for-number.toml: ", "learning_rate=fast", "number"),
        ("unknown-key.toml", "unknown-key.toml: ", "'epoch'", "did you mean epochs?"),
        ("unknown-section.toml", "unknown-section.toml: ", "'train'", "epochs"),
        ("two-faults.toml", "two-faults.toml: ", "width 1 is 0", "seed=-2"),
    ],
    # -- train --resume
    "train --resume": [
        ("run", "2 epochs are done", "--epochs"),
        ("run --epochs 2", "2 epochs are done", "--epochs"),
        ("run --epochs 1", "2 epochs are done", "--epochs"),
        ("run --epochs 0", "epochs=0"),
        ("run --seed 3", "resumes with its own settings", "only --epochs and --time-limit"),
        ("run --epochs 5 --set seed=3", "only --epochs and --time-limit may differ"),
        ("run --epochs 5 --out elsewhere", "only --epochs and --time-limit may differ"),
        ("run other.toml --epochs 5", "only --epochs and --time-limit may differ"),
        ("empty", "empty: no run is here"),
        ("nowhere", "nowhere: no run is here"),
        ("LONG", "too long"),
        ("edited --epochs 9", "edited: differs from its start: batch_size 4 -> 5", "--force"),
        ("moved --epochs 9", "moved: differs from its start: ", "other content of"),
        ("moved --epochs 9 --force", "fewer-rows", "has other rows than when"),
        ("checkpoint-cut --epochs 5", "checkpoint.safetensors", "no whole file of xpmlp"),
        ("checkpoint-flipped", "checkpoint.safetensors", "is not what was written (SHA-256)"),
        ("checkpoint-other-network --epochs 5", "saved parameters"),
        *(
            (f"checkpoint-{damage} --epochs 5", "checkpoint.safetensors")
            for damage in ("foreign", "text", "missing")
        ),
        *((f"checkpoint-{damage} --epochs 9",) for damage in list(CHECKPOINTS)[6:]),
    ],
    # -- what reads a run
    "evaluate": [
        ("run --data nowhere", "nowhere"),
        ("run --data only-5-by-5", "5 x 5 = 25 values, the network takes 16"),
        ("run --backend nunpy", "nunpy"),
        ("run --device tpu", "tpu"),
        ("model-flipped", "is not what was written (SHA-256)"),
        ("model-cut", "model.safetensors", "no whole file of xpmlp"),
        *((f"model-{damage}", "model.safetensors: ", "train again") for damage in MODELS),
        *((place, said, "run directory") for place, said in WITHOUT_RUN.items()),
    ],
    "predict": [
        *((f"model-{damage} rows.npy", "model.safetensors: ", "train again") for damage in MODELS),
        *((f"{place} rows.npy", said, "run directory") for place, said in WITHOUT_RUN.items()),
        ("run good.png wide.npy", "wide.npy: ", "17 values, the network takes 16"),
        ("run good.png nan.npy", "nan.npy: ", "NaN or infinite"),
        ("run good.png objects.npy", "objects.npy: ", "numbers"),
        ("run good.png cut.png", "cut.png: ", "truncated"),
        ("run good.png text.png", "text.png: ", "not an image"),
        ("run good.png text.npy", "text.npy: ", "numpy.save"),
        ("run good.png nowhere.png", "nowhere.png: ", "No such file"),
        ("run good.png .", ".: ", "not a regular file"),
        ("no-images good.png", "give a .npy file"),
    ],
    "plot": [
        *((place, said, "run directory") for place, said in WITHOUT_RUN.items()),
        ("run --out a.pdf", "a.pdf: .pdf is not supported; give a name that ends in .png"),
        ("run --out nowhere/a.png", "cannot be written"),
        ("empty-history", "nothing to draw"),
        ("half-history", "no accuracy"),
        ("zip-history", "history.npz"),
        ("no-history", "history.npz"),
    ],
    "report": [
        ("run --out a.pdf", "a.pdf: .pdf is not supported; give a name that ends in .html or .htm"),
        ("run --out no/report.html", "no/report.html"),
        ("run --data no-such-data", "no-such-data"),
        ("run --backend none", "none"),
        ("empty", "no run is here"),
        ("odd-validation", "validation series of 3, 3, 0 evaluations"),
    ],
    "compare": [
        ("", "Missing argument"),
        ("run", "2 to 10"),
        ("run " * 11, "2 to 10"),
        ("run run --out a.svg", "a.svg: .svg is not supported; give a name that ends in .png"),
        ("run run --out no/a.png", "no/a.png", "cannot be written"),
        ("run nowhere", "nowhere"),
        ("odd-validation run", "validation series of 3, 3, 0 evaluations"),
    ],
    "explain": [
        ("nothing-like-it", "nothing-like-it"),
        ("lecture --out a.pdf", ".pdf is not supported; give a name that ends in .svg or .png"),
        ("lecture --latex a.txt", "a.txt: .txt is not supported; give a name that ends in .tex"),
        ("lecture --out no/a.svg", "no/a.svg"),
        ("lecture --latex no/a.tex", "no/a.tex"),
        ("lecture --data mnist", "--data mnist: a recipe has no activations"),
        ("lecture --hidden 0", "layer_sizes=784,0,10"),
        ("run --hidden 8", "a run is what it is"),
        ("empty", "no run is here"),
    ],
    "export": [
        ("run m.pb", "m.pb: .pb is not supported; give a name that ends in .onnx"),
        ("run no/m.onnx", "no/m.onnx"),
        ("run m.onnx --input int8", "--input int8: give uint8 or float32"),
        ("run folder.onnx", "folder.onnx: cannot be written (Is a directory)"),
        ("model-text m.onnx", "model.safetensors"),
    ],
    # -- sweep and find-rate
    "sweep SMALL --out new": [
        ("", "--over is missing", "learning_rate=1e-3,1e-2"),
        ("--over learning_rate", "--over learning_rate:", "KEY=V1,V2"),
        ("--over optimizer.learning_rate=", "--over optimizer.learning_rate=:", "KEY=V1,V2"),
        ("--over =1,2", "--over =1,2:", "KEY=V1,V2"),
        ("--over optimizer.learning_rate=0.1,,0.2", "0.1,,0.2: a value is empty"),
        ("--over objective.dropout=0 --over objective.dropout=1", "--over dropout: there twice"),
        ("--over objective.dropout=0.1,0.1", "--over dropout: 0.1 is there twice"),
        ("--over learning_rat=1,2", "'learning_rat'", "did you mean optimizer.learning_rate?"),
        ("--over drop=a,b", "drop", "results on other data cannot be compared"),
        (
            "--over nonsense=1,2",
            "'nonsense'",
            "use data, target, drop, weights, scaling, validation",
        ),
        ("--over model.activation=relu,tahn", "activation='tahn'", "did you mean tanh?"),
        ("--over optimizer.learning_rate=0.1,-1", "learning_rate=-1", "above 0"),
        ("--over optimizer.learning_rate=0.1,fast", "learning_rate=fast", "number"),
        ("--over epochs=1,0", "epochs=0", "1"),
        ("--over model.layer_sizes=16,8,10", "sizes=16,8,10", "[784,64,10],[784,128,10]"),
        ("--over model.layer_sizes=[16,10],[15,10]", "16 values", "the network takes 15"),
        ("--over model.layer_sizes=[16,10],[16,3]", "largest that fits is 2"),
        ("--over batch_size=4,81", "batch_size=81", "1 to 80"),
        ("--over dtype=float32,float16", "dtype=float16", "numpy computes in"),
        ("--over data=mnist", "--over data", "--data"),
        ("--over backend=jax", "--over backend", "--backend"),
        ("--over device=cpu", "--over device", "--device"),
        ("--over members=2", "--over members", "--members"),
        (
            "--over optimizer.learning_rate=0.1 --set objective.dropout=0.1,0.2 --members 2",
            "dropout=0.1,0.2",
            "members that differ",
            "--over dropout",
        ),
        ("--over optimizer.momentum=0.9", "momentum=0.9", "optimizer=sgd has no such setting"),
        ("--over seed=1 --set initial_weights=nowhere.npz", "nowhere.npz"),
        (
            "--over seed=1 --set model.output=identity --over objective.loss=huber,squared_error",
            "--over loss",
            "another loss has another scale",
        ),
        ("--over validation=0.1,0.2", "--over validation", "cannot be compared"),
        ("--over seed=1,2 --members 2", "--over seed", "--members 1"),
        ("lectur --over objective.dropout=0.1", "'lectur'", "did you mean lecture?"),
    ],
    "sweep SMALL --out new --over objective.dropout=0.1": [
        ("--members 0", "members=0: give 1 to 4096\n"),
        ("--members 4097", "members=4097"),
        ("--set validation=0.001", "validation=0.001", "0 validation rows"),
        ("--set validation=1", "validation=1"),
        ("--data nowhere", "nowhere", "give a directory"),
        ("--device cuda", "'cuda'", "--backend cupy"),
    ],
    "sweep SMALL --over optimizer.learning_rate=0.1,0.5 --out": [
        ("swept", "swept: holds a sweep already"),
        ("sweeps/lecture-1", "sweeps/lecture-1: cannot be made"),
        *((out, said, "give another --out") for out, said in UNWRITABLE.items()),
    ],
    "find-rate SEARCH": [
        ("--from 1 --to 0.1", "the smaller first"),
        ("--steps 9", "steps=9: give an integer of 10 or more"),
        ("--from 0", "rates from 0 to 10"),
        ("--from -1", "rates from -1"),
        ("--to inf", "to inf"),
        ("--from nan", "from nan"),
        ("--to 1e300", "1e+300", "beyond what float32 can hold"),
        ("--out a.pdf", "a.pdf: .pdf is not supported; give a name that ends in .png"),
        ("--out no/a.png", "no/a.png: cannot be written"),
        ("--out folder.png", "folder.png: cannot be written (is a directory)"),
        ("--hidden 0", "width 1 is 0"),
        ("--set learning_rat=1", "did you mean optimizer.learning_rate?"),
        ("--from 1e35 --to 1e36 --set model.activation=relu", "explodes within"),
    ],
    # -- usage
    "": [
        ("train --nonsense", "--nonsense", "xpmlp train --help"),
        ("train one two", "two"),
        ("train --epochs", "--epochs", "argument"),
        ("trian", "'trian'", "train"),
        ("evaluate", "RUN", "xpmlp evaluate --help"),
        ("predict", "RUN"),
        ("predict somewhere", "INPUT"),
        ("plot", "RUN"),
        ("gradcheck --batch-size 0", "--batch-size", "1"),
        ("gradcheck --hidden 0", "width 1 is 0"),
        ("gradcheck nonsense", "'nonsense'", "lecture"),
        ("--nonsense", "--nonsense"),
    ],
}
"""By how the command begins: the rest of it, the value that is named, the limit, the remedy."""

UNAVAILABLE = [
    ("--backend cupy", "cupy cannot run here", "no NVIDIA driver", "pip install 'xpmlp[cuda13]'"),
    ("--backend auto --device cuda", "cupy", "no NVIDIA driver", "pip install 'xpmlp[cuda13]'"),
]


def make_runs(places: Path, trained: Path) -> None:
    def copied(name: str) -> Path:
        return Path(shutil.copytree(trained, places / name))

    shutil.copytree(trained, places / "run")
    for kind, damages in (("model", MODELS), ("checkpoint", CHECKPOINTS)):
        for name, damage in damages.items():
            damage(copied(f"{kind}-{name}") / f"{kind}.safetensors")
    for name, old, new in (
        ("edited", r"batch_size = 4", "batch_size = 5"),
        ("moved", r'data = ".*"', f'data = "{places / "fewer-rows"}"'),
    ):
        config = copied(name) / "config.toml"
        config.write_text(re.sub(old, new, config.read_text()))
    model = copied("no-images") / "model.safetensors"
    tensors, metadata = load_tensors(model)
    save_tensors(model, tensors, {**metadata, "image_shape": [16]})
    np.savez(copied("empty-history") / "history.npz", loss=[], accuracy=[])
    np.savez(copied("half-history") / "history.npz", loss=[1.0])
    (copied("zip-history") / "history.npz").write_bytes(b"PK")
    (copied("no-history") / "history.npz").unlink()
    history = copied("odd-validation") / "history.npz"
    series = {"validation_iteration": np.arange(3), "validation_loss": np.zeros(3)}
    np.savez(history, **np.load(history), **series)


def make_files(places: Path) -> None:
    for name in ("file", "other.toml", "text.npy", "text.png", "runs", "sweeps"):
        (places / name).write_text("in the way")
    for name in ("empty", "folder.onnx", "folder.png", "swept"):
        (places / name).mkdir()
    (places / "swept" / "recipe.toml").touch()
    for name, content in RECIPES.items():
        (places / f"{name}.toml").write_bytes(content)
    for name in ("pipe.npz", "pipe.toml"):
        os.mkfifo(places / name)
    rows = np.zeros((1, 16), np.uint8)
    objects = np.array([{}], dtype=object)
    for name, array in (("rows", rows), ("wide", np.zeros((2, 17))), ("objects", objects)):
        np.save(places / f"{name}.npy", array)
    np.save(places / "nan.npy", np.full((2, 16), np.nan))
    grey = np.random.default_rng(0).integers(0, 256, (24, 16), dtype=np.uint8)
    Image.fromarray(grey).save(places / "good.png")
    (places / "cut.png").write_bytes((places / "good.png").read_bytes()[:60])
    random = np.random.default_rng(1)
    shapes = {"W1": (16, 8), "B1": (8,), "W2": (8, 10), "B2": (10,)}
    whole = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    for name, changes in WEIGHTS.items():
        arrays = {key: array for key, array in (whole | changes).items() if array is not None}
        np.savez(places / f"{name}.npz", **arrays)
    np.savez(places / "whole.npz", **whole)
    for name, change in UNWHOLE.items():
        content = (places / "whole.npz").read_bytes()
        (places / f"{name}-weights.npz").write_bytes(change(content))


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, trained: Path, data: Path) -> Path:
    """A directory with all that the table names."""
    places = tmp_path_factory.mktemp("places")
    make_files(places)
    make_runs(places, trained)

    def copied(name: str) -> Path:
        return Path(shutil.copytree(data, places / name))

    copied("tiny")
    for (name, damage), file in itertools.product(DAMAGES.items(), FILES):
        path = copied(f"{name}-{file}") / file
        path.write_bytes(damage(path.read_bytes()))
    for name, (file, array) in DATA.items():
        write_idx(copied(name) / file, array)
    for name, parts, shape in (
        ("only-5-by-5", ("train", "t10k"), (40, 5, 5)),
        ("fewer-rows", ("train",), (50, 4, 4)),
    ):
        path = copied(name)
        for part in parts:
            write_idx(path / f"{part}-images-idx3-ubyte", np.zeros(shape, np.uint8))
            write_idx(path / f"{part}-labels-idx1-ubyte", np.zeros(shape[0], np.uint8))
    return places


def words(start: str, rest: str) -> list[str]:
    found = [word for part in (start, rest) for word in part.split()]
    found = [one for word in found for one in SHORT.get(word, word).split()]
    return ["" if word == "EMPTY" else word for word in found]


@pytest.fixture
def check(places: Path, command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A command is refused in one line that says all this, and leaves nothing behind."""
    monkeypatch.chdir(places)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("xpmlp.backends.cupy.ask_driver", lambda: (0, None))

    def check(arguments: list[str], said: tuple[str, ...], status: int = 2) -> None:
        before = sorted(places.rglob("*"))
        found = command(*arguments)
        assert (found.status, found.out) == (status, ""), found
        assert len(found.err.splitlines()) == 1, found.err
        assert found.err.startswith("xpmlp: ")
        for part in said:
            assert part in found.err
        assert sorted(places.rglob("*")) == before

    return check


@pytest.mark.parametrize(
    ("start", "rest", "said"),
    [(start, rest, said) for start, rows in REFUSALS.items() for rest, *said in rows],
)
def test_refusal_is_one_line_with_value_limit_and_remedy(check, start, rest, said) -> None:
    check(words(start, rest), said)


@pytest.mark.parametrize(("options", "name", "limit", "remedy"), UNAVAILABLE)
def test_backend_that_cannot_run_is_status_3(check, options, name, limit, remedy) -> None:
    check(words("train TINY --out new", options), (name, limit, remedy), status=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--set model.activation=relu --learning-rate 1e30", "first in"),
        ("--log csv", "failed in on_start"),
    ],
)
def test_run_that_fails_is_one_line(command, tiny, monkeypatch, options: str, said: str) -> None:
    def no_server(*_: object) -> None:
        raise RuntimeError("no server answers")

    monkeypatch.setattr("xpmlp.training.loggers.CSVLogger._open", no_server)
    found = command(*tiny, *options.split(), "--out", "r")
    assert found.status == 1
    assert found.err.splitlines()[-1].startswith("xpmlp: ")
    assert said in found.err.splitlines()[-1]
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("start", "file"),
    [("train TINY --out new", "new/config.toml"), ("sweep SMALL --over seed=1,2 --out new", "new")],
)
def test_full_disk_leaves_no_directory(check, monkeypatch, start: str, file: str) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    check(words(start, ""), (file, "No space left on device"))


def test_layers_beyond_the_memory(check, monkeypatch) -> None:
    def allocate(*_: object) -> None:
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr("xpmlp.cli.train.trainer_from_recipe", allocate)
    said = ("out of memory (Unable to allocate 1 TiB)", "smaller layers")
    check(words("train TINY --out new", ""), said)


def test_line_break_in_a_name_breaks_no_line(check) -> None:
    for start in ("train TINY --data", "evaluate"):
        check([*words(start, ""), "a\nb\x1b[31m"], ("a\\nb",))


def test_messages_of_the_documentation_are_all_checked_here() -> None:
    page = Path(__file__).parents[2] / "docs/resuming.md"
    table = page.read_text("utf-8").partition("## Messages")[2]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) == 21
    rows = [*UNAVAILABLE, *(row for rows in REFUSALS.values() for row in rows)]
    checked = {"first in", "failed in on_start"} | {part for _, *said in rows for part in said}
    for message in messages:
        assert any(message in part for part in checked), message
