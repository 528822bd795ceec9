"""A service and a fork server in processes of their own, and one push against them that is brought to its end."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import attrs

from gotsurge_async.bulk import Mode
from tests.promise.judge import Faults, Task, Words, judge, judge_end, rows_of, tasks_at
from tests.support.commands import write_orders

KILLED, TIMED_OUT = -9, -14
BROKEN = 70
"""The exit code of a command that ended with a Python error."""

ORDERS = 5

REFUSED_CALLS = {Mode.DIRECT: ("tasks.create", 1), Mode.TWO_PHASE: ("platform.drafts.create", 3)}
"""What must be refused, and how often, for the first two orders of a push to be refused: alone, after their chunk."""


@attrs.frozen
class Finished:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    boundaries: tuple[str, ...] = ()
    """Those that it came to; none of one that was killed."""

    def __str__(self) -> str:
        return f"$ gotsurge {' '.join(self.words)}\n[{self.code}] {self.out[:600]}{self.err[-1500:]}"


class Station:
    """A simulator and a fork server, as long as the block of `station` lasts."""

    def __init__(self, api_base: str, server: "subprocess.Popen[bytes]") -> None:
        self.api_base = api_base
        self._server = server
        self._tokens: dict[str, str] = {}
        now = json.loads(self._open("GET", "/_simulator/clock"))["now"]
        self._begun: float = datetime.fromisoformat(now).timestamp()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Have the fork server do something, and wait for its report."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        report: dict[str, Any] = json.loads(self._server.stdout.readline())
        return report

    def token(self, account: str) -> str:
        """A bearer token of an account, the same one each time."""
        if account not in self._tokens:
            key = self._post("/_simulator/code", {"account": account})
            self._tokens[account] = self._post(f"{self._path}/oauth2/token", key)["bearer_token"]
        return self._tokens[account]

    def refuse(self, operation: str, times: int) -> None:
        """Have the next calls of an operation refused."""
        fault = {"operation": operation, "when": "before", "kind": "status", "status": 422, "times": times}
        self._post("/_simulator/faults", fault)

    def begin_anew(self) -> None:
        """Have the service forget all tasks: the first push of a ledger would read every page of them."""
        self._post("/_simulator/restore", {"at": self._begun})

    def be_late(self, operation: str, seconds: float) -> None:
        """Have the calls of an operation reset, and act so many seconds after their connections ended."""
        self._post("/_simulator/faults", {"operation": operation, "when": "late", "kind": "reset", "seconds": seconds})

    def let_act(self, seconds: float) -> int:
        """Let so much time pass at the service, and what is late act; the number of calls that were late."""
        late = len(json.loads(self._open("GET", "/_simulator/late"))["late"])
        self._post("/_simulator/clock", {"advance_seconds": seconds})
        return late

    def be_well(self) -> None:
        """Have nothing refused any more."""
        self._open("DELETE", "/_simulator/faults")

    @property
    def _path(self) -> str:
        return "/api/" + self.api_base.split("/api/")[1]

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._open("POST", path, json.dumps(body).encode()))
        return answer

    def text_of(self, task_id: str) -> str:
        """A task of the platform partner as the service shows it, as JSON."""
        path = f"{self._path}/platform/tasks/{task_id}"
        return self._open("GET", path, bearer=self.token("platform")).decode()

    def _open(self, method: str, path: str, body: bytes | None = None, *, bearer: str = "") -> bytes:
        origin = self.api_base.split("/api/")[0]
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        request = urllib.request.Request(origin + path, data=body, method=method, headers=headers)  # noqa: S310 - ours
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content


@contextmanager
def station() -> Iterator[Station]:
    """Start both, and end them."""
    simulator = _start("-m", "gotsurge_async", "simulator", "--port", "0")
    try:
        api_base = _line(simulator.stdout).split()[-1]
        server = _start("-m", "tests.promise.forkserver")
        try:
            _line(server.stdout)
            yield Station(api_base, server)
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(30)
            _close(server)
    finally:
        simulator.terminate()
        simulator.wait(30)
        _close(simulator)


def _start(*words: str) -> "subprocess.Popen[bytes]":
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GOTSURGE_")}
    environment = plain | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root
    )


def _line(stream: IO[bytes] | None) -> str:
    assert stream is not None
    line = stream.readline().decode()
    assert line, "it ended before it said anything"
    return line


def _close(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@attrs.define
class Experiment:
    """One file of orders, and all that is done with it: each command's words are judged as it ends.

    Attributes:
        faults: all that the judge found.
        log: what was typed, and what was said.
        ahead: how many seconds the clocks of all commands are ahead of the machine's.
        settle: GOTSURGE_SETTLE of all commands, if it is set.
    """

    station: Station
    folder: Path
    mode: Mode
    prefix: str
    concurrency: int = 1
    count: int = ORDERS
    faults: Faults = Faults()
    log: list[str] = attrs.field(factory=list)
    ahead: float = 0.0
    settle: float | None = None
    _file: Path | None = None
    _typed: int = 0

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all orders."""
        return frozenset(f"{self.prefix}{number}" for number in range(self.count))

    @property
    def exactly_once(self) -> bool:
        """Whether everything must be created in the end, and nothing in doubt."""
        return self.mode is Mode.TWO_PHASE

    @property
    def file(self) -> Path:
        """The file of all orders."""
        if self._file is None:
            self.station.begin_anew()
            self.folder.mkdir(parents=True)
            self._file = write_orders(self.folder / "orders.csv", sorted(self.keys))
        return self._file

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "ledger.db"

    @property
    def register(self) -> Path:
        """The folder of the register of ledgers: each experiment is a machine of its own."""
        return self.folder / ".local" / "share" / "gotsurge"

    # --- commands ---------------------------------------------------------------------------------------------------

    def push(
        self,
        *words: str,
        file: Path | None = None,
        ledger: Path | None = None,
        rows: Collection[str] | None = None,
        **traps: Any,
    ) -> Finished:
        """Push a file, that of all orders unless said."""
        file = file or self.file
        return self._send(
            "push", file, *self._small, *words, ledger=ledger, rows=self.keys if rows is None else rows, **traps
        )

    def resume(self, **traps: Any) -> Finished:
        """Go on with the newest run."""
        return self._send("resume", "--last", **traps)

    def retry(self, run: str, **traps: Any) -> Finished:
        """Try the refused orders of a run again."""
        return self._send("retry", run, **traps)

    def results(self, run: str) -> Finished:
        """Write the result files of a run again."""
        done = self._type("results", run, "--out", self.folder / "out", "--json")
        if done.code == 0:
            self._judge(done, Words.said(None, done.out, status=self._status(done)))
        return done

    def reconcile(self, run: str) -> Finished:
        """Find out what became of the orders in doubt of a run, as far as reads tell."""
        done = self._type("reconcile", run, *self._place, "--rescan-after", "0", "--json")
        self._judge(done, None)
        return done

    def undo(self, run: str, *words: str, **traps: Any) -> Finished:
        """Cancel what a run created, as far as that may be."""
        done = self._type("undo", run, *words, *self._place, "--json", **traps)
        self._judge(attrs.evolve(done, code=KILLED) if "die" in traps else done, None)
        live = sorted(task.tracking_id for task in self.tasks() if task.live)
        if done.code == 0 and live:
            self.find(Faults(dishonest=(f"undo says that all is cancelled, and there are {live}",)))
        return done

    def resolve_as_absent(self, run: str) -> None:
        """Say of every order of a run that is in doubt that it was looked up, and is not there."""
        for row in rows_of(json.loads(self.results(run).out)):
            if row.file == "in_doubt":
                done = self._type("resolve", run, "--key", row.key, "--not-created", "--by", "Ng", "--json")
                assert done.code == 0, done

    def runs(self) -> list[str]:
        """The runs of the ledger, the newest first."""
        if not self.ledger.exists():
            return []
        done = self._type("runs", "--json")
        return [run["run"] for run in json.loads(done.out)] if done.code == 0 else []

    def wake(self, frozen: "Frozen") -> Finished:
        """Wake a push that was frozen, and judge what it says at its end."""
        report = self.station.ask({"wake": frozen.pid})
        done = self._finished(frozen.words, report["code"], frozen.number)
        self.log.append(str(done))
        self._judge(done, Words.said(done.code, done.out, status=self._status(done), rows=self.keys))
        return done

    def freeze(self, boundary: int, *, late: bool) -> "Frozen | None":
        """Push, and freeze at a boundary; None if the push came to its end before."""
        words = ("push", self.file)
        order, typed, number = self._order(*words, *self._small, *self._place, *self._told, freeze=boundary, late=late)
        report = self.station.ask(order)
        self.log.append(f"frozen at boundary {boundary}, late: {late}")
        return Frozen(report["pid"], typed, number) if report.get("stopped") else None

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Push the same file once more, and judge the end of it all."""
        done = self._type("push", self.file, *self._small, *self._place, *self._told)
        runs = json.loads(self._type("runs", "--json").out)  # each as `status` tells it
        status = next((run for run in runs if run["run"] == self._document(done).get("run")), None)
        words = Words.said(done.code, done.out, status=status, rows=self.keys)
        self._judge(done, None)
        self.find(judge_end(self.keys, self.tasks(), words, exactly_once=self.exactly_once))
        # What was not sent by one run was sent by another, and no run says any more that it is not there.
        for run in runs:
            for word in ("unprocessed", "in_doubt") if self.exactly_once else ("unprocessed",):
                if run[word]:
                    self.find(Faults(dishonest=(f"run {run['run']} says {run[word]} {word} in the end",)))

    def look_back(self) -> None:
        """Have the result files of every run written, and judge them: what they say must be so today."""
        for run in self.runs():
            self.results(run)

    def tasks(self) -> list[Task]:
        """What the service has of these orders."""
        return tasks_at(self.station.api_base, self.prefix)

    def unprocessed(self, run: str) -> tuple[Path, frozenset[str]] | None:
        """The file of what a run has not sent, with its keys; None if that is nothing."""
        done = self.results(run)
        document = json.loads(done.out) if done.code == 0 else None
        keys = frozenset(row.key for row in rows_of(document) if row.file == "unprocessed")
        return (Path(document["files"]["unprocessed"]), keys) if document and keys else None

    def other_name(self) -> Path:
        """The ledger by another name."""
        link = self.folder / "elsewhere" / "books.db"
        if not link.is_symlink():
            link.parent.mkdir()
            link.symlink_to(self.ledger)
        return link

    # --- how --------------------------------------------------------------------------------------------------------

    @property
    def _small(self) -> tuple[str, ...]:
        return ("--batch-size", "2", "--concurrency", str(self.concurrency), "--mode", str(self.mode))

    @property
    def _place(self) -> tuple[str, ...]:
        account = "platform" if self.mode is Mode.TWO_PHASE else "plain"
        return ("--env", "local", "--api-base", self.station.api_base, "--account", account)

    @property
    def _told(self) -> tuple[str | Path, ...]:
        return ("--out", self.folder / "out", "--json", "--quiet")

    def _send(
        self, *words: str | Path, ledger: Path | None = None, rows: Collection[str] | None = None, **traps: Any
    ) -> Finished:
        done = self._type(*words, *self._place, *self._told, ledger=ledger, **traps)
        if done.code == KILLED or (done.code == TIMED_OUT and "die_after" in traps):
            self._judge(attrs.evolve(done, code=KILLED), None)
        else:
            self._judge(done, Words.said(done.code, done.out, status=self._status(done), rows=rows))
        return done

    def _type(self, *words: str | Path, ledger: Path | None = None, **traps: Any) -> Finished:
        order, typed, number = self._order(*words, ledger=ledger, **traps)
        done = self._finished(typed, self.station.ask(order)["code"], number)
        self.log.append(str(done))
        return done

    def _order(
        self, *words: str | Path, ledger: Path | None = None, **traps: Any
    ) -> tuple[dict[str, Any], tuple[str, ...], int]:
        _ = self.file  # with its folder
        self._typed += 1
        number = self._typed
        typed = (*map(str, words), "--ledger", str(ledger or self.ledger))
        account = "platform" if self.mode is Mode.TWO_PHASE else "plain"
        order: dict[str, Any] = {
            "words": typed,
            "folder": str(self.folder),
            "environment": {
                "HOME": str(self.folder),
                "PATH": os.environ.get("PATH", ""),
                "GOTSURGE_BEARER_TOKEN": self.station.token(account),
            },
            "ahead": self.ahead,
            "boundaries": str(self.folder / f"{number}.boundaries"),
            "out": str(self.folder / f"{number}.out"),
            "err": str(self.folder / f"{number}.err"),
            **traps,
        }
        if self.settle is not None:
            order["environment"]["GOTSURGE_SETTLE"] = str(self.settle)
        return order, typed, number

    def _finished(self, words: tuple[str, ...], code: int, number: int) -> Finished:
        names = self.folder / f"{number}.boundaries"
        return Finished(
            words,
            code,
            (self.folder / f"{number}.out").read_text(),
            (self.folder / f"{number}.err").read_text(),
            tuple(json.loads(names.read_text())) if names.exists() else (),
        )

    def _status(self, done: Finished) -> Mapping[str, Any] | None:
        """What ``status`` says of the run that a command told of."""
        document = self._document(done)
        if "files" not in document:
            return None
        told = self._type("status", document["run"], "--json")
        if told.code:
            self.find(Faults(dishonest=(f"status knows nothing of run {document['run']}",)))
            return None
        status: Mapping[str, Any] = json.loads(told.out)
        return status

    def _document(self, done: Finished) -> Mapping[str, Any]:
        """What a command printed with ``--json``; nothing if it printed nothing."""
        try:
            document: Mapping[str, Any] = json.loads(done.out) if done.out.strip() else {}
        except ValueError:
            self.find(Faults(dishonest=(f"this is no JSON: {done.out}",)))
            return {}
        return document

    def _judge(self, done: Finished, words: Words | None) -> None:
        if "Traceback" in done.err or done.code in (BROKEN, TIMED_OUT):
            self.find(Faults(dishonest=(f"the command broke, or hung ({done.code})",)))
        self.find(judge(self.keys, self.tasks(), words))

    def find(self, faults: Faults) -> None:
        """Keep faults, with the command at which they were found."""
        if faults:
            self.log.append(f"    !! {faults}")
            self.faults += faults


@attrs.frozen
class Frozen:
    """A push that stands still."""

    pid: int
    words: tuple[str, ...]
    number: int
