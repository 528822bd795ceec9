"""The command on a system that lacks and refuses what Windows does: ``python -m tests.system.windows push …``.

What others import and need of POSIX they have imported before it goes. It prints to standard error, as its last line,
how often each refusal came.
"""

import asyncio
import importlib
import json
import os
import pkgutil
import re
import select
import signal
import socket
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

OTHERS = """
    aiohttp aiohttp.web attrs cattrs click click.testing concurrent.futures cryptography.fernet csv ctypes duckdb
    filelock getpass hypothesis keyring keyring.backends.fail logging.handlers mcp.server.stdio msgspec multiprocessing
    opentelemetry.trace platformdirs procrastinate prometheus_client psycopg psycopg_pool pytest python_calamine
    rich.console rich.live rich.progress rich.table shutil sqlalchemy sqlite3 subprocess tempfile trustme webbrowser
    xlsxwriter yaml zoneinfo
"""
_SIGNALS = "SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGPIPE SIGWINCH SIGKILL"
_FUNCTIONS = """
    O_DIRECTORY O_SYNC chown fchown fdatasync fork forkpty getegid geteuid getgid getpgid getuid killpg lchown mkfifo
    nice posix_fallocate pread pwrite sched_getaffinity setsid sync uname wait
"""
_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
_RESERVED = re.compile(r'[<>:"|?*\\]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)

refused: Counter[str] = Counter()


def become_windows() -> None:
    """Take away and refuse, for the rest of this process."""
    for name in OTHERS.split():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for name in _SIGNALS.split():
        delattr(signal, name)
    for name in _FUNCTIONS.split():
        if hasattr(os, name):
            delattr(os, name)
    for name in _MODULES:
        sys.modules[name] = None  # type: ignore[assignment] # so it cannot be imported
    del select.PIPE_BUF
    socket.socketpair = partial(socket.socketpair, socket.AF_UNIX)  # type: ignore[assignment] # the loop's own
    del socket.AF_UNIX
    asyncio.ProactorEventLoop = type("ProactorEventLoop", (asyncio.SelectorEventLoop,), {})  # type: ignore[attr-defined]
    for name in ("add_signal_handler", "remove_signal_handler"):
        setattr(asyncio.SelectorEventLoop, name, _no_handlers)
    _open = os.open

    def open_(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if not isinstance(path, int) and Path(path).is_dir():
            refused["folder opened"] += 1
            raise PermissionError(13, "Permission denied", path)
        return _open(path, flags, mode, **more)

    os.open = open_  # type: ignore[assignment]
    sys.addaudithook(_audit)


def _no_handlers(*_: Any) -> NoReturn:
    refused["signal handler"] += 1
    raise NotImplementedError


_scanned: set[str] = set()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.mkdir", "os.remove", "os.rename", "sqlite3.connect") and arguments:
        for path in arguments[: 2 if event == "os.rename" else 1]:
            if isinstance(path, str | bytes | os.PathLike):
                _check_name(os.fsdecode(path))
    if event in ("os.remove", "os.rename"):
        for path in arguments[: 1 if event == "os.remove" else 2]:
            _refuse_open(os.path.realpath(os.fsdecode(path)))
    if event == "os.rename" and (place := os.fsdecode(arguments[1])) not in _scanned:
        _scanned.add(place)
        refused["file scanned"] += 1
        raise _windows_error(32, "The process cannot access the file because it is being used by another", place)


def _check_name(path: str) -> None:
    name = path.partition("?")[0].rpartition("/")[2]
    if path.startswith(("/proc/", "/dev/", "/sys/", "<")) or name in ("", ".", "..", ":memory:"):
        return
    if _RESERVED.search(name):
        raise _windows_error(123, "The filename, directory name, or volume label syntax is incorrect", path)


def _refuse_open(path: str) -> None:
    """Windows lets nobody take away a file that is open, not even who has it open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found = descriptor.readlink()
        except OSError:
            continue
        if str(found) == path:
            refused["open file"] += 1
            raise _windows_error(5, "Access is denied", path)


def _windows_error(number: int, words: str, path: str) -> OSError:
    error = PermissionError(13, words, path) if number in (5, 32) else OSError(22, words, path)
    error.winerror = number  # type: ignore[attr-defined]
    return error


def import_all() -> None:
    """Import every module of the package."""
    import gotsurge_async

    for module in pkgutil.walk_packages(gotsurge_async.__path__, "gotsurge_async."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


if __name__ == "__main__":
    become_windows()
    try:
        if sys.argv[1:] == ["import"]:
            import_all()
        else:
            from gotsurge_async.cli import main

            main()
    finally:
        sys.stdout.flush()
        print(json.dumps(refused), file=sys.stderr, flush=True)
