"""Data sets of images in folders, one for each class, read by Pillow."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.image_rules import Images, invert_by_rule, rule_for
from xpmlp.data.images import read_grey
from xpmlp.data.opening import FilePath, shown
from xpmlp.data.schema import AS_IS, Reading, Schema
from xpmlp.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".webp")

SPLITS = ("train", "test")

UNUSED = ("val", "valid", "validation", "dev")
"""Folders beside them that nothing reads."""

log = logging.getLogger(__name__)


def load_image_folders(
    path: FilePath, name: str | None = None, *, reading: Reading = AS_IS
) -> Dataset:
    """Load `DIR/train/CLASS/*.png` and `DIR/test/CLASS/*.png`, or `DIR/CLASS/*.png`.

    In the second form a tenth of each class becomes the test set. If most training images have a
    light background, all images are inverted, else none, and `xpmlp predict` does the same
    (`Images`); all have one size.
    A class's number is its folder's name if all are numbers, else its place among the sorted names.

    Raises `InputError`, with the path, for an image of another size or that Pillow cannot decode
    or takes for a decompression bomb, and for other files.
    """
    root, where = Path(path), shown(path)
    name = name or root.resolve().name
    parts = [part for part in SPLITS if (root / part).is_dir()]
    if parts and (unused := [one for one in UNUSED if (root / one).is_dir()]):
        log.warning(
            "%s: the folder %s is not used; validation rows come from train (validation=0.1)",
            where,
            unused[0],
        )
    if len(parts) == 1:
        raise InputError(
            f"{where}: only {parts[0]} of the folders {' and '.join(SPLITS)}; give both, or the "
            "folders of classes alone"
        )
    tops = [root / part for part in parts] or [root]
    classes = [_classes(top) for top in tops]
    if known := reading.classes:
        numbers = {str(one): number for number, one in enumerate(known)}
        whence = "that the network was not trained on; take it away"
    else:
        numbers = _numbered(list(classes[0]), where=where)
        whence = f"that {shown(tops[0])} does not have; add images of it there or take it away"
    for top, found in zip(tops, classes, strict=True):
        for extra in sorted(set(found) - set(numbers)):
            raise InputError(f"{shown(top / extra)}: a class {whence}")
    shape: tuple[int, int] | None = None
    rule, pairs = reading.images, []
    for top, found in zip(tops, classes, strict=True):
        files = [file for images in found.values() for file in images]
        labels = [numbers[label] for label, images in found.items() for _ in images]
        X = _read(files, shape)
        shape = X.shape[1:]
        rule = rule or rule_for(X, where=where)
        pairs.append((invert_by_rule(X, rule, where=shown(top)), np.array(labels, np.int64)))
    train, *test = pairs
    are_names = any(not one.isdecimal() for one in numbers)
    return dataset_of(
        name,
        train=train,
        test=test[0] if test else None,
        where=where,
        schema=Schema(classes=tuple(numbers) if are_names else (), images=rule or Images()),
        holds_out=reading.holds_out,
    )


def has_image_folders(path: Path) -> bool:
    """Whether it looks like that: it has a folder with an image, or with such folders."""
    folders = [entry for entry in path.iterdir() if entry.is_dir()]
    return any(
        file.suffix.lower() in IMAGE_SUFFIXES
        for folder in folders
        for pattern in ("*", "*/*")
        for file in folder.glob(pattern)
    )


def _classes(top: Path) -> dict[str, list[Path]]:
    """The images of each class, both in sorted order; hidden files are passed over."""
    found: dict[str, list[Path]] = {}
    for folder in _entries(top):
        if not folder.is_dir():
            raise InputError(f"{shown(folder)}: a file beside the folders of classes; move it away")
        files = _entries(folder)
        if files:
            found[folder.name] = files
        else:
            log.warning("%s: a folder without images, and left out", shown(folder))
        for file in files:
            if file.is_dir() or file.suffix.lower() not in IMAGE_SUFFIXES:
                kind = "is a folder, " if file.is_dir() else ""
                raise InputError(
                    f"{shown(file)}: {kind}not an image ({', '.join(IMAGE_SUFFIXES)}); move it away"
                )
    if not found:
        raise InputError(f"{shown(top)}: no images in folders of classes; add some")
    return found


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: cannot be listed ({error}); give a folder that can"
        ) from error


def _numbered(names: Sequence[str], *, where: str) -> dict[str, int]:
    """The class number of each folder."""
    if not all(name.isdecimal() and name.isascii() for name in names):
        return {name: number for number, name in enumerate(sorted(names))}
    numbers = {name: int(name) for name in names}
    if len(set(numbers.values())) < len(names):
        raise InputError(f"{where}: two folders are one number, such as 1 and 01; rename one")
    return numbers


def _read(files: Sequence[Path], shape: tuple[int, ...] | None) -> np.ndarray:
    """The images, (n, rows, columns) uint8; `shape` is what they must have, if that is known."""
    first = read_grey(files[0])
    shape = first.shape if shape is None else shape
    limit = (host_memory() or 1 << 62) // 2
    if (wanted := len(files) * shape[0] * shape[1]) > limit:
        raise InputError(
            f"{shown(files[0].parent)}: {len(files):,} images of {shape[0]} x {shape[1]} are "
            f"{wanted:,} bytes, half of this machine's memory is {limit:,}; make them smaller"
        )
    images = np.empty((len(files), *shape), np.uint8)
    for number, file in enumerate(files):
        image = read_grey(file)
        if image.shape != shape:
            raise InputError(
                f"{shown(file)}: {image.shape[0]} x {image.shape[1]} pixels, the others have "
                f"{shape[0]} x {shape[1]}; make all images one size"
            )
        images[number] = image
    return images
