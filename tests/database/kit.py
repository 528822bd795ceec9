"""A database with one table, whose commits are counted and can fail, and writers on it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from gotsurge_async.database import Database, Kind, Place, Sqlite, files
from gotsurge_async.database.errors import Advice, Trouble
from gotsurge_async.database.writer import Backend, Writer


class Counting(Sqlite):
    """A database that counts its commits, and can be told to fail them."""

    commits = 0
    broken = False
    full = False

    def commit(self) -> None:
        if self.broken or self.full:
            error = sqlite3.OperationalError("the disk went away")
            error.sqlite_errorname = "SQLITE_FULL" if self.full else "SQLITE_IOERR_FSYNC"
            raise error
        self.commits += 1
        super().commit()


class Failure(Exception):
    """What the users of the database get instead of its errors."""

    trouble = Trouble.UNEXPECTED


class Busy(Failure):
    trouble = Trouble.BUSY


class Unusable(Failure):
    trouble = Trouble.UNUSABLE


class Unsure(Unusable):
    trouble = Trouble.UNSURE


class Closed(Failure):
    trouble = Trouble.CLOSED


class Plain(Backend):
    """A file with one table."""

    advice = Advice(busy="busy", damaged="damaged", not_a_database="no database", lacks_tables="no table")
    unusable = Unusable

    def writing(self) -> Counting:
        made = files.writing(self.place.path, {"put": "INSERT INTO t VALUES (:n)"}, patience=0.05)
        made.driver.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)")
        return Counting(made.driver, made._texts)

    def reading(self) -> Sqlite:
        return files.reading(self.place.path, {"all": "SELECT n FROM t ORDER BY n"}, patience=0.05)

    def failure(self, trouble: Trouble, text: str) -> Failure:
        kinds = {kind.trouble: kind for kind in (Failure, Busy, Unusable, Unsure, Closed)}
        return kinds[trouble](text)


def writing(db: Database | None, path: Path, *, thread: ThreadPoolExecutor | None = None, **more: Any) -> Writer:
    """A writer on a database, which closes it."""
    backend = Plain(Place(Kind.SQLITE, path))
    return Writer(backend, thread or ThreadPoolExecutor(1), name="test", db=db, **more)


def put(db: Database, number: int) -> int:
    """A job: insert a number, which fails if it is there."""
    db.change("put", n=number)
    return number


def numbers(path: Path) -> list[int]:
    """What is in the table for everybody to see."""
    with closing(sqlite3.connect(path)) as reader:
        return [n for (n,) in reader.execute("SELECT n FROM t ORDER BY n")]
