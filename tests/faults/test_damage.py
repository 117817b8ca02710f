"""Damaged files, a short run of `fuzz.py`: every byte, every end, and some thousands at random."""

from pathlib import Path

import fuzz
import pytest

from xpmlp.errors import InputError

NAMES = ("idx", "idx.gz", "npz", "dataset.npz", "csv", "parquet")
NAMES += ("checkpoint", "model", "config", "image")
INPUTS = 600


def parser_named(name: str, folder: Path) -> fuzz.Parser:
    found = {parser.name: parser for parser in fuzz.parsers(folder)}
    assert set(found) == set(NAMES)
    return found[name]


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_damaged_at_random(name: str, tmp_path: Path, capsys) -> None:
    findings = fuzz.fuzz(parser_named(name, tmp_path), tmp_path, inputs=INPUTS, seed=0)
    assert findings == 0, capsys.readouterr().out


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["flipped", "cut"])
def test_every_byte_and_every_end(name: str, way: str, tmp_path: Path) -> None:
    """Refused in one line, or read; and read as it was, where a digest tells."""
    parser = parser_named(name, tmp_path)
    path, whole = tmp_path / parser.file, parser.seeds[0]
    for place in range(len(whole)):
        end = whole[place + 1 :] if way == "flipped" else b""
        middle = bytes([whole[place] ^ 0x41]) if way == "flipped" else b""
        path.write_bytes(whole[:place] + middle + end)
        try:
            found = parser.parse(path)
        except InputError as error:
            lines = str(error).splitlines()
        else:
            lines = []
            assert parser.same is None or parser.same(found)
            # Of a text, fewer lines may be whole; what counts its bytes may not.
            assert way == "flipped" or name in ("config", "csv", "image"), place
        assert len(lines) <= 1
