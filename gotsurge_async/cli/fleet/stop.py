"""``gotsurge stop``: have workers stop."""

from typing import Any

import click

from gotsurge_async.cli.fleet.distributed import INTERRUPTED
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger, takes_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import print_json
from gotsurge_async.database import Place
from gotsurge_async.errors import UsageError


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@json_option
@asynchronous
async def stop(run_id: str, ledger: Place, as_json: bool, **_: Any) -> Exit:
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
            raise UsageError(f"run {run_id} is not put up for workers")
    if as_json:
        print_json({"run": run_id, "stopped": stopped, "exit": int(Exit.CREATED)})
    else:
        click.echo(f"run {run_id}: {'is stopped' if stopped else 'was stopped already'}")
    return Exit.CREATED
