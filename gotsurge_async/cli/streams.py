"""Standard output and standard error that may break, by a full disk or a reader that has left, without any harm.

A command does its work whether or not its output is read: a push whose progress is not read continues, and its exit
code shows the outcome even if the summary could not be written. A command that only prints has nothing left to do
when its reader has left, as ``head`` does: it ends immediately and quietly, as other programs do. If the disk is full,
a command that changes nothing ends with `UNWRITTEN`.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

UNREAD = 141
"""The exit code of a command whose reader has left: that of a process which SIGPIPE ends."""
UNWRITTEN = 2
"""The exit code of a command that changes nothing, and whose output was not all written."""


class Unread(SystemExit):
    """The reader of a command that only prints has left."""

    def __init__(self) -> None:
        super().__init__(UNREAD)


class LossyStream(io.RawIOBase):
    """A stream that drops output. After a failed write nothing more is written: a document with a hole would mislead.

    Attributes:
        only_prints: whether the running command ends when its reader has left.
        only_reads: whether the running command changes nothing, so that it fails where its output is lost.
        trouble: the reason why output was lost; None while none was.
        left: whether the reader has left, which is not a failure.
        was_all: whether the lost output was all that the command had to do.
    """

    def __init__(self, raw: io.RawIOBase, only_prints: Callable[[], bool], only_reads: Callable[[], bool]) -> None:
        super().__init__()
        self.trouble: str | None = None
        self.left: bool = False
        self.was_all: bool = False
        self._raw = raw
        self._only_prints = only_prints
        self._only_reads = only_reads

    def write(self, data: Any, /) -> int:
        """Write, or drop, all of it; raises `Unread` once if the command only prints and its reader has left."""
        rest = memoryview(data).cast("B")
        size = rest.nbytes
        while rest and self.trouble is None:
            try:
                written = self._raw.write(rest)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                self.left = isinstance(error, BrokenPipeError)
                self.was_all = self._only_reads()
                if self.left and self._only_prints():
                    raise Unread from None
            else:
                if written is None:  # the stream does not block, and its reader is too slow
                    self.trouble, self.was_all = os.strerror(errno.EAGAIN), self._only_reads()
                else:
                    rest = rest[written:]
        return size

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """The file descriptor of the stream."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._raw.isatty()


def lost(stream: IO[bytes]) -> str | None:
    """The reason why not all output of a stream was written; None if it was, as far as is known."""
    stream.flush()
    raw = getattr(stream, "raw", stream)
    return raw.trouble if isinstance(raw, LossyStream) else None


def _lossy(
    stream: TextIO | None, only_prints: Callable[[], bool], only_reads: Callable[[], bool]
) -> tuple[TextIO | None, LossyStream | None]:
    """A version of the stream that may break, and its `LossyStream`."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # python -u has no buffer between
    if stream is None or not isinstance(raw, io.RawIOBase):
        return stream, None
    stream.flush()
    lossy = LossyStream(raw, only_prints, only_reads)
    text = io.TextIOWrapper(
        cast("IO[bytes]", lossy if raw is buffer else io.BufferedWriter(lossy)),
        encoding=stream.encoding,
        # A character that a terminal does not have is no reason to end either.
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        newline="",  # the same bytes on every system: Windows would end lines in its own way
        line_buffering=bool(getattr(stream, "line_buffering", False)),
        write_through=bool(getattr(stream, "write_through", False)),
    )
    return text, lossy


@contextmanager
def lossy_output(only_prints: Callable[[], bool], only_reads: Callable[[], bool]) -> Iterator[None]:
    """Let both streams break inside the block (see `LossyStream`). At its end a line on stderr reports lost output."""
    sys.stdout, out = _lossy(sys.stdout, only_prints, only_reads)
    sys.stderr, _ = _lossy(sys.stderr, lambda: False, lambda: False)
    try:
        yield
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()
        if out is not None and out.trouble is not None and not out.left and sys.stderr is not None:
            # Not the other way round: standard output is for data.
            print(f"the output was not written, or not all of it: {out.trouble}", file=sys.stderr)  # noqa: T201
        if sys.stderr is not None:
            sys.stderr.flush()
        ended = sys.exc_info()[1]
        if out is not None and out.was_all and not out.left and isinstance(ended, SystemExit) and not ended.code:
            ended.code = UNWRITTEN
