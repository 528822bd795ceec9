"""Starts commands by forking a process that has imported everything, and has neither a thread nor an event loop.

    python -m tests.promise.forkserver

An order is a line of JSON on stdin, its report one on stdout, one at a time: a command takes some 0.1 s instead of 0.5.
"""

import atexit
import gc
import json
import os
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import time_machine

from gotsurge_async.cli import app, main
from tests.promise.boundaries import SIGNALS, Boundaries

PATIENCE = 100
"""Seconds after which a command that does not end is killed, by SIGALRM."""


def import_all() -> None:
    """Load every command, and what they load when they need it."""
    import asyncio  # noqa: F401
    import sqlite3  # noqa: F401

    import aiohttp  # noqa: F401

    for name in app.FOLDER_OF:
        app.load(name)
    for name in (
        "rich.console",
        "rich.progress",
        "gotsurge_async.fleet",
        "gotsurge_async.tables.table_source",
        "gotsurge_async.transports.aiohttp",
        "tests.promise.as_desk",
        "tests.promise.as_worker",
    ):
        __import__(name)


def serve() -> None:
    """Take orders until stdin ends."""
    print(json.dumps({"ready": os.getpid()}), flush=True)
    frozen: set[int] = set()
    # Not by lines of a buffer: a child must not inherit half of an order.
    while line := _line():
        order = json.loads(line)
        if "wake" in order:
            os.kill(order["wake"], signal.SIGCONT)
            report = _wait(order["wake"])
        else:
            pid = os.fork()
            if pid == 0:
                _be_the_command(order)
            report = _wait(pid)
        (frozen.add if report.get("stopped") else frozen.discard)(report["pid"])
        print(json.dumps(report), flush=True)
    for pid in frozen:
        os.kill(pid, signal.SIGKILL)


def _line() -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        block = os.read(0, 1)
        if not block:
            return b""
        read += block
    return read


def _wait(pid: int) -> dict[str, Any]:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"pid": pid, "stopped": True}
    return {"pid": pid, "code": os.waitstatus_to_exitcode(status)}


def _be_the_command(order: dict[str, Any]) -> NoReturn:
    """Become ``gotsurge WORDS``, with its traps, and end."""
    signal.setitimer(signal.ITIMER_REAL, order.get("die_after", PATIENCE))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["folder"])
    for number, name in enumerate(("/dev/null", order["out"], order["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["gotsurge", *order["words"]]
    program = import_module(order["program"]).main if "program" in order else main
    trap = next((name for name in SIGNALS if name in order), None)
    if ahead := order.get("ahead"):
        time_machine.travel(datetime.now(UTC) + timedelta(seconds=ahead), tick=True).start()
    boundaries = Boundaries(order[trap] if trap else 0, SIGNALS[trap] if trap else 0, order.get("late", False))
    boundaries.set_up()
    code: object = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 70
    Path(order["boundaries"]).write_text(json.dumps(boundaries.names))
    _end(code)


def _end(code: object) -> NoReturn:
    """End as Python does, but for the memory: to take apart what was imported is two thirds of a command."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    import_all()
    gc.collect()
    gc.freeze()  # what is never looked at is never copied by a child
    serve()
