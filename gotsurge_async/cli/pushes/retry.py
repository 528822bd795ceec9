"""``gotsurge retry``: trying the refused orders of a run again."""

from typing import Any

import click

from gotsurge_async.cli.pushes.resume import Resuming, resuming_options
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import GroupedCommand
from gotsurge_async.cli.shared.push_options import refused_chunk
from gotsurge_async.ledger import Ledger, Run, RunInfo
from gotsurge_async.push.load import load_refused


class Retrying(Resuming):
    """The sending of a run's refused orders, in a run of their own."""

    async def _held(self, ledger: Ledger, info: RunInfo) -> Run:
        run, admission = await load_refused(ledger, info.id)
        if admission.already_pushed:
            self.say(f"{admission.already_pushed:,} of them were pushed by another run since")
        return run


@click.command(cls=GroupedCommand)
@click.argument("run_id", metavar="RUN")
@refused_chunk("as before")
@resuming_options
@asynchronous
async def retry(run_id: str, **options: Any) -> Exit:
    """Put the refused orders of RUN into a new run, as they stand in the ledger, and send it.

    For orders that were refused for a passing reason, or only because another order of their chunk was wrong: then
    --on-refused-chunk split finds the one that is. A refusal is believed: nothing of it was created. An order that is
    wrong itself is refused again: mend it in RUN-refused.csv (gotsurge results), and push that file. Output and exit
    codes are those of gotsurge push.
    """
    return await Retrying(run_id, **options).run()
