"""Files are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from xpmlp.errors import InputError
from xpmlp.files import write_atomically


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_file_is_written_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a file.txt"
    for text in ("first", "second"):
        write_atomically(path, lambda file, text=text: file.write_text(text))
        assert path.read_text() == text
    assert names(tmp_path) == ["a file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_whole(tmp_path: Path, error: type) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(file: Path) -> None:
        file.write_text("ha")
        assert path.read_text() == "old"
        raise error

    with pytest.raises(error):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_full_disk_is_an_input_error_that_names_the_file(tmp_path: Path) -> None:
    def fail(file: Path) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file.txt"
    with pytest.raises(InputError, match=r"file\.txt: cannot be written \(No space left") as caught:
        write_atomically(path, fail)
    assert "free or change the place" in str(caught.value)
    assert names(tmp_path) == []


def test_a_place_that_refuses_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "none/x", tmp_path / "file/x", tmp_path / "directory"):
        with pytest.raises(InputError, match="cannot be written"):
            write_atomically(path, lambda file: file.write_text("x"))
    assert names(tmp_path) == ["directory", "file"]
    assert names(tmp_path / "directory") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = tmp_path / "file.txt"
        write_atomically(path, lambda file: file.write_text("x"))
        assert os.umask(umask) == umask  # asking for it has not changed it
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_temporary_file_has_the_same_suffix(tmp_path: Path) -> None:
    """numpy.savez would add its own to a name without it, and write beside the file."""
    seen = []
    write_atomically(tmp_path / "a.npz", lambda file: (seen.append(file), file.write_text("")))
    assert seen[0].suffix == ".npz"
    assert seen[0].parent == tmp_path
