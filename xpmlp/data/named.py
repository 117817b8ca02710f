"""Data sets by name: found on this machine, else fetched once (extra `data`) and kept.

Digests and sizes are those of tensorflow/datasets, `tensorflow_datasets/url_checksums/`
(`fashion_mnist.txt`, `kmnist.txt`, `emnist.txt`); torchvision's MD5 name the same files.
"""

import dataclasses
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xpmlp.data.dataset import FILE_NAME, Dataset, Split, load_idx_directory
from xpmlp.data.fetching import File, fetch
from xpmlp.errors import InputError
from xpmlp.files import write_atomically

PLACE = "XPMLP_DATA"
"""The environment variable that names the directory of data sets, `NAME/` for each."""

DEBIAN = Path("/usr/share/datasets")
"""Where Debian's packages, such as `dataset-fashion-mnist`, put the files."""


@dataclass(frozen=True)
class Named:
    """A data set to be fetched: its IDX files, or one archive with `members` that are those."""

    base: str
    files: tuple[File, ...]
    members: tuple[str, ...] = ()
    is_transposed: bool = False


NAMED = {
    "fashion-mnist": Named(
        # The repository of its authors has the same files as their S3 bucket, by HTTPS.
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        (
            File(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    "kmnist": Named(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        (
            File(
                "train-images-idx3-ubyte.gz",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        ),
    ),
    "emnist-balanced": Named(
        # Where NIST has moved what was at www.itl.nist.gov/iaui/vip/cs_links/EMNIST/.
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        (
            File(
                "gzip.zip",
                561_753_746,
                "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
            ),
        ),
        members=tuple(
            f"emnist-balanced-{part}-{kind}-ubyte.gz"
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ),
        is_transposed=True,
    ),
}


def load_named(
    name: str,
    *,
    sets: dict[str, Named] = NAMED,
    fetch: Callable[..., Path] = fetch,
    system: Path = DEBIAN,
) -> Dataset:
    """Load one of `NAMED`: from $XPMLP_DATA, Debian's packages or the cache, else by HTTPS.

    $XPMLP_DATA/NAME/ has IDX files, plain or gzipped; what is fetched is put there, too, or in the
    user's cache where the variable is not set. EMNIST's images, stored transposed, are set
    upright, as `xpmlp predict` takes them. Raises `InputError` for what is broken, and for what
    cannot be fetched or is not, to the bit, what it should be.
    """
    wanted = sets[name]
    kept = _place() / name
    directory = next((place for place in (kept, system / name) if _is_whole(place)), None)
    if directory is None:
        _fill(kept, wanted, fetch)
        directory = kept
    dataset = load_idx_directory(directory, name)
    return _upright(dataset) if wanted.is_transposed else dataset


def _place() -> Path:
    """The directory of data sets."""
    if given := os.environ.get(PLACE):
        return Path(given)
    try:
        import pooch
    except ImportError:  # then nothing has been fetched, and nothing will be
        return Path.home() / ".cache" / "xpmlp"
    return Path(pooch.os_cache("xpmlp"))


def _is_whole(directory: Path) -> bool:
    """Whether it has the four files, of images and labels, to train and to test."""
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError:
        return False
    found = [match for name in names if (match := FILE_NAME.fullmatch(name))]
    return len({(match["part"] == "train", match["kind"]) for match in found}) == 4


def _fill(directory: Path, wanted: Named, fetch: Callable[..., Path]) -> None:
    """Fetch what is missing; each file is there whole or not at all."""
    for file in wanted.files:
        fetched = fetch(wanted.base, file, directory)
        if wanted.members:
            _unpack(fetched, wanted.members)
            fetched.unlink()


def _unpack(archive: Path, members: tuple[str, ...]) -> None:
    """Put these members of a ZIP archive, from whatever folder in it, beside it."""
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = {Path(name).name: name for name in opened.namelist()}
            for member in members:

                def copy(target: Path, name: str = inside[member]) -> None:
                    with opened.open(name) as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file)

                write_atomically(archive.parent / member, copy)
    except (KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{archive}: not the archive it should be ({error}); remove it and try again"
        ) from error


def _upright(dataset: Dataset) -> Dataset:
    """The same with rows and columns of each image exchanged."""

    def turned(split: Split) -> Split:
        pictures = split.X.reshape(-1, *dataset.image_shape).transpose(0, 2, 1)
        return split._replace(X=pictures.reshape(len(pictures), -1))

    return dataclasses.replace(
        dataset,
        train=turned(dataset.train),
        test=turned(dataset.test),
        image_shape=dataset.image_shape[::-1],
    )
