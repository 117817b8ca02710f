"""Data sets by name: found on this machine, or fetched from a server that is not to be trusted."""

import contextlib
import gzip
import hashlib
import io
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.data.refusing import refusal_of
from xpmlp.data import load_data, load_idx_directory, named, write_idx
from xpmlp.data.named import NAMED, File, Named, fetch, load_named
from xpmlp.errors import InputError

pytest.importorskip("pooch", reason="needs pooch (the extra `data`)")

CONTENT = gzip.compress(bytes(range(256)) * 2000, mtime=0)
FILE = File("some.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A server on this machine, whose answer to each path is a function."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.end = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                with contextlib.suppress(OSError):  # the client may have left
                    outer.answers[self.path](self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.end = self.end  # for answers that wait until the test is over
        self.base = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.end.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(named, "TIMEOUT", (5.0, 0.2))
    server = Server()
    yield server
    server.close()


def sends(content: bytes, *, promised: int | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(promised or len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def sends_on(target: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def refusal(server: Server, directory: Path, base: str | None = None) -> str:
    message = refusal_of(fetch, base or server.base, FILE, directory)
    assert FILE.name in message
    assert f"put the files into {directory}" in message
    assert not list(directory.rglob("*")), "something was left"
    return message


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.answers["/some.gz"] = sends(CONTENT)
    for _ in range(2):
        path = fetch(server.base, FILE, tmp_path / "new")
        assert path == tmp_path / "new" / "some.gz"
        assert path.read_bytes() == CONTENT
    assert server.asked == ["/some.gz"]
    assert list((tmp_path / "new").iterdir()) == [path]


def test_fetching_is_announced_once(server, tmp_path, caplog, capfd) -> None:
    server.answers["/some.gz"] = sends(CONTENT)
    for _ in range(2):
        fetch(server.base, FILE, tmp_path)
    (record,) = [record for record in caplog.records if record.name.startswith("xpmlp")]
    assert record.getMessage() == f"{server.base}some.gz: fetching 0 MB into {tmp_path}, once"
    out, err = capfd.readouterr()
    ours = f"xpmlp: {record.getMessage()}\n"  # where a command of this process listens to it
    assert (out, err.replace(ours, "")) == ("", "")  # pooch says nothing of its own


def test_a_file_that_was_changed_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.answers["/some.gz"] = sends(CONTENT)
    (tmp_path / "some.gz").write_bytes(CONTENT[:-1])
    assert fetch(server.base, FILE, tmp_path).read_bytes() == CONTENT


def stalls(handler: BaseHTTPRequestHandler) -> None:
    sends(CONTENT[:1000], promised=len(CONTENT))(handler)
    handler.wfile.flush()
    handler.server.end.wait()


ELSEWHERE = ("file:///etc/passwd", "ftp://127.0.0.1/some.gz")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (stalls, "timed out"),
        (lambda handler: handler.server.end.wait(), "timed out"),
        (sends(CONTENT[:1000], promised=len(CONTENT)), "cannot be fetched"),
        (sends(CONTENT[:1000]), "does not match the known hash"),
        (sends(CONTENT[:-1] + b"!"), "does not match the known hash"),
        (sends(CONTENT + bytes(10**6)), f"more than the {len(CONTENT):,} bytes"),
        (lambda handler: handler.send_error(404), "404"),
        *((sends_on(one), "No connection adapters") for one in ELSEWHERE),
    ],
)
def test_server_that_cannot_be_trusted(server: Server, tmp_path, answer: Answer, said: str) -> None:
    server.answers["/some.gz"] = answer
    assert said in refusal(server, tmp_path)


def test_server_that_leaves_its_scheme_is_refused(server: Server, tmp_path, monkeypatch) -> None:
    """What https began stays https; here it begins as http, and the last address says another."""
    server.answers["/some.gz"] = sends(CONTENT)
    monkeypatch.setattr("requests.Response.url", "https://elsewhere/some.gz", raising=False)
    monkeypatch.setattr("requests.Response.__setattr__", _keeping_url)
    assert "leads to 'https://elsewhere/some.gz', which is not http" in refusal(server, tmp_path)


def _keeping_url(response: object, name: str, value: object) -> None:
    if name != "url":
        object.__setattr__(response, name, value)


def test_a_server_that_sends_on(server: Server, tmp_path: Path) -> None:
    server.answers["/some.gz"] = sends_on("/there")
    server.answers["/there"] = sends(CONTENT)
    assert fetch(server.base, FILE, tmp_path).read_bytes() == CONTENT
    server.answers["/there"] = sends_on("/some.gz")
    assert "redirects" in refusal(server, tmp_path / "other")


def test_server_that_is_gone(server: Server, tmp_path: Path) -> None:
    assert "cannot be fetched" in refusal(server, tmp_path, "http://127.0.0.1:1/")


def test_addresses_and_digests() -> None:
    for one in NAMED.values():
        assert one.base.startswith("https://")
        assert one.base.endswith("/")
        for file in one.files:
            assert len(bytes.fromhex(file.sha256)) == 32
        assert len(one.members or one.files) == 4


IMAGES = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3)
LABELS = (np.arange(20) % 3).astype(np.uint8)
NAMES = {
    f"{part}-{kind}-ubyte.gz": array
    for part in ("train", "t10k")
    for kind, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS))
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    (tmp_path / "made").mkdir()
    for name, array in NAMES.items():
        write_idx(tmp_path / "made" / name, array)
    return {name: (tmp_path / "made" / name).read_bytes() for name in NAMES}


def described(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "DEBIAN", tmp_path / "system")
    monkeypatch.setenv("XPMLP_DATA", str(tmp_path / "data"))


def test_a_set_is_fetched_and_then_found(server, files, tmp_path, monkeypatch) -> None:
    server.answers = {f"/{name}": sends(content) for name, content in files.items()}
    letters = Named(server.base, tuple(described(*item) for item in files.items()))
    monkeypatch.setitem(NAMED, "letters", letters)
    server.answers["/t10k-labels-idx1-ubyte.gz"] = sends(b"lies")
    with pytest.raises(InputError, match="does not match"):
        load_named("letters")
    assert len(list((tmp_path / "data" / "letters").iterdir())) == 3
    server.answers["/t10k-labels-idx1-ubyte.gz"] = sends(files["t10k-labels-idx1-ubyte.gz"])
    found = load_named("letters")
    assert found.name == "letters"
    assert found.digest == load_idx_directory(tmp_path / "made").digest
    assert len(server.asked) == 5  # Whole files are not fetched again.
    server.answers.clear()
    assert load_named("letters").digest == found.digest


def test_an_archive_is_unpacked_and_its_pictures_set_upright(
    server: Server, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("gzip/other", b"not wanted")
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", content)
    content = buffer.getvalue()
    server.answers["/gzip.zip"] = sends(content)
    archive_of = described("gzip.zip", content)
    letters = Named(server.base, (archive_of,), members=tuple(files), is_transposed=True)
    monkeypatch.setitem(NAMED, "letters", letters)
    found = load_named("letters")
    assert found.image_shape == (3, 2)
    np.testing.assert_array_equal(found.train.X.reshape(20, 3, 2), IMAGES.transpose(0, 2, 1))
    assert sorted(path.name for path in (tmp_path / "data" / "letters").iterdir()) == sorted(files)
    load_named("letters")
    assert server.asked == ["/gzip.zip"]


@pytest.mark.parametrize("place", ["data", "system"])
def test_files_on_this_machine_are_not_fetched(files, tmp_path, monkeypatch, place: str) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    (tmp_path / place).mkdir()
    (tmp_path / "made").rename(tmp_path / place / "kmnist")
    found = load_named("kmnist")
    np.testing.assert_array_equal(found.train.X, IMAGES.reshape(20, 6))


def test_named_set_without_pooch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("XPMLP_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"pip install 'xpmlp\[data\]', or put the files into"):
        load_data("kmnist")
    monkeypatch.delenv("XPMLP_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"pip install"):
        load_data("kmnist")
