"""`gotsurge reconcile` and `gotsurge undo`, over real HTTP."""

from pathlib import Path

import pytest

from gotsurge_async.simulator import Fault
from tests.cli.desk import Desk

AT_ONCE = ("--settle", "0")


def test_what_was_created_is_found(platform_desk: Desk) -> None:
    """Without a run named, the doubts of all runs of the environment are settled: exit 0, and the results say so."""
    desk = platform_desk
    first, second = desk.push_lost("A", "B"), desk.push_lost("C")
    done = desk.call("reconcile", *AT_ONCE, "--json")
    assert done.exit_code == 0
    runs = {each["run"]: each for each in desk.document(done)["runs"]}
    assert {run: len(each["created"]) for run, each in runs.items()} == {first: 2, second: 1}
    assert runs[first]["created"][0].keys() == {"key", "task_id", "status"}
    summary = desk.document(desk.books("results", first, "--out", desk.folder / "out", "--json"))
    assert (summary["created"], summary["in_doubt"]) == (2, 0)
    again = desk.call("reconcile", *AT_ONCE)
    assert (again.exit_code, again.stdout) == (0, "nothing is in doubt\n")


def test_what_is_not_found_stays_in_doubt(platform_desk: Desk) -> None:
    """Exit 3 with key and reason; with --absent-means-not-created it is given up, and its key can be pushed."""
    desk = platform_desk
    run_id = desk.push_lost("A", when="before")
    done = desk.call("reconcile", run_id, *AT_ONCE)
    assert done.exit_code == 3
    assert f"run {run_id}: 1 in doubt" in done.stdout
    assert "KEY\tWHY" in done.stdout
    given_up = desk.call("reconcile", run_id, *AT_ONCE, "--absent-means-not-created")
    assert (given_up.exit_code, f"run {run_id}: 1 taken for not created" in given_up.stdout) == (0, True)
    _, summary = desk.push("A")
    assert summary["created"] == 1


def test_a_plain_partner_is_told_what_else_there_is(desk: Desk) -> None:
    """Without a Task List the doubts stay, and the sentence names what can settle them."""
    run_id = desk.push_lost("A")
    done = desk.call("reconcile", run_id, *AT_ONCE)
    assert (done.exit_code, "gotsurge resolve" in done.stderr) == (3, True)


def test_a_double_is_never_hidden(platform_desk: Desk) -> None:
    """Two tasks of one order are named, first of all, and in the JSON by their key."""
    desk = platform_desk
    run_id = desk.push_lost("A", "B", when="before")
    for ledger in ("one.db", "two.db"):
        desk.run("push", desk.folder / "orders.csv", *desk.place, "--ledger", desk.folder / ledger, "--mode", "direct")
    done = desk.call("reconcile", run_id, *AT_ONCE, "--json")
    (told,) = desk.document(done)["runs"]
    assert (done.exit_code, told["doubled"]) == (3, ["A", "B"])
    assert all(len(order["task_ids"]) == 2 for order in told["in_doubt"])
    assert "created more than once" in desk.call("reconcile", run_id, *AT_ONCE).stdout


def test_a_throw_away_simulator_is_no_place_to_look(desk: Desk) -> None:
    """reconcile and undo want to know where the orders are, and know nothing of --simulate."""
    for command in ("reconcile", "undo"):
        assert desk.run(command, "RUN", *desk.ledger, "--simulate").exit_code == 2
        assert desk.run(command, "RUN", *desk.ledger).exit_code == 2


def test_an_undo_cancels_and_tells(desk: Desk) -> None:
    """Cancelled orders are exit 0; what was too late is named with its status, exit 1; JSON lists each order."""
    _, summary = desk.push("A", "B", "C")
    done = desk.call("undo", summary["run"], "--reason", "wrong file")
    assert (done.exit_code, done.stdout) == (0, f"run {summary['run']}: 3 cancelled\n")
    _, summary = desk.push("D", "E")
    document = desk.document(desk.books("status", summary["run"], "--json"))
    assert document["created"] == 2
    task_id = Path(summary["files"]["success"]).read_text().splitlines()[1].split(",")[-3]
    desk.simulator.move(task_id, "accepted")
    late = desk.call("undo", summary["run"])
    assert late.exit_code == 1
    assert "1 cancelled, 1 too late" in late.stdout
    assert f"D\t{task_id}\taccepted" in late.stdout
    told = desk.document(desk.call("undo", summary["run"], "--json"))
    assert (len(told["already_cancelled"]), len(told["too_late"]), told["stopped_by"]) == (1, 1, None)


def test_an_undo_says_what_may_still_exist(desk: Desk) -> None:
    """Orders in doubt cannot be cancelled: exit 3."""
    run_id = desk.push_lost("A")
    done = desk.call("undo", run_id)
    assert (done.exit_code, "1 in doubt" in done.stdout) == (3, True)


def test_an_undo_stops_where_nobody_is_signed_in(desk: Desk) -> None:
    """A token that is refused ends it with exit 4."""
    _, summary = desk.push("A")
    desk.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=401))
    done = desk.call("undo", summary["run"])
    assert (done.exit_code, "stopped: " in done.stderr) == (4, True)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("words", "answer", "cancelled"), [((), "n", 0), ((), "y", 2), (("--yes",), "n", 2)])
def test_a_person_is_asked_before_an_undo(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, terminal: bool, words: tuple[str, ...], answer: str, cancelled: int
) -> None:
    """At a terminal, unless --yes: how many orders, of which run; a script is not asked."""
    _, summary = desk.push("A", "B")
    monkeypatch.setattr("gotsurge_async.cli.settle.at_a_terminal", lambda: terminal)
    done = desk.run("undo", summary["run"], *desk.ledger, *desk.place, *words, stdin=f"{answer}\n")
    asked = f"Cancel 2 orders of run {summary['run']} (local, from " in done.stderr
    assert asked == (terminal and not words)
    cancelled = cancelled if terminal else 2
    assert (done.exit_code, desk.simulator.audit()["calls"].get("tasks.cancel", 0)) == (
        0 if cancelled else 2,
        cancelled,
    )


def test_drafts_are_undone_if_asked(platform_desk: Desk) -> None:
    """Drafts that nobody broadcast are listed by status and results, and cancelled by undo --drafts."""
    desk = platform_desk
    desk.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
    _, summary = desk.push("A", "B")
    assert (summary["created"], len(summary["unused_drafts"])) == (2, 2)
    assert "unused drafts\t2" in desk.books("status", summary["run"]).stdout
    told = desk.document(desk.books("status", summary["run"], "--json"))
    assert sorted(told["unused_drafts"]) == sorted(summary["unused_drafts"])
    results = desk.document(desk.books("results", summary["run"], "--out", desk.folder / "out", "--json"))
    assert sorted(results["unused_drafts"]) == sorted(summary["unused_drafts"])
    done = desk.call("undo", summary["run"])
    assert done.stdout == f"run {summary['run']}: 2 cancelled, 2 unused drafts left\n"
    done = desk.call("undo", summary["run"], "--drafts")
    assert done.stdout == f"run {summary['run']}: 2 already cancelled, 2 drafts cancelled\n"
    assert desk.document(desk.books("status", summary["run"], "--json"))["unused_drafts"] == []
