"""``gotsurge results``: the result files of a run, written again."""

from pathlib import Path

import click

from gotsurge_async.bulk import write_results
from gotsurge_async.cli.shared.books import OUT, books_options, find_ledger, open_books, run_told
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.next_steps import Standing, doubts_elsewhere, next_steps, to_do
from gotsurge_async.cli.shared.output import json_option
from gotsurge_async.cli.shared.run_job import ROW, Ending, tell_ending, tell_unused, try_out


@click.command()
@click.argument("run_id", metavar="RUN")
@books_options
@click.option(
    "--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Folder of the result files."
)
@json_option
def results(run_id: str, ledger: Path | None, env: str | None, out: Path, as_json: bool) -> None:
    """Write the result files of RUN again, as things stand in the ledger now, and print its summary."""

    async def write() -> Ending:
        async with open_books(find_ledger(ledger, env), look=True) as books:
            info = await books.run(run_id)
            await try_out(out, ROW * (await books.counts(run_id)).total, "nothing was written")
            unused = [draft.task_id for draft in await books.unused_drafts(run_id) if not draft.cancelled]
            tell_unused(unused, info, _say)
            summary = await write_results(books, info, out, unused_drafts=unused)
            if await books.is_held(run_id):
                _say("a process has the run: what it is sending stands in the in-doubt file until it ends")
                return Ending(summary=summary)
            counts = await books.counts(run_id)
            standing = Standing(
                info=info,
                counts=to_do(counts),
                files=summary.files,
                ledger=books.path,
                out=out,
                elsewhere=await doubts_elsewhere(books, run_id, counts),
            )
            return Ending(summary=summary, steps=next_steps(standing))

    tell_ending(run_told(write(), run_id), Exit.CREATED, say=_say, as_json=as_json)


def _say(text: str) -> None:
    click.echo(text, err=True)
