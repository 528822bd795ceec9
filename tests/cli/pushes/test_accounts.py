"""A run belongs to the account and the server that it was pushed to: no command takes it to another one."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import attrs
import pytest
from click.testing import Result

from gotsurge_async.simulator import Fault, Simulator
from tests.cli.agents.kit import order
from tests.support.commands import Shell
from tests.support.running import running_simulator

AT_ONCE = ("--rescan-after", "0")
STOP = ("--max-spend", "100", "--batch-size", "1", "--concurrency", "1")
"""Two orders of SGD 48.50, and no more."""
ON_A_RUN = {
    "resume": (),
    "retry": (),
    "undo": ("--yes",),
    "watch": ("--timeout", "1"),
    "reconcile": AT_ONCE,
    "audit": (*AT_ONCE, "--repair", "--yes"),
}
"""The commands that call GotSurge about a run."""


@pytest.fixture(scope="module")
def served_too() -> Iterator[Simulator]:
    """A second server, which has none of the first one's tasks."""
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def elsewhere(shell: Shell, served_too: Simulator) -> Shell:
    """The shell of the plain partner at the second server, with the same ledger."""
    served_too.reset()
    return attrs.evolve(shell, simulator=served_too)


def pushed(shell: Shell, *keys: str, words: tuple[str, ...] = ()) -> str:
    """Push orders of which the first is refused, and the last waits; the run."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    done, summary = shell.push(*keys, words=(*STOP, "--mode", "direct", *words))
    shell.simulator.clear_faults()
    assert (done.exit_code, summary["refused"], summary["created"], summary["unprocessed"]) == (5, 1, 2, 1)
    return str(summary["run"])


def counted(shell: Shell, run_id: str) -> dict[str, int]:
    """The orders of a run by state."""
    found: dict[str, int] = shell.document(shell.on_ledger("status", run_id, "--json"))["states"]
    return found


def calls(shell: Shell) -> dict[str, int]:
    """The calls about tasks that a simulator got."""
    counts: dict[str, int] = shell.simulator.audit()["calls"]
    return {name: number for name, number in counts.items() if not name.startswith("auth.")}


def audited(shell: Shell, *words: str) -> tuple[Result, dict[str, Any]]:
    """Audit and repair, without waiting; the result, and its document."""
    repair = ("--repair", "--yes", "--by", "Mei", "--quiet", "--json")
    done = shell.run("audit", *AT_ONCE, *repair, *words, *shell.ledger, *shell.place, GOTSURGE_SETTLE="0")
    return done, json.loads(done.stdout)


def account_of(shell: Shell, account: str | None) -> Shell:
    """The shell of another account, with the same ledger."""
    return attrs.evolve(shell, account=account)


@pytest.mark.parametrize("command", ON_A_RUN)
@pytest.mark.parametrize(("mine", "other"), [(None, "platform"), ("plain", "platform"), ("platform", "plain")])
def test_another_account_is_refused(shell: Shell, command: str, mine: str | None, other: str) -> None:
    """Exit 2, with what to type, before anything is called: also for a run of the usual account, which has no name."""
    own = account_of(shell, mine)
    run_id = pushed(own, "A", "B", "C", "D")
    before, made = counted(shell, run_id), calls(shell)
    done = account_of(shell, other).call(command, run_id, *ON_A_RUN[command], "--json")
    name = f"the account {mine}" if mine else "the usual account"
    why = f"run {run_id} was made with {name}, not with {other}: leave out --account"
    assert (done.exit_code, shell.document(done)["error"]) == (2, why)
    assert (counted(shell, run_id), calls(shell)) == (before, made)


@pytest.mark.parametrize("command", ON_A_RUN)
@pytest.mark.parametrize("by_variable", [False, True])
def test_another_server_is_refused(shell: Shell, elsewhere: Shell, command: str, by_variable: bool) -> None:
    """So it is with another API base, whether an option or the environment variable names it."""
    run_id = pushed(shell, "A", "B", "C", "D")
    before, base = counted(shell, run_id), elsewhere.simulator.api_base
    words = (command, run_id, *ON_A_RUN[command], *shell.ledger, "--env", "local", "--json")
    named: dict[str, str] = {"GOTSURGE_API_BASE": base} if by_variable else {}
    done = shell.run(*words, *(() if by_variable else ("--api-base", base)), **named)
    why = f"run {run_id} belongs to the server {shell.simulator.api_base}, not to {base}: pass --api-base "
    assert (done.exit_code, shell.document(done)["error"]) == (2, f"{why}{shell.simulator.api_base}")
    assert (counted(shell, run_id), calls(elsewhere)) == (before, {})


def test_a_decision_is_not_checked_by_another_account_or_server(shell: Shell, elsewhere: Shell) -> None:
    """`resolve` refuses both, and records nothing."""
    run_id = shell.push_lost("A")
    words = ("resolve", run_id, "--key", "A", "--not-created", *shell.ledger, "--env", "local")
    other, base = shell.run(*words, "--account", "platform"), elsewhere.simulator.api_base
    assert (other.exit_code, "was made with the usual account, not with platform" in other.stderr) == (2, True)
    other = shell.run(*words, "--api-base", base)
    assert (other.exit_code, f"not to {base}: pass --api-base" in other.stderr) == (2, True)
    assert counted(shell, run_id)["in_doubt"] == 1
    assert shell.run(*words).exit_code == 0


def test_a_run_is_continued_where_it_was_pushed(shell: Shell) -> None:
    """Without --account and --api-base a command uses the run's own; other spellings of them are no other ones."""
    run_id = pushed(account_of(shell, "platform"), "A", "B", "C", "D")
    place = ("--env", "local", "--out", shell.folder / "out")
    done = shell.run("resume", run_id, *shell.ledger, *place)
    assert done.exit_code == 1, done.output
    assert counted(shell, run_id)["created"] == 3
    spelled = shell.simulator.api_base.replace("127.0.0.1", "localhost") + "/"
    assert (
        shell.run("watch", run_id, *shell.ledger, "--env", "local", "--api-base", spelled, "--timeout", "0").exit_code
        == 5
    )
    run_id = pushed(shell, "E", "F", "G", "H")
    assert account_of(shell, "plain").call("undo", run_id, "--yes").exit_code == 0


def moved(shell: Shell, old: str) -> None:
    """Record that the runs were sent to another API base, as if GotSurge had moved since."""
    with closing(sqlite3.connect(shell.folder / "ledger.db")) as database, database:
        database.execute("UPDATE runs SET options = replace(options, ?, ?)", (shell.simulator.api_base, old))


def test_another_path_is_no_other_server(shell: Shell) -> None:
    """GotSurge may move its API: a run goes on at the new path of its server."""
    run_id = pushed(shell, "A", "B", "C", "D")
    moved(shell, f"{shell.simulator.origin}/v0")
    done = shell.call("resume", run_id)
    assert (done.exit_code, counted(shell, run_id)["created"]) == (1, 3), done.output


def test_a_task_is_cancelled_where_it_is_though_its_run_was_sent_elsewhere(shell: Shell, elsewhere: Shell) -> None:
    """The ledger records nothing, and the command says so; a server without the task refuses."""
    run_id = shell.push("A")[1]["run"]
    (task,) = [task["id"] for task in shell.simulator.tasks()]
    words = ("tasks", "cancel", task, "--reason", "x", "--env", "local", *shell.ledger)
    done = shell.run(*words, "--api-base", elsewhere.simulator.api_base)
    assert (done.exit_code, "HTTP 404" in done.stderr) == (1, True), done.output
    moved(shell, "http://127.0.0.1:1/v0")
    assert shell.call("undo", run_id, "--yes").exit_code == 2
    done = shell.run(*words, "--api-base", shell.simulator.api_base)
    why = f"run {run_id} belongs to the server http://127.0.0.1:1/v0, not to {shell.simulator.api_base}"
    assert (done.exit_code, "the ledger cannot record this cancel" in done.stderr, why in done.stderr) == (
        0,
        True,
        True,
    )
    assert (shell.simulator.tasks()[0]["history"][-1][0], counted(shell, run_id)["created"]) == ("cancelled", 1)


def test_a_draft_of_another_servers_run_is_cancelled_without_its_ledger(shell: Shell, elsewhere: Shell) -> None:
    """The ledger notes no cancel of a draft that the other server has, and the command says so."""
    own = account_of(shell, "platform")
    shell.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=403))
    run_id = own.push("A", words=("--mode", "two-phase"))[1]["run"]
    shell.simulator.clear_faults()
    (task,) = [task["id"] for task in shell.simulator.tasks()]
    with closing(sqlite3.connect(shell.folder / "ledger.db")) as database, database:  # as if another run had noted it
        database.execute("UPDATE chunks SET states = 'w'")
        database.execute(
            "INSERT INTO unused_drafts (task_id, run, key, noted_at) SELECT ?, number, 'A', 1 FROM runs", (task,)
        )
    moved(shell, "http://127.0.0.1:1/v0")
    done = own.call("tasks", "cancel", task, "--reason", "x")
    assert done.exit_code == 0, done.output
    assert f"run {run_id} belongs to the server http://127.0.0.1:1/v0, not to {shell.simulator.api_base}" in done.stderr
    with closing(sqlite3.connect(shell.folder / "ledger.db")) as database:
        assert database.execute("SELECT cancelled_at FROM unused_drafts").fetchall() == [(None,)]


def test_orders_are_created_beside_one_that_is_at_another_server(shell: Shell, elsewhere: Shell) -> None:
    """That one is not sent, with the reason; the others have their outcomes."""
    words = ("tasks", "create", "-", "--env", "local", *shell.ledger)
    first = shell.run(*words, "--api-base", shell.simulator.api_base, stdin=json.dumps([order("A")]))
    assert first.exit_code == 0, first.output
    orders = json.dumps([order("A"), order("B")])
    done = shell.run(*words, "--api-base", elsewhere.simulator.api_base, "--json", stdin=orders)
    assert (done.exit_code, [row["result"] for row in json.loads(done.stdout)["orders"]]) == (
        5,
        ["unprocessed", "created"],
    )
    assert f"belongs to the server {shell.simulator.api_base}, not to {elsewhere.simulator.api_base}" in done.stdout


def test_a_push_warns_that_orders_are_at_another_server(shell: Shell, elsewhere: Shell) -> None:
    """They count as already pushed, though the present server does not have them."""
    shell.push("A")
    done, summary = elsewhere.push("A", "B")
    where = f"orders were sent to {shell.simulator.api_base} under the environment local"
    assert f"warning: {where}: they count as already pushed, but are not at {elsewhere.simulator.api_base}" in (
        " ".join(done.stderr.split())
    )
    assert (summary["created"], summary["already_pushed"]) == (1, 1)


def test_an_audit_of_one_account_passes_over_the_runs_of_others(shell: Shell) -> None:
    """Their tasks are not there for it, and their keys stay; that they were not compared is part of the result."""
    _, usual = shell.push("A", "B")
    other = account_of(shell, "platform")
    _, named = other.push("C", "D", words=("--new-ledger",))
    done, document = audited(other)
    assert (done.exit_code, document["runs"], document["repaired"]) == (0, [named["run"]], [])
    assert "1 run of another account or API base is skipped" in done.stderr
    not_compared = f"run {usual['run']} is of another account or API base, and was not compared"
    assert not_compared in document["remarks"]
    ending = "nothing differs; 1 run of another account or API base was not compared\n"
    assert other.call("audit", *AT_ONCE).stdout.endswith(ending)
    assert shell.push("A", "B")[1]["already_pushed"] == 2
    done, document = audited(shell)
    assert (done.exit_code, document["findings"]) == (0, [])
    assert {usual["run"], named["run"]} < {*document["runs"]}


def test_an_audit_of_one_server_passes_over_the_runs_of_others(shell: Shell, elsewhere: Shell) -> None:
    """Two servers under one environment name are two, also for one named account."""
    first, second = account_of(shell, "plain"), account_of(elsewhere, "plain")
    first.push("A", "B")
    second.push("C", "D", words=("--new-ledger",))
    done, document = audited(second)
    assert (done.exit_code, len(document["runs"]), document["repaired"]) == (0, 1, [])
    assert first.push("A", "B")[1]["already_pushed"] == 2


def test_a_reconcile_of_one_account_passes_over_the_runs_of_others(shell: Shell) -> None:
    """It tells what it settled, and the commands for the rest, which stays in doubt; exit 0 only without a rest."""
    usual = shell.push_lost("A")
    other = account_of(shell, "platform")
    named = other.push_lost("B", words=("--new-ledger",))
    done = other.call("reconcile", *AT_ONCE, "--json")
    document = shell.document(done)
    assert [(each["run"], len(each["created"])) for each in document["runs"]] == [(named, 1)]
    assert (done.exit_code, document["in_doubt_elsewhere"]) == (3, 1)
    assert "1 run of another account or API base is skipped" in done.stderr
    assert f"gotsurge resolve {usual} " in "\n".join(document["next"])
    done = other.call("reconcile", *AT_ONCE)
    assert (done.exit_code, done.stdout) == (3, "")
    assert shell.on_ledger("resolve", usual, "--key", "A", "--not-created").exit_code == 0
    assert other.call("reconcile", *AT_ONCE).stdout == "nothing is in doubt\n"


def test_a_reconcile_counts_a_doubt_elsewhere_once(shell: Shell) -> None:
    """Another run that pushed the same order does not add to the number."""
    account_of(shell, "plain").push_lost("A")
    again, _ = shell.push("A")
    done = account_of(shell, "platform").call("reconcile", *AT_ONCE, "--json")
    assert (again.exit_code, done.exit_code, shell.document(done)["in_doubt_elsewhere"]) == (3, 3, 1)


def test_a_reconcile_without_an_account_reads_each_run_by_its_own(shell: Shell) -> None:
    """So all that can be settled is settled by one command."""
    usual = shell.push_lost("A")
    named = account_of(shell, "platform").push_lost("B", words=("--new-ledger",))
    done = shell.call("reconcile", *AT_ONCE, "--json")
    found = {each["run"]: len(each["created"]) for each in shell.document(done)["runs"]}
    assert (done.exit_code, found) == (3, {usual: 0, named: 1})


def test_single_orders_have_the_name_of_their_account(shell: Shell) -> None:
    """`tasks create` at a simulator records the account, as it does elsewhere."""
    named = account_of(shell, "platform")
    file = shell.folder / "order.json"
    file.write_text(json.dumps(order()))
    assert named.call("tasks", "create", file).exit_code == 0
    run_id = shell.document(shell.on_ledger("runs", "--json"))[0]["run"]
    assert account_of(shell, "plain").call("undo", run_id, "--yes").exit_code == 2
    assert named.call("undo", run_id, "--yes").exit_code == 0
