"""``gotsurge reconcile``: finding out what became of orders in doubt."""

from typing import Any

import attrs
import click

from gotsurge_async.bulk import Absent, Ledger, Reconciled, Reconciler, RunHeld
from gotsurge_async.bulk.after.reconcile import RESCAN_AFTER
from gotsurge_async.bulk.ledger import DOUBTFUL, RunInfo, RunState
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, open_ledger, target_of
from gotsurge_async.cli.shared.next_steps import Standing, Step, next_steps, tell_steps
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import SHOWN, counted, print_json, print_table, prose, say, tell_more
from gotsurge_async.database import Place


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@takes_place
@ledger_option
@click.option(
    "--absent-means-not-created",
    is_flag=True,
    help="Take an order as not created if two readings of the whole Task List do not show it.",
)
@click.option(
    "--rescan-after",
    type=click.FloatRange(min=0),
    default=RESCAN_AFTER,
    show_default=True,
    metavar="SECONDS",
    help="The time between these two readings.",
)
@json_option
@asynchronous
async def reconcile(
    run_id: str | None,
    target: Target,
    ledger: Place | None,
    absent_means_not_created: bool,
    rescan_after: float,
    as_json: bool,
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
    async with open_ledger(find_ledger(ledger, target)) as opened:
        for info in await _wanted(opened, run_id, target):
            async with connected(target_of(info, target)) as gs:
                absent = Absent.NOT_CREATED if absent_means_not_created else Absent.IN_DOUBT
                try:
                    reconciler = Reconciler(gs, opened, absent=absent, rescan_after=rescan_after)
                    found = await reconciler.reconcile(info.id)
                except RunHeld as error:
                    if run_id is not None:
                        raise
                    held.append(error)
                    continue
            done.append(found)
            left = {"in_doubt": len(found.in_doubt), "drafts": len(found.still_draft)}
            standing = await Standing.of(opened, info, looked=True)
            steps += next_steps(attrs.evolve(standing, counts=left, elsewhere=False))
    # A recorded draft whose broadcast was lost may still be broadcast by it at any moment.
    doubt = any(each.in_doubt or each.still_draft for each in done)
    code = Exit.IN_DOUBT if doubt else Exit.HELD if held else Exit.CREATED
    if as_json:
        document = {"runs": [_document(each) for each in done], "held": [each.run_id for each in held]}
        print_json({**document, "next": [step.command for step in steps], "exit": int(code)})
    else:
        _tell(done)
    for each in held:
        say(each)
    if not as_json:
        tell_steps(steps)
    return code


async def _wanted(opened: Ledger, run_id: str | None, target: Target) -> list[RunInfo]:
    """The run that was named, or all of the environment in which something is in doubt."""
    if run_id is not None:
        return [await opened.run(run_id)]
    found = []
    for info in await opened.runs():
        mine = info.environment == target.environment and info.state is not RunState.LOADING
        if mine and (await opened.counts(info.id)).of(DOUBTFUL):
            found.append(info)
    return found


def _document(result: Reconciled) -> dict[str, Any]:
    return {**attrs.asdict(result), "doubled": [order.key for order in result.doubled]}


def _tell(done: list[Reconciled]) -> None:
    if not any(any((each.created, each.cancelled, each.still_draft, each.not_created, each.in_doubt)) for each in done):
        click.echo("nothing is in doubt")
        return
    for result in done:
        for trouble in result.troubles:
            say(trouble)
        told = {
            "created": result.created,
            "cancelled": result.cancelled,
            "still drafts, which gotsurge resume broadcasts": result.still_draft,
            "taken for not created": result.not_created,
            "in doubt": result.in_doubt,
        }
        words = counted({word: len(orders) for word, orders in told.items()})
        click.echo(f"run {result.run}: {words or 'nothing was in doubt'}")
        # Doubles first: they are the ones that cost money.
        still_in_doubt = sorted(result.in_doubt, key=lambda order: not order.doubled)
        if still_in_doubt:
            print_table(("KEY", prose("WHY")), [(order.key, order.reason) for order in still_in_doubt[:SHOWN]])
        tell_more(len(still_in_doubt))
