"""`gotsurge alerts`: shown to people, programs, cron, and to where teams talk."""

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async.cli.afterwards.alerts import _Check
from gotsurge_async.cli.afterwards.books import Books
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import place_of
from gotsurge_async.ledger import Ledger, NewOrder, OrderOutcome, OrderState
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.webhooks.alerts import Alert, AlertKind, Limits
from gotsurge_async.webhooks.book import Only
from tests.cli.afterwards.kit import mailbox
from tests.support.commands import Shell, gotsurge, local, start, write_orders

YEARS = "9999999"
"""Minutes until the windows of the orders of these tests, and more."""


def test_nothing_is_reported_where_nothing_is_wrong(shell: Shell) -> None:
    """Exit code 0, and no line but the headings' own."""
    shell.push("A")
    done = shell.on_ledger("alerts")
    assert (done.exit_code, done.stdout) == (0, "")
    assert shell.document(shell.on_ledger("alerts", "--json")) == []


def test_a_line_moves_no_cursor(tmp_path: Path) -> None:
    """Whatever an order says, the line of its alert that is followed or posted is one line of printable text."""
    place = place_of(str(tmp_path / "ledger.db"))
    check = _Check(books=Books(ledger=place, book=place), only=Only(), limits=Limits())
    odd = Alert(kind=AlertKind.FAILED, name="T-1", tracking_id="A\x1b[2J\u202eB\r\n", status="expired")
    assert check.lines([odd]) == ["failed: A [2J B : Expired"]


def test_what_is_wrong_is_reported_with_exit_code_1(shell: Shell) -> None:
    """By the limits that were given, in the zone that was, of the run or vessel that was asked for."""
    _, first = shell.push("A")
    shell.push("B")
    words = ("--not-accepted", YEARS, "--run", first["run"])
    done = shell.on_ledger("alerts", *words, "--timezone", "Asia/Singapore")
    assert done.exit_code == 1, done.output
    (row,) = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    assert row[0] == "not accepted"
    assert row[1].startswith("A: Broadcasting, no driver yet; the pickup window begins in ")
    assert row[1].endswith("(2030-03-04 09:00+08:00)")
    (alert,) = shell.document(shell.on_ledger("alerts", *words, "--json"))
    assert (alert["kind"], alert["tracking_id"], alert["at"]) == ("not_accepted", "A", "2030-03-04T01:00:00Z")
    assert alert["text"].endswith("(2030-03-04 01:00Z)")
    assert shell.on_ledger("alerts", "--not-accepted", YEARS, "--vessel", "none").exit_code == 0


def test_orders_in_doubt_are_reported(shell: Shell) -> None:
    """When they have been so for too long; they stand in the ledger alone."""
    run_id = shell.push_lost("A", "B")
    assert shell.on_ledger("alerts").exit_code == 0
    found = shell.document(shell.on_ledger("alerts", "--in-doubt", "0", "--json"))
    assert [(alert["kind"], alert["order"]) for alert in found] == [
        ("in_doubt", f"{run_id}/A"),
        ("in_doubt", f"{run_id}/B"),
    ]


async def test_orders_in_doubt_of_a_run_that_goes_on_are_reported(tmp_path: Path) -> None:
    """A desk holds its run all day. Those in flight are reported only when no process holds the run."""
    place = place_of(str(tmp_path / "ledger.db"))
    check = _Check(books=Books(ledger=place, book=place), only=Only(), limits=Limits(in_doubt=timedelta(0)))

    async def reported(ledger: Ledger) -> list[str | None]:
        return [alert.tracking_id async for alert in check._in_doubt(ledger, SystemClock().now())]

    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run = await ledger.begin(environment="local", mode="direct", source="orders.csv")
        async with run:
            await run.add([NewOrder(line=line, key=key, payload=b"{}") for line, key in enumerate("ABC", 1)])
            await run.admit()
            first, second, _ = [row.id async for row in run.rows({OrderState.PENDING})]
            await run.claim([first, second])
            assert await reported(ledger) == []
            await run.record([OrderOutcome(first, OrderState.IN_DOUBT)])
            assert await reported(ledger) == ["A"]
        assert await reported(ledger) == ["A", "B"]


def test_old_news_is_reported_to_be_old(shell: Shell) -> None:
    """What was not read for an hour may have gone on since."""
    shell.push("A", "B")
    fresh = shell.on_ledger("alerts", "--not-accepted", YEARS)
    assert "last read over an hour ago" not in fresh.stderr
    with sqlite3.connect(shell.folder / "ledger.book.db") as database:
        database.execute("UPDATE book_orders SET seen_at = seen_at - 3700 * 1000000 WHERE tracking_id = 'A'")
    database.close()
    old = shell.on_ledger("alerts", "--not-accepted", YEARS)
    assert (old.exit_code, "1 of these orders was last read over an hour ago" in old.stderr) == (1, True)


def test_it_reads_before_it_tells_if_asked(shell: Shell) -> None:
    """What failed since the last read is reported then, and only then."""
    shell.push("A")
    (task,) = shell.simulator.tasks()
    shell.simulator.move(task["id"], "expired")
    assert shell.on_ledger("alerts").exit_code == 0
    assert shell.call("alerts", "--read-rate", "50").exit_code == 0  # it was heard of just now
    words = ("--read-rate", "50", "--read-after", "0")
    done = shell.call("alerts", *words)
    assert done.exit_code == 1, done.output
    assert "failed\tA: Expired" in done.stdout
    assert shell.on_ledger("alerts").exit_code == 1
    assert shell.on_ledger("alerts", "--read-rate", "5").exit_code == 2


def test_a_platform_partners_orders_are_read_as_such(platform_shell: Shell) -> None:
    """Nobody need say that the account is one."""
    platform_shell.push("A", words=("--mode", "two-phase"))
    (task,) = platform_shell.simulator.tasks()
    platform_shell.simulator.move(task["id"], "expired")
    done = platform_shell.call("alerts", "--read-rate", "50", "--read-after", "0")
    assert (done.exit_code, "failed\tA: Expired" in done.stdout) == (1, True), done.output
    assert platform_shell.simulator.audit()["calls"]["platform.tasks.get"] >= 1


def test_what_could_not_be_read_is_reported(shell: Shell) -> None:
    """The rest is reported all the same, as it was last read."""
    shell.push("A")
    shell.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=400))
    done = shell.call("alerts", "--read-rate", "50", "--read-after", "0", "--not-accepted", YEARS)
    assert (done.exit_code, "A: Broadcasting" in done.stdout) == (1, True)
    assert "not all tasks could be read: " in done.stderr


@pytest.mark.slow
def test_it_posts_one_text(shell: Shell) -> None:
    """Tried again when the other side is busy; text of orders is no markup; the URL's secret is never shown."""
    shell.push("<!channel>&A", "B")
    with mailbox() as box:
        box.statuses = [503]
        words = ("--not-accepted", YEARS, "--post", box.url)
        assert shell.on_ledger("alerts", *words).exit_code == 1
        (text,) = box.texts
        assert text.splitlines()[0].startswith("not accepted: &lt;!channel&gt;&amp;A: Broadcasting")
        assert len(text.splitlines()) == 2
        box.statuses = [404]
        failed = shell.on_ledger("alerts", *words)
        assert failed.exit_code == 8
        assert "could not be posted to 127.0.0.1: it answered 404" in failed.stderr
        assert "S3CRET" not in failed.output
    for url in ("ftp://x/y", "hooks.slack.com/services/S3CRET", "http://", "http://x y/S3CRET"):
        refused = shell.on_ledger("alerts", "--post", url)
        assert refused.exit_code == 2
        assert "S3CRET" not in refused.output


@pytest.mark.parametrize("words", [("--timezone", "Mars/Port"), ("--every", "0"), ("--late", "-1")])
def test_what_cannot_be_is_refused(shell: Shell, words: tuple[str, ...]) -> None:
    """A zone that is none, a pause or a limit below nothing."""
    assert shell.on_ledger("alerts", *words).exit_code == 2


@pytest.mark.slow
async def test_it_follows_and_tells_each_once(tmp_path: Path) -> None:
    """A line for each alert while it lasts, also a posted one that failed at first; Ctrl-C ends it."""
    async with Simulator() as simulator:
        ledger = ["--ledger", str(tmp_path / "ledger.db")]
        first = write_orders(tmp_path / "first.csv", ["A"])
        options = (*local(simulator), *ledger, "--quiet")
        assert (await gotsurge("push", first, *options, cwd=tmp_path)).code == 0
        with mailbox() as box:
            box.statuses = [400]
            words = ("--not-accepted", YEARS, "--follow", "--every", "0.2", "--post", box.url, "--json")
            process = await start("alerts", *ledger, *words, cwd=tmp_path)
            assert process.stdout is not None
            try:
                one = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
                assert await asyncio.to_thread(box.got.acquire, timeout=30)
                second = write_orders(tmp_path / "second.csv", ["B"])
                assert (await gotsurge("push", second, *options, cwd=tmp_path)).code == 0
                two = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
                assert await asyncio.to_thread(box.got.acquire, timeout=30)
            finally:
                process.send_signal(2)
                rest, errors = await process.communicate()
        assert (one["tracking_id"], two["tracking_id"], rest) == ("A", "B", b"")
        assert process.returncode == 130
        assert b"posted with the next look" in errors
        assert [text.count("\n") for text in box.texts] == [0, 0]


@pytest.mark.slow
async def test_following_outlives_a_book_that_cannot_be_used(tmp_path: Path) -> None:
    """It says so, and tells what there is when the book can be used again."""
    async with Simulator() as simulator:
        options = (*local(simulator), "--ledger", str(tmp_path / "ledger.db"), "--quiet")
        pushed = await gotsurge("push", write_orders(tmp_path / "orders.csv", ["A"]), *options, cwd=tmp_path)
        assert pushed.code == 0
    (tmp_path / "book").mkdir()
    words = ("--ledger", tmp_path / "ledger.db", "--book", tmp_path / "book", "--follow", "--every", "0.2")
    process = await start("alerts", *words, "--not-accepted", YEARS, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert b"it is looked at again" in await asyncio.wait_for(process.stderr.readline(), 30)
        (tmp_path / "book").rmdir()
        assert b"\tnot accepted\tA: Broadcasting" in await asyncio.wait_for(process.stdout.readline(), 30)
    finally:
        process.send_signal(2)
        await process.communicate()
