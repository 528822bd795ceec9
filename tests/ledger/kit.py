"""What the tests of the ledger share: a clock to turn, orders, and runs that are already loaded."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg

from gotsurge_async.ledger import Ledger, Mode, NewOrder, OrderOutcome, OrderRow, OrderState, Run
from gotsurge_async.ledger.sql.chunks import by_chunk, load

if TYPE_CHECKING:
    from gotsurge_async.database import Database

NO_DATABASE = cast("Database", None)
"""Locks beside a file ask nothing of the ledger itself."""

START = datetime(2026, 11, 24, 23, 38, tzinfo=UTC)


class TurnedClock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class TidyLedger(Ledger):
    """A ledger that closes its runs before itself."""

    async def begin(self, **options: Any) -> Run:
        return self._kept(await super().begin(**options))

    async def hold(self, run_id: str, **options: Any) -> Run:
        return self._kept(await super().hold(run_id, **options))

    def _kept(self, run: Run) -> Run:
        self.__dict__.setdefault("kept", []).append(run)
        return run

    async def close(self) -> None:
        for run in self.__dict__.get("kept", ()):
            await run.close()
        await super().close()


def order(line: int, key: str | None = None, fingerprint: bytes | None = None) -> NewOrder:
    """An order of a line, with bytes that no text codec takes."""
    return NewOrder(
        line=line,
        key=f"TRK-{line}" if key is None else key,
        payload=b'{"line":%d}\x00\xff' % line,
        source_row=b"row \xe9 %d" % line,
        fingerprint=fingerprint,
    )


def orders(count: int) -> list[NewOrder]:
    """Orders with keys of their own: TRK-1, TRK-2, …"""
    return [order(line) for line in range(1, count + 1)]


async def begun(
    ledger: Ledger, *, environment: str = "simulator", mode: Mode | str = Mode.DIRECT, **options: str
) -> Run:
    """A run without orders."""
    return await ledger.begin(environment=environment, mode=mode, source="orders.csv", options=options)


async def added(ledger: Ledger, rows: Iterable[NewOrder], **options: Any) -> Run:
    """A run with orders that are not admitted yet."""
    run = await begun(ledger, **options)
    await run.add(list(rows))
    return run


async def loaded(
    ledger: Ledger,
    rows: Iterable[NewOrder],
    *,
    environment: str = "simulator",
    mode: Mode | str = Mode.DIRECT,
    **options: str,
) -> Run:
    """A run with orders that are admitted."""
    run = await added(ledger, rows, environment=environment, mode=mode, **options)
    assert not (await run.admit()).doubled
    return run


async def ids(run: Run, *states: OrderState) -> list[int]:
    """The ids of the orders of a run, by line."""
    return [row.id async for row in run.rows(states or None)]


async def only(run: Run, *states: OrderState) -> OrderRow:
    """The one order of a run in some states."""
    (row,) = [row async for row in run.rows(states or None)]
    return row


async def states(ledger: Ledger, run: Run) -> dict[str, str]:
    """The state of each key of a run."""
    return {row.key: row.state.value async for row in ledger.rows(run.id)}


async def bring(run: Run, state: OrderState) -> None:
    """Bring all pending orders of a run to a state, as a push would."""
    if state is OrderState.PENDING:
        return
    tasks = {row.id: f"task-{row.line}" async for row in run.rows({OrderState.PENDING})}
    claimed = await run.claim(list(tasks))
    if state in (OrderState.SENDING, OrderState.DRAFTING):
        return
    if run.info.mode is Mode.TWO_PHASE and state is not OrderState.REFUSED:
        await run.record([OrderOutcome(order_id, OrderState.DRAFTED, tasks[order_id]) for order_id in claimed])
        if state is OrderState.DRAFTED:
            return
        await run.claim_broadcast(claimed)
        if state is OrderState.BROADCASTING:
            return
    await run.record([OrderOutcome(order_id, state, tasks[order_id], "broadcasting") for order_id in claimed])


def leases_end(where: str) -> None:
    """As if time passed: nobody who is dead has a run any more. A lock on a file needs no time for that."""
    if "://" in where:
        with psycopg.connect(where) as database:
            database.execute("UPDATE runs SET lease_until = 0")


def locks(folder: Path) -> list[Path]:
    """The locks of runs beside ledgers in a folder."""
    return list(folder.rglob("*.lock"))


def lose_locks(where: str) -> None:
    """As a careless clean-up does, or time that passes while a process stands still: another may have its runs."""
    leases_end(where)
    if "://" not in where:
        for lock in locks(Path(where).parent):
            lock.unlink()


async def epoch_of(ledger: Ledger, order_id: int) -> int:
    """The epoch of an order's chunk."""
    (number,) = by_chunk([order_id])
    return (await ledger.read(load, [number]))[number].epoch


async def pushed(where: str | Path, rows: Iterable[NewOrder], state: OrderState = OrderState.CREATED) -> str:
    """Push orders, to a state, in a ledger that is opened for it; the run's id."""
    async with await TidyLedger.open(where) as ledger:
        run = await loaded(ledger, rows)
        await bring(run, state)
    return run.id


TWO_PHASE = {OrderState.DRAFTING, OrderState.DRAFTED, OrderState.BROADCASTING}


async def brought(ledger: Ledger, state: OrderState, **options: str) -> Run:
    """A run whose one order, TRK-1, is in a state."""
    run = await loaded(ledger, [order(1)], mode="two-phase" if state in TWO_PHASE else "direct", **options)
    await bring(run, state)
    return run


def moved_behind(run: Run, states: str, *, epoch: int) -> Callable[[Any], None]:
    """The job of another writer, which changes the first chunk of a run."""

    def job(db: Any) -> None:
        (number,) = db.rows("span_of_run", run=run._held.number)[0][:1]
        chunk = load(db, [number])[number]
        chunk.states, chunk.epoch = list(states), chunk.epoch + epoch
        chunk.save(db, 0)

    return job


async def until(ask: Callable[[], Any]) -> Any:
    """What a question to a server is answered with, as soon as that is anything."""
    while not (answer := await asyncio.to_thread(ask)):  # noqa: ASYNC110 - a server has no events
        await asyncio.sleep(0.01)
    return answer


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives, if it gives anything."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []
