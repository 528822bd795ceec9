"""The physical lines of a file."""

import hashlib
import io
import tracemalloc
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async.bulk.sources.lines import MAX_LINE, not_text, physical_lines


class Dribble(io.BytesIO):
    """A stream that gives a few bytes at a time, however many are asked for."""

    def __init__(self, data: bytes, few: int) -> None:
        super().__init__(data)
        self.few = few

    def read(self, size: int | None = -1, /) -> bytes:
        """The next few bytes."""
        return super().read(self.few)


def lines_of(data: bytes, few: int = 1 << 20) -> list[bytes | None]:
    return list(physical_lines(Dribble(data, few), hashlib.sha256()))


@given(
    st.lists(st.sampled_from((b"\r", b"\n", b"a", b"\xef", b"\xbb", b"\xbf", b"\x0b", b"\x85"))).map(b"".join),
    st.integers(1, 5),
)
@example(b"\xef\xbb\xbfa\n", 1)
@example(b"\xef\xbb", 1)
@example(b"a\n\xef\xbb\xbf", 2)
@settings(deadline=None)
def test_lines_do_not_hang_on_how_the_bytes_arrive(data: bytes, few: int) -> None:
    """However they are cut, the lines are those of the whole, without the mark at the start and only there."""
    assert lines_of(data, few) == data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)


def test_the_digest_is_told_every_byte() -> None:
    """Also those of the mark and of lines that are left out."""
    data = b"\xef\xbb\xbf" + b"x" * (MAX_LINE + 5) + b"\r\nend"
    digest = hashlib.sha256()
    assert list(physical_lines(io.BytesIO(data), digest)) == [None, b"end"]
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("few", [70_000, 1 << 20, (1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_that_is_too_long_is_none(few: int, end: bytes) -> None:
    """It counts as one line, wherever the blocks end; the longest that is read is a line."""
    longest = b"x" * (MAX_LINE - len(end)) + end
    lines = lines_of(longest + b"x" * (2 * MAX_LINE) + end + b"a" + end + b"x" * (MAX_LINE + 1), few)
    assert [None if line is None else len(line) for line in lines] == [MAX_LINE, None, 1 + len(end), None]


def test_a_line_without_end_is_never_held_whole() -> None:
    """Its memory is given back while it is read."""

    class Endless(io.RawIOBase):
        blocks = 200

        def read(self, size: int = -1, /) -> bytes:
            self.blocks -= 1
            return bytes(size) if self.blocks else b""

    tracemalloc.start()
    assert list(physical_lines(cast("BinaryIO", Endless()), hashlib.sha256())) == [None]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * MAX_LINE


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (b"PK\x03\x04", "spreadsheet"),
        (b"%PDF-1.7", "PDF"),
        ("a".encode("utf-32"), "UTF-32"),
        ("a".encode("utf-16"), "UTF-16"),
    ],
)
def test_other_kinds_of_file_are_known(start: bytes, word: str) -> None:
    """The message says what it is."""
    assert word in str(not_text(start))


def test_text_is_text() -> None:
    """No table and no JSON is taken for something else."""
    assert not_text(b"tracking_id,price") is None
    assert not_text(b"") is None
