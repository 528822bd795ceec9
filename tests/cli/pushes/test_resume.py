"""`gotsurge resume` and `gotsurge retry`, over real HTTP."""

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger, Push
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Fault
from tests.support.commands import Runner, Shell, write_orders
from tests.support.orders import orders
from tests.support.pushes import place

STOP = ("--max-spend", "100", "--batch-size", "1", "--concurrency", "1")
"""Two orders of SGD 48.50, and no more."""


def stopped(shell: Shell, *keys: str) -> str:
    """A run that was stopped after two orders."""
    done, summary = shell.push(*keys, words=STOP)
    assert (done.exit_code, summary["created"]) == (5, 2)
    return str(summary["run"])


@pytest.mark.parametrize("account", ["plain", "platform"])
def test_a_stopped_run_goes_on_in_its_mode(run: Runner, shell: Shell, account: str) -> None:
    """What was left is sent, each order once, by the account and in the mode of the push, though the file is gone."""
    shell = Shell(run, shell.simulator, shell.folder, account)
    run_id = stopped(shell, "A", "B", "C", "D", "E")
    (shell.folder / "orders.csv").unlink()
    by_its_account = Shell(run, shell.simulator, shell.folder)
    done = by_its_account.call("resume", run_id, "--out", shell.folder / "out", "--json", "--quiet")
    summary = shell.document(done)
    assert (done.exit_code, summary["run"], summary["created"], summary["orders"]) == (0, run_id, 5, 5)
    audit = shell.simulator.audit()
    assert (audit["tasks"], audit["doubled"]) == (5, {})
    assert ("platform.drafts.create" in audit["calls"]) == (account == "platform")
    # One order a call, as the push said.
    assert audit["calls"]["tasks.create" if account == "plain" else "platform.drafts.create"] == 5


def test_the_last_run_goes_on(shell: Shell) -> None:
    """--last is the newest run of the environment, reported as that of a push."""
    shell.push("X")
    run_id = stopped(shell, "A", "B", "C")
    done = shell.call("resume", "--last", "--out", shell.folder / "out")
    assert done.exit_code == 0
    assert f"run {run_id}, 3 orders" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 created"
    assert "1 order to send, in direct mode: at most once" in done.stderr
    again = shell.call("resume", "--last", "--out", shell.folder / "out", "--json", "--quiet")
    assert (again.exit_code, shell.document(again)["created"]) == (0, 3)
    assert shell.simulator.audit()["tasks"] == 4


def test_limits_hold_for_a_resume_too(shell: Shell) -> None:
    """A resume has brakes of its own, which count what the run did before: exit 5."""
    run_id = stopped(shell, "A", "B", "C", "D")
    done = shell.call("resume", run_id, "--out", shell.folder / "out", "--max-spend", "150", "--json")
    assert (done.exit_code, shell.document(done)["created"]) == (5, 3)


def test_what_is_in_doubt_is_not_sent(shell: Shell) -> None:
    """A resume leaves doubts as they are: exit 3."""
    run_id = shell.push_lost("A", "B")
    done = shell.call("resume", run_id, "--out", shell.folder / "out", "--json", "--quiet")
    assert (done.exit_code, shell.document(done)["in_doubt"]) == (3, 2)
    assert shell.simulator.audit()["tasks"] == 2


def test_another_environment_is_refused(shell: Shell) -> None:
    """A run is not sent to a place that it was not meant for: exit 2, and nothing is sent."""
    run_id = stopped(shell, "A", "B", "C")
    other = shell.run("resume", run_id, *shell.ledger, "--env", "sandbox", GOTSURGE_BEARER_TOKEN="token")
    assert (other.exit_code, f"run {run_id} belongs to local" in other.stderr) == (2, True)
    shell.run("push", shell.folder / "orders.csv", "--simulate", *shell.ledger, "--out", shell.folder / "out")
    simulated = shell.document(shell.on_ledger("runs", "--json", "--env", "simulator"))[0]["run"]
    gone = shell.call("resume", simulated)
    assert (gone.exit_code, "throw-away" in gone.stderr) == (2, True)
    assert shell.run("resume", run_id, *shell.ledger).exit_code == 2
    assert shell.simulator.audit()["tasks"] == 2


@pytest.mark.parametrize("words", [(), ("RUN", "--last")])
def test_it_must_be_said_which_run(shell: Shell, words: tuple[str, ...]) -> None:
    """Neither a run nor --last, or both, is wrong usage."""
    assert shell.call("resume", *words).exit_code == 2


def test_there_may_be_no_last_run(shell: Shell) -> None:
    """A ledger without a run of the environment is reported."""
    shell.run("push", Path("/dev/null"), "--format", "csv", "--simulate", *shell.ledger, "--out", shell.folder / "out")
    shell.push("A")
    done = shell.run("resume", "--last", *shell.ledger, "--env", "sandbox", GOTSURGE_BEARER_TOKEN="token")
    assert (done.exit_code, "no run in sandbox" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["reconcile", "undo", "resume"])
def test_a_run_in_other_hands_is_exit_6(shell: Shell, command: str) -> None:
    """The holder and the run are in the document, and nothing is done."""
    run_id = stopped(shell, "A", "B", "C")

    async def hold() -> Result:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger, await ledger.hold(run_id):
            return await asyncio.to_thread(shell.call, command, run_id, "--json")

    done = asyncio.run(hold())
    document = shell.document(done)
    assert (done.exit_code, document["exit"], document["run"]) == (6, 6, run_id)
    assert f"held by process {os.getpid()}" in document["error"]
    assert shell.simulator.audit()["tasks"] == 2


def test_refused_orders_are_tried_again(shell: Shell) -> None:
    """A new run has only the refused orders, from the ledger, and creates them; the old one is as it was."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    done, summary = shell.push("A", "B", "C", words=("--batch-size", "2", "--concurrency", "1"))
    assert (done.exit_code, summary["refused"]) == (1, 2)
    (shell.folder / "orders.csv").unlink()
    again = shell.call("retry", summary["run"], "--out", shell.folder / "out", "--json", "--quiet")
    document = shell.document(again)
    assert (again.exit_code, document["created"], document["orders"]) == (0, 2, 2)
    assert document["run"] != summary["run"]
    assert Path(document["files"]["created"]).read_text().count("\n") == 3
    assert shell.simulator.audit()["tasks"] == 3
    assert shell.document(shell.on_ledger("status", document["run"], "--json"))["options"]["retry_of"] == summary["run"]
    # They are created by now.
    third = shell.call("retry", summary["run"], "--out", shell.folder / "out", "--json")
    assert (third.exit_code, "has no refused orders" in shell.document(third)["error"]) == (2, True)


def test_a_retry_has_left_nothing_out(shell: Shell) -> None:
    """The rows that the first push left out, and its undo, are not of the new run, which has sent everything."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    file = write_orders(shell.folder / "orders.csv", ["A", "B", "bad"])
    file.write_text("SGD".join(file.read_text().rsplit("SGD", 1)[:1]) + "sgd\n")
    words = ("--leave-faulty", "--batch-size", "1", "--concurrency", "1", "--json", "--quiet")
    done = shell.call("push", file, "--faults", "left.csv", *words)
    document = shell.document(done)
    assert (done.exit_code, document["refused"], document["left_out"]) == (5, 1, 1)
    assert shell.call("undo", document["run"], "--yes").exit_code == 0
    again = shell.call("retry", document["run"], "--json", "--quiet")
    assert (again.exit_code, shell.document(again)["created"], shell.document(again)["left_out"]) == (0, 1, 0)
    options = shell.document(shell.on_ledger("status", shell.document(again)["run"], "--json"))["options"]
    assert not {"left_out", "undo"} & options.keys()


def test_a_retry_can_split(shell: Shell) -> None:
    """What was held for one bad order is created, and the bad one is alone."""
    simulator = shell.simulator
    simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    _, summary = shell.push("A", "B", "C", "D")
    assert summary["refused"] == 4
    # The whole chunk, the half with the bad one, and the bad one itself.
    for calls in (0, 1, 2):
        simulator.order_fault(
            Fault(operation="tasks.create", when="before", kind="status", status=422, after_calls=calls, times=1)
        )
    words = ["--on-refused-chunk", "split", "--concurrency", "1", "--out", shell.folder / "out", "--json", "--quiet"]
    done = shell.call("retry", summary["run"], *words)
    document = shell.document(done)
    assert (done.exit_code, document["created"], document["refused"]) == (1, 3, 1)


def test_the_last_run_is_the_last_that_was_begun(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back does not bring an older run to the front, neither for --last nor in the list."""
    shell.push("X")
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime(2001, 2, 3, tzinfo=UTC))
    _, summary = shell.push("A")
    monkeypatch.undo()
    done = shell.call("resume", "--last", "--out", shell.folder / "out", "--json", "--quiet")
    assert shell.document(done)["run"] == summary["run"]
    assert summary["run"].startswith("2001")
    assert shell.document(shell.on_ledger("runs", "--json"))[0]["run"] == summary["run"]


def test_orders_are_kept_as_they_are_sent_and_compressed_if_asked(shell: Shell) -> None:
    """A chunk of the ledger is a call of the push, also of a retry; --compact shows nowhere but in the size."""

    def kept() -> list[tuple[int, int]]:
        with closing(sqlite3.connect(shell.folder / "ledger.db")) as database:
            return database.execute(
                "SELECT length(states), packed FROM chunks JOIN bodies ON chunk = id ORDER BY id"
            ).fetchall()

    words = ("--batch-size", "3", "--mode", "direct")
    shell.push("P", "Q", "R", "S", words=words)
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=400, times=1))
    done, summary = shell.push("A", "B", "C", "D", words=(*words, "--compact", "--concurrency", "1"))
    assert (done.exit_code, summary["refused"], summary["created"]) == (1, 3, 1)
    assert kept() == [(3, 0), (1, 0), (3, 1), (1, 1)]
    refused = Path(summary["files"]["refused"]).read_text().splitlines()
    assert [line.partition(",")[0] for line in refused] == ["tracking_id", "A", "B", "C"]
    again = shell.call("retry", summary["run"], "--out", shell.folder / "out", "--json", "--quiet")
    assert (again.exit_code, shell.document(again)["created"]) == (0, 3)
    assert kept()[4:] == [(3, 1)]
    done, summary = shell.push("A", "B", "C", "D")
    assert (done.exit_code, summary["already_pushed"]) == (0, 4)
    assert shell.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize(("size", "chunks"), [(7, [7] * 145 + [5]), (20, [20] * 51)])
async def test_no_chunk_is_cut_by_the_blocks_that_are_read(tmp_path: Path, size: int, chunks: list[int]) -> None:
    """A call of a push is one chunk of its run, whatever its size."""
    async with place(tmp_path) as at:
        run, _ = await Push(at.gs, at.ledger, chunk=size).load_orders(orders(1020))
        await run.close()
    with closing(sqlite3.connect(at.ledger.path)) as database:
        found = database.execute("SELECT length(states) FROM chunks ORDER BY id").fetchall()
    assert [length for (length,) in found] == chunks


def test_the_rate_of_a_run_that_workers_send_is_that_of_its_push(shell: Shell) -> None:
    """Another one is not taken and forgotten: it is refused, with what takes it."""
    done = shell.call("resume", "R", "--distributed", "--rate", "5")
    assert done.exit_code == 2
    assert "pass --rate to gotsurge worker" in done.stderr
