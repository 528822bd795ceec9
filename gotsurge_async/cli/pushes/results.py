"""``gotsurge results``: the result files of a run, written again."""

from pathlib import Path

import click

from gotsurge_async.after.results import write_results
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import open_ledger, out_option, takes_ledger
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import say
from gotsurge_async.cli.shared.sending import ROW, finish_run, name_unused, try_out, unused_drafts
from gotsurge_async.database import Place


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@out_option
@json_option
@asynchronous
async def results(run_id: str, ledger: Place, out: Path, as_json: bool) -> None:
    """Write the result files of RUN again, from what the ledger says now, and print its summary."""
    async with open_ledger(ledger, look=True) as opened:
        info = await opened.run(run_id)
        await try_out(out, ROW * (await opened.counts(run_id)).total, "nothing was written")
        unused = await unused_drafts(opened, run_id)
        name_unused(unused, info)
        summary = await write_results(opened, info, out, unused_drafts=unused)
        steps = []
        if await opened.is_held(run_id):
            say("a process has the run: what it is sending stands in the in-doubt file until it ends")
        elif info.archived_at is None:
            steps = next_steps(await Standing.of(opened, info, files=summary.files, out=out))
    finish_run(summary, Exit.CREATED, steps, as_json=as_json)
