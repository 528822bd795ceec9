"""``gotsurge reconcile``: finding out what became of orders in doubt."""

import attrs
import click
from msgspec import structs

from gotsurge_async.after.reconcile import Absent, Reconciled, Reconciler
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, open_ledger, target_of
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import Step, counted, finish, print_first, prose, say
from gotsurge_async.cli.shared.push_options import rescan_after
from gotsurge_async.database import Place
from gotsurge_async.ledger import DOUBTFUL, Ledger, RunHeld, RunInfo, RunState


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@takes_place
@ledger_option
@click.option(
    "--absent-means-not-created",
    is_flag=True,
    help="Take an order as not created if two readings of the whole Task List do not show it.",
)
@rescan_after(help="The time between these two readings.")
@json_option
@asynchronous
async def reconcile(
    run_id: str | None,
    target: Target,
    ledger: Place | None,
    absent_means_not_created: bool,
    rescan_after: float,
) -> Exit:
    """Find out what became of the orders in doubt of RUN, or of all runs of the environment.

    Recorded tasks are read by their ids; others are looked for on the Task List of the platform partner, by tracking
    id, then by invoice number. An order that is found is created or cancelled. One that is still a draft waits for
    gotsurge resume, which broadcasts this draft and no other. One that is not found stays in doubt: that it is
    missing proves nothing. Plain partners have no Task List: look yourself, and tell gotsurge resolve.

    \b
    Exit codes:
      0 nothing is in doubt any more   3 some are still in doubt
      2 wrong usage                    4 sign-in failed
      6 another process has a run
    """
    done: list[Reconciled] = []
    held: list[RunHeld] = []
    steps: list[Step] = []
    absent = Absent.NOT_CREATED if absent_means_not_created else Absent.IN_DOUBT
    async with open_ledger(find_ledger(ledger, target)) as opened:
        for info in await _in_doubt(opened, run_id, target):
            async with connected(target_of(info, target)) as gs:
                try:
                    result = await Reconciler(gs, opened, absent=absent, rescan_after=rescan_after).reconcile(info.id)
                except RunHeld as error:
                    if run_id is not None:
                        raise
                    held.append(error)
                    continue
            done.append(result)
            left = {"in_doubt": len(result.in_doubt), "drafts": len(result.still_draft)}
            standing = await Standing.of(opened, info, was_read=True)
            steps += next_steps(attrs.evolve(standing, counts=left, elsewhere=False))
    # A recorded draft whose broadcast was lost may still be broadcast by it at any moment.
    doubt = any(result.in_doubt or result.still_draft for result in done)
    code = Exit.IN_DOUBT if doubt else Exit.HELD if held else Exit.CREATED
    runs = [{**structs.asdict(result), "doubled": [order.key for order in result.doubled]} for result in done]
    for run in held:
        say(run)
    document = {"runs": runs, "held": [run.run_id for run in held]}
    return finish(document, code, lambda: _show(done), steps)


async def _in_doubt(opened: Ledger, run_id: str | None, target: Target) -> list[RunInfo]:
    """The run that was named, or all of the environment with orders in doubt."""
    if run_id is not None:
        return [await opened.run(run_id)]
    runs = []
    for info in await opened.runs():
        mine = info.environment == target.environment and info.state is not RunState.LOADING
        if mine and (await opened.counts(info.id)).of(DOUBTFUL):
            runs.append(info)
    return runs


def _show(done: list[Reconciled]) -> None:
    if not any(one.created or one.cancelled or one.still_draft or one.not_created or one.in_doubt for one in done):
        click.echo("nothing is in doubt")
        return
    for result in done:
        for trouble in result.troubles:
            say(trouble)
        orders = {
            "created": result.created,
            "cancelled": result.cancelled,
            "still drafts, which gotsurge resume broadcasts": result.still_draft,
            "taken for not created": result.not_created,
            "in doubt": result.in_doubt,
        }
        words = counted({word: len(some) for word, some in orders.items()})
        click.echo(f"run {result.run}: {words or 'nothing was in doubt'}")
        # Doubles first: they are the ones that cost money.
        in_doubt = sorted(result.in_doubt, key=lambda order: not order.doubled)
        print_first(("KEY", prose("WHY")), [(order.key, order.reason) for order in in_doubt])
