"""How files are refused, and ways to damage them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from xpmlp.errors import InputError


def refusal_of(call: Callable[..., Any], *given: Any, **options: Any) -> str:
    """Return the message with which a call is refused: one line, with a remedy."""
    with pytest.raises(InputError) as caught:
        call(*given, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert ";" in message or " or " in message or "--set" in message
    return message


def refusal(read: Callable[..., Any], path: Path, *given: Any) -> str:
    """Return the message with which a file is refused, which starts with its name."""
    message = refusal_of(read, path, *given)
    assert message.startswith(str(path))
    return message


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """Return what is read, or the one line with which it is refused."""
    try:
        return read(path)
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return message


def examples(count: int) -> settings:
    """Return the settings of a test whose examples overwrite one file."""
    return settings(max_examples=count, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cut_or_flipped(data: st.DataObject, content: bytes) -> bytes:
    """Return the start of a content, or all of it with one bit turned."""
    at = data.draw(st.integers(0, len(content) - 1))
    if not data.draw(st.booleans()):
        return content[:at]
    bit = 1 << data.draw(st.integers(0, 7))
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


def png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """Return a grey image of that size, whose compressed rows may be missing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(b"") if rows is None else rows)
    return b"\x89PNG\r\n\x1a\n" + start + content + chunk(b"IEND", b"")
