"""Files are written whole or not at all, and read only where they are files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpmlp.checks import closest
from xpmlp.errors import InputError


def as_path(path: Any) -> Path:
    """Return a path; raise `InputError` for a value of another type."""
    try:
        return Path(path)
    except TypeError:
        raise InputError(f"path={path!r:.60}: give a path, such as 'runs/mine'") from None


def nearest_path(path: Path | str) -> str:
    """`did you mean PATH? ` if names like those of a missing path are on the disk, else nothing."""
    wanted = Path(path)
    found = Path(wanted.anchor)
    try:
        for part in wanted.parts[len(found.parts) :]:
            is_there = (found / part).exists()
            found /= part if is_there else closest(part, (one.name for one in found.iterdir()))
    except (OSError, ValueError):
        return ""
    return (
        f"did you mean {found}? "
        if found.exists() and len(found.parts) == len(wanted.parts)
        else ""
    )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file, then put it in the place of `path` in one move.

    The content is on the disk before the name is, so that a crash at any moment leaves either
    the old file or the new one. Raises `InputError` if the system refuses.
    """
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=_temporary_prefix(path), suffix=path.suffix
        )
        try:
            os.close(handle)
            write(Path(name))
            _sync(name)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free or change the place"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    write_atomically(path, lambda file: file.write_text(text, "utf-8"))


def remove_unfinished(path: Path) -> None:
    """Remove what a writer of `path` left that was killed before it could put it in its place."""
    with contextlib.suppress(OSError):
        for one in path.parent.iterdir():
            if one.name.startswith(_temporary_prefix(path)):
                one.unlink()


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}."


def refuse_special_file(path: Path) -> None:
    """Raise `InputError` for a pipe or a device: one would be waited for, the other never ends."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says what is wrong
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{path}: not a regular file; give the path of a file")


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    """Have the disk know a name; the file itself is there already, whatever comes of this."""
    with contextlib.suppress(OSError):  # some systems cannot open a directory, some not sync it
        _sync(path)


def _umask() -> int:
    """The mask that an ordinary new file would get; mkstemp makes private ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
