"""``gotsurge runs``: the runs of the ledger."""

from typing import NoReturn

import click

from gotsurge_async import codec
from gotsurge_async.cli.pushes.status import RunStatus
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import counted, is_terminal, print_json, print_table, prose, say
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.ledger import Ledger, RunInfo, Word
from gotsurge_async.models.times import written_clock
from gotsurge_async.tables.checks.words import number_of

_COLUMNS = (
    *(Word.CREATED, Word.ALREADY_PUSHED, Word.CHANGED, Word.REFUSED),
    *(Word.IN_DOUBT, Word.UNPROCESSED, Word.IN_FLIGHT, Word.CANCELLED),
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

    With --watch the newest run comes last. Then each change of a run is printed, with its time, until Ctrl-C.
    With --json too, each line is one JSON object.
    """
    async with open_ledger(find_ledger_of(ledger, env), look=True) as opened:
        if watch:
            await _watch(opened, env, limit, every, as_json=as_json)
        listed = [await RunStatus.of(opened, info) for info in await _newest(opened, env, limit)]
        submitted = await opened.waiting()
    for environment, (waits, stopped) in submitted.items():
        if env in (None, environment) and (waits or stopped):
            orders = number_of(waits, "submitted order waits", "submitted orders wait")
            beside = f"; {stopped:,} more are not sent: see their outcomes" if stopped else ""
            say(f"{environment}: {orders} for a desk{beside}")
    if as_json:
        print_json([run.document() for run in listed])
    elif is_terminal():
        # Only what fits next to each other: status shows all of a run.
        few = [
            (run.info.id, run.state, run.info.environment, run.counts.total, _in_words(run), run.info.source)
            for run in listed
        ]
        print_table(("RUN", "STATE", "ENVIRONMENT", "ORDERS", prose("OF THEM"), prose("FROM")), few)
    else:
        words = [word.replace("_", " ").upper() for word in _COLUMNS]
        rows = [
            (
                *(run.info.id, run.state, run.info.environment, run.info.mode, run.counts.total),
                *(run.number(word) for word in _COLUMNS),
                run.info.source,
            )
            for run in listed
        ]
        print_table(("RUN", "STATE", "ENVIRONMENT", "MODE", "ORDERS", *words, "FROM"), rows)


async def _newest(ledger: Ledger, env: str | None, limit: int) -> list[RunInfo]:
    return [info for info in await ledger.runs() if env in (None, info.environment)][:limit]


def _in_words(run: RunStatus) -> str:
    return counted({word.replace("_", " "): run.number(word) for word in _COLUMNS})


async def _watch(ledger: Ledger, env: str | None, limit: int, every: float, *, as_json: bool) -> NoReturn:
    """Print a line for each run, and again whenever it has changed."""
    clock, last = SystemClock(), dict[str, tuple[str, str]]()
    while True:
        for info in reversed(await _newest(ledger, env, limit)):
            run = await RunStatus.of(ledger, info)
            now = (run.state, _in_words(run))
            if last.get(info.id) == now:
                continue
            last[info.id] = now
            if as_json:
                click.echo(codec.encode(run.document()))
            else:
                orders = number_of(run.counts.total, "order")
                cells = (written_clock(clock.now()), info.id, run.state, orders, now[1] or "none yet", info.source)
                click.echo(("  " if is_terminal() else "\t").join(filter(None, cells)))
        await clock.sleep(every)
