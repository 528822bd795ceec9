"""A file that was corrected after it had been pushed, pushed again."""

import csv
import json
from pathlib import Path

import attrs
import pytest

from tests.support.commands import Shell, write_orders


@pytest.fixture
def platform(shell: Shell) -> Shell:
    """A shell of a platform partner."""
    return attrs.evolve(shell, account="platform")


def corrected(shell: Shell) -> Path:
    """The file of three orders, two of which have been corrected."""
    file = write_orders(shell.folder / "orders.csv", ["A", "B", "C"])
    text = (
        file.read_text().replace("\nB,B Loyang Way", "\nB,Tuas South 9").replace("\nC,C Loyang Way", "\nC,Tuas South 7")
    )
    file.write_text(text)
    return file


def test_a_corrected_row_is_reported_by_line_and_field(shell: Shell) -> None:
    """It is neither sent nor called a success: exit 7, its line and fields on stderr, and a file of its own."""
    shell.push("A", "B", "C")
    file = corrected(shell)
    words = [*shell.place, *shell.ledger, "--out", shell.folder / "out"]
    done = shell.run("push", file, *words, "--json", "--quiet")
    summary = json.loads(done.stdout)
    assert (done.exit_code, summary["already_pushed"], summary["changed"], summary["created"]) == (7, 1, 2, 0)
    assert "3 already pushed, 2 of them differ from what was sent" in done.stderr
    assert f"{file}:3: B: pushed by run" in done.stderr
    assert "differs from what was sent: from_address.street_address" in done.stderr
    with Path(summary["files"]["created"]).open(newline="") as stream:
        assert [row["tracking_id"] for row in csv.DictReader(stream)] == ["A"]
    with Path(summary["files"]["changed"]).open(newline="") as stream:
        assert [row["tracking_id"] for row in csv.DictReader(stream)] == ["B", "C"]
    status = shell.document(shell.on_ledger("status", summary["run"], "--json"))
    assert (status["changed"], status["already_pushed"]) == (2, 1)


@pytest.mark.parametrize("command", [["push", "--dry-run"], ["plan"]])
def test_a_look_tells_the_same(shell: Shell, command: list[str]) -> None:
    """A dry run and a plan find corrected rows in the ledger, with the same exit code, and write nothing into it."""
    shell.push("A", "B", "C")
    file = corrected(shell)
    name, *words = command
    before = shell.on_ledger("runs", "--json").stdout
    done = shell.run(name, file, *words, *shell.place, *shell.ledger)
    assert done.exit_code == 7
    assert "differs from what was sent: from_address.street_address" in done.output
    document = json.loads(shell.run(name, file, *words, *shell.place, *shell.ledger, "--json").stdout)
    assert (document["already_pushed"], document["changed_count"]) == (3, 2)
    assert shell.on_ledger("runs", "--json").stdout == before


def test_a_ledger_is_only_looked_at_where_there_is_one(shell: Shell) -> None:
    """Without a ledger nothing is known, and none is made."""
    file = corrected(shell)
    assert shell.run("push", file, "--dry-run", *shell.place, *shell.ledger).exit_code == 0
    assert not (shell.folder / "ledger.db").exists()


def test_tasks_are_changed_if_that_is_asked_for(platform: Shell) -> None:
    """--replace-changed changes the open tasks of a platform partner; then the file is all pushed, exit 0."""
    _, first = platform.push("A", "B", "C")
    file = corrected(platform)
    words = [*platform.place, *platform.ledger, "--out", platform.folder / "out", "--quiet", "--json"]
    done = platform.run("push", file, *words, "--replace-changed")
    assert (done.exit_code, json.loads(done.stdout)["already_pushed"]) == (0, 3)
    assert "2 tasks were changed to match the orders" in done.stderr
    assert platform.run("push", file, *words).exit_code == 0
    assert platform.simulator.audit()["by_tracking_id"] == {"A": 1, "B": 1, "C": 1}
    assert first["created"] == 3


def test_a_plain_partner_cannot_change_tasks(shell: Shell) -> None:
    """It is refused before anything is loaded."""
    done = shell.run("push", corrected(shell), *shell.place, *shell.ledger, "--replace-changed")
    assert (done.exit_code, "for platform partners" in done.stderr) == (2, True)
