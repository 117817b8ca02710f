"""Files are written whole or not at all, and read only where they are files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from xpmlp.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file, then put it in the place of `path` in one move.

    The content is on the disk before the name is, so that a crash at any moment leaves either
    the old file or the new one. Raises `InputError` if the system refuses.
    """
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free or change the place"
        ) from error


def refuse_special_file(path: Path) -> None:
    """Raise `InputError` for a pipe or a device: one would be waited for, the other never ends."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says what is wrong
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{path}: not a regular file; give the path of a file")


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a directory, and need not
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a directory
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The mask that an ordinary new file would get; mkstemp makes private ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
