"""Standard output and standard error that may break, by a full disk or a reader that has left, without any harm.

What a command says is no part of what it does: a push whose progress nobody reads goes on, and its exit code tells what
became of the orders, also where the summary could not be written. A command that only looks has nothing to do any more
when its reader has left, as ``head`` does: it ends at once, and quietly, as others do.
"""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Any, TextIO, cast

UNREAD = 141
"""The exit code of what ends because who read standard output has left: that of a process which SIGPIPE ends."""


class Unread(SystemExit):
    """The reader of a command that only looks has left."""

    def __init__(self) -> None:
        super().__init__(UNREAD)


class LossyStream(io.RawIOBase):
    """Bytes for a stream; from the first that cannot be written on, nothing is: a document with a hole would mislead.

    Args:
        raw: where they go.
        only_looks: whether what runs now need not go on when its reader has left.

    Attributes:
        trouble: why something was lost, None while nothing was.
        left: whether its reader has left, which is no trouble for anybody.
    """

    def __init__(self, raw: io.RawIOBase, only_looks: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.trouble: str | None = None
        self.left: bool = False
        self._raw = raw
        self._only_looks = only_looks

    def write(self, data: Any, /) -> int:
        """Write, or lose; all of it counts as written once something is lost.

        Raises:
            Unread: the reader of a command that only looks has left; once.
        """
        rest = memoryview(data).cast("B")
        size = rest.nbytes
        while rest and self.trouble is None:
            try:
                written = self._raw.write(rest)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                self.left = isinstance(error, BrokenPipeError)
                if self.left and self._only_looks():
                    raise Unread from None
            else:
                if written is None:  # nobody reads, and we were told not to wait
                    self.trouble = os.strerror(errno.EAGAIN)
                else:
                    rest = rest[written:]
        return size

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether somebody reads it at a terminal."""
        return self._raw.isatty()


def lost(stream: IO[bytes]) -> str | None:
    """Why not all of what was written to a stream came through; None if it did, as far as is known."""
    stream.flush()
    raw = getattr(stream, "raw", stream)
    return raw.trouble if isinstance(raw, LossyStream) else None


def _lossy(
    stream: TextIO | None, only_looks: Callable[[], bool] = lambda: False
) -> tuple[TextIO | None, LossyStream | None]:
    """The same stream, which may break."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # python -u has no buffer between
    if stream is None or not isinstance(raw, io.RawIOBase):
        return stream, None
    lossy = LossyStream(raw, only_looks)
    return (
        io.TextIOWrapper(
            cast("IO[bytes]", lossy if raw is buffer else io.BufferedWriter(lossy)),
            encoding=stream.encoding,
            # A sign that a terminal does not have is no reason to end either.
            errors="backslashreplace" if stream.errors == "strict" else stream.errors,
            newline="",  # the same bytes on every system: Windows would end lines in its own way
            line_buffering=bool(getattr(stream, "line_buffering", False)),
            write_through=bool(getattr(stream, "write_through", False)),
        ),
        lossy,
    )


class LossyOutput:
    """Lets both streams break inside the block; that output was lost is told once in its end, where it can be.

    Args:
        only_looks: whether the command that runs need not go on when nobody reads its output.
    """

    def __init__(self, only_looks: Callable[[], bool] = lambda: False) -> None:
        self._only_looks = only_looks

    def __enter__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, self._out = _lossy(sys.stdout, self._only_looks)
        sys.stderr, _ = _lossy(sys.stderr)

    def __exit__(self, *_: object) -> None:
        if sys.stdout is not None:
            sys.stdout.flush()
        out = self._out
        if out is not None and out.trouble is not None and not out.left and sys.stderr is not None:
            # The other way round nothing is told: standard output is for data.
            print(f"the output was not written, or not all of it: {out.trouble}", file=sys.stderr)  # noqa: T201
        if sys.stderr is not None:
            sys.stderr.flush()
