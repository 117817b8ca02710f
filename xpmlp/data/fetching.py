"""One file fetched by HTTPS: whole, of the right bytes, or not at all."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from xpmlp.errors import InputError

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for the next bytes."""

DOWNLOAD_CHUNK = 1 << 16

LONG = 100_000_000
"""Bytes from which on a user is told what there is to wait for."""

log = logging.getLogger(__name__)


class File(NamedTuple):
    """A file to be fetched: its name, its size in bytes, and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def fetch(
    base: str,
    file: File,
    directory: Path,
    *,
    schemes: tuple[str, ...] = ("https",),
    timeout: tuple[float, float] = TIMEOUT,
) -> Path:
    """The file's path in the directory, fetched from `base` unless it is there already.

    pooch compares its SHA-256 before it gets its name, and again where it is there. Addresses,
    also those that a server sends on to, must be of one of the `schemes`. Raises `InputError` if
    the file cannot be fetched, is larger than it should be or is another one; then nothing of it is
    left.
    """
    url = base + file.name
    try:
        import pooch
    except ImportError as error:
        raise InputError(
            f"{url}: to fetch data takes pooch; pip install 'xpmlp[data]', or put the files into "
            f"{directory}"
        ) from error

    own = pooch.get_logger()
    level = own.level
    own.setLevel(logging.WARNING)  # it would write every address to stderr
    try:
        found = pooch.retrieve(
            url,
            f"sha256:{file.sha256}",
            file.name,
            directory,
            downloader=_downloader(file, directory, schemes, timeout),
        )
    except InputError:
        raise
    except Exception as error:  # urllib3's, requests' and pooch's own share no base
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{url}: cannot be fetched ({cause}); try again, or put the files into {directory}"
        ) from error
    finally:
        own.setLevel(level)
    return Path(found)


def _downloader(
    file: File, directory: Path, schemes: tuple[str, ...], timeout: tuple[float, float]
) -> Callable[[str, str, object], None]:
    """Return what pooch calls with an address and the path of a temporary file."""
    import requests

    def check(url: str, address: str) -> None:
        if urlsplit(address).scheme not in schemes:
            raise InputError(
                f"{url}: leads to {address[:200]!r}, which is not {' or '.join(schemes)}; "
                f"put the files into {directory}"
            )

    def download(url: str, target: str, _: object) -> None:
        def refuse_downgrade(response: requests.Response, **_: object) -> None:
            if target := response.headers.get("location"):
                try:
                    check(url, urljoin(response.url, target))
                except InputError:
                    response.close()
                    raise

        check(url, url)
        said = logging.WARNING if file.size > LONG else logging.INFO
        log.log(said, "%s: fetching %d MB into %s, once", url, file.size / 1e6, directory)
        with requests.get(
            url, stream=True, timeout=timeout, hooks={"response": refuse_downgrade}
        ) as response:
            response.raise_for_status()
            received = 0
            with open(target, "wb") as output:
                # As it was sent: a server may call a .gz file its encoding.
                for chunk in response.raw.stream(DOWNLOAD_CHUNK, decode_content=False):
                    received += len(chunk)
                    if received > file.size:
                        raise InputError(
                            f"{url}: more than the {file.size:,} bytes that it should have; "
                            f"put the files into {directory}"
                        )
                    output.write(chunk)

    return download
