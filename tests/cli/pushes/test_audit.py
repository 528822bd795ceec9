"""`gotsurge audit`, over real HTTP."""

import asyncio
import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger
from gotsurge_async.cli.pushes import audit as command
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import Shell, finish, gotsurge, local, start, write_orders

AT_ONCE = ("--rescan-after", "0")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written without --out goes to a folder of the test."""
    monkeypatch.chdir(tmp_path)


def pushed(shell: Shell, *keys: str) -> tuple[str, dict[str, str]]:
    """Push orders; the run, and the task of each key."""
    done, summary = shell.push(*keys, GOTSURGE_SETTLE="0")
    assert done.exit_code == 0
    return str(summary["run"]), {task["tracking_id"]: task["id"] for task in shell.simulator.tasks()}


def audit(shell: Shell, *words: str | Path, stdin: str | None = None) -> Result:
    """Run an audit that waits for nothing."""
    words = ("audit", *AT_ONCE, *words, *shell.ledger, *shell.place)
    return shell.run(*words, stdin=stdin, GOTSURGE_SETTLE="0")


def audited(shell: Shell, *words: str) -> dict[str, Any]:
    """What an audit with ``--json`` prints."""
    done = audit(shell, "--out", shell.folder / "out", "--json", "--quiet", *words)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit"] == done.exit_code
    return document


@pytest.mark.parametrize("account", [None, "platform"])
def test_a_service_that_was_put_back(shell: Shell, platform_shell: Shell, account: str | None) -> None:
    """Every order is live exactly once in the end, by commands that the program itself names."""
    shell = platform_shell if account else shell
    run_id, tasks = pushed(shell, "A", "B", "C")
    shell.simulator.remove(tasks["B"])
    _, summary = shell.push("A", "B", "C")
    assert summary["already_pushed"] == 3

    done = audit(shell)
    assert done.exit_code == 3
    assert "1 vanished" in done.stdout
    assert f"vanished\t{run_id}\tB\tGotSurge no longer has the order's task" in done.stdout
    place = f"--env local --api-base {shell.simulator.api_base} --ledger {shell.folder / 'ledger.db'}"
    assert (
        f"1 task has vanished from GotSurge. To free the order's key, run: gotsurge audit {run_id} {place} --repair"
        in done.stderr
    )
    assert audit(shell, run_id, "--repair").exit_code == 2  # no person can be asked

    document = audited(shell, run_id, "--repair", "--yes", "--by", "Mei")
    assert (document["exit"], document["repaired"]) == (0, [{"run": run_id, "key": "B", "by": "Mei"}])
    assert f"B: task {tasks['B']} is gone, said Mei at " in shell.on_ledger("status", run_id).stdout
    _, summary = shell.push("A", "B", "C")
    assert (summary["created"], summary["already_pushed"]) == (1, 2)
    assert sorted(task["tracking_id"] for task in shell.simulator.tasks()) == ["A", "B", "C"]
    done = audit(shell)
    assert (done.exit_code, "the ledger and GotSurge agree" in done.stdout) == (0, True)


def test_what_vanished_altogether_needs_a_second_word(shell: Shell) -> None:
    """Another account, or a wrong path, shows none of the tasks either: their keys stay until --all-vanished."""
    run_id, tasks = pushed(shell, "A", "B")
    for task_id in tasks.values():
        shell.simulator.remove(task_id)
    done = audit(shell, "--repair", "--yes")
    assert (done.exit_code, f"run {run_id} is not repaired: GotSurge has none of its" in done.stderr) == (3, True)
    assert shell.push("A", "B")[1]["already_pushed"] == 2
    assert audit(shell, "--yes").exit_code == 2
    document = audited(shell, run_id, "--repair", "--yes", "--all-vanished")
    assert (document["exit"], len(document["repaired"])) == (0, 2)
    assert shell.push("A", "B")[1]["created"] == 2


def test_the_tasks_of_one_run_say_nothing_about_another(platform_shell: Shell) -> None:
    """Even if a named account has other tasks: the name may stand for other credentials than when a run was pushed."""
    shell = platform_shell
    run_id, tasks = pushed(shell, "A", "B")
    for task_id in tasks.values():
        shell.simulator.remove(task_id)
    shell.push("C")
    done = audit(shell, "--repair", "--yes")
    assert (done.exit_code, f"run {run_id} is not repaired: GotSurge has none" in done.stderr) == (3, True)
    assert shell.push("A", "B")[1]["already_pushed"] == 2
    document = audited(shell, run_id, "--repair", "--yes", "--all-vanished")
    assert (document["exit"], len(document["repaired"])) == (0, 2)


def test_a_run_that_a_process_has_is_not_repaired(shell: Shell) -> None:
    """Exit 6, if nothing else is left."""
    run_id, tasks = pushed(shell, "A", "B")
    shell.simulator.remove(tasks["A"])

    async def hold() -> Result:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger, await ledger.hold(run_id):
            return await asyncio.to_thread(audit, shell, "--repair", "--yes")

    done = asyncio.run(hold())
    assert (done.exit_code, f"run {run_id} is held by" in done.stderr) == (6, True)


def test_a_ledger_without_runs_is_all_well(shell: Shell) -> None:
    """There is nothing to compare."""
    shell.push("A", words=("--max-spend", "1"))
    (shell.folder / "orders.csv").unlink()
    assert (audited(shell)["exit"], audited(shell)["orders"]) == (0, 0)


def test_a_person_is_asked_for_each_kind(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal: what is answered with no stays as it is."""
    monkeypatch.setattr(command, "at_a_terminal", lambda: True)
    run_id, tasks = pushed(shell, "A", "B", "C")
    shell.simulator.remove(tasks["A"])
    shell.simulator.move(tasks["B"], "cancelled")
    done = audit(shell, "--repair", stdin="n\ny\n")
    assert f"GotSurge does not have the tasks of 1 order of run {run_id} any more." in done.stderr
    assert f"The tasks of 1 order of run {run_id} were cancelled at GotSurge." in done.stderr
    assert (done.exit_code, "1 order repaired" in done.stdout) == (3, True)
    assert "1 task has vanished from GotSurge. To free the order's key, run: gotsurge audit" in done.stderr
    states = shell.on_ledger("status", run_id, "--json")
    assert json.loads(states.stdout)["created"] == 2


def test_each_finding_names_a_command(platform_shell: Shell) -> None:
    """The one that is to be typed, with the task or the key; never a cancel that is done without being asked."""
    shell = platform_shell
    lost = shell.push_lost("LOST")
    run_id, tasks = pushed(shell, "A", "B")
    shell.simulator._service.tasks.find(tasks["A"]).new_course().price = 1
    other = ("--ledger", shell.folder / "other.db", "--mode", "direct", *shell.place)
    for key in ("Z", "B"):  # another machine's ledger, which is not new when it sends B
        file = write_orders(shell.folder / "other.csv", [key])
        assert shell.run("push", file, *other, GOTSURGE_REGISTER=str(shell.folder / "other.register")).exit_code == 0
    double = next(t["id"] for t in shell.simulator.tasks() if t["tracking_id"] == "B" and t["id"] != tasks["B"])
    document = audited(shell)
    kinds = {(each["kind"], each["run"], each["key"]) for each in document["findings"]}
    assert kinds == {
        *(("in_doubt", lost, "LOST"), ("changed", run_id, "A"), ("twice", run_id, "B")),
    }
    text = "\n".join(document["next"])
    assert document["exit"] == 3
    assert f"gotsurge reconcile {lost}" in text
    assert f"gotsurge tasks get {tasks['A']} --env local" in text
    assert f"gotsurge tasks cancel {double} --env local" in text
    assert '--reason "ordered twice"' in text


def test_a_push_that_believed_tasks_to_be_hidden_for_long_is_believed(shell: Shell) -> None:
    """The time that was set for the push counts: an audit with a shorter one does not free keys before."""
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="hidden", seconds=200))
    _, summary = shell.push("A", "B", GOTSURGE_SETTLE="300")
    done = audit(shell, str(summary["run"]), "--repair", "--yes", "--all-vanished")
    assert (done.exit_code, "GotSurge may show an old state until" in done.stdout) == (3, True)
    assert shell.push("A", "B")[1]["already_pushed"] == 2


def test_an_update_that_was_not_answered_is_named(platform_shell: Shell) -> None:
    """Before it acts, and afterwards: nobody knows whether the task has what the new file says, or the old one."""
    shell = platform_shell
    run_id, _ = pushed(shell, "A", "B")
    shell.simulator.order_fault(Fault(operation="platform.tasks.update", when="late", kind="reset", seconds=60))
    changed = shell.folder / "orders.csv"
    changed.write_text(changed.read_text().replace(",48.50,", ",52.00,"))
    words = ("push", changed, *shell.place, *shell.ledger, "--out", shell.folder / "out", "--replace-changed")
    assert shell.run(*words).exit_code == 3
    shell.simulator.clear_faults()
    for seconds in (0, 61):
        shell.simulator.advance(seconds)
        document = audited(shell)
        found = {(each["kind"], each["key"], each["details"]) for each in document["findings"]}
        assert found == {("changing", key, "an update may have changed price") for key in ("A", "B")}
        assert document["exit"] == 3
        assert document["next"][0].startswith("gotsurge push FILE --env local")
    assert shell.run(*words).exit_code == 0
    assert audited(shell)["findings"] == []
    assert run_id


@pytest.mark.parametrize("account", [None, "platform"])
def test_a_service_that_was_put_back_to_before_an_undo(
    shell: Shell, platform_shell: Shell, account: str | None
) -> None:
    """The first tasks are live again, and the second ones are gone: the ledger takes the first ones over."""
    shell = platform_shell if account else shell
    first, tasks = pushed(shell, "A", "B")
    before = shell.simulator.now()
    shell.simulator.advance(1)
    assert shell.call("undo", first, "--yes").exit_code == 0
    second, _ = pushed(shell, "A", "B")
    shell.simulator.restore(before)
    done = audit(shell)
    assert (
        done.exit_code,
        f"2 cancelled orders have live tasks. To record them as created, run: gotsurge audit {first}" in done.stderr,
    ) == (3, True)
    assert "gotsurge tasks cancel" not in done.stderr
    done = audit(shell, "--repair", "--yes", "--all-vanished")
    assert done.exit_code == 0, done.output
    assert audited(shell)["findings"] == []
    assert shell.push("A", "B")[1]["already_pushed"] == 2
    assert {task["id"] for task in shell.simulator.tasks()} == {*tasks.values()}
    assert shell.document(shell.on_ledger("status", second, "--json"))["already_pushed"] == 2


def test_one_audit_at_a_time(shell: Shell) -> None:
    """Two would write the same notes, and the end of one removes them."""
    run_id, _ = pushed(shell, "A")
    (shell.folder / "ledger.db-audit-local").touch()
    with sqlite3.connect(shell.folder / "ledger.db-audit-local") as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("CREATE TABLE mine (x)")
        done = audit(shell, run_id)
    other.close()
    assert (done.exit_code, "another audit of this ledger is running" in done.stderr) == (2, True)


def test_reads_are_bounded(shell: Shell) -> None:
    """Exit 5 until all was read; progress, and where it stopped, on stderr."""
    pushed(shell, "A", "B", "C")
    done = audit(shell, "--max-reads", "2")
    assert (
        done.exit_code,
        "the limit of 2 reads was reached; to compare the rest, run the same command again" in done.stderr,
    ) == (5, True)
    document = audited(shell, "--max-reads", "2")
    assert (document["exit"], document["reads"], document["orders"]) == (0, 1, 3)


def test_a_service_that_is_away(shell: Shell, at_once: None) -> None:
    """Exit 8, and nothing is called vanished."""
    pushed(shell, *"ABCDEFGH")
    shell.simulator.order_fault(Fault(operation="tasks.get", kind="reset"))
    document = audited(shell)
    assert (document["exit"], document["findings"]) == (8, [])
    assert "could not all be read" in document["incomplete"]
    shell.simulator.clear_faults()
    assert audited(shell)["exit"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_ended_in_the_middle_and_started_again(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """An audit that was killed continues where it was: it reads hardly a task again."""
    write_orders(tmp_path / "orders.csv", range(200))
    async with Simulator() as simulator:
        words = (*local(simulator), "--ledger", "ledger.db", "--json")
        await gotsurge("push", "orders.csv", *words, cwd=tmp_path)
        simulator.order_fault(Fault(operation="tasks.get", kind="delay", seconds=30, after_calls=150))
        first = await start("audit", *words, cwd=tmp_path)
        await simulator.called("tasks.get", times=200)
        first.send_signal(sent)
        ended = await finish(first)
        assert (ended.code, "run the same command to continue it" in ended.err + ended.out) == (code, code != -9)
        simulator.clear_faults()
        done = await gotsurge("audit", *words, cwd=tmp_path)
        assert (done.code, done.document["orders"], done.document["findings"]) == (0, 200, [])
        assert 0 < done.document["reads"] <= 120


def test_a_repair_does_not_forget_what_an_unfinished_audit_has_read(shell: Shell) -> None:
    """With --max-reads and --repair the same command comes to an end, as it does without --repair."""
    _, tasks = pushed(shell, *(f"K-{number}" for number in range(30)))
    shell.simulator.remove(tasks["K-1"])
    repaired = []
    for _ in range(5):
        document = audited(shell, "--max-reads", "12", "--repair", "--yes", "--by", "Mei")
        repaired += [each["key"] for each in document["repaired"]]
        if not document["incomplete"]:
            break
    assert (document["incomplete"], document["orders"], repaired) == ("", 30, ["K-1"])


def test_a_plain_partner_is_not_sent_to_reconcile_for_what_no_read_can_settle(shell: Shell) -> None:
    """Without a recorded task there is nothing to read: a person, or the event, settles the order."""
    run_id = shell.push_lost("A")
    done = audit(shell)
    assert done.exit_code == 3
    assert f"gotsurge resolve {run_id}" in done.stderr
    assert "gotsurge receive" in done.stderr
    assert f"became of it, run: gotsurge reconcile {run_id}" not in done.stderr
