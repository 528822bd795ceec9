"""``gotsurge stop``: have workers stop."""

import click

from gotsurge_async.cli.shared.distributed import INTERRUPTED
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger, takes_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import finish
from gotsurge_async.database import Place
from gotsurge_async.errors import UsageError


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@json_option
@asynchronous
async def stop(run_id: str, ledger: Place, as_json: bool) -> Exit:
    """Have all workers stop sending RUN, a run that was pushed with --distributed.

    Each worker waits for what it has in flight, which takes a few seconds. The rest stays in the ledger. gotsurge
    resume RUN --distributed gives it to the workers again.

    \b
    Exit codes:
      0 it is stopped
      2 no such run or ledger, or the run is not put up
    """
    async with open_ledger(ledger) as opened:
        stopped = await opened.segments.stop(run_id, INTERRUPTED, INTERRUPTED)
        if not stopped and await opened.segments.distribution(run_id) is None:
            raise UsageError(f"run {run_id} is not put up for workers", "E702")
    text = f"run {run_id}: {'is stopped' if stopped else 'was stopped already'}"
    finish({"run": run_id, "stopped": stopped}, Exit.CREATED, lambda: click.echo(text), as_json=as_json)
    return Exit.CREATED
