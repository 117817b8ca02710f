"""A recipe, a run or a picture that someone else made: read within bounds, and never written
through."""

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from xpmlp.cli.console import LONGEST_MESSAGE

RUN_FILES = (
    "config.toml", "checkpoint.safetensors", "model.safetensors", "history.npz", "metrics.csv",
    "summary.json", "training.png",
)  # fmt: skip


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_a_run_whose_files_are_links_writes_through_none(
    command, copy: Path, tmp_path: Path
) -> None:
    """What they point to stays as it is; the links are replaced by files."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in RUN_FILES:
        (copy / name).rename(elsewhere / name)
        (copy / name).symlink_to(elsewhere / name)
    before = {name: (elsewhere / name).read_bytes() for name in RUN_FILES}
    assert command("train", "--resume", copy, "--epochs", "3", "--quiet").status == 0
    assert {name: (elsewhere / name).read_bytes() for name in RUN_FILES} == before
    assert not any((copy / name).is_symlink() for name in RUN_FILES)
    assert sorted(path.name for path in copy.iterdir()) == sorted(RUN_FILES)


@pytest.mark.parametrize("name", ["model.safetensors", "config.toml", "history.npz"])
def test_a_link_to_what_never_ends_is_refused(refused, copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    verb = "plot" if name == "history.npz" else "evaluate"
    refused(verb, copy)


def test_a_recipe_says_nothing_of_where_to_write(refused, tmp_path: Path) -> None:
    for key in ("out", "resume", "plot"):
        (tmp_path / "theirs.toml").write_text(f'{key} = "/tmp/x"\n')
        assert f"setting '{key}' is unknown" in refused("train", "theirs.toml")


def test_a_file_that_a_recipe_names_is_not_told(refused, tmp_path: Path) -> None:
    """It is read as data or weights, and what is no such thing is not shown."""
    (tmp_path / "secret").write_text("password = hunter2\n" * 9)
    for key in ("data", "initial_weights"):
        (tmp_path / "theirs.toml").write_text(f'{key} = "secret"\nbackend = "numpy"\n')
        line = refused("train", "theirs.toml", "--out", "r")
        assert "hunter2" not in line
        assert "password" not in line


def test_what_a_file_gave_is_not_quoted_at_length(refused, tmp_path: Path) -> None:
    (tmp_path / "theirs.toml").write_text("layer_sizes = [" + "9," * 100_000 + "]")
    assert len(refused("train", "theirs.toml")) < LONGEST_MESSAGE + 100


def picture(side: int) -> bytes:
    """A PNG of side x side grey pixels, all 0."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + crc

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    shape = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", shape)
    return head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.extended
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is kept by Linux alone")
@pytest.mark.parametrize(("side", "status"), [(9000, 0), (14_000, 2)])
def test_a_picture_takes_bounded_memory(
    trained: Path, tmp_path: Path, side: int, status: int
) -> None:
    """81 million pixels in 80 kB are still read, with 1 GiB; from 89.5 million on none is."""
    (tmp_path / "a.png").write_bytes(picture(side))
    assert (tmp_path / "a.png").stat().st_size < 200_000

    limited = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
        "runpy.run_module('xpmlp', run_name='__main__')"
    )
    found = subprocess.run(
        [sys.executable, "-c", limited, "predict", trained, "a.png", "--backend", "numpy"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == status, found.stderr
    if status:
        assert len(found.stderr.splitlines()) == 1
        assert "bomb" in found.stderr
