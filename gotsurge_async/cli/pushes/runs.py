"""``gotsurge runs``: the runs of the ledger."""

from typing import NoReturn

import click

from gotsurge_async import codec
from gotsurge_async.bulk import Ledger
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import RunInfo, Word
from gotsurge_async.cli.pushes.status import RunStatus
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import counted, is_terminal, print_json, print_table, prose
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place

_COLUMNS = (
    Word.CREATED,
    Word.ALREADY_PUSHED,
    Word.CHANGED,
    Word.REFUSED,
    Word.IN_DOUBT,
    Word.UNPROCESSED,
    Word.IN_FLIGHT,
    Word.CANCELLED,
)


@click.command()
@ledger_option
@env_option
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="List the newest N runs."
)
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C, and print a line whenever a run changes.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: look again after so many seconds.",
)
@json_option
@asynchronous
async def runs(ledger: Place | None, env: str | None, limit: int, watch: bool, every: float, as_json: bool) -> None:
    """List the runs of the ledger, the newest first.

    With --watch the newest run comes last. Then each change of a run is printed, with the time in UTC, until Ctrl-C.
    With --json too, each line is one JSON object.
    """
    async with open_ledger(find_ledger_of(ledger, env), look=True) as opened:
        if watch:
            await _watch(opened, env, limit, every, as_json=as_json)
        found = [await RunStatus.of(opened, info) for info in await _newest(opened, env, limit)]
    if as_json:
        print_json([each.document() for each in found])
    elif is_terminal():
        # Only what fits beside each other: status shows all of a run.
        few = [
            (each.info.id, each.state, each.info.environment, each.counts.total, _became(each), each.info.source)
            for each in found
        ]
        print_table(("RUN", "STATE", "ENVIRONMENT", "ORDERS", prose("OF THEM"), prose("FROM")), few)
    else:
        words = [word.replace("_", " ").upper() for word in _COLUMNS]
        rows = [
            (
                *(each.info.id, each.state, each.info.environment, each.info.mode, each.counts.total),
                *(each.number(word) for word in _COLUMNS),
                each.info.source,
            )
            for each in found
        ]
        print_table(("RUN", "STATE", "ENVIRONMENT", "MODE", "ORDERS", *words, "FROM"), rows)


async def _newest(ledger: Ledger, env: str | None, limit: int) -> list[RunInfo]:
    return [info for info in await ledger.runs() if env in (None, info.environment)][:limit]


def _became(found: RunStatus) -> str:
    """What became of a run's orders, in a few words."""
    return counted({word.replace("_", " "): found.number(word) for word in _COLUMNS})


async def _watch(ledger: Ledger, env: str | None, limit: int, every: float, *, as_json: bool) -> NoReturn:
    """Print a line for each run, and again whenever it has changed."""
    clock, last = SystemClock(), dict[str, tuple[str, str]]()
    while True:
        for info in reversed(await _newest(ledger, env, limit)):
            found = await RunStatus.of(ledger, info)
            now = (found.state, _became(found))
            if last.get(info.id) == now:
                continue
            last[info.id] = now
            if as_json:
                click.echo(codec.encode(found.document()))
            else:
                at = f"{clock.now():%H:%M:%S}"
                orders = number_of(found.counts.total, "order")
                cells = (at, info.id, found.state, orders, now[1] or "none yet", info.source)
                click.echo(("  " if is_terminal() else "\t").join(filter(None, cells)))
        await clock.sleep(every)
