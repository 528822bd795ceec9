"""Files that are packed by gzip, or written in another encoding than UTF-8, as UTF-8."""

import codecs
import gzip
import zlib
from typing import Any

from gotsurge_async.bulk.sources.lines import START, BadFile, Readable

MOST_UNPACKED = 16 << 30
"""The most bytes that a packed file may expand to."""
MOST_RATIO = 250
"""The most times its size that a packed file may expand to; tables reach about fifty."""

_FREE = 64 << 20  # up to here the ratio does not count
_BLOCK = 1 << 16
_DAMAGE = "\ufffd".encode()


class _Counted:
    """A stream whose bytes are counted, and which returns no more than ``size`` of them at a time."""

    def __init__(self, stream: Readable) -> None:
        self.count: int = 0
        self._stream = stream
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = self._stream.read(_BLOCK)
            self.count += len(self._rest)
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


class Unpacked:
    """The content of a gzip file, which may have several parts, each packed alone.

    Raises:
        BadFile: from `start` and `read`: it is damaged, cut short, or expands to more than any table.
    """

    def __init__(self, stream: Readable) -> None:
        self._packed = _Counted(stream)
        file: Any = self._packed  # which is only read
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._expanded = 0
        self._ahead = b""

    def start(self) -> bytes:
        """The first bytes, which `read` returns again."""
        while len(self._ahead) < START and (block := self._next(_BLOCK)):
            self._ahead += block
        return self._ahead

    def read(self, size: int, /) -> bytes:
        """Some bytes; at least one before the end."""
        block, self._ahead = self._ahead or self._next(size), b""
        return block

    def _next(self, size: int) -> bytes:
        try:
            block: bytes = self._file.read1(size)
        except EOFError:
            raise BadFile("the packed file is cut short: its end is missing") from None
        except (gzip.BadGzipFile, zlib.error):
            raise BadFile("the packed file is damaged: it cannot be unpacked") from None
        self._expanded += len(block)
        if self._expanded > MOST_UNPACKED or self._expanded > max(_FREE, self._packed.count * MOST_RATIO):
            raise BadFile(f"the packed file expands to more than {self._expanded:,} bytes: unpack it first")
        return block


class Transcoded:
    """A text in any encoding as UTF-8. Bytes that are not text become bytes that are not UTF-8 either."""

    def __init__(self, stream: Readable, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Some bytes; at least one before the end."""
        while not self._ended:
            block = self._stream.read(size)
            self._ended = not block
            text = self._decoder.decode(block, final=self._ended)
            if text:
                return text.encode(errors="replace").replace(_DAMAGE, b"\xff")
        return b""
