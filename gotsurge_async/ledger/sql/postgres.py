"""PostgreSQL for a ledger: settings that a server must have, and the connection to it."""

import logging
from pathlib import Path
from typing import Any

from gotsurge_async.database import Database, Place, closed_on_error, connect
from gotsurge_async.ledger.errors import LedgerUnusable
from gotsurge_async.system.files import user_folder

log: logging.Logger = logging.getLogger(__name__)

IDLE_SECONDS = 10
"""Seconds that a transaction may stand still: its process is frozen then, and others need what it has locked."""
WHOLE_SECONDS = 600
"""Seconds that a transaction may take, if the server can limit that."""
LOCK_SECONDS = 60

_FORGETFUL = ("synchronous_commit", "fsync", "full_page_writes")
"""Settings that a server needs so that it does not lose what it has confirmed."""

_LIMITING = 170_000
"""The first version of PostgreSQL that limits whole transactions."""

_PREPARE_AFTER = 5
"""The number of times that a statement is sent before it is prepared: a claim costs a third less then."""


def connected(place: Place, texts: Path) -> Database:
    """Open a connection whose transactions end when they stand still."""
    db = connect(place, texts)
    with closed_on_error(db):
        limiting = db.driver.info.server_version >= _LIMITING
        for statement in (
            f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
            f"SET lock_timeout = '{LOCK_SECONDS}s'",
            *([f"SET transaction_timeout = '{WHOLE_SECONDS}s'"] if limiting else []),
        ):
            db.driver.execute(statement.encode())
        if _ask(db, "SELECT pg_backend_pid()") == db.driver.info.backend_pid:
            # Behind a pooler, which has a number of its own, the next statement may meet another session.
            db.driver.prepare_threshold = _PREPARE_AFTER
    return db


def refuse_forgetful(db: Database, shown: str) -> None:
    """Refuse a server that may lose what it has confirmed, or that is a copy of another one.

    Raises:
        LedgerUnusable: the server is one of these; the message names the setting.
    """
    for setting in _FORGETFUL:
        if _ask(db, f"SHOW {setting}") == "off":
            raise LedgerUnusable(
                f"is on a server with {setting} = off, which can lose confirmed writes: change that setting, "
                "or give the path of a file",
                "E510",
                path=shown,
            )
    encoding = _ask(db, "SHOW server_encoding")
    if encoding != "UTF8":
        why = f"has the encoding {encoding}, but needs UTF8: create a database with UTF8"
        raise LedgerUnusable(why, "E510", path=shown)
    if _ask(db, "SELECT pg_is_in_recovery()"):
        why = "is on a standby server: give the address of the primary server"
        raise LedgerUnusable(why, "E510", path=shown)
    if db.driver.info.server_version < _LIMITING:
        log.warning(
            "PostgreSQL before 17 cannot limit whole transactions: a frozen process may hold others up for long"
        )


def _ask(db: Database, statement: str) -> Any:
    return db.driver.execute(statement.encode()).fetchone()[0]


def counter_file(place: Place) -> Path:
    """The path of the counter of a ledger in PostgreSQL: in the user's own data, by the database's address."""
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in str(place).partition("//")[2])
    return user_folder("data") / "ledgers" / f"{name}.counter"
