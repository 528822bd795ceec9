"""Where a process may end or stand still: right before and right after everything that another one could see.

Three kinds, and nothing of the package's own inside, so that the package may be rewritten: a request over HTTP, a
durable write of a database, a file that is put in its place.
"""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import psycopg

DURABLE = ("COMMIT", "END")
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CREATE", "ALTER", "DROP")
AN_HOUR = 3600.0


class Boundaries:
    """Counts the boundaries of this process, and strikes at one of them.

    Args:
        strike_at: which one, from 1; 0 for none.
        number: the signal that the process sends itself there: SIGKILL or SIGSTOP.
        late: whether an hour has passed on its clocks when it wakes.
    """

    def __init__(self, strike_at: int, number: int, late: bool) -> None:
        self.names: list[str] = []
        self._strike_at = strike_at
        self._signal = number
        self._late = late
        self._lock = threading.Lock()
        self._slept = 0.0

    def passing(self, name: str) -> None:
        """The process is at a boundary."""
        with self._lock:
            self.names.append(name)
            if len(self.names) == self._strike_at:
                signal.pthread_kill(threading.get_ident(), self._signal)  # to this thread: it goes no step further
                if self._late:
                    self._slept = AN_HOUR

    def set_up(self) -> None:
        """Watch this process."""
        self._watch_http()
        self._watch_databases()
        self._watch_files()
        self._watch_clocks()

    def _watch_http(self) -> None:
        request: Any = aiohttp.ClientSession._request

        async def watched(*words: Any, **options: Any) -> Any:
            self.passing("before a request")
            answer = await request(*words, **options)
            self.passing("after a request")
            return answer

        aiohttp.ClientSession._request = watched  # type: ignore[method-assign]

    def _watch_databases(self) -> None:
        connect = sqlite3.connect
        factory = watched_connections(self.passing)

        def watched(*words: Any, **options: Any) -> Any:
            if len(words) < 6:  # the sixth is the factory
                options.setdefault("factory", factory)
            return connect(*words, **options)

        for module in (sqlite3, sqlite3.dbapi2):
            module.connect = watched  # type: ignore[attr-defined]
        psycopg.connect = watched_servers(self.passing).connect

    def _watch_files(self) -> None:
        for name in ("replace", "rename"):
            setattr(os, name, self._around(getattr(os, name), "a file in its place"))

    def _watch_clocks(self) -> None:
        monotonic, clock_gettime, now = time.monotonic, time.clock_gettime, time.time
        time.monotonic = lambda: monotonic() + self._slept
        time.clock_gettime = lambda clock: clock_gettime(clock) + self._slept
        time.time = lambda: now() + self._slept

    def _around(self, work: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*words: Any, **options: Any) -> Any:
            self.passing(f"before {name}")
            result = work(*words, **options)
            self.passing(f"after {name}")
            return result

        return watched


def watched_connections(passing: Callable[[str], None]) -> type[sqlite3.Connection]:
    """A class of connections that tells of every durable write, before and after it."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *words: Any) -> Any:
            return self._around(super().execute, sql, *words)

        def executemany(self, sql: str, *words: Any) -> Any:
            return self._around(super().executemany, sql, *words)

        def _around(self, work: Callable[..., Any], sql: str, *words: Any) -> Any:
            first = sql.lstrip().split(None, 1)[0].rstrip(";").upper() if sql.strip() else ""
            connection = self.connection
            open_ = connection.in_transaction
            # A write outside of a transaction is one of its own.
            durable = first in DURABLE if open_ else first in WRITES and connection.isolation_level is None
            if not durable:
                return work(sql, *words)
            passing("before a write")
            result = work(sql, *words)
            passing("after a write")
            return result

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, *words: Any) -> Any:
            return self.cursor().execute(sql, *words)  # of itself it takes a cursor that nobody watches

        def executemany(self, sql: str, *words: Any) -> Any:
            return self.cursor().executemany(sql, *words)

        def commit(self) -> None:
            if not self.in_transaction:
                super().commit()
                return
            passing("before a write")
            super().commit()
            passing("after a write")

        def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
            if kind is None:
                self.commit()
            else:
                self.rollback()
            return False

    return Connection


def watched_servers(passing: Callable[[str], None]) -> type[psycopg.Connection[Any]]:
    """The same of connections to a server, whose transactions are begun and ended by statements."""

    class Connection(psycopg.Connection[Any]):
        only_reads = False

        def execute(self, query: Any, *words: Any, **options: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            first = text.split(None, 1)[0].rstrip(";").upper() if text.strip() else ""
            if first == "BEGIN":
                self.only_reads = "READ ONLY" in text
            is_open = self.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE
            if not (first in DURABLE and not self.only_reads if is_open else first in WRITES):
                return super().execute(query, *words, **options)
            passing("before a write")
            result = super().execute(query, *words, **options)
            passing("after a write")
            return result

    return Connection


SIGNALS = {"die": signal.SIGKILL, "freeze": signal.SIGSTOP}
