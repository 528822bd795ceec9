"""`gotsurge watch`: a run, live, until all of it is at its end."""

import asyncio
import json
import os
import pty
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async.cli.afterwards.watch import Watching
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.webhooks.book import Book
from tests.support.commands import Shell, gotsurge, local, start, write_orders
from tests.support.running import running_simulator


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the book twenty times a second."""
    monkeypatch.setattr("gotsurge_async.cli.afterwards.watch.EVERY", 0.05)


QUICK = ("--read-rate", "200", "--read-after", "0")


def move_all(simulator: Simulator, status: str) -> None:
    """Bring every task to a status, through those between."""
    for task in simulator.tasks():
        simulator.move(task["id"], status, through=True)


def test_it_ends_when_all_were_delivered(shell: Shell) -> None:
    """With exit code 0, and a document of the end; it reads by itself."""
    _, summary = shell.push("A", "B", "C")
    move_all(shell.simulator, "complete")
    done = shell.call("watch", summary["run"], *QUICK, "--json")
    assert done.exit_code == 0, done.output
    assert shell.document(done) == {
        "run": summary["run"],
        "orders": 3,
        "statuses": {"complete": 3},
        "in_doubt": 0,
        "without_task": 0,
        "others": {},
        "exit": 0,
    }


def test_what_was_not_delivered_is_in_the_exit_code(shell: Shell) -> None:
    """1 where an order ended otherwise, 3 where some are in doubt, 5 where the time was over."""
    _, summary = shell.push("A", "B")
    one, other = shell.simulator.tasks()
    stopped = shell.call("watch", summary["run"], *QUICK, "--timeout", "0.1")
    assert stopped.exit_code == 5
    assert "2 broadcasting" in stopped.stderr
    shell.simulator.move(one["id"], "complete", through=True)
    shell.simulator.move(other["id"], "cancelled")
    done = shell.call("watch", summary["run"], *QUICK)
    assert done.exit_code == 1, done.output
    assert "1 complete, 1 cancelled" in done.stderr
    run_id = shell.push_lost("C")
    assert shell.call("watch", run_id, *QUICK).exit_code == 3


def test_what_was_never_delivered_is_no_success(shell: Shell) -> None:
    """Refused and unprocessed orders count as ended otherwise, also where the run has nothing else."""
    for status, words, word in ((422, (), "refused"), (403, ("--mode", "direct"), "unprocessed")):
        shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=status))
        _, summary = shell.push("A", "B", words=words)
        shell.simulator.clear_faults()
        done = shell.call("watch", summary["run"], *QUICK, "--json")
        assert (done.exit_code, shell.document(done)["others"]) == (1, {word: 2}), done.output
        assert shell.document(done)["without_task"] == 2


def test_what_another_run_pushed_is_counted_and_not_followed(shell: Shell) -> None:
    """Its task belongs to that run; only the run's own orders are reported."""
    shell.push("A", "B")
    _, again = shell.push("A", "B", "C")
    move_all(shell.simulator, "complete")
    done = shell.call("watch", again["run"], *QUICK)
    assert done.exit_code == 1, done.output
    assert f"run {again['run']}: 1 complete, 2 already pushed\n" in done.stderr
    assert {line.split("\t")[2] for line in done.stdout.splitlines()[1:]} == {"C"}
    document = shell.document(shell.call("watch", again["run"], *QUICK, "--json"))
    assert (document["others"], document["without_task"]) == ({"already_pushed": 2}, 0)


def test_a_doubt_that_has_a_task_takes_the_place_of_no_other_order(shell: Shell) -> None:
    """An order whose cancel was not answered has a task, and is counted beside those of other runs."""
    shell.push("A")
    _, again = shell.push("A", "B")
    shell.simulator.order_fault(Fault(operation="tasks.cancel", kind="reset"))
    shell.call("undo", again["run"], "--yes")
    done = shell.call("watch", again["run"], *QUICK, "--timeout", "0.1", "--json")
    document = shell.document(done)
    assert (document["in_doubt"], document["others"]) == (1, {"already_pushed": 1}), done.output


def test_a_reading_of_the_ledger_that_the_timeout_cut_short_is_made_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown at the end counts every order of the run."""
    shell.push("A", "B")
    _, again = shell.push("A", "B", "C")
    take_in, calls = Book.take_in, list[str]()

    async def slow_once(book: Book, *words: Any, **options: Any) -> int:
        calls.append("take in")
        if len(calls) == 2:  # the first one opens the book
            await asyncio.sleep(60)
        return await take_in(book, *words, **options)

    monkeypatch.setattr(Book, "take_in", slow_once)
    stopped = shell.call("watch", again["run"], *QUICK, "--timeout", "0.5")
    assert (stopped.exit_code, "1 broadcasting, 2 already pushed" in stopped.stderr) == (5, True), stopped.output


def test_what_was_taken_back_and_pushed_again_is_cancelled_in_its_run(shell: Shell) -> None:
    """Once, whatever becomes of its key elsewhere."""
    _, summary = shell.push("A")
    assert shell.call("undo", summary["run"], "--yes", "--reason", "wrong file").exit_code == 0
    shell.push("A")
    done = shell.call("watch", summary["run"], *QUICK, "--timeout", "5", "--json")
    assert (done.exit_code, shell.document(done)["statuses"], shell.document(done)["others"]) == (
        1,
        {"cancelled": 1},
        {},
    )


def test_an_archived_run_is_watched_only_where_the_book_knows_it(shell: Shell) -> None:
    """Else exit code 2, and where its orders are."""
    _, summary = shell.push("A")
    move_all(shell.simulator, "complete")
    archive = ("--before", "2100-01-01", *shell.ledger)
    assert shell.run("ledger", "archive", *archive).exit_code == 0
    done = shell.call("watch", summary["run"], *QUICK)
    assert (done.exit_code, str(shell.folder / "ledger-archive.db") in done.stderr) == (2, True), done.output
    _, known = shell.push("B")
    move_all(shell.simulator, "complete")
    assert shell.call("watch", known["run"], *QUICK).exit_code == 0
    assert shell.run("ledger", "archive", *archive).exit_code == 0
    assert shell.call("watch", known["run"], *QUICK).exit_code == 0


def test_steps_are_lines_in_a_pipe(shell: Shell) -> None:
    """Each step that was seen while it watched: when, which order, what it became, what it was."""
    _, summary = shell.push("A")
    move_all(shell.simulator, "accepted")
    move_all(shell.simulator, "unsuccessful_pickup")
    done = shell.call("watch", summary["run"], *QUICK)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["AT", "TASK", "TRACKING ID", "STATUS", "BEFORE"]
    assert [(line[2], line[3], line[4]) for line in lines[1:]] == [
        ("A", "broadcasting", ""),
        ("A", "accepted", "broadcasting"),
        ("A", "pending_pickup", "accepted"),
        ("A", "pickup_arriving", "pending_pickup"),
        ("A", "unsuccessful_pickup", "pickup_arriving"),
    ]
    again = shell.call("watch", summary["run"], *QUICK)
    assert again.stdout.splitlines() == ["\t".join(lines[0])]
    assert again.exit_code == 1


def test_what_is_counted_was_shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of a task that was read just before its order was counted, the last one that was open."""
    _, summary = shell.push("A")
    move_all(shell.simulator, "complete")
    count = Watching._count

    async def after_a_read(watching: Watching) -> None:
        if watching._reads is not None:
            await watching._reads.once(100, run=summary["run"])
        await count(watching)

    async def nothing(watching: Watching, at_once: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Watching, "read_on", nothing)
    monkeypatch.setattr(Watching, "_count", after_a_read)
    done = shell.call("watch", summary["run"], *QUICK)
    assert done.stdout.splitlines()[-1].split("\t")[3] == "complete"


def test_a_platform_partners_run_is_read_as_such(platform_shell: Shell) -> None:
    """In two-phase mode, by the account that it was made with."""
    _, summary = platform_shell.push("A", words=("--mode", "two-phase"))
    move_all(platform_shell.simulator, "complete")
    done = platform_shell.call("watch", summary["run"], *QUICK, "--json")
    assert (done.exit_code, json.loads(done.stdout)["statuses"]) == (0, {"complete": 1})


def test_without_reads_it_shows_what_others_have_read(shell: Shell) -> None:
    """--read-rate 0 needs nobody to sign in, nor a service that answers."""
    with running_simulator() as gone:
        shell = attrs.evolve(shell, simulator=gone)
        _, summary = shell.push("A")
    done = shell.call("watch", summary["run"], "--read-rate", "0", "--timeout", "0")
    assert done.exit_code == 5, done.output
    assert "1 broadcasting" in done.stderr
    assert shell.call("watch", summary["run"]).exit_code == 8


def test_it_leaves_reading_to_a_receiver(shell: Shell) -> None:
    """While some program says that it reads the account, nothing is asked; when its time is over, it is."""
    _, summary = shell.push("A")
    move_all(shell.simulator, "complete")

    async def say(seconds: float) -> None:
        async with Book.open(shell.folder / "ledger.book.db") as book:
            await book.say_reading(["local/plain", "local/other"], datetime.now(UTC) + timedelta(seconds=seconds))

    asyncio.run(say(600))
    done = shell.call("watch", summary["run"], *QUICK, "--timeout", "0.5")
    assert (done.exit_code, shell.simulator.audit()["calls"].get("tasks.get", 0)) == (5, 0)
    asyncio.run(say(0))
    assert shell.call("watch", summary["run"], *QUICK).exit_code == 0


@pytest.mark.parametrize("words", [("NO-RUN",), ("NO-RUN", "--ledger", "none.db")])
def test_a_run_that_is_not_there_is_reported(shell: Shell, words: tuple[str, ...]) -> None:
    """With exit code 2."""
    shell.push("A")
    place = () if "--ledger" in words else shell.ledger
    done = shell.run("watch", *words, *place, *shell.place)
    assert done.exit_code == 2, done.output


@pytest.mark.slow
async def test_a_terminal_shows_it_live(tmp_path: Path) -> None:
    """Counts, what changed, and who reads are drawn anew; Ctrl-C ends it with 130, and the cursor is there again."""
    async with Simulator() as simulator:
        options = (*local(simulator), "--ledger", str(tmp_path / "ledger.db"))
        orders = write_orders(tmp_path / "orders.csv", ["A", "B"])
        pushed = await gotsurge("push", orders, *options, "--json", "--quiet", cwd=tmp_path)
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        env = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        words = ("watch", pushed.document["run"], *options, *QUICK)
        process = await start(*words, cwd=tmp_path, env=env, stdout=theirs)
        os.close(theirs)
        seen = b""
        changed = asyncio.Event()

        def read() -> None:
            nonlocal seen
            try:
                seen += os.read(ours, 1 << 16)
            except OSError:  # its other end is closed
                asyncio.get_running_loop().remove_reader(ours)
            changed.set()

        async def shows(text: bytes) -> None:
            while text not in seen:
                changed.clear()
                await asyncio.wait_for(changed.wait(), 30)

        asyncio.get_running_loop().add_reader(ours, read)
        try:
            await shows(b"2 orders, 2 open")
            first, _ = simulator.tasks()
            simulator.move(first["id"], "accepted")
            await shows("Broadcasting → Accepted".encode())
            process.send_signal(2)
            assert await asyncio.wait_for(process.wait(), 30) == 130
            await shows(b"\x1b[?25h")
        finally:
            asyncio.get_running_loop().remove_reader(ours)
            os.close(ours)
            if process.returncode is None:
                process.kill()
            await process.communicate()
