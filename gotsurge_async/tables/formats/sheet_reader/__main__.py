"""Reads the workbook on standard input, as a `Request`, the only argument, says.

On standard output it writes messages: a `Sheet`, any number of `Rows`, then the `End`; or a `Refusal`. The process ends
when nobody reads them any more.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from pathlib import Path

import msgspec

from .messages import ADVICE_TO_SPLIT, OUT_OF_MEMORY, SIZE, BadSheet, End, Message, Refusal, Request
from .rows import messages


def _confine(request: Request) -> None:
    """Limit this process, as far as its system can, and end it with the process that reads its messages."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both, and that process decides
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    limits = {resource.RLIMIT_DATA: request.memory, resource.RLIMIT_CPU: request.seconds, resource.RLIMIT_CORE: 0}
    for kind, most in limits.items():
        with contextlib.suppress(OSError, ValueError):  # a system may have no such limit
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
    with contextlib.suppress(OSError):  # where memory is short, Linux ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_end_with_reader, daemon=True).start()


def _end_with_reader() -> None:
    """Wait until nobody reads standard output any more, then end this process; calamine does not stop threads."""
    poll = select.poll()
    poll.register(1, 0)
    poll.poll()
    os._exit(0)


def _send(message: Message) -> None:
    content = msgspec.msgpack.encode(message)
    rest = memoryview(len(content).to_bytes(SIZE, "big") + content)
    while rest:  # a process that was stopped for a while may have written a part
        rest = rest[os.write(1, rest) :]


def main() -> None:
    """Read the workbook on standard input."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    _confine(request)
    try:
        for message in messages(sys.stdin.buffer, request):
            _send(message)
        _send(End())
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:
        if not isinstance(error, BadSheet):  # nobody sees a traceback
            error = BadSheet(f"cannot be read ({type(error).__name__}: {error}): {ADVICE_TO_SPLIT}")
        _send(Refusal(str(error), error.explain_code))


if __name__ == "__main__":
    main()
