"""Whether a ledger is sound: `gotsurge ledger check`, and what refuses one in time."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen

from gotsurge_async.bulk.ledger.errors import LedgerError, LedgerOlder, LedgerUnusable
from gotsurge_async.bulk.ledger.sql.schema import orders, quoted
from gotsurge_async.bulk.ledger.sql.sqlite import BROKEN, ledger_path, ledger_url, read_only, translated
from gotsurge_async.bulk.ledger.states import LIVE, Clock, to_microseconds, utc_now
from gotsurge_async.bulk.ledger.upkeep.counter import Identity, Keeper
from gotsurge_async.bulk.ledger.upkeep.integrity import (
    Flaw,
    bytes_for_text,
    counting,
    look_over,
    structure,
    text_of,
    unsound,
)

MOST = 100
"""How many flaws of a kind are listed."""


@frozen(kw_only=True)
class Health:
    """What a look through a ledger found.

    Attributes:
        path: the file.
        flaws: what is wrong, of each kind the first hundred; empty in a sound ledger.
        runs: how many it has; 0 if that cannot be read.
        orders: likewise.
        ledger_id: which ledger it is; "" if it is from before it had an id.
        counter: how many admissions and claims it counts.
        older: whether it is an older copy of what was here, which is one of the flaws.
    """

    path: str
    flaws: tuple[Flaw, ...] = ()
    runs: int = 0
    orders: int = 0
    ledger_id: str = ""
    counter: int = 0
    older: bool = False

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong but that it is older."""
        return len(self.flaws) > self.older


def check(where: str | Path) -> Health:
    """Look a whole ledger through; nothing is written, and a push may go on meanwhile. It reads every page once.

    Raises:
        LedgerError: there is none.
    """
    path = ledger_path(ledger_url(where))
    if not path.exists():
        raise LedgerError("does not exist", path=str(path))
    try:
        with closing(read_only(path)) as driver:
            driver.execute("BEGIN")  # all of it as it is at one moment
            return _health(driver, path)
    except (LedgerUnusable, *BROKEN) as error:
        return Health(path=str(path), flaws=(Flaw("", "", str(error)),))


def _health(driver: sqlite3.Connection, path: Path) -> Health:
    flaws = unsound(driver, limit=MOST) + counting(driver)
    for look_for in (_orphans, _doubles, _unreadable):
        try:
            with bytes_for_text(driver):
                flaws += look_for(driver)
        except BROKEN as error:
            flaws.append(Flaw("", "", str(error)))
    flaws += structure(driver, limit=MOST)
    known: dict[str, Any] = {}
    with suppress(*BROKEN):
        known = dict(driver.execute("SELECT name, value FROM ledger_meta").fetchall())
        known["runs"], known["orders"] = driver.execute(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM orders)"
        ).fetchone()
    identity = Identity.of(known)
    older = False
    try:
        Keeper(path).refuse_older(identity)
    except LedgerOlder as error:
        older = True
        flaws.append(Flaw("", "", error.words))
    return Health(
        path=str(path),
        flaws=tuple(dict.fromkeys(flaws)),
        runs=known.get("runs", 0),
        orders=known.get("orders", 0),
        ledger_id=identity.name if identity else "",
        counter=identity.counter if identity else 0,
        older=older,
    )


def refuse_unfit(where: str | Path, clock: Clock = utc_now) -> None:
    """Refuse a ledger that would be refused where it is opened for writing; nothing is written.

    Raises:
        LedgerUnusable: it is damaged.
        LedgerOlder: it is an older copy of what was here.
    """
    path = ledger_path(ledger_url(where))
    with translated(path), closing(read_only(path)) as driver:
        driver.execute("BEGIN")
        look_over(driver, str(path), to_microseconds(clock()))
        Keeper(path).refuse_older(Identity.of(dict(driver.execute("SELECT name, value FROM ledger_meta").fetchall())))


def _orphans(driver: sqlite3.Connection) -> Iterator[Flaw]:
    for table, row, parent, _ in driver.execute("PRAGMA foreign_key_check").fetchmany(MOST):
        yield Flaw(text_of(table), f"row {row}", f"it belongs to a row of {text_of(parent)} that is not there")


def _doubles(driver: sqlite3.Connection) -> Iterator[Flaw]:
    """Keys and tasks that two live orders have; asked without the index that ought to hold it."""
    for column, what in (("key", "key"), ("task_id", "task")):
        found = driver.execute(
            f"SELECT {column}, min(id), max(id) FROM orders NOT INDEXED "  # noqa: S608 - only names of ours
            f"WHERE state IN ({quoted(LIVE)}) AND {column} IS NOT NULL "
            f"GROUP BY environment, {column} HAVING count(*) > 1 LIMIT {MOST}"
        )
        for value, first, last in found:
            yield Flaw(orders.name, f"rows {first} and {last}", f"two live orders have one {what}: {text_of(value)}")


def _unreadable(driver: sqlite3.Connection) -> Iterator[Flaw]:
    """Orders and rows of sources that are no JSON any more."""
    order: Callable[[bytes], Any] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    row: Callable[[bytes], Any] = msgspec.json.Decoder(list[str] | dict[str, msgspec.Raw]).decode
    found = 0
    for order_id, payload, source_row in driver.execute("SELECT order_id, payload, source_row FROM payloads"):
        for name, value, decode in (("payload", payload, order), ("source_row", source_row, row)):
            if not isinstance(value, bytes) or found >= MOST:
                continue
            try:
                decode(value)
                value.decode()
            except ValueError as error:
                found += 1
                yield Flaw("payloads", f"order {order_id}", f"{name} cannot be decoded: {error}")
