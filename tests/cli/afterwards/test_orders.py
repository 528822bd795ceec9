"""`gotsurge orders`: where orders are, listed and alone."""

import asyncio
import csv
import io
import json

import pytest

from gotsurge_async.webhooks.book import Book
from tests.support.commands import Desk, Runner
from tests.webhooks.book.kit import task as read_task


def test_pushed_orders_are_listed(desk: Desk) -> None:
    """Those of a run, as the push left them: a line each, or a document, or a table for spreadsheets."""
    _, first = desk.push("A", "B")
    _, second = desk.push("C")
    done = desk.on_ledger("orders", "--run", first["run"])
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:3] == ["TASK", "TRACKING ID", "STATUS"]
    assert [line[1:3] for line in lines[1:]] == [["A", "broadcasting"], ["B", "broadcasting"]]
    documents = desk.document(desk.on_ledger("orders", "--json"))
    assert [(each["tracking_id"], each["run"], each["planned"], each["currency"]) for each in documents] == [
        ("A", first["run"], "48.50", "SGD"),
        ("B", first["run"], "48.50", "SGD"),
        ("C", second["run"], "48.50", "SGD"),
    ]
    rows = list(csv.DictReader(io.StringIO(desk.on_ledger("orders", "--csv", "--limit", "2").stdout)))
    assert [(row["tracking_id"], row["status"]) for row in rows] == [("A", "broadcasting"), ("B", "broadcasting")]
    assert desk.document(desk.on_ledger("orders", "--status", "complete", "--json")) == []
    assert desk.document(desk.on_ledger("orders", "--status", "complete", "--status", "broadcasting", "--json"))


def test_a_status_that_the_document_does_not_list_is_found(desk: Desk) -> None:
    """One that the service has all the same, and the book knows, may be asked for."""
    desk.push("A")

    async def read() -> None:
        async with Book.open(desk.folder / "ledger.book.db") as book:
            await book.observe("local/plain", read_task("T-9", (), "moored"))

    asyncio.run(read())
    listed = desk.document(desk.on_ledger("orders", "--status", "moored", "--json"))
    assert [order["task_id"] for order in listed] == ["T-9"]


def test_one_order_is_reported_with_its_history(desk: Desk) -> None:
    """By its tracking id or its task id; with --json as it was read, in the API's own shape."""
    desk.push("A", "B")
    ((order),) = desk.document(desk.on_ledger("orders", "A", "--json"))
    assert order["task"]["id"] == order["task_id"]
    assert order["history"] == []
    shown = desk.on_ledger("orders", order["task_id"])
    assert shown.exit_code == 0, shown.output
    assert "tracking id\tA" in shown.stdout
    assert "AT\tSTATUS\tNOTE" in shown.stdout


def test_an_order_that_is_not_there_is_reported(desk: Desk, run: Runner) -> None:
    """So is a place where nothing is; nothing is made there."""
    desk.push("A")
    done = desk.on_ledger("orders", "NONE")
    assert done.exit_code == 2
    assert "no order NONE" in done.stderr
    nowhere = run("orders", "--ledger", desk.folder / "none.db", "--json")
    assert nowhere.exit_code == 2
    assert "no order book" in json.loads(nowhere.stdout)["error"]
    assert not list(desk.folder.glob("none*"))


def test_a_ledger_that_cannot_be_read_hides_no_order(desk: Desk) -> None:
    """What the book has is listed, and what is the matter is reported; so are alerts and reports."""
    desk.push("A")
    assert desk.on_ledger("orders").exit_code == 0
    (desk.folder / "ledger.db").write_bytes(b"no ledger " * 1000)
    done = desk.on_ledger("orders", "--json")
    assert [each["tracking_id"] for each in desk.document(done)] == ["A"]
    assert "is not a database" in done.stderr
    assert "orders that were pushed since may be missing" in done.stderr
    assert desk.on_ledger("alerts").exit_code == 0
    assert desk.call("watch", "RUN", "--read-rate", "0").exit_code == 2


@pytest.mark.parametrize("words", [("--csv", "--json"), ("--book", "mysql://x/y"), ("--limit", "0")])
def test_what_cannot_be_is_refused(desk: Desk, words: tuple[str, ...]) -> None:
    """Two shapes at once, a database that is none of ours, no rows."""
    assert desk.on_ledger("orders", *words).exit_code == 2


def test_only_the_environment_that_is_asked_for_is_listed(desk: Desk) -> None:
    """By --env or GOTSURGE_ENV, where several share a ledger; alerts and orders in doubt too."""
    desk.push("A")
    desk.push_lost("B")
    late = ("--not-accepted", "9999999", "--in-doubt", "0")
    for environment, number in (("local", 1), ("sandbox", 0)):
        listed = desk.document(desk.on_ledger("orders", "--json", "--env", environment))
        meant = desk.document(desk.run("orders", "--json", *desk.ledger, GOTSURGE_ENV=environment))
        assert len(listed) == len(meant) == number
        alerts = desk.document(desk.on_ledger("alerts", *late, "--json", "--env", environment))
        others = desk.document(desk.run("alerts", *late, "--json", *desk.ledger, GOTSURGE_ENV=environment))
        assert len(alerts) == len(others) == 2 * number
    assert len(desk.document(desk.on_ledger("orders", "--json"))) == 1


def test_what_was_taken_back_is_cancelled_in_the_book(desk: Desk) -> None:
    """By an undo after the book knew the orders, and before: no alert goes on, and no report counts them open."""
    for number, key in enumerate(("A", "B")):
        _, summary = desk.push(key)
        if not number:
            assert desk.on_ledger("alerts", "--not-accepted", "9999999").exit_code == 1
        assert desk.call("undo", summary["run"], "--yes", "--reason", "wrong file").exit_code == 0
    assert desk.on_ledger("alerts", "--not-accepted", "9999999").exit_code == 0
    listed = desk.document(desk.on_ledger("orders", "--json"))
    assert [order["status"] for order in listed] == ["cancelled", "cancelled"]
    day = ("--day", "2030-03-04", "--out", desk.folder / "day.csv", "--json")
    report = desk.document(desk.on_ledger("report", *day))
    assert (report["cancelled"], report["open"]) == (2, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("orders", "--run", "TYPO"), "there is no run TYPO"),
        (("alerts", "--run", "TYPO"), "there is no run TYPO"),
        (("orders", "--status", "brodcasting"), "did you mean broadcasting?"),
    ],
)
def test_a_mistyped_filter_is_reported(desk: Desk, words: tuple[str, ...], message: str) -> None:
    """With exit code 2: silence would say that there is nothing."""
    desk.push("A")
    done = desk.on_ledger(*words)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert desk.on_ledger("orders", "--status", "complete").exit_code == 0


def test_no_book_is_begun_from_an_archive(desk: Desk) -> None:
    """Its orders are in no book: exit code 2, and no file is left behind."""
    desk.push("A")
    file = desk.folder / "a.db"
    assert desk.run("ledger", "archive", "--before", "2100-01-01", "--to", file, *desk.ledger).exit_code == 0
    for command in ("orders", "alerts"):
        done = desk.run(command, "--ledger", file)
        assert (done.exit_code, "is an archive" in done.stderr) == (2, True), done.output
    assert not (desk.folder / "a.book.db").exists()
