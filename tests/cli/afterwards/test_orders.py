"""`gotsurge orders`: where orders are, listed and alone."""

import asyncio
import csv
import io
import json

import pytest

from gotsurge_async.webhooks.book import Book
from tests.support.commands import Runner, Shell
from tests.webhooks.book.kit import task as read_task


def test_pushed_orders_are_listed(shell: Shell) -> None:
    """Those of a run, as the push left them: a line each, or a document, or a table for spreadsheets."""
    _, first = shell.push("A", "B")
    _, second = shell.push("C")
    done = shell.on_ledger("orders", "--run", first["run"])
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:3] == ["TASK", "TRACKING ID", "STATUS"]
    assert [line[1:3] for line in lines[1:]] == [["A", "broadcasting"], ["B", "broadcasting"]]
    documents = shell.document(shell.on_ledger("orders", "--json"))
    assert [(each["tracking_id"], each["run"], each["planned"], each["currency"]) for each in documents] == [
        ("A", first["run"], "48.50", "SGD"),
        ("B", first["run"], "48.50", "SGD"),
        ("C", second["run"], "48.50", "SGD"),
    ]
    rows = list(csv.DictReader(io.StringIO(shell.on_ledger("orders", "--csv", "--limit", "2").stdout)))
    assert [(row["tracking_id"], row["status"]) for row in rows] == [("A", "broadcasting"), ("B", "broadcasting")]
    assert shell.document(shell.on_ledger("orders", "--status", "complete", "--json")) == []
    assert shell.document(shell.on_ledger("orders", "--status", "complete", "--status", "broadcasting", "--json"))
    assert shell.document(shell.on_ledger("orders", "--status", "BROADCASTING", "--json"))


def test_a_status_that_the_document_does_not_list_is_found(shell: Shell) -> None:
    """One that the service has all the same, and the book knows, may be asked for."""
    shell.push("A")

    async def read() -> None:
        async with Book.open(shell.folder / "ledger.book.db") as book:
            await book.observe("local/plain", read_task("T-9", (), "moored"))

    asyncio.run(read())
    listed = shell.document(shell.on_ledger("orders", "--status", "moored", "--json"))
    assert [order["task_id"] for order in listed] == ["T-9"]


def test_an_order_that_is_late_for_its_alerts_is_listed_as_late(shell: Shell) -> None:
    """A draft whose pickup window is over is late in the list, for programs, and in the report."""
    shell.push("A")

    async def read() -> None:
        over = {"start_time_utc": "2026-01-02T02:00:00Z", "end_time_utc": "2026-01-02T04:00:00Z"}
        window = {"start_time_utc": "2030-03-04T03:00:00Z", "end_time_utc": "2030-03-04T04:00:00Z"}
        draft = read_task("T-9", (), "pending_broadcast", from_time_window=over, to_time_window=window)
        async with Book.open(shell.folder / "ledger.book.db") as book:
            await book.observe("local/plain", draft)

    asyncio.run(read())
    listed = shell.document(shell.on_ledger("orders", "--json"))
    assert {order["task_id"]: order["late"] for order in listed if order["late"]} == {"T-9": True}
    rows = [line.split("\t") for line in shell.on_ledger("orders").stdout.splitlines()]
    assert sorted(row[rows[0].index("LATE")] for row in rows) == ["", "LATE", "late"]
    assert {alert["order"] for alert in shell.document(shell.on_ledger("alerts", "--json"))} == {"T-9"}
    day = ("--day", "2030-03-04", "--out", shell.folder / "day.csv", "--json")
    assert shell.document(shell.on_ledger("report", *day))["late"] == 1


def test_one_order_is_reported_with_its_history(shell: Shell) -> None:
    """By its tracking id or its task id; with --json as it was read, in the API's own shape."""
    shell.push("A", "B")
    ((order),) = shell.document(shell.on_ledger("orders", "A", "--json"))
    assert order["task"]["id"] == order["task_id"]
    assert order["history"] == []
    shown = shell.on_ledger("orders", order["task_id"])
    assert shown.exit_code == 0, shown.output
    assert "tracking id\tA" in shown.stdout
    assert "AT\tSTATUS\tNOTE" in shown.stdout


def test_an_order_that_is_not_there_is_reported(shell: Shell, run: Runner) -> None:
    """So is a place where nothing is; nothing is made there."""
    shell.push("A")
    done = shell.on_ledger("orders", "NONE")
    assert done.exit_code == 2
    assert "tracking id or key NONE" in done.stderr
    nowhere = run("orders", "--ledger", shell.folder / "none.db", "--json")
    assert nowhere.exit_code == 2
    assert "no order book" in json.loads(nowhere.stdout)["error"]
    assert not list(shell.folder.glob("none*"))


def test_a_ledger_that_cannot_be_read_hides_no_order(shell: Shell) -> None:
    """What the book has is listed, and what is the matter is reported; so are alerts and reports."""
    shell.push("A")
    assert shell.on_ledger("orders").exit_code == 0
    (shell.folder / "ledger.db").write_bytes(b"no ledger " * 1000)
    done = shell.on_ledger("orders", "--json")
    assert [each["tracking_id"] for each in shell.document(done)] == ["A"]
    assert "is not a database" in done.stderr
    assert "orders that were pushed since may be missing" in done.stderr
    assert shell.on_ledger("alerts").exit_code == 0
    assert shell.call("watch", "RUN", "--read-rate", "0").exit_code == 2


@pytest.mark.parametrize("words", [("--csv", "--json"), ("--book", "mysql://x/y"), ("--limit", "0")])
def test_what_cannot_be_is_refused(shell: Shell, words: tuple[str, ...]) -> None:
    """Two shapes at once, a database that is none of ours, no rows."""
    assert shell.on_ledger("orders", *words).exit_code == 2


def test_only_the_environment_that_is_asked_for_is_listed(shell: Shell) -> None:
    """By --env or GOTSURGE_ENV, where several share a ledger; alerts and orders in doubt too."""
    shell.push("A")
    shell.push_lost("B")
    late = ("--not-accepted", "9999999", "--in-doubt", "0")
    for environment, number in (("local", 1), ("sandbox", 0)):
        listed = shell.document(shell.on_ledger("orders", "--json", "--env", environment))
        meant = shell.document(shell.run("orders", "--json", *shell.ledger, GOTSURGE_ENV=environment))
        assert len(listed) == len(meant) == number
        alerts = shell.document(shell.on_ledger("alerts", *late, "--json", "--env", environment))
        others = shell.document(shell.run("alerts", *late, "--json", *shell.ledger, GOTSURGE_ENV=environment))
        assert len(alerts) == len(others) == 2 * number
    assert len(shell.document(shell.on_ledger("orders", "--json"))) == 1


def test_what_was_taken_back_is_cancelled_in_the_book(shell: Shell) -> None:
    """By an undo after the book knew the orders, and before: no alert goes on, and no report counts them open."""
    for number, key in enumerate(("A", "B")):
        _, summary = shell.push(key)
        if not number:
            assert shell.on_ledger("alerts", "--not-accepted", "9999999").exit_code == 1
        assert shell.call("undo", summary["run"], "--yes", "--reason", "wrong file").exit_code == 0
    assert shell.on_ledger("alerts", "--not-accepted", "9999999").exit_code == 0
    listed = shell.document(shell.on_ledger("orders", "--json"))
    assert [order["status"] for order in listed] == ["cancelled", "cancelled"]
    day = ("--day", "2030-03-04", "--out", shell.folder / "day.csv", "--json")
    report = shell.document(shell.on_ledger("report", *day))
    assert (report["cancelled"], report["open"]) == (2, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("orders", "--run", "TYPO"), "there is no run TYPO"),
        (("alerts", "--run", "TYPO"), "there is no run TYPO"),
        (("orders", "--status", "brodcasting"), "no order has the status brodcasting: GotSurge's statuses are draft"),
    ],
)
def test_a_mistyped_filter_is_reported(shell: Shell, words: tuple[str, ...], message: str) -> None:
    """With exit code 2: silence would say that there is nothing."""
    shell.push("A")
    done = shell.on_ledger(*words)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert shell.on_ledger("orders", "--status", "complete").exit_code == 0


def test_no_book_is_begun_from_an_archive(shell: Shell) -> None:
    """Its orders are in no book: exit code 2, and no file is left behind."""
    shell.push("A")
    file = shell.folder / "a.db"
    assert shell.run("ledger", "archive", "--before", "2100-01-01", "--to", file, *shell.ledger).exit_code == 0
    for command in ("orders", "alerts"):
        done = shell.run(command, "--ledger", file)
        assert (done.exit_code, "is an archive" in done.stderr) == (2, True), done.output
    assert not (shell.folder / "a.book.db").exists()
