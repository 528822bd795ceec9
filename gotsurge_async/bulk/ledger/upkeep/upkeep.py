"""Keeping a ledger: looking it through, copying it while it is used, and going on with an older copy of it."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen
from sqlalchemy import Connection, literal, select, update

from gotsurge_async.bulk.ledger.errors import LedgerError, LedgerOlder, LedgerUnusable
from gotsurge_async.bulk.ledger.run import held
from gotsurge_async.bulk.ledger.sql.dialect import BROKEN, ledger_path, ledger_url, translated
from gotsurge_async.bulk.ledger.sql.schema import in_states, orders, runs
from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.bulk.ledger.states import LIVE, WAITING, OrderState, RunState
from gotsurge_async.bulk.ledger.times import Clock, to_microseconds, utc_now
from gotsurge_async.bulk.ledger.upkeep.counter import (
    COUNTER,
    LEDGER_ID,
    Identity,
    Keeper,
    counter_of,
    identity_of,
    remember,
    set_counter,
)
from gotsurge_async.bulk.ledger.upkeep.looking import look
from gotsurge_async.bulk.ledger.upkeep.soundness import (
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

LOST = "an older copy of the ledger was gone on with: it may have been sent since"
"""What an order in doubt says in its ``error`` after `accept_older`."""

_LIVE = ", ".join(f"'{state.value}'" for state in sorted(LIVE))


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


@frozen(kw_only=True)
class Accepted:
    """What going on with an older copy changed.

    Attributes:
        in_doubt: how many orders are in doubt now.
        counter: what the ledger counts now; 0 if there is none.
    """

    in_doubt: int = 0
    counter: int = 0


def check(where: str | Path) -> Health:
    """Look a whole ledger through; nothing is written, and a push may go on meanwhile. It reads every page once.

    Raises:
        LedgerError: there is none.
    """
    path = ledger_path(ledger_url(where))
    if not path.exists():
        raise LedgerError("does not exist", path=str(path))
    try:
        with closing(look(path)) as driver:
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
    identity = _identity(known)
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
    with translated(path), closing(look(path)) as driver:
        driver.execute("BEGIN")
        look_over(driver, str(path), to_microseconds(clock()))
        Keeper(path).refuse_older(_identity(dict(driver.execute("SELECT name, value FROM ledger_meta").fetchall())))


def _identity(meta: Mapping[str, Any]) -> Identity | None:
    if isinstance(meta.get(LEDGER_ID), int) and isinstance(meta.get(COUNTER), int):
        return Identity(meta[LEDGER_ID], meta[COUNTER])
    return None


def _orphans(driver: sqlite3.Connection) -> Iterator[Flaw]:
    for table, row, parent, _ in driver.execute("PRAGMA foreign_key_check").fetchmany(MOST):
        yield Flaw(text_of(table), f"row {row}", f"it belongs to a row of {text_of(parent)} that is not there")


def _doubles(driver: sqlite3.Connection) -> Iterator[Flaw]:
    """Keys and tasks that two live orders have; asked without the index that ought to hold it."""
    for column, what in (("key", "key"), ("task_id", "task")):
        found = driver.execute(
            f"SELECT {column}, min(id), max(id) FROM orders NOT INDEXED "  # noqa: S608 - only names of ours
            f"WHERE state IN ({_LIVE}) AND {column} IS NOT NULL "
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


def backup(where: str | Path, to: Path, *, force: bool = False) -> Health:
    """Copy a ledger as it is at one moment, also while a push goes on, into one file for its owner alone (mode 0600).

    The copy is looked through, and only then put in its place.

    Args:
        force: replace a file that is there.

    Raises:
        LedgerError: ``to`` is there already, is the ledger itself, or is a ledger in use.
        LedgerUnusable: the ledger is damaged, so ``to`` was left as it was; or one of both cannot be read or written.
    """
    path = ledger_path(ledger_url(where))
    to = to.absolute()
    if not path.exists():
        raise LedgerError("does not exist", path=str(path))
    with translated(to):
        if to.exists() and to.samefile(path):
            raise LedgerError("cannot be its own backup", path=str(path))
        if to.exists() and not force:
            raise LedgerError(f"{to} exists already: give another name, or --force", path=str(path))
        log = to.with_name(f"{to.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(f"{to} is in use as a ledger: give another name", path=str(path))
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")  # mode 0600
        os.close(descriptor)
        copy = Path(name)
        try:
            _copy(path, copy)
            health = check(copy)
            if health.flaws:
                told = "; ".join(map(str, health.flaws[:3]))
                raise LedgerUnusable(
                    f"is damaged, and was not copied ({told}). See `gotsurge ledger check`", path=str(path)
                )
            _put_in_place(copy, to, force)
        finally:
            copy.unlink(missing_ok=True)
    return health


def _copy(path: Path, copy: Path) -> None:
    with translated(path), closing(look(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)  # in one step: one moment's state, and nobody who writes has to wait
        target.execute("PRAGMA journal_mode = DELETE")  # one file, which can be looked at where nothing can be written


def _put_in_place(copy: Path, to: Path, force: bool) -> None:
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    if force:
        copy.replace(to)
    else:
        try:
            to.hardlink_to(copy)  # and not a rename, which would replace what came meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            copy.rename(to)
    with suppress(OSError):
        folder = os.open(to.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def refuse_newest(where: str | Path, *, newest: int = 0) -> None:
    """See that there is something for `accept_older` to accept, before anybody is asked whether to; nothing is written.

    Raises:
        LedgerError: the ledger is not older than anything that is known, or there never was one.
    """
    path = ledger_path(ledger_url(where))
    keeper = Keeper(path)
    if _is_gone(keeper, path):
        return
    store = await Store.look(path, utc_now)
    try:
        _newer(await store.read(identity_of), keeper, newest, path)
    finally:
        await store.close()


def _is_gone(keeper: Keeper, path: Path) -> bool:
    """Whether there was a ledger, and is none.

    Raises:
        LedgerError: there never was one, as far as is known.
    """
    if path.exists() and path.stat().st_size:
        return False
    kept = keeper.kept()
    if kept is None or not kept.counter:
        raise LedgerError("does not exist, and nothing is known of one that did", path=str(path))
    return True


def _newer(identity: Identity | None, keeper: Keeper, newest: int, path: Path) -> int:
    """The counter of the newest copy that is known of.

    Raises:
        LedgerError: this one is not older.
    """
    kept = keeper.kept()
    beside = kept.counter if kept is not None and identity is not None and kept.id == identity.id else 0
    known = max(newest, beside)
    if identity is not None and known <= identity.counter:
        raise LedgerError(f"is not older than what is known of it: it counts {identity.counter:,}", path=str(path))
    return known


async def accept_older(where: str | Path, *, newest: int = 0, clock: Clock = utc_now) -> Accepted:
    """Go on with an older copy of a ledger, or begin anew where it is gone, when there is no newer copy.

    What waited when the copy was made may have been sent since: every order that is pending, drafting or drafted, or
    was still being loaded, is in doubt from now on. Recorded drafts of such orders are forgotten: they prove nothing.
    Nothing is known of orders that came later.

    Args:
        newest: the highest counter that was seen of it elsewhere than beside it.

    Raises:
        LedgerError: it is not older than anything that is known.
        RunHeld: a living process has a run of it.
    """
    path = ledger_path(ledger_url(where))
    keeper = Keeper(path)
    if _is_gone(keeper, path):
        with translated(keeper.path):
            keeper.path.unlink()
        return Accepted()
    store = await Store.open(path, clock, accept_older=True)
    undo = ExitStack()
    try:
        known = _newer(await store.read(identity_of), keeper, newest, path)
        unfinished = select(runs.c.id).where(runs.c.state != RunState.DONE.value)
        for run_id in await store.read(lambda connection: connection.scalars(unfinished).all()):
            lock = store.locks.take(run_id)
            if lock is None:
                raise await store.read(partial(held, run_id=str(run_id), path=str(path)))
            undo.callback(lock.release)
        now = store.now()

        def job(connection: Connection) -> Accepted:
            doubtful = _put_in_doubt(connection, now)
            # Whoever had a run of the newer copy in mind, and is frozen, writes nothing more.
            connection.execute(update(runs).values(epoch=runs.c.epoch + 1))
            set_counter(connection, known + 1)
            remember(connection, "accepted_older_at", now)
            return Accepted(in_doubt=doubtful, counter=counter_of(connection))

        return await store.write(job)
    finally:
        undo.close()
        await store.close()


def _put_in_doubt(connection: Connection, now: int) -> int:
    doubt = {"state": OrderState.IN_DOUBT.value, "live": 1, "error": LOST, "updated_at": now}
    # A draft that is recorded here proves nothing: another one may have been made and broadcast since. By its tracking
    # id an order is found whatever became of it; by a draft that is one still it would be broadcast a second time.
    forgotten = {
        "task_id": None,
        "status": None,
        "lost_drafts": orders.c.lost_drafts + 1,
        "error": literal(f"{LOST}; its draft was ").concat(orders.c.task_id),
    }
    drafted = update(orders).where(in_states(orders.c.state, (OrderState.DRAFTED,))).values(doubt | forgotten)
    number = connection.execute(drafted).rowcount
    waiting = update(orders).where(in_states(orders.c.state, WAITING)).values(doubt)
    number += connection.execute(waiting).rowcount
    # What was being loaded was perhaps admitted since. Where another order has its key, that one is in doubt for it.
    loading = update(orders).where(in_states(orders.c.state, (OrderState.LOADING,)))
    number += connection.execute(loading.prefix_with("OR IGNORE").values(doubt)).rowcount
    connection.execute(loading.values(state=OrderState.SUPERSEDED.value, error=LOST, updated_at=now))
    connection.execute(update(runs).where(runs.c.state == RunState.LOADING.value).values(state=RunState.STOPPED.value))
    return number
