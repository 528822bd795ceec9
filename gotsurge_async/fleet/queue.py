"""The queue of procrastinate, and the worker that it wakes. A job names a segment, nothing more.

A job may be lost, doubled or late without harm: the ledger decides which orders are sent, and by which worker. So no
job is ever tried again; the sweeper, a job that runs every other second, adds new ones for segments that wait.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import Job, Status
from procrastinate.schema import SchemaManager
from psycopg import sql

from gotsurge_async.clock import sleep_or, uninterrupted
from gotsurge_async.database import NOTICE_SILENCE, Database, Place
from gotsurge_async.ledger import Ledger, LedgerAway, LedgerError, LedgerUnusable
from gotsurge_async.ledger.segments import Waiting
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.push.worker import Worker

log: logging.Logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""Seconds that a worker waits for a database that is away; then it ends, and its supervisor starts another one."""
LONGEST_PAUSE = 10.0
SEGMENT = "gotsurge.segment"
SWEEP = "gotsurge.sweep"
EVERY = "* * * * * */2"
"""The schedule of the sweeper: the last field is the seconds."""
SWEPT = 1000
"""The most segments for which one sweep adds jobs."""
URGENT, FIRST = 10, 1000
"""Priorities of urgent jobs: for a segment whose worker was lost, and for the sweep."""
BEAT_SECONDS = 2.0
STALLED_SECONDS = 10.0
"""Seconds between two reports of a worker to the queue, and without a report until its jobs are deleted."""

IDLE_SECONDS = 3
"""Seconds that a transaction of the queue may be idle: its worker is frozen then, and all others wait for its locks."""

_MISSING = "has no queue for workers yet: create it with `gotsurge db upgrade`"
_NOT_THERE = (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable)
AWAY = (exceptions.ConnectorException, psycopg.OperationalError)
"""The errors of the queue when its database is away, or its tables were emptied meanwhile."""


def describe(error: BaseException) -> str:
    """An error of the ledger or of the queue on one line, with advice if there is any."""
    cause = error.__cause__ if isinstance(error, exceptions.ConnectorException) and error.__cause__ else error
    line = " ".join(str(cause).split("\n")[0].split()) or type(cause).__name__
    if isinstance(cause, _NOT_THERE):
        line += "; the queue does not exist: create it with `gotsurge db upgrade`"
    return line


def queue_of(environment: str, *, urgent: bool = False) -> str:
    """The queue of an environment, or that of its urgent jobs, which need no free place for a segment."""
    return f"gotsurge-{environment}{'-urgent' if urgent else ''}"


def _jobs(app: procrastinate.App, environment: str, waiting: Sequence[Waiting]) -> list[Job]:
    return [
        app.configure_task(
            SEGMENT,
            queue=queue_of(environment, urgent=segment.lost),
            # One job of a segment waits at a time, and an urgent one as well.
            queueing_lock=f"{segment.run_id}/{segment.epoch}/{segment.number}{'/lost' if segment.lost else ''}",
            priority=URGENT if segment.lost else 0,
            task_kwargs={"run_id": segment.run_id, "number": segment.number},
        ).job
        for segment in waiting
    ]


def enqueue(db: Database, environment: str, waiting: Sequence[Waiting]) -> None:
    """Add a job for each segment, in the ledger's own transaction.

    Raises:
        LedgerError: the database has no queue yet.
    """
    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
    if not waiting:
        return
    try:
        app.job_manager.batch_defer_jobs(_jobs(app, environment, waiting), connection=db.driver)
    except exceptions.ConnectorException as error:
        if not isinstance(error.__cause__, _NOT_THERE):
            raise error.__cause__ or error from None
        raise LedgerError(_MISSING, "E701") from None


async def _limited(connection: "psycopg.AsyncConnection[Any]") -> None:
    """Have the server end idle transactions."""
    await connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'".encode())
    await connection.commit()


@asynccontextmanager
async def opened(place: Place, ledger: Ledger, worker: Worker) -> AsyncIterator[procrastinate.App]:
    """Open the queue, with its tasks: to send a segment, and to sweep."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=place.url, kwargs=dict(NOTICE_SILENCE), configure=_limited, min_size=1, max_size=8, timeout=10
        )
    )
    environment = worker.environment
    queues = queue_of(environment), queue_of(environment, urgent=True)

    @app.task(name=SEGMENT, queue=queues[0])
    async def segment(run_id: str, number: int) -> None:
        await worker.send(ledger, run_id, number)

    @app.periodic(cron=EVERY, periodic_id=environment)
    @app.task(name=SWEEP, queue=queues[1], queueing_lock=f"{SWEEP}/{environment}", priority=FIRST)
    async def sweep(timestamp: int) -> None:
        for queue in queues:
            for job in await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=STALLED_SECONDS):
                await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        await ledger.segments.finish_runs(environment)
        waiting = await ledger.segments.waiting(environment, SWEPT)
        jobs = {job.queueing_lock: job for job in _jobs(app, environment, waiting)}
        rows = await app.connector.execute_query_all_async(
            "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(%(locks)s)",
            locks=list(jobs),
        )
        left = [jobs[lock] for lock in jobs.keys() - {row["queueing_lock"] for row in rows}]
        if left:
            try:
                await app.job_manager.batch_defer_jobs_async(left)
            except exceptions.UniqueViolation:
                return  # another sweep was quicker

    async with app.open_async():
        yield app


async def serve(app: procrastinate.App, worker: Worker) -> None:
    """Do jobs until cancelled; jobs that have begun are finished first."""

    async def serve_one(*, urgent: bool) -> None:
        await app.run_worker_async(
            queues=[queue_of(worker.environment, urgent=urgent)],
            name=f"{worker.name}{'-urgent' if urgent else ''}",
            concurrency=worker.segments + urgent,
            fetch_job_polling_interval=1.0,
            update_heartbeat_interval=BEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            install_signal_handlers=False,
            delete_jobs="always",
        )

    serving = [asyncio.create_task(serve_one(urgent=urgent)) for urgent in (False, True)]
    try:
        await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in serving:
            task.cancel()
        await uninterrupted(asyncio.wait(serving))
    for task in serving:
        if not task.cancelled():
            task.result()


async def work(place: Place, worker: Worker, *, patience: float = PATIENCE_SECONDS) -> None:
    """Send the segments that jobs name, with a worker, until it is stopped, also across restarts of its database.

    Args:
        place: the ledger, in PostgreSQL.
        patience: seconds to wait for its database.

    Raises:
        LedgerAway: the database was away for longer.
        LedgerError: the ledger cannot be used: it is damaged, or an older copy.
        GotSurgeError: no client can be made: no token works, or the settings are wrong.
    """
    clock = worker.clock
    away_since, tries = clock.monotonic(), 0
    await asyncio.to_thread(must_be_there, place)
    while not worker.stopping.is_set():
        try:
            async with (
                await Ledger.open(place, clock=clock.now) as ledger,
                opened(place, ledger, worker) as app,
            ):
                began = clock.monotonic()
                try:
                    await worker.work(ledger, partial(serve, app, worker))
                finally:
                    away_since = clock.monotonic()
                    tries = tries if away_since - began < LONGEST_PAUSE else 0
        except (LedgerUnusable, *AWAY) as error:
            if isinstance(error, LedgerUnusable) and error.lasts:
                raise
            away = clock.monotonic() - away_since
            why = describe(error)
            if away > patience:
                message = f"could not be reached for {away:.0f} s: start the worker again ({why})"
                raise LedgerAway(message, path=str(place)) from error
            log.warning("%s: waiting for the ledger's database: %s", worker.name, why)
            tries += 1
            await sleep_or(worker.stopping, clock, min(0.25 * 2**tries, LONGEST_PAUSE))


def must_be_there(place: Place) -> None:
    """Raise LedgerError if the database has no queue. A database that is away passes, because it may have one."""
    with suppress(psycopg.OperationalError), psycopg.connect(place.url, **NOTICE_SILENCE) as connection:
        if not _is_there(connection):
            raise LedgerError(_MISSING, "E701", path=str(place))


def _is_there(connection: "psycopg.Connection[Any]") -> bool:
    return connection.execute("SELECT to_regclass('procrastinate_jobs') IS NOT NULL").fetchall() == [(True,)]


_REMAINS = """
SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name) FROM (
  SELECT 1, 'TABLE', oid::regclass::text, relname, relnamespace FROM pg_class WHERE relkind = 'r' UNION ALL
  SELECT 2, 'FUNCTION', oid::regprocedure::text, proname, pronamespace FROM pg_proc WHERE prokind = 'f' UNION ALL
  SELECT 3, 'TYPE', pg_type.oid::regtype::text, typname, typnamespace FROM pg_type
    LEFT JOIN pg_class ON pg_class.oid = typrelid WHERE typtype = 'e' OR relkind = 'c'
) AS remains (nth, kind, name, called, namespace)
WHERE starts_with(called, 'procrastinate_') AND namespace = current_schema()::regnamespace ORDER BY nth"""
"""The remains of a queue whose jobs were dropped by hand: they are in the way of a new one."""

_MADE_BY = "made by gotsurge db upgrade, up to "


def upgrade(place: Place) -> None:
    """Make the queue's tables, or bring them up to date; two processes may do it at once. Other tables stay.

    Raises:
        LedgerError: the database cannot be used, or its user may not make tables.
    """
    migrations = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    with Backend(place).translated(), psycopg.connect(place.url, autocommit=True, **NOTICE_SILENCE) as connection:
        connection.execute("SELECT pg_advisory_lock(7237103003)")  # until the connection ends
        if _is_there(connection):
            ((comment,),) = connection.execute("SELECT obj_description('procrastinate_jobs'::regclass)").fetchall()
            if not (comment or "").startswith(_MADE_BY):
                return
            todo = [file for file in migrations if file.name > comment.removeprefix(_MADE_BY)]
        else:
            with connection.transaction():
                for (statement,) in connection.execute(_REMAINS).fetchall():
                    connection.execute(statement.encode())
                connection.execute(SchemaManager.get_schema())
            todo = []
        for file in todo:
            connection.execute(file.read_bytes())
        comment = sql.Literal(f"{_MADE_BY}{migrations[-1].name}")
        connection.execute(sql.SQL("COMMENT ON TABLE procrastinate_jobs IS {}").format(comment))
