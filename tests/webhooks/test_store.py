"""The database of order book and inbox: what is committed is in the file that is there."""

import asyncio
import logging
import os
import shutil
from pathlib import Path

import psycopg
import pytest

from gotsurge_async.database import Database
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.inbox import EventState, Inbox
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.store import StoreError
from tests.webhooks.kit import TOKEN, event


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the database is, or will be: in a file, and on a server."""
    return str(tmp_path / "b.db" if request.param == "sqlite" else request.getfixturevalue("database"))


async def test_tables_that_are_there_are_not_made_again(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening book and inbox a second time asks for no lock on their tables."""
    scripts: list[str] = []

    def noted(self: Database, name: str) -> None:
        scripts.append(name)
        self._script(self._texts[name])

    monkeypatch.setattr(Database, "script", noted)
    for times in (1, 2):
        async with Book.open(where), Inbox.open(where, keep=None):
            assert scripts == ["tables", "tables"], times


@pytest.mark.slow
async def test_opening_beside_a_frozen_writer(database: str) -> None:
    """A process that stands still in a transaction keeps nobody from opening the book and the inbox."""
    async with Book.open(database), Inbox.open(database, keep=None):
        pass
    async with await psycopg.AsyncConnection.connect(database) as frozen:
        await frozen.execute("UPDATE book_orders SET terminal = 1")
        await frozen.execute("UPDATE inbox_events SET times = 1")
        async with asyncio.timeout(10), Book.open(database) as book, Inbox.open(database, keep=None) as inbox:
            assert await book.parked_changes() == await inbox.newest() == []


def _remove(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


async def test_a_file_that_was_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What would go into a removed file is refused and told once; then a new file is used, whose numbers go on."""
    path = tmp_path / "inbox.db"
    async with Inbox.open(path) as inbox:
        for number in range(3):
            await inbox.put("acme", event(f"task-{number}"))
        _remove(path)
        with caplog.at_level(logging.ERROR), pytest.raises(StoreError, match="removed"):
            await inbox.put("acme", event("lost"))
        assert await inbox.put("acme", event("kept")) is EventState.WAITING
        assert [(each.id, each.task_id) for each in await inbox.waiting()] == [(4, "kept")]
    assert caplog.text.count("the file that is there now is used") == 1
    async with Inbox.open(path) as inbox:
        assert [each.task_id for each in await inbox.waiting()] == ["kept"]


async def test_a_file_in_the_place_of_another(tmp_path: Path) -> None:
    """A backup that was put there under a running receiver is what is read and written from then on."""
    path = tmp_path / "inbox.db"
    async with Inbox.open(path) as inbox:
        await inbox.put("acme", event("old"))
    shutil.copy(path, tmp_path / "backup")
    async with Inbox.open(path) as inbox:
        await inbox.put("acme", event("new"))
        _remove(path)
        shutil.copy(tmp_path / "backup", path)
        with pytest.raises(StoreError, match="removed or replaced while it was open"):
            await inbox.waiting()
        await inbox.put("acme", event("newest"))
        assert [(each.id, each.task_id) for each in await inbox.waiting()] == [(1, "old"), (3, "newest")]


async def test_a_receiver_whose_file_was_removed_is_not_ready(tmp_path: Path) -> None:
    """It says so when it is asked, before an event is lost."""
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        receiver = Receiver(inbox, tokens=[TOKEN])
        assert await receiver.is_ready()
        _remove(tmp_path / "inbox.db")
        assert not await receiver.is_ready()
        await inbox.put("acme", event())
        assert await receiver.is_ready()


async def test_a_linked_file_in_the_place_of_another(tmp_path: Path) -> None:
    """An event for a file that may not be used is refused as by any failure of the database, and taken afterwards."""
    path, backup = tmp_path / "inbox.db", tmp_path / "backup"
    async with Inbox.open(backup):
        pass
    async with Inbox.open(path) as inbox:
        await inbox.put("acme", event("old"))
        _remove(path)
        os.link(backup, path)
        for why in ("removed", "2 names"):
            with pytest.raises(StoreError, match=why):
                await inbox.put("acme", event("lost"))
        backup.unlink()
        assert await inbox.put("acme", event("kept")) is EventState.WAITING
