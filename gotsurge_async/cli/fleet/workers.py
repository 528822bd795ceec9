"""``gotsurge workers``: who sends, and how it goes."""

from collections.abc import Sequence
from typing import Any

import click

from gotsurge_async.bulk.ledger.workers import SILENT_SECONDS, Worker
from gotsurge_async.cli.fleet.needed import of_many_machines
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import env_option, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import Column, print_json, print_table, prose, say, spare
from gotsurge_async.database import Place

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
    place = of_many_machines(ledger)
    async with open_ledger(place, look=True) as opened:
        found = [each for each in await opened.workers.all() if env in (None, each.environment)]
    if as_json:
        print_json([document(each) for each in found])
        return
    print_table(COLUMNS, rows(found))
    if not found:
        say(f"nobody sends: gotsurge worker --env {env or 'ENVIRONMENT'} --ledger {place}")


def state_of(worker: Worker) -> str:
    """What a worker does, in a word: working, draining or silent."""
    return "silent" if worker.silent > SILENT_SECONDS else worker.state


def rows(found: Sequence[Worker]) -> list[tuple[Any, ...]]:
    """A row for each, under `COLUMNS`."""
    return [
        (
            each.id,
            state_of(each),
            each.segments,
            f"{each.orders:,}",
            f"{each.orders_per_minute:,}",
            f"{max(each.silent, 0.0):,.0f} s ago",
            each.version,
            each.environment,
            each.started_at,
            each.trouble,
        )
        for each in found
    ]


def document(worker: Worker) -> dict[str, Any]:
    """All of a worker, for programs."""
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
