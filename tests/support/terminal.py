"""The command at a real terminal: what a person sees, and types."""

import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path

import attrs

from tests.support.commands import environment

# A process takes the terminal for its own only by itself. (A fork of this process, with its threads, is not for tests.)
_TAKE_IT = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
)
_GOTSURGE = "import runpy; sys.argv[0] = 'gotsurge'; runpy.run_module('gotsurge_async', run_name='__main__')"
_SHELL = "os.execvp('bash', ['bash', '-c', sys.argv[1]])"


@attrs.frozen
class Seen:
    """What stood on the terminal, and the exit code."""

    text: str
    code: int


def at_a_terminal(
    words: Sequence[str | Path] | str,
    *,
    cwd: Path,
    answers: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    seconds: float = 60,
) -> Seen:
    """Run ``gotsurge WORDS`` at a terminal of its own.

    Args:
        words: or a text, which a shell runs.
        answers: what is typed as soon as a text is seen; control characters as such, "\\x03" for Ctrl-C.
        seconds: after which it is killed.
    """
    shell = isinstance(words, str)
    program, arguments = (_SHELL, [words]) if shell else (_GOTSURGE, [*map(str, words)])
    terminal, inside = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *["-IS"] * shell, "-c", _TAKE_IT + program, *arguments],
        cwd=cwd,
        env=environment(**{"TERM": "xterm", **(env or {})}),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    left = dict(answers or {})
    seen, end = b"", time.monotonic() + seconds
    try:
        while select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            try:
                some = os.read(terminal, 65536)
            except OSError:  # the other side has gone
                break
            if not some:
                break
            seen += some
            for text in [text for text in left if text.encode() in seen]:
                os.write(terminal, left.pop(text).encode())
        else:
            process.kill()
    finally:
        code = process.wait()
        os.close(terminal)
    return Seen(seen.decode(errors="replace").replace("\r\n", "\n"), code)
