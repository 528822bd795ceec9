"""`gotsurge_async.transports.base`: the body of an answer, for transports of any kind."""

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from gotsurge_async.transports import base
from gotsurge_async.transports.base import MaybeSent, read_all

BODY = b'{"tasks":[]}' * 100
PACKED = gzip.compress(BODY)


async def parts(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """A body as it comes, a few bytes at a time."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("", BODY), ("identity", BODY), ("gzip", PACKED), ("Deflate", zlib.compress(BODY)), ("", b"")],
    ids=["none", "identity", "gzip", "deflate", "empty"],
)
async def test_a_body_is_read_from_its_parts(encoding: str, packed: bytes) -> None:
    """It is unpacked as its encoding says."""
    assert await read_all(parts(packed), encoding) == (BODY if packed else b"")


@pytest.mark.parametrize(
    ("encoding", "packed", "why"),
    [
        ("gzip, gzip", gzip.compress(PACKED), "is compressed as gzip, gzip"),
        ("br", b"x", "is compressed as br"),
        ("gzip", b"nothing of the kind", "cannot be decompressed"),
        ("gzip", PACKED[:-9], "was cut off"),
        ("gzip", b"", "was cut off"),
    ],
    ids=["twice", "unknown", "no gzip", "cut", "nothing"],
)
async def test_what_cannot_be_unpacked_was_processed_all_the_same(encoding: str, packed: bytes, why: str) -> None:
    """The request may have been processed: only its answer is of no use."""
    with pytest.raises(MaybeSent, match=why):
        await read_all(parts(packed), encoding)


async def test_an_answer_is_unpacked_no_further_than_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part may unpack to a thousand times its size: no more of it is made than shows that it is too large."""
    monkeypatch.setattr(base, "MAX_ANSWER", 1000)
    sizes, unpacking = [], zlib.decompressobj

    class Watched:
        """Notes how much is unpacked at once."""

        def __init__(self, _: int) -> None:
            self.inner = unpacking(zlib.MAX_WBITS | 32)
            self.eof = False

        def decompress(self, part: bytes, most: int) -> bytes:
            unpacked = self.inner.decompress(part, most)
            sizes.append(len(unpacked))
            return unpacked

    packed = gzip.compress(bytes(1_000_000))
    monkeypatch.setattr(base.zlib, "decompressobj", Watched)
    with pytest.raises(MaybeSent, match="larger than 1000 bytes"):
        await read_all(parts(packed, len(packed)), "gzip")
    assert sizes == [1001]
