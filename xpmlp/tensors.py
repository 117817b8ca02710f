"""Named arrays in one safetensors file, with metadata and a digest; no pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from xpmlp.errors import InputError
from xpmlp.files import refuse_special_file, write_atomically

METADATA = "xpmlp"
"""The one metadata key of our safetensors files: several would be written in any order."""

MOST_METADATA = 1 << 24
"""Characters of metadata: as JSON they may take 20 bytes of memory each. The names of a million
columns, which an estimator keeps, have room."""

DIGEST = "sha256"
"""The metadata that tells whether all the rest is what was written."""


def save_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, object]
) -> None:
    """Write arrays and what belongs to them, which JSON must be able to hold, whole or not."""
    # Not ascontiguousarray, which gives a scalar an axis.
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    digest = digest_of(contiguous, metadata)
    text = {METADATA: json.dumps({**metadata, DIGEST: digest}, sort_keys=True)}
    if len(text[METADATA]) > MOST_METADATA:
        raise InputError(
            f"{path}: more than {MOST_METADATA:,} characters besides the arrays; shorten the names"
        )

    def write(file: Path) -> None:
        try:
            save_file(contiguous, file, metadata=text)
        except SafetensorError as error:  # the system's errors, too, in words of its own
            raise OSError(" ".join(str(error).split())) from error

    write_atomically(path, write)


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata that `save_tensors` wrote.

    Raises `InputError` for a file that cannot be read, is not whole or is not ours.
    """
    refuse_special_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA)
            if text is None:
                raise InputError(f"{path}: not a file of xpmlp (no metadata); train again")
            if len(text) > MOST_METADATA:
                raise InputError(f"{path}: more than {MOST_METADATA:,} characters of metadata")
            metadata = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; train again") from error
    except InputError:
        raise
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: no whole file of xpmlp ({said}); train again") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: its metadata are no table; train again")
    if metadata.pop(DIGEST, None) != digest_of(tensors, metadata):
        raise InputError(f"{path}: its content is not what was written (SHA-256); train again")
    return tensors, metadata


def digest_of(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, object]) -> str:
    """SHA-256 of the metadata and of the tensors' names, types and bytes: safetensors itself does
    not notice a flipped bit."""
    described = {name: (array.dtype.str, array.shape) for name, array in tensors.items()}
    digest = hashlib.sha256(json.dumps([metadata, described], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
