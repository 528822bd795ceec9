"""`gotsurge report`: a day, written as the name of the file says."""

import asyncio
import csv
import io
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gotsurge_async.webhooks.book import Book
from tests.support.commands import Shell
from tests.webhooks.book.kit import task as read_task

DAY = "2030-03-04"


@pytest.mark.slow
def test_a_day_is_written_as_the_name_says(shell: Shell) -> None:
    """A page, a table of vessels or orders, a workbook; for its owner alone, and what it holds is reported."""
    _, summary = shell.push("A", "B", "C")
    for number, task in enumerate(shell.simulator.tasks()[:2]):
        shell.simulator.move(task["id"], "cancelled" if number else "complete", through=True)
    shell.call("watch", summary["run"], "--read-rate", "200", "--read-after", "0", "--timeout", "2")
    for name in ("day.html", "day.csv", "day.xlsx"):
        done = shell.on_ledger("report", "--day", DAY, "--out", shell.folder / name)
        assert done.exit_code == 0, done.output
        message = (
            "2030-03-04 (Asia/Singapore, local): 3 orders for 1 vessel: 1 delivered, 1 cancelled, 1 open; written to "
        )
        assert message in done.stderr
        assert stat.S_IMODE((shell.folder / name).stat().st_mode) == 0o600
    assert "(no vessel)" in (shell.folder / "day.html").read_text()
    assert (shell.folder / "day.xlsx").read_bytes().startswith(b"PK")
    words = ("report", "--day", DAY, "--out", shell.folder / "each.csv", "--force", "--orders")
    done = shell.on_ledger(*words)
    assert "2 delivered or cancelled orders left out: --done writes them, too" in done.stderr
    assert (shell.folder / "each.csv").read_text().count("\n") == 2
    document = shell.document(shell.on_ledger(*words, "--done", "--json"))
    assert (document["ordered"], document["planned"], document["final"]) == (3, ["SGD 145.50"], ["SGD 48.50"])
    rows = list(csv.DictReader(io.StringIO((shell.folder / "each.csv").read_text("utf-8-sig"))))
    assert [(row["tracking_id"], row["outcome"]) for row in rows] == [
        ("A", "delivered"),
        ("B", "cancelled"),
        ("C", "open"),
    ]


def test_a_report_of_old_reads_says_so(shell: Shell) -> None:
    """Where an open order was not heard of for more than an hour, that is reported with what to do about it."""
    shell.push("A")
    words = ("report", "--day", DAY, "--out", shell.folder / "day.csv", "--force")
    assert "last read" not in shell.on_ledger(*words).stderr

    async def read() -> None:
        window = {"start_time_utc": "2030-03-04T03:00:00Z", "end_time_utc": "2030-03-04T04:00:00Z"}
        async with Book.open(shell.folder / "ledger.book.db") as book:
            seen = datetime.now(UTC) - timedelta(minutes=61)
            await book.observe("local", read_task("B", (), "accepted", to_time_window=window), at=seen)

    asyncio.run(read())
    assert "last read" in shell.on_ledger(*words).stderr


def test_the_zone_says_which_day_it_is(shell: Shell) -> None:
    """The window ends at 04:00 UTC: that is the third of March in California."""
    shell.push("A")
    for day, zone, number in (
        (DAY, "UTC", 1),
        ("2030-03-03", "America/Los_Angeles", 1),
        (DAY, "America/Los_Angeles", 0),
    ):
        words = ("--day", day, "--timezone", zone, "--out", shell.folder / "day.csv", "--force", "--json")
        document = shell.document(shell.on_ledger("report", *words))
        assert (document["ordered"], document["timezone"]) == (number, zone)
    assert shell.on_ledger("report", "--out", shell.folder / "today.csv").exit_code == 0


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("zone", ["Asia/Singapore", "America/Los_Angeles"])
def test_the_first_and_the_last_day_are_days(shell: Shell, day: str, zone: str) -> None:
    """With their orders none, and their years in four digits."""
    shell.push("A")
    out = shell.folder / "day.html"
    done = shell.on_ledger("report", "--day", day, "--timezone", zone, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"{day} ({zone}): no orders" in done.stderr
    assert f" {day[:4]}</h1>" in out.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--out", "day.pdf"),
        ("--out", "day.csv", "--day", "04.03.2030"),
        ("--out", "day.html", "--orders"),
        ("--out", "day.csv", "--done"),
        ("--out", "none/day.csv"),
        ("--out", "there.csv"),
        (),
    ],
)
def test_what_cannot_be_written_is_reported(
    shell: Shell, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another ending, no day, a folder that is not there, a file that is: exit code 2, and nothing is changed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    shell.push("A")
    done = shell.on_ledger("report", *words)
    assert done.exit_code == 2, done.output
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert not list(tmp_path.glob("day.*"))
    assert not list(tmp_path.glob(".*.csv*"))


def test_production_is_not_mixed_with_others_by_itself(shell: Shell) -> None:
    """Where they share a book, --env or GOTSURGE_ENV says of which to report; both only where that is asked for."""
    shell.push("A")
    out, day = ("--out", shell.folder / "day.html", "--force", "--json"), ("--day", DAY)

    async def read() -> None:
        window = {"start_time_utc": "2030-03-04T03:00:00Z", "end_time_utc": "2030-03-04T04:00:00Z"}
        async with Book.open(shell.folder / "ledger.book.db") as book:
            for account in ("production", "production/ship-shop", "production_2/odd"):
                await book.observe(account, read_task(account, (), "accepted", to_time_window=window))

    asyncio.run(read())
    refused = shell.on_ledger("report", *day, *out)
    assert (refused.exit_code, "--all-environments" in refused.stderr) == (2, True), refused.output
    whole = shell.document(shell.on_ledger("report", *day, *out, "--all-environments"))
    assert (whole["ordered"], whole["environments"]) == (4, ["local", "production", "production_2"])
    for environment, number in (("production", 2), ("local", 1), ("sandbox", 0)):
        named = shell.document(shell.on_ledger("report", *day, *out, "--env", environment))
        meant = shell.document(shell.run("report", *day, *out, *shell.ledger, GOTSURGE_ENV=environment))
        assert named["ordered"] == meant["ordered"] == number
        assert named["environments"] == [environment][: min(1, number)]
        assert (f"Orders of {environment}." in (shell.folder / "day.html").read_text()) == bool(number)
