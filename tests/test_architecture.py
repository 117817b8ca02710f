"""docs/architecture.md tells the way of a batch as it is."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import xpmlp
from xpmlp import algebra

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"


def test_way_of_a_batch_is_a_real_call_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks: list[list[str]] = []
    original = algebra.dense_backward

    def spy(dZ: Any, A: Any, W: Any, *, xp: Any) -> Any:
        if W.shape == (64, 32):  # of layer 2
            frames = [found.frame for found in inspect.stack()]
            names = [f"{one.f_globals['__name__']}.{one.f_code.co_qualname}" for one in frames]
            stacks.append([name for name in reversed(names) if name.startswith("xpmlp.")])
        return original(dZ, A, W, xp=xp)

    monkeypatch.setattr(algebra, "dense_backward", spy)
    train = xpmlp.load_mnist().train
    model = xpmlp.MLP((784, 64, 32, 10))
    few = xpmlp.Split(train.X[:128], train.labels[:128])
    numpy = xpmlp.select_backend("numpy")
    xpmlp.train(
        model,
        few,
        parameters=model.initialize(0),
        compile="off",
        epochs=1,
        backend=numpy,
        verbose=0,
    )

    told = re.findall(r"^\d+\. `(xpmlp[^`]+)`", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert told == stacks[0]


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"xpmlp/[\w/.]+", PAGE.read_text("utf-8")))
    assert len(named) >= 8
    assert all((PAGE.parent.parent / name).exists() for name in named), named
