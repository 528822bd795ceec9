"""`gotsurge plan`, and a push that is held to its plan."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.support.commands import Desk, write_orders


def test_a_plan_is_reported_and_written(desk: Desk) -> None:
    """Orders, spend and hash are reported; the plan's file is JSON with the same; nothing is sent anywhere."""
    file = write_orders(desk.folder / "orders.csv", range(3))
    output = desk.folder / "plan.json"
    done = desk.run("plan", file, "-o", output)
    assert done.exit_code == 0
    assert "orders\t3" in done.stdout
    assert "spend\tSGD 145.50" in done.stdout
    assert json.loads(output.read_text())["spend"] == {"SGD": "145.50"}
    document = json.loads(desk.run("plan", file, "--json").stdout)
    assert document | {"made_at": ""} == json.loads(output.read_text()) | {"made_at": "", "exit": 0}


def test_faults_are_reported_as_a_push_tells_them(desk: Desk) -> None:
    """A faulty file has no plan: exit 2, the faults by line, and as JSON if asked."""
    file = write_orders(desk.folder / "orders.csv", ["A", "A"])
    done = desk.run("plan", file, "-o", desk.folder / "plan.json")
    assert (done.exit_code, "orders.csv:3: " in done.stderr) == (2, True)
    assert not (desk.folder / "plan.json").exists()
    assert json.loads(desk.run("plan", file, "--json").stdout)["count"] == 1


def test_a_push_is_held_to_its_plan(desk: Desk) -> None:
    """The planned file is pushed; one that changed since is exit 2, and nothing of it is sent."""
    file = write_orders(desk.folder / "orders.csv", range(2))
    output = desk.folder / "plan.json"
    assert desk.run("plan", file, "-o", output).exit_code == 0
    words = [*desk.place, *desk.ledger, "--out", desk.folder / "out", "--plan", output]
    write_orders(file, range(3))
    changed = desk.run("push", file, *words)
    assert (changed.exit_code, "not the file of the plan" in changed.stderr) == (2, True)
    assert desk.simulator.audit()["tasks"] == 0
    write_orders(file, range(2))
    assert desk.run("push", file, *words).exit_code == 0
    assert desk.simulator.audit()["tasks"] == 2
    assert desk.run("push", file, *words[:-1], desk.folder / "none.json").exit_code == 2


@pytest.mark.parametrize("command", [["push", "--dry-run"], ["plan"]], ids=["dry run", "plan"])
def test_orders_in_doubt_are_reported_before_a_push(desk: Desk, command: list[str]) -> None:
    """What an earlier push left in doubt is counted as such, and ends with 3, as the push itself would."""
    desk.push("A")
    desk.push_lost("B", "C")
    file = write_orders(desk.folder / "orders.csv", list("ABCD"))
    done = desk.run(*command, file, *desk.place, *desk.ledger)
    assert done.exit_code == 3
    assert "2 in doubt" in done.stdout or "in doubt\t2" in done.stdout
    assert "1 already pushed" in done.stdout or "already pushed\t1" in done.stdout
    document = json.loads(desk.run(*command, file, *desk.place, *desk.ledger, "--json").stdout)
    assert (document["already_pushed"], document["in_doubt"], document["exit"]) == (3, 2, 3)


@pytest.mark.parametrize("command", [["push"], ["push", "--dry-run"], ["plan"]], ids=["push", "dry run", "plan"])
@pytest.mark.parametrize("how", ["older", "gone", "damaged"])
def test_a_ledger_that_a_push_refuses_is_refused_before(desk: Desk, command: list[str], how: str) -> None:
    """An older, a lost and a damaged ledger end a dry run and a plan with 2 too, in the words of the push."""
    book = desk.folder / "ledger.db"
    desk.push("A")
    before = book.read_bytes()
    desk.push("B")
    if how == "older":
        book.write_bytes(before)
    elif how == "gone":
        book.unlink()
    else:
        with closing(sqlite3.connect(book)) as database:
            database.execute("UPDATE chunks SET states = '?'")
            database.commit()
    done = desk.run(*command, desk.folder / "orders.csv", *desk.place, *desk.ledger)
    said = {"older": "is an older copy", "gone": "is gone", "damaged": "is damaged (table chunks"}[how]
    assert (done.exit_code, said in done.stderr) == (2, True), done.output
    assert f"--ledger {book}`" in done.stderr
    assert desk.simulator.audit()["tasks"] == 2
