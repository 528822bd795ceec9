"""`gotsurge tasks cancel` of a task that the ledger does not know, and that it cannot note."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.ledger import Ledger, LedgerBusy, LedgerError, LedgerUnusable
from gotsurge_async.simulator import Fault, Simulator
from tests.cli.service.test_tasks import order
from tests.support.commands import Runner, local


class Place:
    """A task that a ledger does not know, and the command that cancels it."""

    def __init__(self, run: Runner, simulator: Simulator, folder: Path) -> None:
        self.file = folder / "ledger.db"
        self._run = run
        self._where = [*local(simulator), "--ledger", str(self.file)]
        assert run("tasks", "create", "-", *self._where, stdin=json.dumps(order("B"))).exit_code == 0
        made = run("drafts", "create", "-", *local(simulator), "--json", stdin=json.dumps(order("A")))
        (self._task,) = [row["id"] for row in json.loads(made.stdout)["orders"]]

    def cancel(self) -> Result:
        """Cancel the task."""
        return self._run("tasks", "cancel", self._task, "--reason", "wrong", "--account", "platform", *self._where)


@pytest.fixture
def at(run: Runner, simulator: Simulator, tmp_path: Path) -> Place:
    """The place of these tests."""
    return Place(run, simulator, tmp_path)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, error: LedgerError, *, after: int = 0) -> None:
    """Let the ledger fail at a write, after some that succeed."""
    method, left = getattr(Ledger, name), [None] * after

    async def fail(self: Ledger, *words: Any, **more: Any) -> Any:
        if not left:
            raise error
        left.pop()
        return await method(self, *words, **more)

    monkeypatch.setattr(Ledger, name, fail)


@pytest.mark.parametrize("error", [LedgerUnusable("disk is full"), LedgerBusy("is locked")])
@pytest.mark.usefixtures("at_once")
def test_a_task_is_cancelled_though_it_cannot_be_noted(
    at: Place, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, error: LedgerError
) -> None:
    """A driver may be on the way: it is said that the cancel is not noted."""
    failing(monkeypatch, "begin_cancel", error)
    done = at.cancel()
    said = f"the ledger cannot note this cancel: {error}"
    assert (done.exit_code, said in done.stderr) == (0, True), done.output
    assert simulator.audit()["calls"]["tasks.cancel"] == 1


@pytest.mark.usefixtures("at_once")
def test_a_lost_cancel_stays_unknown_when_the_ledger_fails_then(
    at: Place, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try was noted, and may act: exit 3, as without the failure."""
    failing(monkeypatch, "begin_cancel", LedgerUnusable("disk is full"), after=1)
    simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60))
    done = at.cancel()
    assert (done.exit_code, "the connection broke" in done.stderr) == (3, True), done.output


def test_a_refusal_is_told_though_the_note_cannot_be_forgotten(
    at: Place, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service's answer matters; the note ends by itself."""
    failing(monkeypatch, "forget_cancels", LedgerUnusable("disk is full"))
    simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=403))
    done = at.cancel()
    assert ("HTTP 403" in done.stderr, "disk is full" in done.stderr) == (True, False), done.output


@pytest.mark.parametrize("is_open", [False, True])
def test_a_cancel_does_not_wait_long_for_other_writers(
    at: Place, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    """Another process writes to the ledger for minutes, already or since the ledger was opened."""
    monkeypatch.setattr("gotsurge_async.cli.service.tasks._NOTING", 0.5)
    begin = Ledger.begin_cancel
    with closing(sqlite3.connect(at.file, isolation_level=None, check_same_thread=False)) as other:

        async def late(self: Ledger, *words: Any, **more: Any) -> Any:
            other.execute("BEGIN IMMEDIATE")
            return await begin(self, *words, **more)

        if is_open:
            monkeypatch.setattr(Ledger, "begin_cancel", late)
        else:
            other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        done = at.cancel()
        assert time.monotonic() - began < 10
        assert (done.exit_code, "other processes are writing to it" in done.stderr) == (0, True), done.output
        assert simulator.audit()["calls"]["tasks.cancel"] == 1


def test_a_draft_in_use_is_not_cancelled_and_its_note_forgotten(
    at: Place, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so nothing may act."""

    async def in_use(*_: Any, **__: Any) -> dict[str, str]:
        return dict.fromkeys((task["id"] for task in simulator.tasks()), "RUN-2")

    forgotten: list[str] = []

    async def forget(_: Ledger, task_ids: Any, by: int) -> None:
        forgotten.extend(task_ids)

    monkeypatch.setattr(Ledger, "begin_cancel", in_use)
    monkeypatch.setattr(Ledger, "forget_cancels", forget)
    done = at.cancel()
    assert (done.exit_code, len(forgotten)) == (6, 1), done.output
