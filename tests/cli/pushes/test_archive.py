"""`gotsurge ledger archive`, and every other command about a run that was archived."""

import shlex
from pathlib import Path
from typing import Any

from gotsurge_async.simulator import Fault
from tests.cli.pushes.test_ledger import clean, tasks
from tests.support.commands import Shell

ALL = ("--before", "2100-01-01")


def archived(shell: Shell, *words: str | Path) -> Any:
    """Archive all that is finished; the document."""
    done = clean(shell.run("ledger", "archive", *ALL, *shell.ledger, *words, "--json"))
    assert done.exit_code == 0, done.output
    return shell.document(done)


def rows_of(folder: Path, run_id: str, name: str) -> list[str]:
    """The lines of a result file."""
    return (folder / f"{run_id}-{name}.csv").read_text().splitlines()


def test_an_archived_run_is_looked_at_in_its_file(shell: Shell) -> None:
    """The ledger says where it is; its results are written from there, as they were."""
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    _, refused = shell.push("X", words=("--mode", "direct"))
    _, created = shell.push("A", "B")
    _, again = shell.push("B", "C")
    before = {run["run"]: run for run in shell.document(shell.on_ledger("runs", "--json"))}
    done = archived(shell)
    file = shell.folder / "ledger-archive.db"
    assert done["file"] == str(file)
    assert done["runs"] == {refused["run"]: 1, created["run"]: 2, again["run"]: 2}
    status = clean(shell.on_ledger("status", created["run"]))
    assert (status.exit_code, f"its orders are in\t{file}" in status.stdout) == (0, True)
    assert "state\tarchived" in status.stdout
    for run in shell.document(shell.on_ledger("runs", "--json")):
        was = before[run["run"]]
        assert (run["archived_in"], run["next"]) == (str(file), [])
        words = ("created", "refused", "already_pushed", "unprocessed", "in_doubt")
        assert [run[word] for word in words] == [was[word] for word in words]
        out = shell.folder / "again"
        written = clean(shell.run("results", run["run"], "--ledger", file, "--out", out, "--json"))
        assert (written.exit_code, shell.document(written)["next"]) == (0, [])
        for name in ("created", "refused", "unprocessed", "in-doubt"):
            assert rows_of(out, run["run"], name) == rows_of(shell.folder / "out", run["run"], name)
    exported = clean(shell.run("ledger", "export", "-", *shell.ledger))
    assert (exported.stdout, f"--ledger {file}" in exported.stderr) == ("", True)
    assert len(clean(shell.run("ledger", "export", "-", "--ledger", file)).stdout.splitlines()) == 5
    assert archived(shell)["runs"] == {}


def test_what_would_go_on_with_it_says_where_it_is(shell: Shell) -> None:
    """Exit code 2, the file is named, and nothing is sent or cancelled."""
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    _, summary = shell.push("A", words=("--mode", "direct"))
    shell.push("B")
    archived(shell)
    before = shell.simulator.audit()
    run_id, out = summary["run"], ("--out", shell.folder / "out", "--quiet")
    ended = [shell.call(command, run_id, *out) for command in ("resume", "retry")]
    ended += [shell.call(command, run_id) for command in ("undo", "reconcile")]
    ended.append(shell.on_ledger("results", run_id))
    ended.append(shell.on_ledger("resolve", run_id, "--key", "A", "--not-created", "--no-check"))
    for done in map(clean, ended):
        assert (done.exit_code, str(shell.folder / "ledger-archive.db") in done.stderr) == (2, True), done.output
    assert shell.simulator.audit()["tasks"] == before["tasks"]
    assert "tasks.cancel" not in shell.simulator.audit()["calls"]


def test_its_file_is_known_when_it_is_pushed_again(shell: Shell) -> None:
    """What was created is already pushed, also in a plan and a dry run; what was refused or cancelled is sent."""
    _, summary = shell.push("A", "B")
    assert clean(shell.call("undo", summary["run"], "--key", "B")).exit_code == 0
    archived(shell)
    before = tasks(shell)
    for words in (("plan",), ("push", "--dry-run")):
        looked = clean(shell.call(words[0], shell.folder / "orders.csv", *words[1:], "--json"))
        assert (looked.exit_code, shell.document(looked)["already_pushed"]) == (0, 1), looked.output
    done, again = shell.push("A", "B")
    assert (done.exit_code, again["already_pushed"], again["created"], tasks(shell)) == (0, 1, 1, before + 1)
    why = "1 already pushed order is archived: the ledger no longer shows whether it differs from what was sent"
    assert why in " ".join(done.stderr.split())
    assert clean(shell.call("reconcile")).exit_code == 0


def test_a_cancel_of_an_archived_order_says_that_its_key_stays_taken(shell: Shell) -> None:
    """The ledger cannot record it, an audit says that it compared nothing, and a push sends nothing."""
    _, summary = shell.push("A")
    (task,) = [task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "A"]
    archived(shell)
    done = shell.call("audit", "--rescan-after", "0", "--repair", "--yes")
    assert (done.exit_code, "nothing differs; 1 archived run was not compared" in done.stdout) == (0, True), done.output
    done = clean(shell.run("tasks", "cancel", task, "--reason", "x", *shell.place, *shell.ledger))
    assert (done.exit_code, f"the archived run {summary['run']} has the order" in done.stderr) == (0, True)
    assert "the key stays taken" in done.stderr
    assert shell.push("A")[1]["already_pushed"] == 1


def test_an_undo_of_an_archived_order_names_the_command_that_cancels_it(shell: Shell) -> None:
    """Not that of the archived run, whose undo does not begin and was not interrupted."""
    _, first = shell.push("A")
    archived(shell)
    done = clean(shell.call("undo", first["run"], "--key", "A"))
    assert (done.exit_code, "was archived" in done.stderr, "interrupted" in done.output) == (2, True, False)
    _, second = shell.push("A", "B")
    document = shell.document(clean(shell.call("undo", second["run"], "--key", "A", "--json")))
    (task,) = [task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "A"]
    (command,) = document["next"]
    assert (document["exit"], command.split()[:4]) == (1, ["gotsurge", "tasks", "cancel", task])
    assert clean(shell.run(*shlex.split(command)[1:])).exit_code == 0


def test_nothing_is_sent_from_an_archive(shell: Shell) -> None:
    """It is no ledger for a push, and no other ledger's archive is written."""
    _, summary = shell.push("A")
    archived(shell)
    file, before = shell.folder / "ledger-archive.db", tasks(shell)
    for words in (
        ("push", shell.folder / "orders.csv", "--quiet"),
        ("resume", summary["run"]),
        ("undo", summary["run"]),
    ):
        done = clean(shell.run(*words, *shell.place, "--ledger", file))
        assert (done.exit_code, "is an archive of runs" in done.stderr) == (2, True), done.output
    assert tasks(shell) == before
    shell.push("B")
    done = clean(shell.run("ledger", "archive", *ALL, *shell.ledger, "--to", shell.folder / "ledger.db"))
    assert (done.exit_code, "its own archive" in done.stderr) == (2, True)


def test_what_is_left_is_reported(shell: Shell) -> None:
    """A run with orders in doubt stays, and is gone on with as before; a day may be named, and a moment."""
    run_id = shell.push_lost("A")
    done = clean(shell.run("ledger", "archive", *ALL, *shell.ledger))
    assert (
        done.exit_code,
        f"run {run_id} was not archived: " in done.stderr,
        "nothing was archived" in done.stderr,
    ) == (
        0,
        True,
        True,
    )
    assert not (shell.folder / "ledger-archive.db").exists()
    for date in ("2020-01-31", "2020-01-31T12:00:00"):
        assert clean(shell.run("ledger", "archive", "--before", date, *shell.ledger)).exit_code == 0
    assert clean(shell.run("ledger", "archive", "--before", "soon", *shell.ledger)).exit_code == 2
    assert clean(shell.run("ledger", "archive", *ALL, "--ledger", shell.folder / "none.db")).exit_code == 2
