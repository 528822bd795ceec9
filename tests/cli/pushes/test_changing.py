"""`gotsurge push --replace-changed` that is interrupted, or whose ledger fails: tasks may have been changed by then."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async.after.replace import Replaced
from gotsurge_async.bulk import Run
from gotsurge_async.cli.pushes import changing
from gotsurge_async.ledger import LedgerUnusable
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import Shell, finish, gotsurge, local, start, write_orders

KEYS = ["A", "B"]


@pytest.fixture
def platform(shell: Shell) -> Shell:
    """A shell of a platform partner."""
    return attrs.evolve(shell, account="platform")


def dearer(folder: Path, *more: str) -> Path:
    """The file of two orders with another price, and of new orders."""
    file = write_orders(folder / "orders.csv", [*KEYS, *more])
    file.write_text(file.read_text().replace("48.50", "77.00"))
    return file


def prices(shell: Shell) -> list[int]:
    """The prices of all tasks at GotSurge."""
    return sorted(task["price"] for task in shell.document(shell.run("tasks", "list", *shell.place, "--json")))


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupt_while_tasks_are_changed_reports_what_was_changed(
    tmp_path: Path, number: int, code: int, twice: bool
) -> None:
    """The first one lets the update end, and begins no other; after the second one the task may have been changed."""
    write_orders(tmp_path / "orders.csv", KEYS)
    async with Simulator() as simulator:
        at = [*local(simulator), "--account", "platform", "--json"]
        place = [*at, "--ledger", "ledger.db"]

        async def read_prices() -> list[int]:
            return sorted(task["price"] for task in (await gotsurge("tasks", "list", *at, cwd=tmp_path)).document)

        await gotsurge("push", "orders.csv", *place, cwd=tmp_path)
        dearer(tmp_path, "NEW")
        seconds = 30 if twice else 1
        simulator.order_fault(Fault(operation="platform.tasks.update", when="after", kind="delay", seconds=seconds))
        words = ["push", "orders.csv", *place, "--replace-changed", "--quiet"]
        process = await start(*words, "--concurrency", "1", cwd=tmp_path)
        await simulator.called("platform.tasks.update")
        process.send_signal(number)
        if twice:
            assert process.stderr is not None
            assert b"stopping" in await process.stderr.readline()
            process.send_signal(number)
        done = await finish(process)
        document = done.document
        assert (done.code, "nothing was sent" in done.err) == (code, False)
        counts = document["already_pushed"], document["changed"], document["unprocessed"]
        assert counts == ((0, 2, 1) if twice else (1, 1, 1))
        assert ("1 task may or may not have been changed" in done.err) == twice
        reasons = [reason["reason"] for reason in document["reasons"] if reason["verdict"] == "changed"]
        assert any("an update" in reason for reason in reasons) == twice
        assert await read_prices() == [4_850_000, 7_700_000]
        simulator.clear_faults()
        again = await gotsurge(*words, cwd=tmp_path)
        assert (again.code, again.document["already_pushed"], again.document["created"]) == (0, 2, 1)
        assert await read_prices() == [7_700_000] * 3


def test_an_interrupt_while_the_changed_tasks_are_counted_says_that_they_may_have_been(
    platform: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third one: nothing was sent, and the same command finds out what was changed."""
    platform.push(*KEYS)

    async def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.1)  # in which the loop reads the signal
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)

    for name in ("replace_changed", "count_uncertain"):
        monkeypatch.setattr(changing, name, interrupted)
    again = ["push", dearer(platform.folder, "NEW"), *platform.place, *platform.ledger, "--replace-changed", "--quiet"]
    done = platform.run(*again, "--json")
    document = platform.document(done)
    run = document["run"]
    why = f"interrupted: tasks may or may not have been changed, and no order was sent (run {run})"
    assert (done.exit_code, document["error"], document["explain"]) == (130, why, ["E112"])
    assert document["next"] == [" ".join(["gotsurge", *map(str, again)])]


@pytest.mark.slow
def test_an_interrupt_while_tasks_are_changed_puts_nothing_up_for_workers(
    platform: Shell, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    """The run waits for a resume, and no worker sends its orders meanwhile."""
    shell = attrs.evolve(platform, database=database)
    assert shell.on_ledger("db", "upgrade").exit_code == 0
    shell.push(*KEYS)
    change = changing.change_tasks

    async def interrupted(*given: Any) -> Replaced:
        done = await change(*given)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.1)  # in which the loop reads the signal
        return done

    monkeypatch.setattr(changing, "change_tasks", interrupted)
    words = ("--replace-changed", "--distributed", "--no-wait", "--out", "out", "--json", "--quiet")
    done = shell.run("push", dearer(shell.folder, "NEW"), *shell.place, *shell.ledger, *words)
    document = shell.document(done)
    assert (done.exit_code, document["already_pushed"], document["unprocessed"]) == (130, 2, 1)
    assert shell.document(shell.on_ledger("runs", "--json"))[0]["state"] == "ready"


@pytest.mark.parametrize(
    ("failing", "code", "words"),
    [
        (("replace",), 3, "1 task may or may not have been changed"),
        (("note_text",), 5, "nothing is in doubt"),
        (("replace", "rivals"), 3, "the tasks that were being changed may have been changed"),
    ],
)
def test_a_ledger_that_fails_while_tasks_are_changed_is_a_document(
    platform: Shell, monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...], code: int, words: str
) -> None:
    """It says which tasks may have been changed, names the run, and the same push, which changes the rest."""
    platform.push(*KEYS)
    file = dearer(platform.folder, "NEW")
    rivals = Run.rivals

    async def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(Run, "rivals", fail if "rivals" in failing else rivals)
        raise LedgerUnusable("the disk is full", "E503", path="ledger.db")

    again = ["push", file, *platform.place, *platform.ledger, "--out", platform.folder / "out", "--replace-changed"]
    with monkeypatch.context() as full:
        for write in set(failing) - {"rivals"}:
            full.setattr(Run, write, fail)
        done = platform.run(*again, "--concurrency", "1", "--json", "--quiet")
    monkeypatch.undo()
    document = platform.document(done)
    assert (done.exit_code, document["exit"]) == (code, code), done.output
    run_id = document["run"]
    ending = f"{words}; no further task was changed, and no order was sent (run {run_id})"
    assert document["error"] == f"ledger ledger.db: the disk is full\n{ending}"
    assert document["next"] == [" ".join(["gotsurge", *map(str, again), "--concurrency 1 --quiet"])]
    assert document["explain"] == ["E503"]
    assert (prices(platform) == [4_850_000, 7_700_000]) == (code == 3)
    shown = platform.document(platform.on_ledger("runs", "--json"))
    assert run_id == shown[0]["run"]
    ended = platform.run(*again, "--json")
    assert (ended.exit_code, prices(platform)) == (0, [7_700_000] * 3)
