"""A connection in its own thread, for statements that are a transaction each; a dead connection is replaced."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from gotsurge_async.clock import uninterrupted
from gotsurge_async.database import Database, Place, closed_on_error, connect, driver_of
from gotsurge_async.database.errors import first_line

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a statement waits for statements of this or another process, which take milliseconds."""


class DatabaseFailed(Exception):
    """The database cannot be used at this moment; the text says why. The next statement gets a new connection."""


class InThread:
    """Runs statements one after another, each to its end even if its caller is cancelled.

    Missing tables are made; a user who may not make tables needs them to be there already. Raises ConfigError as
    `driver_of` does.
    """

    def __init__(self, place: Place, texts: Path, *, name: str) -> None:
        self._place = place
        self._texts = texts
        self._driver = driver_of(place)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._database: Database | None = None

    async def do(self, work: Callable[[Database], T]) -> T:
        """Run a function with the connection; DatabaseFailed if its changes were not made, or are not known to be."""
        run = partial(self._run, work, time.monotonic())
        return await uninterrupted(asyncio.get_running_loop().run_in_executor(self._thread, run))

    async def close(self) -> None:
        """Close the connection."""
        await uninterrupted(asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect))

    def _run(self, work: Callable[[Database], T], asked: float) -> T:
        if time.monotonic() - asked > PATIENCE:
            raise DatabaseFailed(f"the database was busy for more than {PATIENCE:.0f} s: try again")
        try:
            return work(self._connected())
        except (self._driver.Error, OSError) as error:
            # Whatever it was, the next one gets a new connection: this one's server may have become a read-only copy.
            self._disconnect()
            raise DatabaseFailed(_why(error)) from None

    def _connected(self) -> Database:
        if self._database is not None and not self._database.alive():
            self._disconnect()
        if self._database is None:
            database = connect(self._place, self._texts, patience=PATIENCE)
            with closed_on_error(database):
                if not database.rows("there"):
                    database.script("tables")
            self._database = database
        return self._database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _why(error: Exception) -> str:
    why = first_line(error)
    if why == "database is locked":
        why += ": another process is writing, or was frozen while it wrote; resume that process, or end it"
    return why
