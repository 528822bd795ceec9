"""``gotsurge workers``: the workers of a ledger."""

from typing import Any

import click

from gotsurge_async.cli.shared.distributed import shared_ledger
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import env_option, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import Column, print_json, print_table, prose, say, spare
from gotsurge_async.database import Place
from gotsurge_async.ledger.workers import SILENT_SECONDS, Worker

COLUMNS: tuple[str | Column, ...] = (
    *("WORKER", "STATE", "SEGMENTS", "ORDERS", "A MINUTE", "HEARD"),
    *(spare("VERSION", 3), spare("ENVIRONMENT", 1), spare("SINCE", 2), prose("TROUBLE")),
)


@click.command()
@ledger_option
@env_option
@json_option
@asynchronous
async def workers(ledger: Place | None, env: str | None, as_json: bool) -> None:
    """List the workers of a ledger: what each one is sending, how fast, and when it was last heard of.

    A worker is silent when it was not heard of for 10 seconds: it is dead, frozen or cut off. When its lease ends,
    another worker goes on with its orders. A silent worker is listed for an hour. A worker that was stopped is not
    listed.
    """
    place = shared_ledger(ledger)
    async with open_ledger(place, look=True) as opened:
        listed = [worker for worker in await opened.workers.all() if env in (None, worker.environment)]
    if as_json:
        print_json([_document(worker) for worker in listed])
        return
    print_table(COLUMNS, map(row_of, listed))
    if not listed:
        say(f"nobody sends: gotsurge worker --env {env or 'ENVIRONMENT'} --ledger {place}")


def state_of(worker: Worker) -> str:
    """The state of a worker: working, draining or silent."""
    return "silent" if worker.silent > SILENT_SECONDS else worker.state


def row_of(worker: Worker) -> tuple[Any, ...]:
    """A worker under `COLUMNS`."""
    return (
        *(worker.id, state_of(worker), worker.segments, f"{worker.orders:,}", f"{worker.orders_per_minute:,}"),
        *(f"{max(worker.silent, 0.0):,.0f} s ago", worker.version, worker.environment, worker.started_at),
        worker.trouble,
    )


def _document(worker: Worker) -> dict[str, Any]:
    return {
        "worker": worker.id,
        "state": state_of(worker),
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "environment": worker.environment,
        "segments": worker.segments,
        "orders": worker.orders,
        "orders_per_minute": worker.orders_per_minute,
        "started_at": worker.started_at,
        "heard_at": worker.beat_at,
        "silent_seconds": round(max(worker.silent, 0.0), 1),
        "trouble": worker.trouble,
    }
