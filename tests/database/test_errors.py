"""What an error of a database means, by its code."""

import sqlite3

import psycopg
import pytest

from gotsurge_async.database.errors import Advice, Trouble, Unfit, meaning_of

ADVICE = Advice(busy="wait", damaged="is damaged", not_a_database="is another file", lacks_tables="lacks tables")


def of_sqlite(code: str, text: str = "some text") -> sqlite3.Error:
    """An error as the driver raises it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = code
    return error


@pytest.mark.parametrize(
    ("error", "trouble", "text"),
    [
        (of_sqlite("SQLITE_BUSY_SNAPSHOT"), Trouble.BUSY, "wait (some text)"),
        (of_sqlite("SQLITE_LOCKED"), Trouble.BUSY, "wait"),
        (of_sqlite("SQLITE_FULL"), Trouble.UNUSABLE, "the disk is full"),
        (of_sqlite("SQLITE_READONLY_DIRECTORY"), Trouble.UNUSABLE, "check the permissions"),
        (of_sqlite("SQLITE_CANTOPEN"), Trouble.UNUSABLE, "check that the folder exists"),
        (of_sqlite("SQLITE_IOERR_FSYNC"), Trouble.UNUSABLE, "the disk failed"),
        (of_sqlite("SQLITE_CORRUPT"), Trouble.UNUSABLE, "is damaged (some text)"),
        (of_sqlite("SQLITE_ERROR", "no such table: runs"), Trouble.UNUSABLE, "is damaged (no such table: runs)"),
        (of_sqlite("SQLITE_NOTADB"), Trouble.UNUSABLE, "is another file"),
        (of_sqlite("SQLITE_CONSTRAINT"), Trouble.UNEXPECTED, "unexpected database error: some text"),
        (psycopg.errors.LockNotAvailable("some text"), Trouble.BUSY, "wait (some text)"),
        (psycopg.errors.DiskFull("some text"), Trouble.UNUSABLE, "no disk space or memory left"),
        (psycopg.errors.ReadOnlySqlTransaction("some text"), Trouble.UNUSABLE, "denies this user a necessary right"),
        (psycopg.errors.UndefinedTable("some text"), Trouble.UNUSABLE, "lacks tables: some text"),
        (
            psycopg.errors.IdleInTransactionSessionTimeout("some text"),
            Trouble.UNUSABLE,
            "this process paused for too long",
        ),
        (
            psycopg.OperationalError("some text"),
            Trouble.UNUSABLE,
            "cannot be used: some text; check that",
        ),
        (psycopg.errors.UniqueViolation("some text\nDETAIL: a row"), Trouble.UNEXPECTED, "database error: some text"),
        (PermissionError(13, "Permission denied"), Trouble.UNUSABLE, "Permission denied; check the path"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Trouble.UNUSABLE, "is damaged"),
        (Unfit("has 2 names"), Trouble.UNUSABLE, "has 2 names"),
    ],
)
def test_an_error_has_one_meaning(error: Exception, trouble: Trouble, text: str) -> None:
    """Its kind decides whether the connection is used on, and its text says what to do."""
    meaning = meaning_of(error, ADVICE)
    assert meaning is not None
    assert meaning.trouble is trouble
    assert text in meaning.text


def test_rows_are_not_quoted() -> None:
    """What the databases quote from a row is private."""
    quoting = of_sqlite("SQLITE_ERROR", "Could not decode to UTF-8 column 'body' with text 'private'")
    for error in (quoting, psycopg.errors.UniqueViolation("doubled\nDETAIL: private")):
        meaning = meaning_of(error, ADVICE)
        assert meaning is not None
        assert "private" not in meaning.text


def test_other_errors_are_not_of_a_database() -> None:
    """An error of the program stays what it is."""
    assert meaning_of(KeyError("x"), ADVICE) is None
