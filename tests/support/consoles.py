"""The ``console`` blocks of pages, run as a reader would run them, at a real terminal; what they print is compared.

A line that begins with ``$ `` is a command; a line that ends with a backslash goes on. What follows, up to the next
command, is what the command prints. Only this may differ from the page:

- ids of runs, tasks, proposals: the first time one is printed, the page's stands for the real one until the page ends;
- times, dates, and speeds: ``0.1 s``, ``4,571 orders/s``, ``2026-11-26 20:15``, ``2026-11-26T12:15:00Z``;
- ports: each port of the pages is a free one of this machine;
- ``…`` in a line is any text, and on a line of its own any lines;
- how many spaces there are.

A block of another language whose first line is ``# NAME`` with a file's name is written to that file. `STAYS` says
which commands do not end by themselves: what they print first is compared, and they are ended with the page. A
simulator runs on for the next pages, until one of them starts another.
"""

import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support.commands import EXAMPLES, environment
from tests.support.terminal import at_a_terminal

STAYS = re.compile(r"(GOTSURGE_\w+=\S+ )*(gotsurge simulator( --|$)|gotsurge receive|uvicorn )")
FILE = re.compile(r"^```\w+\n(# ([\w.-]+\.\w+)\n.*?)^```$", re.MULTILINE | re.DOTALL)
ROOT = EXAMPLES.parent
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"(?:(?<=127\.0\.0\.1:)|(?<=port ))[1-9]\d{3,4}\b")
_IDS = re.compile(r"\b\d{8}T\d{6}-[a-z0-9]{4}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{12}\b")
_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?|\d[\d,.]* (?:s|orders/s)\b"
)
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?!\n)")
SECONDS = 60.0


@attrs.frozen
class Command:
    """A command of a page, and what the page says that it prints."""

    line: int
    text: str
    printed: str


def commands(text: str) -> Iterator[Command]:
    """The commands of a page, in its order."""
    for block in _CONSOLE.finditer(text):
        above = text[: block.start(1)].count("\n")
        for found in re.finditer(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block[1], re.MULTILINE):
            yield Command(above + block[1][: found.start()].count("\n") + 1, found[1], found[2])


def pattern(printed: str, known: dict[str, str]) -> tuple[re.Pattern[str], list[str]]:
    """What must be printed, and the page's ids that it shows for the first time, one for each group."""
    new: list[str] = []

    def part(found: re.Match[str]) -> str:
        text = found[0]
        if text.strip() == "…":
            return r"[ \t]*\n(?:.*\n)*?" if "\n" in text else ".*?"
        if not text.strip():
            return r"\s*\n" if "\n" in text else r"[ \t]+"
        if _TIMES.fullmatch(text):
            return f"(?:{_TIMES.pattern})"
        if not _IDS.fullmatch(text):
            return re.escape(text)
        if text in known:
            return re.escape(known[text])
        if text not in new:
            new.append(text)
            return f"({_IDS.pattern})"
        return rf"\{new.index(text) + 1}"

    tokens = rf"\n…\n|…|{_IDS.pattern}|{_TIMES.pattern}|\s*\n|[ \t]+|."
    return re.compile(re.sub(tokens, part, "\n" + printed).removesuffix(r"\s*\n") + r"\s*"), new


@attrs.define
class Reader:
    """Somebody who reads pages, one after the other, and types what they say."""

    folder: Path
    """Where the reader is; ``home`` beside it holds what the commands keep for their user."""
    known: dict[str, str] = attrs.field(factory=dict)
    """The page's ids, and the real ones."""
    ports: dict[str, str] = attrs.field(factory=dict)
    """The pages' ports, and the real ones."""
    _staying: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    _simulator: subprocess.Popen[bytes] | None = None

    def read(self, page: Path) -> int:
        """Do all that a page says; how many commands it has."""
        self.known.clear()
        text = self._with_free_ports(page.read_text(encoding="utf-8"))
        for block in FILE.finditer(text):
            (self.folder / block[2]).write_text(block[1], encoding="utf-8")
        typing = list(commands(text))
        for command in typing:
            wanted, new = pattern(command.printed, self.known)
            typed = _IDS.sub(lambda found: self.known.get(found[0], found[0]), command.text)
            printed = "\n" + (self._start(typed, wanted) if STAYS.match(typed) else self._run(typed))
            seen = wanted.fullmatch(printed) or (STAYS.match(typed) and wanted.match(printed))
            assert seen, f"{page}:{command.line}: {typed}\n-- says the page\n{command.printed}\n-- is\n{printed}"
            self.known.update(zip(new, seen.groups(), strict=True))
        self._end_all()
        return len(typing)

    def _with_free_ports(self, text: str) -> str:
        """The page with ports that no process listens at."""
        new = [port for port in dict.fromkeys(_PORT.findall(text)) if port not in self.ports]
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in new]
        self.ports |= {port: str(each.getsockname()[1]) for port, each in zip(new, sockets, strict=True)}
        for each in sockets:
            each.close()
        return _PORT.sub(lambda found: self.ports[found[0]], text)

    @property
    def _env(self) -> dict[str, str]:
        home = self.folder.parent / "home"
        folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        plain = {"TERM": "dumb", "COLUMNS": "100", "LINES": "40", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "TZ": "UTC"}
        root = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return folders | plain | {"PATH": path, "HOME": str(home), "PYTHONPATH": root}

    def _shell(self, text: str) -> str:
        """As if all commands had one shell: each finds variables, folder and exit code as the last one left them."""
        kept = shlex.quote(str(self.folder.parent / "shell"))
        after = f'echo "cd $PWD; $(export -p); (exit $code)" >{kept}'
        return f"[ ! -e {kept} ] || . {kept}\n{text}\ncode=$?; {after}"

    def _run(self, text: str) -> str:
        seen = at_a_terminal(self._shell(text), cwd=self.folder, env=self._env, columns=100, seconds=SECONDS)
        return _CONTROLS.sub("", seen.text)

    def _start(self, text: str, wanted: re.Pattern[str]) -> str:
        """Start a command that stays, and read until it has printed what it must."""
        simulates = "gotsurge simulator" in text
        if simulates and self._simulator is not None:
            end(self._simulator)
        process = subprocess.Popen(
            ["bash", "-c", self._shell(f"exec env {text}")],
            cwd=self.folder,
            env=environment(**self._env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        if simulates:
            self._simulator = process
        else:
            self._staying.append(process)
        assert process.stdout
        printed, until = "", time.monotonic() + SECONDS
        while not wanted.match("\n" + printed) and select.select([process.stdout], [], [], until - time.monotonic())[0]:
            some = os.read(process.stdout.fileno(), 65536).decode()
            if not some:
                break
            printed += some
        return printed

    def _end_all(self) -> None:
        """End what the page started, except the simulator."""
        while self._staying:
            end(self._staying.pop())

    def leave(self) -> None:
        """End what still runs."""
        self._end_all()
        if self._simulator is not None:
            end(self._simulator)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that stays, as Ctrl-C or the service manager does."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    """Somebody in an empty folder, beside which their settings are kept."""
    (folder / "desk").mkdir()
    (folder / "home").mkdir()
    (folder / "desk" / "examples").symlink_to(EXAMPLES)
    someone = Reader(folder / "desk")
    try:
        yield someone
    finally:
        someone.leave()
