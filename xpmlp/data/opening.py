"""Files that a user names: opened, or refused in one line."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias

from xpmlp.errors import InputError

FilePath: TypeAlias = str | os.PathLike[str]


def shown(path: FilePath) -> str:
    """The path as it stands in a message: a name with a line break must not break the line."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


@contextmanager
def opened(path: FilePath) -> Iterator[BinaryIO]:
    """Open a file for reading; whatever the system refuses, also later, is an `InputError`."""
    try:
        # Asked before opening: to open a named pipe would wait for its writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{shown(path)}: not a regular file; give the path of a file")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        cause = error.strerror or " ".join(str(error).split())
        raise InputError(f"{shown(path)}: {cause}; give the path of a readable file") from error
    except InputError:
        raise
    except ValueError as error:  # A path with a null character.
        raise InputError(f"{shown(path)}: {error}; give the path of a readable file") from error
