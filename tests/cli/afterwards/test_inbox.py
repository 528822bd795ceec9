"""``gotsurge inbox``: events and parked changes by hand."""

import asyncio
import json
from pathlib import Path

import pytest

from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.inbox import Inbox
from tests.support.commands import Runner
from tests.webhooks.book.kit import ACCOUNT, after
from tests.webhooks.kit import event


def test_the_inbox_by_hand(run: Runner, tmp_path: Path) -> None:
    """Events are listed, shown, replayed and dropped; what is not there is reported."""

    async def fill() -> None:
        async with Inbox.open(tmp_path / "inbox.db") as inbox:
            await inbox.put("acme", event("task-1"))
            await inbox.put("acme", b"\xff\x1b[31m")
            await inbox.done([1])

    asyncio.run(fill())
    book = ("--book", tmp_path / "inbox.db")
    listed = run("inbox", "list", *book)
    assert listed.exit_code == 0, listed.output
    assert [line.split("\t")[2:4] for line in listed.stdout.splitlines()] == [
        ["STATE", "TASK"],
        ["dead", ""],
        ["done", "task-1"],
    ]
    assert "0 waiting, 1 done, 1 dead" in listed.stderr
    assert run("inbox", "show", "1", "--raw", *book).stdout_bytes == event("task-1")
    shown = run("inbox", "show", "2", *book)
    assert "\x1b" not in shown.output
    assert "is not JSON" in shown.stdout
    assert json.loads(run("inbox", "show", "1", "--json", *book).stdout)["state"] == "done"
    assert (done := run("inbox", "replay", "1", "2", *book)).exit_code == 1
    assert "1 of 2 replayed" in done.stdout
    assert json.loads(run("inbox", "list", "--state", "waiting", "--json", *book).stdout)[0]["task_id"] == "task-1"
    assert json.loads(run("inbox", "drop", "--all", "dead", "--json", *book).stdout) == {
        "dropped": 1,
        "of": 1,
        "exit": 0,
    }
    assert run("inbox", "drop", "77", *book).exit_code == 1
    assert run("inbox", "show", "77", *book).exit_code == 2
    for words in (("replay",), ("drop", "1", "--all", "dead")):
        assert run("inbox", *words, *book).exit_code == 2
    nowhere = run("inbox", "list", "--book", tmp_path / "none.db")
    assert (nowhere.exit_code, "no inbox" in nowhere.stderr, (tmp_path / "none.db").exists()) == (2, True, False)


def test_parked_changes_by_hand(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parked changes are listed, skipped, and handed on again, as are all from a number on; others are reported."""

    async def fill() -> None:
        async with Book.open(tmp_path / "b.db") as opened:
            for number in range(3):
                await opened.observe(ACCOUNT, after(2, f"T-{number}"))
            for change in await opened.waiting():
                await opened.park(change, "HTTP 400")

    asyncio.run(fill())
    book = ("--book", tmp_path / "b.db")
    listed = json.loads(run("inbox", "parked", "--json", *book).stdout)
    assert [(each["number"], each["task_id"], each["attempts"], each["why"]) for each in listed] == [
        (1, "T-0", 1, "HTTP 400"),
        (3, "T-1", 1, "HTTP 400"),
        (5, "T-2", 1, "HTTP 400"),
    ]
    assert run("inbox", "parked", *book).stdout.splitlines()[1].split("\t")[:4] == ["1", ACCOUNT, "T-0", "broadcasting"]
    monkeypatch.setattr("gotsurge_async.cli.afterwards.inbox.MOST_PARKED", 2)
    fewer = run("inbox", "parked", "--json", *book)
    assert (json.loads(fewer.stdout), "more than 2 changes are parked" in fewer.stderr) == (listed[:2], True)
    assert (again := run("inbox", "resend", "1", "2", *book)).exit_code == 1
    assert "1 of 2 resent" in again.stdout
    assert (skipped := run("inbox", "skip", "1", "3", *book)).exit_code == 1
    assert "1 of 2 skipped" in skipped.stdout
    assert json.loads(run("inbox", "resend", "--parked", "--json", *book).stdout) == {"resent": 1, "of": 1, "exit": 0}
    assert json.loads(run("inbox", "parked", "--json", *book).stdout) == []
    assert "4 of 4 resent" in run("inbox", "resend", "--from", "3", *book).stdout
    for words in ((), ("1", "--parked"), ("--parked", "--from", "3")):
        assert run("inbox", "resend", *words, *book).exit_code == 2
    assert run("inbox", "skip", *book).exit_code == 2
    assert run("inbox", "parked", "--book", tmp_path / "none.db").exit_code == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_only_the_half_that_is_there_is_opened(
    run: Runner, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """No command of the inbox makes tables: not of the half that it uses, and not of the other one."""
    place = f"sqlite:///{tmp_path / 'b.db'}" if kind == "sqlite" else request.getfixturevalue("database")

    async def make(half: type[Inbox] | type[Book]) -> None:
        async with half.open(place):
            pass

    if kind == "sqlite":
        (tmp_path / "b.db").touch()
    ways = {
        Inbox: (("list",), ("show", "1"), ("drop", "1")),
        Book: (("parked",), ("resend", "--parked"), ("skip", "1")),
    }
    names = {Inbox: "no inbox at", Book: "no order book at"}
    for half, commands in ways.items():
        for words in commands:
            done = run("inbox", *words, "--book", place)
            assert (done.exit_code, names[half] in done.stderr, "pass its path with --book" in done.stderr) == (
                2,
                True,
                True,
            )
    asyncio.run(make(Inbox))
    assert run("inbox", "list", "--book", place).exit_code == 0
    assert "no order book at" in run("inbox", "parked", "--book", place).stderr
    asyncio.run(make(Book))
    assert run("inbox", "parked", "--book", place).exit_code == 0
