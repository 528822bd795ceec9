"""The meaning of a database's errors: one table for SQLite, PostgreSQL and the file system."""

import sqlite3
import sys
from enum import Enum, auto
from typing import NamedTuple

from msgspec import Struct

from gotsurge_async.errors import Coded

_OF_DAMAGE = (
    "no such table",
    "no such column",
    "Could not decode to UTF-8",
    "JSON cannot hold BLOB values",
    "malformed",
)
"""The beginnings of SQLite errors without a code of their own that only a damaged row or schema can cause."""


NO_RIGHT = "42501"
"""PostgreSQL's code for a user who lacks a right, which is not damage."""


class Unfit(Exception):
    """The file cannot be used as it is; the text says why, without its name."""


class Trouble(Enum):
    """The meaning of an error for the user of the database."""

    BUSY = auto()
    """Another process has locked it: nothing was written, and the next try may succeed."""
    UNUSABLE = auto()
    """Nothing can be written over this connection any more."""
    UNSURE = auto()
    """As UNUSABLE, but in the middle of a commit: its changes may be durable, or not."""
    CLOSED = auto()
    """This process closed the connection."""
    UNEXPECTED = auto()
    """Anything else: the fault of one statement."""


class Advice(Struct, frozen=True, kw_only=True):
    """The advice in messages, which depends on the purpose of the database."""

    busy: str
    damaged: str
    not_a_database: str
    lacks_tables: str


class Meaning(NamedTuple):
    """The meaning of an error, and its text for people."""

    trouble: Trouble
    text: str


def meaning_of(error: BaseException, advice: Advice) -> Meaning | None:
    """The meaning of an error; None if neither a database nor the file system raised it."""
    if isinstance(error, Unfit):
        return Meaning(Trouble.UNUSABLE, Coded(error))
    if isinstance(error, OSError):
        text = f"cannot be used: {error.strerror or error}; check the path and its permissions"
        return Meaning(Trouble.UNUSABLE, Coded(text, "E503"))
    if isinstance(error, UnicodeDecodeError):
        return Meaning(Trouble.UNUSABLE, f"{advice.damaged} ({error})")
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, advice)
    driver = sys.modules.get("psycopg")  # where it was never loaded it raised nothing
    if driver is not None and isinstance(error, driver.Error):
        return _of_postgresql(error, advice, unreachable=isinstance(error, driver.OperationalError))
    return None


def _of_sqlite(error: sqlite3.Error, advice: Advice) -> Meaning:
    # The first two parts of SQLITE_READONLY_DIRECTORY. What follows "with text" is quoted from a row.
    code = "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])
    original = str(error).partition(" with text ")[0]
    match code:
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return Meaning(Trouble.BUSY, f"{advice.busy} ({original})")
        case "SQLITE_FULL":
            text = f"the disk is full; free some space, then try again ({original})"
        case "SQLITE_READONLY" | "SQLITE_PERM":
            text = f"cannot be written to; check the permissions of the file and of its folder ({original})"
        case "SQLITE_CANTOPEN":
            text = f"cannot be opened; check that the folder exists and can be written to ({original})"
        case "SQLITE_IOERR":
            text = f"the disk failed to read or write; check the disk, then try again ({original})"
        case "SQLITE_NOTADB":
            return Meaning(Trouble.UNUSABLE, f"{advice.not_a_database} ({original})")
        case _ if code in ("SQLITE_CORRUPT", "SQLITE_MISMATCH") or original.startswith(_OF_DAMAGE):
            return Meaning(Trouble.UNUSABLE, f"{advice.damaged} ({original})")
        case _:
            return Meaning(Trouble.UNEXPECTED, Coded(f"unexpected database error: {original}", "E511"))
    return Meaning(Trouble.UNUSABLE, Coded(text, "E503"))


def _of_postgresql(error: BaseException, advice: Advice, *, unreachable: bool) -> Meaning:
    original = first_line(error)
    match getattr(error, "sqlstate", None):
        case "55P03" | "57014":  # lock_timeout, statement_timeout
            return Meaning(Trouble.BUSY, f"{advice.busy} ({original})")
        case "53100" | "53200":  # no disk, no memory
            text = Coded(f"the server has no disk space or memory left; free some, then try again ({original})", "E503")
        case "42501" | "25006":  # NO_RIGHT, a standby
            text = Coded(f"is read-only, or denies this user a necessary right: {original}", "E503")
        case "42P01" | "42703":  # an undefined table or column
            return Meaning(Trouble.UNUSABLE, f"{advice.lacks_tables}: {original}")
        case "25P03" | "25P04":  # idle_in_transaction_session_timeout, transaction_timeout
            why = (
                f"this process paused for too long, and lost its transaction: try again, or resume the run ({original})"
            )
            text = Coded(why, "E509")
        case _ if unreachable:
            why = f"cannot be used: {original}; check that the server is running and reachable, then try again"
            text = Coded(why, "E509")
        case _:
            return Meaning(Trouble.UNEXPECTED, Coded(f"unexpected database error: {original}", "E511"))
    return Meaning(Trouble.UNUSABLE, text)


def wrote_nothing(error: BaseException) -> bool:
    """Whether the commit that an error ended is certainly not durable.

    SQLite writes last what makes a transaction whole; a full disk did not take that, or an earlier part.
    """
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


def first_line(error: BaseException) -> str:
    """The first line of an error's text: other lines may quote a row."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
