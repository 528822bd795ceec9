"""`gotsurge plan`, and a push that is held to its plan."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.support.commands import Shell, write_orders


def test_a_plan_is_reported_and_written(shell: Shell) -> None:
    """Orders, spend and hash are reported; the plan's file is JSON with the same; nothing is sent anywhere."""
    file = write_orders(shell.folder / "orders.csv", range(3))
    output = shell.folder / "plan.json"
    done = shell.run("plan", file, "-o", output)
    assert done.exit_code == 0
    assert "orders\t3" in done.stdout
    assert "spend\tSGD 145.50" in done.stdout
    assert json.loads(output.read_text())["spend"] == {"SGD": "145.50"}
    document = json.loads(shell.run("plan", file, "--json").stdout)
    assert document | {"made_at": ""} == json.loads(output.read_text()) | {"made_at": "", "exit": 0}


def test_faults_are_reported_as_a_push_tells_them(shell: Shell) -> None:
    """A faulty file has no plan: exit 2, the faults by line, and as JSON if asked."""
    file = write_orders(shell.folder / "orders.csv", ["A", "A"])
    done = shell.run("plan", file, "-o", shell.folder / "plan.json")
    assert (done.exit_code, "orders.csv:3: " in done.stderr) == (2, True)
    assert not (shell.folder / "plan.json").exists()
    assert json.loads(shell.run("plan", file, "--json").stdout)["count"] == 1


def test_a_push_is_held_to_its_plan(shell: Shell) -> None:
    """The planned file is pushed; one that changed since is exit 2, and nothing of it is sent."""
    file = write_orders(shell.folder / "orders.csv", range(2))
    output = shell.folder / "plan.json"
    assert shell.run("plan", file, "-o", output).exit_code == 0
    words = [*shell.place, *shell.ledger, "--out", shell.folder / "out", "--plan", output]
    write_orders(file, range(3))
    changed = shell.run("push", file, *words)
    assert (changed.exit_code, "differs from the file of the plan" in changed.stderr) == (2, True)
    assert shell.simulator.audit()["tasks"] == 0
    write_orders(file, range(2))
    assert shell.run("push", file, *words).exit_code == 0
    assert shell.simulator.audit()["tasks"] == 2
    assert shell.run("push", file, *words[:-1], shell.folder / "none.json").exit_code == 2


@pytest.mark.parametrize("command", [["push", "--dry-run"], ["plan"]], ids=["dry run", "plan"])
def test_orders_in_doubt_are_reported_before_a_push(shell: Shell, command: list[str]) -> None:
    """What an earlier push left in doubt is counted as such, and ends with 3, as the push itself would."""
    shell.push("A")
    shell.push_lost("B", "C")
    file = write_orders(shell.folder / "orders.csv", list("ABCD"))
    done = shell.run(*command, file, *shell.place, *shell.ledger)
    assert done.exit_code == 3
    assert "2 in doubt" in done.stdout or "in doubt\t2" in done.stdout
    assert "1 already pushed" in done.stdout or "already pushed\t1" in done.stdout
    document = json.loads(shell.run(*command, file, *shell.place, *shell.ledger, "--json").stdout)
    assert (document["already_pushed"], document["in_doubt"], document["exit"]) == (3, 2, 3)


@pytest.mark.parametrize("how", ["older", "gone", "damaged"])
def test_a_ledger_that_a_push_refuses_is_refused_before(shell: Shell, how: str) -> None:
    """An older, a lost and a damaged ledger end a dry run and a plan with 2 too, in the words of the push."""
    book = shell.folder / "ledger.db"
    shell.push("A")
    before = book.read_bytes()
    shell.push("B")
    if how == "older":
        book.write_bytes(before)
    elif how == "gone":
        book.unlink()
    else:
        with closing(sqlite3.connect(book)) as database:
            database.execute("UPDATE chunks SET states = '?'")
            database.commit()
    said = {"older": "is an older copy", "gone": "is gone", "damaged": "is damaged (table chunks"}[how]
    for command in (["push"], ["push", "--dry-run"], ["plan"]):
        done = shell.run(*command, shell.folder / "orders.csv", *shell.place, *shell.ledger)
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
        assert f"--ledger {book}`" in done.stderr
    assert shell.simulator.audit()["tasks"] == 2
