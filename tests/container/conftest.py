"""The image, built once for all tests; the word said where it cannot be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import engine
import pytest

IMAGE = "localhost/xpmlp:cpu"
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engine.Engine]:
    """The engine, with the base image and the CPU image in it."""
    if lacking := engine.missing():
        pytest.skip(f"containers: {lacking}")
    directory = tmp_path_factory.mktemp("podman")
    podman = engine.Engine(directory)
    try:
        if refusal := podman.refusal():
            pytest.skip(f"containers: {refusal}")
        podman.build(IMAGE)
        yield podman
    finally:
        podman.remove()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory for a container's user to write to."""
    path = tmp_path / "out"
    path.mkdir()
    path.chmod(0o777)
    return path


@pytest.fixture
def run(podman: engine.Engine, out: Path) -> Run:
    """`docker run` with everything locked down and a directory mounted at /out."""

    def call(*command: object, options: tuple[str, ...] = ()) -> "CompletedProcess[str]":
        return podman(
            "run", "--rm", *engine.LOCKED_DOWN, f"--volume={out}:/out", *options, IMAGE, *command
        )

    return call
