"""A ledger of an older version that is brought over, and ends in the midst of it: it is the old one, or the new one."""

import logging
import multiprocessing
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk.ledger import (
    Ledger,
    LedgerUnusable,
)
from gotsurge_async.bulk.ledger.locks import FileRunLocks
from gotsurge_async.bulk.ledger.sql import migrate, schema, sqlite
from gotsurge_async.database import Kind, Sqlite, statements
from tests.bulk.ledger.sql.old_ledgers import copies, old_ledger, opened, put, put_run, text_of


async def test_the_old_ledger_is_kept_beside_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For its owner alone, as it was; told once; no file that is there is replaced, and no second copy made."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put(old, 1, "r1", "created")
    before = text_of(path)
    other = path.with_name(f"{path.name}.version-2")
    other.write_text("mine")
    with caplog.at_level(logging.WARNING, "gotsurge_async"):
        await opened(path)
        await opened(path)
    kept = path.with_name(f"{path.name}.version-2.2")
    assert copies(path) == [other, kept]
    assert other.read_text() == "mine"
    assert text_of(kept) == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    (told,) = caplog.messages
    assert "was of version 2" in told
    assert str(kept) in told


async def test_the_copy_is_durable_before_anything_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is forced to the disk, under its name, in its folder, and only then the first table is touched."""
    old_ledger(path).close()
    seen: list[str] = []
    real_sync, real_script, real_rename = os.fsync, Sqlite.script, Path.replace

    def sync(file: int) -> None:
        seen.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "copy")
        real_sync(file)

    def script(db: Sqlite, name: str) -> None:
        seen.append("change")
        real_script(db, name)

    def rename(self: Path, target: Path) -> Path:
        seen.append("name")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    monkeypatch.setattr(Sqlite, "script", script)
    await opened(path)
    assert seen[:4] == ["copy", "name", "folder", "change"]


def small(path: Path) -> None:
    """An old ledger that has something of everything."""
    with closing(old_ledger(path)) as old:
        put_run(old, "r1")
        put_run(old, "r2", state="loading")
        for number in range(1, 26):
            put(old, number, "r1", "created", task_id=f"t{number}", status="accepted" if number % 20 else None)
        put(old, 50, "r2", "loading")
        old.execute("INSERT INTO decisions VALUES (1, 'r1', 1, 'K-1', 1, NULL, 'Mei', 10)")
        old.execute("INSERT INTO unused_drafts VALUES ('d1', 'r1', 'K-1', 3, NULL)")


def connection(path: Path, before_each: Callable[[str], None]) -> Sqlite:
    """The writer's connection, which calls somebody before each statement."""
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))

    class Driver:
        """The driver."""

        def execute(self, text: str, *values: Any) -> Any:
            before_each(text)
            return self.real.execute(text, *values)

        def executemany(self, text: str, rows: Any) -> Any:
            before_each(text)
            return self.real.executemany(text, rows)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        real = db.driver

    db.driver = Driver()
    return db


def at(step: int, do: Callable[[], None]) -> Callable[[str], None]:
    """What does something before a statement of some number."""
    left = [step]

    def before(_: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            do()

    return before


def steps_of(path: Path) -> int:
    """How many statements it takes to bring a ledger over."""
    seen: list[str] = []
    with closing(connection(path, seen.append)) as db:
        migrate.bring_over(db, path, FileRunLocks(path), None)
    return len(seen)


def fail() -> None:
    """Fail as a full disk does."""
    error = sqlite3.OperationalError("database or disk is full")
    raise error


def end() -> None:
    """End without a word."""
    os._exit(9)


def die_at(path: Path, step: int) -> None:
    """Bring a ledger over in a process that ends before some statement."""
    migrate.bring_over(connection(path, at(step, end)), path, FileRunLocks(path), None)
    end()


async def test_an_error_at_any_statement_leaves_the_old_ledger(path: Path, tmp_path: Path) -> None:
    """Whatever fails, the ledger is as it was, no copy of it is left over, and it is brought over the next time."""
    small(path)
    before = text_of(path)
    scratch = tmp_path / "scratch.db"
    shutil.copy(path, scratch)
    steps = steps_of(scratch)
    for step in range(steps):
        db = connection(path, at(step, fail))
        with closing(db.driver.real), pytest.raises(sqlite3.OperationalError):
            migrate.bring_over(db, path, FileRunLocks(path), None)
        assert text_of(path) == before
        # The commit is the one write of which nobody knows whether it came to pass.
        assert len(copies(path)) == (step == steps - 1)
    await opened(path)
    assert text_of(path) != before


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
async def test_a_crash_at_any_statement_leaves_the_old_ledger_or_the_new_one(tmp_path: Path, part: int) -> None:
    """A process that ends without a word before any statement leaves one of both, whole, and it goes on from there."""
    source, scratch = tmp_path / "source.db", tmp_path / "scratch.db"
    small(source)
    before = text_of(source)
    shutil.copy(source, scratch)
    steps = steps_of(scratch)
    after = text_of(scratch)
    fork = multiprocessing.get_context("fork")
    for step in range(part, steps + 1, 4):
        path = tmp_path / f"{step}.db"
        shutil.copy(source, path)
        process = fork.Process(target=die_at, args=(path, step))
        process.start()
        process.join()
        assert process.exitcode == 9
        assert text_of(path) == (before if step < steps else after)
        for copy in copies(path):
            assert text_of(copy) == before
        await opened(path)
        async with await Ledger.look(path) as ledger:
            assert (await ledger.counts("r1")).created == 25
        assert all(text_of(copy) == before for copy in copies(path))


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace", "os.open"])
async def test_a_crash_while_the_copy_is_made_leaves_the_old_ledger(path: Path, where: str) -> None:
    """What a process that ended there left of its copy is removed by the next one, which makes its own."""
    small(path)
    before = text_of(path)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=die_in, args=(path, where))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert text_of(path) == before
    await opened(path)
    (copy,) = copies(path)
    assert text_of(copy) == before


def die_in(path: Path, where: str) -> None:
    """Bring a ledger over in a process that ends in the making of the copy."""
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, lambda *_: end())
        migrate.bring_over(db, path, FileRunLocks(path), None)


@pytest.mark.parametrize("pages", [0, 1, 3, 10, 15])
async def test_a_full_disk_leaves_the_old_ledger(path: Path, pages: int) -> None:
    """Where the new tables find no room, it is told, and the old ledger is as it was."""
    small(path)
    before = text_of(path)
    db = sqlite.writing(path, statements(schema.TEXT, Kind.SQLITE))
    with closing(db):
        ((used,),) = db.driver.execute("PRAGMA page_count").fetchall()
        db.driver.execute(f"PRAGMA max_page_count = {used + pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            migrate.bring_over(db, path, FileRunLocks(path), None)
    assert text_of(path) == before
    assert not copies(path)
    await opened(path)


async def test_a_copy_that_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its copy a ledger is not touched; what was begun of the copy is removed."""
    small(path)
    before = text_of(path)

    def sync(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(LedgerUnusable, match="No space left"):
        await opened(path)
    assert text_of(path) == before
    assert not copies(path)
