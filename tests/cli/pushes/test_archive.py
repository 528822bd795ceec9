"""`gotsurge ledger archive`, and every other command about a run that was archived."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.simulator import Fault
from tests.cli.pushes.test_ledger import clean, tasks
from tests.support.commands import Desk

ALL = ("--before", "2100-01-01")


def archived(desk: Desk, *words: str | Path) -> Any:
    """Archive all that is finished; the document."""
    done = clean(desk.run("ledger", "archive", *ALL, *desk.ledger, *words, "--json"))
    assert done.exit_code == 0, done.output
    return desk.document(done)


def rows_of(folder: Path, run_id: str, name: str) -> list[str]:
    """The lines of a result file."""
    return (folder / f"{run_id}-{name}.csv").read_text().splitlines()


def test_an_archived_run_is_looked_at_in_its_file(desk: Desk) -> None:
    """The ledger says where it is; its results are written from there, as they were."""
    desk.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    _, refused = desk.push("X", words=("--mode", "direct"))
    _, created = desk.push("A", "B")
    _, again = desk.push("B", "C")
    before = {run["run"]: run for run in desk.document(desk.on_ledger("runs", "--json"))}
    done = archived(desk)
    file = desk.folder / "ledger-archive.db"
    assert done["file"] == str(file)
    assert done["runs"] == {refused["run"]: 1, created["run"]: 2, again["run"]: 2}
    status = clean(desk.on_ledger("status", created["run"]))
    assert (status.exit_code, f"its orders are in\t{file}" in status.stdout) == (0, True)
    assert "state\tarchived" in status.stdout
    for run in desk.document(desk.on_ledger("runs", "--json")):
        was = before[run["run"]]
        assert (run["archived_in"], run["next"]) == (str(file), [])
        words = ("created", "refused", "already_pushed", "unprocessed", "in_doubt")
        assert [run[word] for word in words] == [was[word] for word in words]
        out = desk.folder / "again"
        written = clean(desk.run("results", run["run"], "--ledger", file, "--out", out, "--json"))
        assert (written.exit_code, desk.document(written)["next"]) == (0, [])
        for name in ("created", "refused", "unprocessed", "in-doubt"):
            assert rows_of(out, run["run"], name) == rows_of(desk.folder / "out", run["run"], name)
    exported = clean(desk.run("ledger", "export", "-", *desk.ledger))
    assert (exported.stdout, f"--ledger {file}" in exported.stderr) == ("", True)
    assert len(clean(desk.run("ledger", "export", "-", "--ledger", file)).stdout.splitlines()) == 5
    assert archived(desk)["runs"] == {}


@pytest.mark.parametrize("command", ["resume", "retry", "undo", "reconcile", "results", "resolve"])
def test_what_would_go_on_with_it_says_where_it_is(desk: Desk, command: str) -> None:
    """Exit code 2, the file is named, and nothing is sent or cancelled."""
    desk.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    _, summary = desk.push("A", words=("--mode", "direct"))
    desk.push("B")
    archived(desk)
    before = desk.simulator.audit()
    out = ("--out", desk.folder / "out", "--quiet") if command in ("resume", "retry") else ()
    if command in ("results", "resolve"):
        words = ("--key", "A", "--not-created", "--no-check") if command == "resolve" else ()
        done = clean(desk.on_ledger(command, summary["run"], *words))
    else:
        done = clean(desk.call(command, summary["run"], *out))
    assert (done.exit_code, str(desk.folder / "ledger-archive.db") in done.stderr) == (2, True), done.output
    assert desk.simulator.audit()["tasks"] == before["tasks"]
    assert "tasks.cancel" not in desk.simulator.audit()["calls"]


def test_its_file_is_known_when_it_is_pushed_again(desk: Desk) -> None:
    """What was created is already pushed, also in a plan and a dry run; what was refused or cancelled is sent."""
    _, summary = desk.push("A", "B")
    assert clean(desk.call("undo", summary["run"], "--key", "B")).exit_code == 0
    archived(desk)
    before = tasks(desk)
    for words in (("plan",), ("push", "--dry-run")):
        looked = clean(desk.call(words[0], desk.folder / "orders.csv", *words[1:], "--json"))
        assert (looked.exit_code, desk.document(looked)["already_pushed"]) == (0, 1), looked.output
    done, again = desk.push("A", "B")
    assert (done.exit_code, again["already_pushed"], again["created"], tasks(desk)) == (0, 1, 1, before + 1)
    assert clean(desk.call("reconcile")).exit_code == 0


def test_nothing_is_sent_from_an_archive(desk: Desk) -> None:
    """It is no ledger for a push, and no other ledger's archive is written."""
    _, summary = desk.push("A")
    archived(desk)
    file, before = desk.folder / "ledger-archive.db", tasks(desk)
    for words in (
        ("push", desk.folder / "orders.csv", "--quiet"),
        ("resume", summary["run"]),
        ("undo", summary["run"]),
    ):
        done = clean(desk.run(*words, *desk.place, "--ledger", file))
        assert (done.exit_code, "is an archive of runs" in done.stderr) == (2, True), done.output
    assert tasks(desk) == before
    desk.push("B")
    done = clean(desk.run("ledger", "archive", *ALL, *desk.ledger, "--to", desk.folder / "ledger.db"))
    assert (done.exit_code, "its own archive" in done.stderr) == (2, True)


def test_what_is_left_is_reported(desk: Desk) -> None:
    """A run with orders in doubt stays, and is gone on with as before; a day may be named, and a moment."""
    run_id = desk.push_lost("A")
    done = clean(desk.run("ledger", "archive", *ALL, *desk.ledger))
    assert (done.exit_code, f"run {run_id} was left: " in done.stderr, "nothing was archived" in done.stderr) == (
        0,
        True,
        True,
    )
    assert not (desk.folder / "ledger-archive.db").exists()
    for date in ("2020-01-31", "2020-01-31T12:00:00"):
        assert clean(desk.run("ledger", "archive", "--before", date, *desk.ledger)).exit_code == 0
    assert clean(desk.run("ledger", "archive", "--before", "soon", *desk.ledger)).exit_code == 2
    assert clean(desk.run("ledger", "archive", *ALL, "--ledger", desk.folder / "none.db")).exit_code == 2
