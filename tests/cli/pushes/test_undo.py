"""`gotsurge undo`, over real HTTP."""

import asyncio
import os
import shlex
import signal
from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger, OrderState, Run, Undo
from gotsurge_async.ledger import LedgerUnusable, OrderOutcome
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import Shell, finish, gotsurge, local, start, write_orders
from tests.support.terminal import at_a_terminal


def test_an_undo_cancels_and_tells(shell: Shell) -> None:
    """Cancelled orders are exit 0; what was too late is named with its status, exit 1; JSON lists each order."""
    _, summary = shell.push("A", "B", "C")
    done = shell.call("undo", summary["run"], "--reason", "wrong file")
    assert (done.exit_code, done.stdout) == (0, f"run {summary['run']}: 3 cancelled\n")
    _, summary = shell.push("D", "E")
    document = shell.document(shell.on_ledger("status", summary["run"], "--json"))
    assert document["created"] == 2
    task_id = Path(summary["files"]["created"]).read_text().splitlines()[1].split(",")[-3]
    shell.simulator.move(task_id, "accepted")
    late = shell.call("undo", summary["run"])
    assert late.exit_code == 1
    assert "1 cancelled, 1 too late" in late.stdout
    assert f"D\t{task_id}\taccepted" in late.stdout
    document = shell.document(shell.call("undo", summary["run"], "--json"))
    assert (len(document["already_cancelled"]), len(document["too_late"]), document["stopped_by"]) == (1, 1, None)


def test_an_order_of_another_run_is_not_called_cancelled(shell: Shell) -> None:
    """Named by its key it is exit 1, with the command that undoes it; without --key it is only mentioned."""
    _, first = shell.push("A b", "B")
    _, second = shell.push("A b", "B", "C")
    named = shell.call("undo", second["run"], "--key", "A b", "--key", "C")
    assert named.exit_code == 1
    assert named.stdout.startswith(f"run {second['run']}: 1 cancelled, 1 in other runs\n")
    assert f"it is created in run {first['run']}" in named.stdout
    (step,) = (line for line in named.stderr.splitlines() if "gotsurge undo" in line)
    words = shlex.split(step.partition(": ")[2])
    assert (words[:3], words[-2:]) == (["gotsurge", "undo", first["run"]], ["--key", "A b"])
    whole = shell.call("undo", second["run"])
    assert (
        whole.exit_code,
        f"2 orders were sent by other runs, and not cancelled: {first['run']} (2)" in whole.stderr,
    ) == (
        0,
        True,
    )
    assert len(shell.document(shell.call("undo", second["run"], "--json"))["elsewhere"]) == 2
    done = shell.run(*words[1:])
    assert (done.exit_code, done.stdout) == (0, f"run {first['run']}: 1 cancelled\n")


@pytest.mark.usefixtures("at_once")
def test_an_order_that_waits_in_another_run_is_not_called_cancelled(shell: Shell) -> None:
    """That run would send it: its status is the next command, since an undo leaves what waits."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=401))
    _, first = shell.push("A")
    _, second = shell.push("A")
    shell.simulator.clear_faults()
    done = shell.call("undo", first["run"], "--key", "A", "--json")
    document = shell.document(done)
    assert (done.exit_code, document["elsewhere"][0]["state"]) == (1, "pending")
    assert [command.split()[:3] for command in document["next"]] == [["gotsurge", "status", second["run"]]]


@pytest.mark.usefixtures("at_once")
def test_a_named_order_that_was_not_sent_is_not_called_cancelled(shell: Shell) -> None:
    """A resume would send it: exit 1, with the reason."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=401))
    _, summary = shell.push("A")
    done = shell.call("undo", summary["run"], "--key", "A")
    assert (done.exit_code, "nothing was cancelled: the order was not sent yet" in done.stdout) == (1, True)


@pytest.mark.usefixtures("at_once")
def test_an_undo_stops_where_nobody_is_signed_in(shell: Shell) -> None:
    """A token that is refused ends it with exit 4."""
    _, summary = shell.push("A")
    shell.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=401))
    done = shell.call("undo", summary["run"])
    assert (done.exit_code, "stopped: " in done.stderr) == (4, True)


def test_a_plain_partners_undo_names_no_reading(shell: Shell) -> None:
    """There is no Task List, and no recorded task: the commands for orders in doubt are those of the push."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
    _, summary = shell.push("A", GOTSURGE_SETTLE="0")
    document = shell.document(shell.call("undo", summary["run"], "--json"))
    names = [[command.split()[1] for command in each["next"]] for each in (document, summary)]
    assert (document["exit"], names) == (3, [["undo", *names[1]], ["resolve", "receive"]])


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("words", "answer", "cancelled"), [((), "n", 0), ((), "y", 2), (("--yes",), "n", 2)])
def test_a_person_is_asked_before_an_undo(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, terminal: bool, words: tuple[str, ...], answer: str, cancelled: int
) -> None:
    """At a terminal, unless --yes: how many orders, of which run; a script is not asked."""
    _, summary = shell.push("A", "B")
    monkeypatch.setattr("gotsurge_async.cli.pushes.undo.at_a_terminal", lambda: terminal)
    done = shell.run("undo", summary["run"], *shell.ledger, *shell.place, *words, stdin=f"{answer}\n")
    asked = f"Cancel 2 orders of run {summary['run']} (local, from " in done.stderr
    assert asked == (terminal and not words)
    cancelled = cancelled if terminal else 2
    assert (done.exit_code, shell.simulator.audit()["calls"].get("tasks.cancel", 0)) == (
        0 if cancelled else 2,
        cancelled,
    )


@pytest.mark.usefixtures("at_once")
def test_an_unused_draft_is_cancelled_as_told(platform_shell: Shell) -> None:
    """By the command that the push prints, also that of a refused order: then no command counts it any more."""
    shell, faults = platform_shell, platform_shell.simulator.order_fault
    faults(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
    faults(Fault(operation="platform.drafts.broadcast", kind="status", status=402))
    pushed, summary = shell.push("A")
    shell.simulator.clear_faults()
    assert (summary["refused"], len(summary["unused_drafts"])) == (1, 2)
    (command,) = [line for line in pushed.stderr.splitlines() if line.startswith("to cancel one, run: ")]
    for task_id in summary["unused_drafts"]:
        words = command.partition(": gotsurge ")[2].replace(" ID ", f" {task_id} ")

        async def hold(words: str = words) -> Result:
            async with await Ledger.open(shell.folder / "ledger.db") as ledger, await ledger.hold(summary["run"]):
                return await asyncio.to_thread(shell.run, *shlex.split(words), *shell.ledger)

        done = asyncio.run(hold())
        assert (done.exit_code, "still counts the draft" in done.stderr) == (0, True), done.output
        done = shell.run(*shlex.split(words), *shell.ledger)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
    assert "unused drafts" not in shell.on_ledger("status", summary["run"]).stdout
    assert (
        shell.document(shell.on_ledger("results", summary["run"], "--out", shell.folder / "out", "--json"))[
            "unused_drafts"
        ]
        == []
    )
    assert shell.document(shell.call("undo", summary["run"], "--drafts", "--json"))["unused_drafts"] == 0


def test_drafts_are_undone_if_asked(platform_shell: Shell) -> None:
    """Drafts that nobody broadcast are listed by status and results, and cancelled by undo --drafts."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
    pushed, summary = shell.push("A", "B")
    assert (summary["created"], len(summary["unused_drafts"])) == (2, 2)
    assert "2 unused drafts were left" in pushed.stderr
    assert "unused drafts\t2" in shell.on_ledger("status", summary["run"]).stdout
    document = shell.document(shell.on_ledger("status", summary["run"], "--json"))
    assert sorted(document["unused_drafts"]) == sorted(summary["unused_drafts"])
    results = shell.document(shell.on_ledger("results", summary["run"], "--out", shell.folder / "out", "--json"))
    assert sorted(results["unused_drafts"]) == sorted(summary["unused_drafts"])
    done = shell.call("undo", summary["run"])
    assert done.stdout == f"run {summary['run']}: 2 cancelled, 2 unused drafts left\n"
    done = shell.call("undo", summary["run"], "--drafts")
    assert done.stdout == f"run {summary['run']}: 2 already cancelled, 2 drafts cancelled\n"
    assert shell.document(shell.on_ledger("status", summary["run"], "--json"))["unused_drafts"] == []


@pytest.mark.usefixtures("at_once")
def test_a_person_is_asked_about_all_that_is_cancelled(platform_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders in doubt whose tasks are known count too, and with --drafts the unused drafts."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
    shell.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="before", kind="reset"))
    shell.simulator.order_fault(Fault(operation="platform.tasks.get", when="before", kind="reset"))
    _, summary = shell.push("A", "B")
    shell.simulator.clear_faults()
    assert (summary["created"], summary["in_doubt"], len(summary["unused_drafts"])) == (0, 2, 2)
    monkeypatch.setattr("gotsurge_async.cli.pushes.undo.at_a_terminal", lambda: True)
    for words, asked in (((), "Cancel 2 orders of"), (("--drafts",), "Cancel 4 orders and drafts of")):
        done = shell.run("undo", summary["run"], *shell.ledger, *shell.place, *words, stdin="n\n")
        assert (done.exit_code, asked in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("words", [(), ("--drafts", "--key", "A b", "--key", "C", "--reason", "wrong file", "--yes")])
def test_an_interrupted_undo_is_to_be_given_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """It names itself with the options that it was given, and what the ledger has; never a resume, which would send."""
    _, summary = shell.push("A b", "C")
    run_id = summary["run"]
    shell.call("undo", run_id, "--key", "C")

    async def interrupted(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Undo, "undo", interrupted)
    done = shell.call("undo", run_id, *words, "--json")
    document = shell.document(done)
    (again,) = document["next"]
    assert (done.exit_code, document["run"], document["explain"]) == (130, run_id, ["E115"])
    assert f"the undo of run {run_id} was interrupted: cancelled so far: 1, in doubt: 0" in done.stderr
    assert done.stderr.splitlines()[-2:] == [f"next: {again}", "see: gotsurge explain E115"]
    typed = shlex.split(again)
    assert typed[:3] == ["gotsurge", "undo", run_id]
    assert sorted(typed[3:]) == sorted(map(str, (*words, *shell.place, *shell.ledger)))


def test_an_undo_that_is_interrupted_twice_is_a_document_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal, while the counts are read or the ledger is closed, leaves only them out."""
    _, summary = shell.push("A")

    async def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)

    monkeypatch.setattr(Undo, "undo", interrupted)
    for name, words in (("counts", "the orders that were in flight are in doubt; do not"), ("close", "do not")):
        with monkeypatch.context() as second:
            second.setattr(Ledger, name, interrupted)
            done = shell.call("undo", summary["run"], "--yes", "--json")
        assert (done.exit_code, shell.document(done)["explain"]) == (130, ["E115"])
        assert f"{words} resume the run" in done.stderr


@pytest.mark.parametrize(
    ("failing", "unreadable", "code", "words"),
    [
        (OrderState.CANCELLED, False, 3, "cancelled so far: 0, in doubt: 1"),
        (OrderState.CANCELLED, True, 3, "the orders that were in flight are in doubt"),
        (OrderState.CANCELLING, False, 1, "cancelled so far: 1, in doubt: 0"),
    ],
)
def test_a_ledger_that_fails_in_an_undo_is_reported_with_what_was_cancelled(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, failing: OrderState, unreadable: bool, code: int, words: str
) -> None:
    """Its disk is full when the cancel of B is to be recorded: the same undo continues, and never a resume."""
    _, summary = shell.push("A", "B", "C")
    run_id, record = summary["run"], Run.record
    if failing is OrderState.CANCELLING:
        shell.call("undo", run_id, "--key", "A")

    async def fail(*_: object) -> None:
        raise LedgerUnusable("the disk is full", "E503", path="ledger.db")

    def fails(run: Run, outcomes: Sequence[OrderOutcome]) -> Awaitable[None]:
        if outcomes[0].state is not failing:
            return record(run, outcomes)
        if unreadable:
            monkeypatch.setattr(Ledger, "counts", fail)
        return fail()

    with monkeypatch.context() as full:
        full.setattr(Run, "record", fails)
        done = shell.call("undo", run_id, "--concurrency", "1", "--json")
    monkeypatch.undo()
    document = shell.document(done)
    assert (done.exit_code, document["exit"], document["run"]) == (code, code, run_id)
    unfinished = f"the undo of run {run_id} was interrupted: {words}; do not resume the run"
    assert document["error"] == f"ledger ledger.db: the disk is full\n{unfinished}"
    (again,) = document["next"]
    assert document["explain"] == ["E503", "E115"]
    assert (again.split()[:3], "resume" in again) == (["gotsurge", "undo", run_id], False)
    ended = shell.run(*again.split()[1:])
    assert (ended.exit_code, "cancelled" in ended.stdout) == (0, True), ended.output


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("drafts", [(), ("--drafts",)])
def test_a_run_that_is_half_taken_back_is_not_to_be_resumed(shell: Shell, drafts: tuple[str, ...]) -> None:
    """Status offers the same undo until it has ended; then nothing: what waits is sent only if a person says so."""

    def next_of(run_id: str) -> list[str]:
        found: list[str] = shell.document(shell.on_ledger("status", run_id, "--json"))["next"]
        return found

    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, after_calls=2))
    one_by_one = ("--mode", "direct", "--batch-size", "1", "--concurrency", "1", "--stop-after-refusals", "1")
    _, summary = shell.push("A", "B", "C", "D", "E", words=one_by_one)
    shell.simulator.clear_faults()
    run_id = summary["run"]
    assert (summary["created"], summary["unprocessed"]) == (2, 2)
    assert any(f"resume {run_id}" in command for command in next_of(run_id))
    shell.call("undo", run_id, "--key", "A", *drafts)
    assert any(f"resume {run_id}" in command for command in next_of(run_id)), "one order is not the run"
    shell.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=503, when="before"))
    assert shell.call("undo", run_id, *drafts).exit_code == 3
    shell.simulator.clear_faults()
    first, *others = next_of(run_id)
    assert first.startswith(f"gotsurge undo {run_id} ")
    assert ("--drafts" in first) == bool(drafts)
    assert not any("resume" in command for command in others)
    done = shell.run(*first.split()[1:], "--yes")
    assert (done.exit_code, "next: " in done.stderr, "not taken back" in done.stderr) == (0, False, False), done.stderr
    assert not any("resume" in command or "undo" in command for command in next_of(run_id))
    refused = shell.call("resume", "--last")
    assert (refused.exit_code, f"name the run: {run_id}" in refused.stderr) == (2, True)
    assert len(shell.simulator.audit()["by_tracking_id"]) == 2
    assert shell.call("resume", run_id).exit_code == 1
    assert set(shell.simulator.audit()["by_tracking_id"].values()) == {1}
    assert "undo" not in shell.document(shell.on_ledger("status", run_id, "--json"))["options"]


@pytest.mark.usefixtures("at_once")
def test_who_resumes_a_run_that_was_half_taken_back_is_not_asked_to_undo_it(shell: Shell) -> None:
    """He wants its orders; an undo that has not ended offers itself, as status does."""
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=401, after_calls=1, times=2))
    one_by_one = ("--mode", "direct", "--batch-size", "1", "--concurrency", "1")
    _, summary = shell.push("A", "B", words=one_by_one)
    shell.simulator.clear_faults()
    run_id = summary["run"]
    shell.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=503, when="before"))
    assert f"gotsurge undo {run_id} " in shell.call("undo", run_id).stderr
    shell.simulator.clear_faults()
    assert f"gotsurge undo {run_id} " not in shell.call("resume", run_id).stderr


@pytest.mark.slow
def test_ctrl_c_at_the_question_ends_at_once(shell: Shell, tmp_path: Path) -> None:
    """Nobody has to type an answer first; nothing is cancelled."""
    _, summary = shell.push("A")
    words = ["undo", summary["run"], *shell.ledger, *shell.place]
    seen = at_a_terminal(words, cwd=tmp_path, answers={"Cancel 1 order of": "\x03"})
    assert (seen.code, "interrupted: nothing was changed" in seen.text) == (130, True), seen.text
    assert not shell.simulator.audit()["calls"].get("tasks.cancel")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_ctrl_c_in_an_undo_says_how_to_go_on(tmp_path: Path, number: int, code: int) -> None:
    """Of a real process: what it advises takes the rest back, and nothing is sent."""
    write_orders(tmp_path / "orders.csv", range(40))
    place = ["--ledger", "ledger.db"]
    async with Simulator() as simulator:
        pushed = await gotsurge("push", "orders.csv", *local(simulator), *place, "--json", cwd=tmp_path)
        simulator.order_fault(Fault(operation="tasks.cancel", when="before", kind="delay", seconds=30, after_calls=5))
        words = ("undo", pushed.document["run"], *local(simulator), *place, "--concurrency", "2", "--json")
        process = await start(*words, cwd=tmp_path)
        await simulator.called("tasks.cancel", times=7)
        process.send_signal(number)
        done = await finish(process)
        assert (done.code, done.document["explain"]) == (code, ["E115"])
        assert "cancelled so far: 5, in doubt: 2" in done.document["error"]
        simulator.clear_faults()
        (again,) = done.document["next"]
        ended = await gotsurge(*again.split()[1:], cwd=tmp_path)
        assert (ended.code, ended.out) == (0, f"run {pushed.document['run']}: 35 cancelled, 5 already cancelled\n")
        assert simulator.audit()["tasks"] == 40
