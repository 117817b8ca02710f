"""Data sets by name: found on this machine, else fetched once (extra `data`) and kept.

Digests and sizes are those of tensorflow/datasets, `tensorflow_datasets/url_checksums/`
(`fashion_mnist.txt`, `kmnist.txt`, `emnist.txt`); torchvision's MD5 name the same files.
"""

import logging
import os
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.idx import emnist_of, idx_files, read_idx_directory
from xpmlp.errors import InputError
from xpmlp.files import write_atomically

PLACE = "XPMLP_DATA"
"""The environment variable that names the directory of data sets, `NAME/` for each."""

DEBIAN = Path("/usr/share/datasets")
"""Where Debian's packages, such as `dataset-fashion-mnist`, put the files."""

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""

CHUNK = 1 << 16

log = logging.getLogger(__name__)


class File(NamedTuple):
    """A file to be fetched: its name, its size in bytes, and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Named:
    """A data set to be fetched: its IDX files, or one archive with `members` that are those."""

    base: str
    files: tuple[File, ...]
    members: tuple[str, ...] = ()
    is_transposed: bool = False


KINDS = ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")


def _four_files(*known: tuple[int, str]) -> tuple[File, ...]:
    """Size and SHA-256 of MNIST's four files, those to train first, images before labels."""
    names = (f"{part}-{kind}" for part in ("train", "t10k") for kind in KINDS)
    return tuple(File(name, *one) for name, one in zip(names, known, strict=True))


NAMED = {
    "fashion-mnist": Named(
        # The repository of its authors has the same files as their S3 bucket, by HTTPS.
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        _four_files(
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
    "kmnist": Named(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        _four_files(
            (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
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
            f"emnist-balanced-{part}-{kind}" for part in ("train", "test") for kind in KINDS
        ),
        is_transposed=True,
    ),
}


def load_named(name: str) -> Dataset:
    """Load one of `NAMED`: from $XPMLP_DATA, Debian's packages or the cache, else by HTTPS.

    $XPMLP_DATA/NAME/ has IDX files, plain or gzipped; what is fetched is put there, too, or in the
    user's cache where the variable is not set. EMNIST's images, stored transposed, are set
    upright, as `xpmlp predict` takes them. Raises `InputError` for what is broken, and for what
    cannot be fetched or is not, to the bit, what it should be.
    """
    wanted = NAMED[name]
    kept = _place() / name
    directory = next((place for place in (kept, DEBIAN / name) if _is_whole(place)), kept)
    if not _is_whole(directory):
        _fill(kept, wanted)
    train, test, _ = read_idx_directory(directory)
    make = emnist_of if wanted.is_transposed else dataset_of
    return make(name, train=train, test=test, where=str(directory))


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
    return directory.is_dir() and sum(map(len, idx_files(directory).values())) >= 4


def _fill(directory: Path, wanted: Named) -> None:
    """Fetch what is missing; each file is there whole or not at all."""
    for file in wanted.files:
        fetched = fetch(wanted.base, file, directory)
        if wanted.members:
            with zipfile.ZipFile(fetched) as archive:
                for inside in archive.namelist():
                    if (name := Path(inside).name) in wanted.members:
                        content = archive.read(inside)
                        write_atomically(directory / name, partial(Path.write_bytes, data=content))
            fetched.unlink()


def fetch(base: str, file: File, directory: Path) -> Path:
    """The file's path in the directory, fetched from `base` unless it is there already.

    pooch compares its SHA-256 before it gets its name, and again where it is there. Raises
    `InputError` if the file cannot be fetched, is larger than it should be or is another one; then
    nothing of it is left.
    """
    url, place = base + file.name, f"put the files into {directory}"
    try:
        import pooch
        import requests
    except ImportError as error:
        raise InputError(
            f"{url}: to fetch data takes pooch; pip install 'xpmlp[data]', or {place}"
        ) from error

    def download(url: str, target: str, _: object) -> None:
        log.warning("%s: fetching %d MB into %s, once", url, file.size / 1e6, directory)
        with (
            requests.get(url, stream=True, timeout=TIMEOUT) as response,
            open(target, "wb") as output,
        ):
            response.raise_for_status()
            asked = urlsplit(url).scheme
            if any(urlsplit(one.url).scheme != asked for one in (*response.history, response)):
                raise ValueError(f"it leads to {response.url[:200]!r}, which is not {asked}")
            # As it was sent: a server may call a .gz file its encoding.
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                output.write(chunk)
                if output.tell() > file.size:
                    raise ValueError(f"more than the {file.size:,} bytes that it should have")

    own = pooch.get_logger()
    level = own.level
    own.setLevel(logging.WARNING)  # it would write every address to stderr
    try:
        return Path(
            pooch.retrieve(url, f"sha256:{file.sha256}", file.name, directory, downloader=download)
        )
    except Exception as error:  # urllib3's, requests' and pooch's own share no base
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{url}: cannot be fetched ({cause}); try again, or {place}") from error
    finally:
        own.setLevel(level)
