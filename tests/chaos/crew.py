"""A fleet for a test to ill-treat: the service and each worker is a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from tests.support.commands import environment

GIVEN_BACK, UNREACHABLE, AWAY, KILLED = 0, 8, 10, -signal.SIGKILL
"""How a worker may end: stopped, without the answer of its sign-in, without its database for too long, or killed."""
PLAIN: Mapping[str, Sequence[str]] = {"direct": ("--account", "plain"), "two-phase": ()}


def started(
    words: Sequence[str | Path], folder: Path, log: Path, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start ``python -m WORDS`` as on a machine of its own: below ``folder`` is all that it keeps of its user."""
    homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", *map(str, words)],
            cwd=Path(__file__).parents[2],
            env=environment(**homes, PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


class Service:
    """A simulator in a process of its own, and its control over HTTP."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "service.log"
        folder.mkdir(parents=True, exist_ok=True)
        self._process = started(["gotsurge_async", "simulator", "--port", "0"], folder, self._log)
        until(lambda: b"API base" in self._log.read_bytes(), 30, "the simulator to start")
        self.api_base = self._log.read_text().split("API base ", 1)[1].split()[0]
        self.port = int(self.api_base.split(":")[2].split("/")[0])

    def audit(self) -> dict[str, Any]:
        """What arrived; see `Simulator.audit`."""
        return self._ask("GET", "audit")

    def tasks(self) -> list[dict[str, Any]]:
        """Every task, with its history."""
        found: list[dict[str, Any]] = self._ask("GET", "tasks")["tasks"]
        return found

    def order(self, **fault: Any) -> None:
        """Have something go wrong from now on."""
        self._ask("POST", "faults", fault)

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        self._ask("DELETE", "faults")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def _ask(self, method: str, path: str, content: object = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, f"/_simulator/{path}", body)
            answer = connection.getresponse()
            told = answer.read()
            assert answer.status == 200, told
            return json.loads(told)
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@attrs.define(eq=False)
class Worker:
    """A process that works.

    Attributes:
        frozen: it stands still, by SIGSTOP.
        started: when, by the monotonic clock.
        is_ready: it was seen to have said its name.
    """

    process: subprocess.Popen[bytes]
    frozen: bool = False
    started: float = attrs.field(factory=time.monotonic)
    is_ready: bool = False

    @property
    def pid(self) -> int:
        """Its number, which is in its name, too."""
        return self.process.pid

    def kill(self) -> None:
        """Kill it, as a power failure does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def freeze(self) -> None:
        """Have it stand still."""
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        """Have it go on."""
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False


class Crew:
    """Workers, which are started again when they end, as a supervisor does.

    Args:
        words: of the command, after ``worker``; for each of them.
        module: what is run; the command unless given.
        prefixes: what each is started by, such as ``ip netns exec NAME``.
    """

    def __init__(
        self,
        folder: Path,
        words: Sequence[str | Path],
        *,
        number: int = 3,
        module: str = "gotsurge_async",
        prefixes: Mapping[int, Sequence[str]] | None = None,
        own_words: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        self._folder = folder
        self._words = words
        self._module = module
        self._prefixes = prefixes or {}
        self._own_words = own_words or {}
        self.ended: Counter[int] = Counter()
        """How often one ended with each exit code."""
        self.starts: list[float] = []
        """Seconds from the start of each worker until it was ready: how busy the machine is."""
        self.workers: list[Worker] = []
        for place in range(number):
            (folder / str(place)).mkdir(parents=True)
            self.workers.append(self._start(place))

    def _start(self, place: int) -> Worker:
        words = [self._module, "worker", *self._words, *self._own_words.get(place, ())]
        folder = self._folder / str(place)
        return Worker(started(words, folder, folder / "worker.log", self._prefixes.get(place, ())))

    def look(self) -> None:
        """Start those again that have ended."""
        for place, worker in enumerate(self.workers):
            if not worker.is_ready and self._says_its_name(place):
                worker.is_ready = True
                self.starts.append(time.monotonic() - worker.started)
            code = worker.process.poll()
            if code is not None:
                self.ended[code] += 1
                assert code in (GIVEN_BACK, UNREACHABLE, AWAY, KILLED), self.log(place)
                self.workers[place] = self._start(place)

    def _says_its_name(self, place: int) -> bool:
        return f"-{self.workers[place].pid}-" in self.log(place)

    def log(self, place: int) -> str:
        """The end of what a worker has said."""
        return (self._folder / str(place) / "worker.log").read_text(errors="replace")[-4000:]

    def living(self) -> list[Worker]:
        """Those that do not stand still, and have not ended."""
        return [worker for worker in self.workers if not worker.frozen and worker.process.poll() is None]

    def close(self) -> None:
        """Stop them all, and wait for what they have in hand."""
        for place, worker in enumerate(self.workers):
            worker.wake()
            # One that has only just been started does not heed signals yet.
            until(lambda place=place: self._says_its_name(place), 60, "a worker to be ready")
            worker.process.terminate()
        late = time.monotonic() + 60
        for place, worker in enumerate(self.workers):
            try:
                code = worker.process.wait(max(1.0, late - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"a worker does not end: {self.log(place)}") from None
            self.ended[code] += 1
            assert code == GIVEN_BACK, self.log(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            worker.process.wait(30)


def until(is_so: Any, seconds: float, what: str) -> None:
    """Wait until something is so; AssertionError when it is not so for too long."""
    late = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < late, f"waited in vain for {what}"
        time.sleep(0.02)
