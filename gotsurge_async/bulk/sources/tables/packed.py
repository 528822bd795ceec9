"""Files that are packed by gzip, or written in another encoding than UTF-8, as UTF-8."""

import codecs
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import IO

from gotsurge_async.bulk.sources.lines import START, BadFile, Digested, Readable
from gotsurge_async.errors import ConfigError

MOST_UNPACKED = 16 << 30
"""The most bytes that a packed file may expand to."""
MOST_RATIO = 250
"""How many times its size a packed file may expand to; tables reach about fifty."""

_FREE = 64 << 20  # what is smaller than this is unpacked whatever the ratio
_BLOCK = 1 << 16


class Unpacked:
    """What a gzip file holds, which may be several packed one after the other.

    Raises:
        BadFile: in reading: it is damaged, cut short, or expands to more than any table.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._unpack = zlib.decompressobj(wbits=31)
        self._input = b""
        self._taken = 0
        self._given = 0
        self._ahead = b""

    def start(self) -> bytes:
        """The first bytes, which are read later all the same."""
        while len(self._ahead) < START and (block := self._next(_BLOCK)):
            self._ahead += block
        return self._ahead

    def read(self, size: int, /) -> bytes:
        """Some bytes; at least one before the end."""
        block, self._ahead = self._ahead or self._next(size), b""
        return block

    def _next(self, size: int) -> bytes:
        while True:
            if not self._input:
                self._input = self._stream.read(size)
                self._taken += len(self._input)
            if self._unpack.eof:
                self._input = self._input.lstrip(b"\0")  # tape drives fill up with zeros
                if self._input:
                    self._unpack = zlib.decompressobj(wbits=31)
                elif self._at_end(size):
                    return b""
                continue
            if not self._input and not self._unpack.unconsumed_tail:
                raise BadFile("the packed file is cut short: its end is missing")
            try:
                block = self._unpack.decompress(self._input, size)
            except zlib.error:
                raise BadFile("the packed file is damaged: it cannot be unpacked") from None
            self._input = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
            self._given += len(block)
            if self._given > MOST_UNPACKED or self._given > max(_FREE, self._taken * MOST_RATIO):
                raise BadFile(f"the packed file expands to more than {self._given:,} bytes: unpack it first")
            if block:
                return block

    def _at_end(self, size: int) -> bool:
        self._input = self._stream.read(size)
        self._taken += len(self._input)
        return not self._input


class Transcoded:
    """A text in any encoding as UTF-8. What is no text in it becomes bytes that are none in UTF-8 either."""

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


_DAMAGE = "\ufffd".encode()


def check_encoding(name: str) -> str:
    """The name of an encoding of text as Python has it, such as ``cp1252``.

    Raises:
        ConfigError: there is no such encoding.
    """
    from gotsurge_async.models.rules import nearest

    try:
        found = codecs.lookup(name)
        "a".encode(name)  # encodings that are none of text refuse it
        if found.name in _NOT_OF_FILES:
            raise LookupError
    except (LookupError, UnicodeError, ValueError, TypeError):
        near = nearest(name, _USUAL)
        hint = f'; did you mean "{near}"?' if near else f", such as {', '.join(_USUAL[:4])}"
        raise ConfigError(f'encoding "{name}" is not known{hint}') from None
    return "utf-8" if found.name == "utf-8-sig" else found.name


_NOT_OF_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}
"""Encodings of names of hosts, and of Python's own texts."""
_USUAL = ("utf-8", "utf-16", "cp1252", "latin-1", "gb18030", "big5", "shift_jis", "cp1251", "cp1250", "cp874")


@contextmanager
def on_disk(stream: Digested) -> Iterator[IO[bytes]]:
    """A stream as a file that can be read at any place, at its start; all of it is in the digest then.

    What is no such file is written to one without a name, readable by us alone.
    """
    own = stream.file()
    with tempfile.TemporaryFile() if own is None else nullcontext(own) as file:
        while block := stream.read(_BLOCK):
            if own is None:
                file.write(block)
        file.seek(0)
        yield file
