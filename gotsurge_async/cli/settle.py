"""``gotsurge reconcile`` and ``gotsurge undo``: finding out what became of orders, and taking them back."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from gotsurge_async.bulk import Absent, Ledger, OrderState, Reconciled, Reconciler, RunHeld, Undo, Undone
from gotsurge_async.bulk.after.reconcile import SETTLE
from gotsurge_async.bulk.after.undo import REASON
from gotsurge_async.bulk.ledger import DOUBTFUL, RunInfo, RunState
from gotsurge_async.cli.shared.books import OUT, ledger_option, open_books, run_told, target_of
from gotsurge_async.cli.shared.calls import takes_place
from gotsurge_async.cli.shared.connect import Target, connected, default_ledger
from gotsurge_async.cli.shared.exits import Exit, Failure, exit_code_of
from gotsurge_async.cli.shared.next_steps import Standing, Step, next_steps
from gotsurge_async.cli.shared.output import json_option, print_json, print_table

SHOWN = 20
"""How many orders are listed for people; --json lists all."""


@click.command(short_help="Find out what became of orders in doubt.")
@click.argument("run_id", metavar="[RUN]", required=False)
@takes_place
@ledger_option
@click.option(
    "--absent-means-not-created",
    is_flag=True,
    help="Take an order for not created that two readings of the whole Task List did not show.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=SETTLE,
    show_default=True,
    metavar="SECONDS",
    help="Between the two readings.",
)
@json_option
def reconcile(
    run_id: str | None,
    target: Target,
    ledger: Path | None,
    absent_means_not_created: bool,
    settle: float,
    as_json: bool,
) -> None:
    """Find out what became of the orders in doubt of RUN, or of all runs of the environment.

    Recorded tasks are read by their ids; others are looked for on the Task List of the platform partner, by tracking
    id, then by invoice number. What is found is created or cancelled; what is a draft still is for gotsurge resume,
    which broadcasts it and no other. What is not found stays in doubt: absence proves nothing. Plain partners have no
    Task List: gotsurge resolve takes your word.

    \b
    Exit codes:
      0 nothing is in doubt any more   3 some are still in doubt
      2 wrong usage                    4 sign-in failed
      6 another process has a run
    """
    target.check_place()

    async def work() -> tuple[list[Reconciled], list[RunHeld]]:
        done: list[Reconciled] = []
        held: list[RunHeld] = []
        async with open_books(ledger or default_ledger(target, OUT)) as books:
            for info in await _wanted(books, run_id, target):
                async with connected(target_of(info, target)) as gs:
                    absent = Absent.NOT_CREATED if absent_means_not_created else Absent.IN_DOUBT
                    try:
                        done.append(await Reconciler(gs, books, absent=absent, settle=settle).reconcile(info.id))
                    except RunHeld as error:
                        if run_id is not None:
                            raise
                        held.append(error)
        return done, held

    done, held = run_told(work(), run_id)
    # A recorded draft whose broadcast was lost may still be broadcast by it at any moment.
    doubt = any(each.in_doubt or each.drafted for each in done)
    code = Exit.IN_DOUBT if doubt else Exit.HELD if held else Exit.CREATED
    if as_json:
        runs = [_document(each) for each in done]
        print_json({"runs": runs, "held": [error.run_id for error in held], "exit": int(code)})
    else:
        _tell(done)
    for error in held:
        click.echo(str(error), err=True)
    raise SystemExit(int(code))


async def _wanted(books: Ledger, run_id: str | None, target: Target) -> list[RunInfo]:
    """The run that was named, or all of the environment in which something is in doubt."""
    if run_id is not None:
        return [await books.run(run_id)]
    found = []
    for info in await books.runs():
        mine = info.environment == target.books and info.state is not RunState.LOADING
        if mine and (await books.counts(info.id)).of(DOUBTFUL):
            found.append(info)
    return found


def _document(result: Reconciled) -> dict[str, Any]:
    return {**attrs.asdict(result), "doubled": [order.key for order in result.doubled]}


def _tell(done: list[Reconciled]) -> None:
    if not any(any((each.created, each.cancelled, each.drafted, each.not_created, each.in_doubt)) for each in done):
        click.echo("nothing is in doubt")
        return
    for result in done:
        for trouble in result.troubles:
            click.echo(trouble, err=True)
        told = {
            "created": result.created,
            "cancelled": result.cancelled,
            "still drafts, which gotsurge resume broadcasts": result.drafted,
            "taken for not created": result.not_created,
            "in doubt": result.in_doubt,
        }
        words = ", ".join(f"{len(orders):,} {word}" for word, orders in told.items() if orders)
        click.echo(f"run {result.run}: {words or 'nothing was in doubt'}")
        # Doubles first: they are the ones that cost money.
        unsettled = sorted(result.in_doubt, key=lambda order: not order.doubled)
        if unsettled:
            print_table(("KEY", "WHY"), [(order.key, order.reason) for order in unsettled[:SHOWN]])
        _tell_more(len(unsettled))


@click.command(short_help="Cancel what is still broadcasting of a run.")
@click.argument("run_id", metavar="RUN")
@takes_place
@ledger_option
@click.option("--reason", default=REASON, show_default=True, help="For GotSurge and the drivers.")
@click.option("--concurrency", type=click.IntRange(1, 1024), metavar="N", help="Calls in flight.  [default: 16]")
@click.option("--drafts", is_flag=True, help="Cancel unused drafts too, which no driver sees.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Only this order; may be given more than once.")
@click.option("--yes", is_flag=True, help="Do not ask first, as a terminal is asked.")
@json_option
def undo(
    run_id: str,
    target: Target,
    ledger: Path | None,
    reason: str,
    concurrency: int | None,
    drafts: bool,
    keys: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Cancel every order of RUN that no driver has taken yet, and say what was too late.

    It may be repeated. --key names the orders that are meant, else all are. Cancelled orders free their keys: mend the
    file, and push it. With --drafts the drafts of the run that were never broadcast are cancelled too, also those that
    no order has.

    \b
    Exit codes:
      0 all are cancelled              1 some were too late, or could not be cancelled
      2 wrong usage                    3 some are in doubt, and may exist
      4 sign-in failed                 6 another process has the run
    """
    target.check_place()

    async def work() -> tuple[Undone, list[Step]]:
        async with open_books(ledger or default_ledger(target, OUT)) as books:
            info = await books.run(run_id)
            if not yes:
                await _ask(books, info, len(keys))
            async with connected(target_of(info, target)) as gs:
                done = await Undo(gs, books, concurrency=concurrency).undo(
                    run_id, reason=reason, drafts=drafts, keys=keys or None
                )
            return done, _after(books, info, done)

    done, steps = run_told(work(), run_id)
    code = _code_of(done)
    if as_json:
        document = attrs.asdict(done, filter=lambda attribute, _: attribute.name != "stopped_by")
        stopped_by = None if done.stopped_by is None else str(done.stopped_by)
        print_json({**document, "stopped_by": stopped_by, "exit": int(code), "next": [step.command for step in steps]})
    else:
        _tell_undone(done)
    if done.stopped_by is not None:
        click.echo(f"stopped: {done.stopped_by}", err=True)
    if not as_json:
        for step in steps:
            click.echo(str(step), err=True)
    raise SystemExit(int(code))


def _code_of(done: Undone) -> Exit:
    if done.in_doubt:
        return Exit.IN_DOUBT
    if done.stopped_by is not None:
        return exit_code_of(done.stopped_by)
    return Exit.REFUSED if done.too_late or done.failed else Exit.CREATED


def _after(books: Ledger, info: RunInfo, done: Undone) -> list[Step]:
    """What to type next about what could not be taken back, because nobody knows whether it is there."""
    out = Path(info.options.get("out") or OUT)
    return next_steps(Standing(info=info, counts={"in_doubt": done.in_doubt}, ledger=books.path, out=out))


async def _ask(books: Ledger, info: RunInfo, some: int) -> None:
    """At a terminal, let a person see what is about to be cancelled; a script has said what it wants."""
    if not at_a_terminal():
        return
    number = some or (await books.counts(info.id))[OrderState.CREATED]
    question = f"Cancel {number:,} orders of run {info.id} ({info.environment}, from {info.source})?"
    if not await asyncio.to_thread(click.confirm, question, err=True):
        raise Failure("nothing was cancelled", Exit.USAGE, run=info.id)


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _tell_undone(done: Undone) -> None:
    told = {
        "cancelled": len(done.cancelled),
        "already cancelled": len(done.already_cancelled),
        "too late": len(done.too_late),
        "failed": len(done.failed),
        "in doubt": done.in_doubt,
        "drafts cancelled": len(done.drafts),
        "never sent": done.waiting,
        "unused drafts left": done.unused_drafts,
    }
    words = ", ".join(f"{number:,} {word}" for word, number in told.items() if number)
    click.echo(f"run {done.run}: {words or 'nothing to cancel'}")
    left = [*done.too_late, *done.failed]
    if left:
        rows = [(order.key, order.task_id, order.status or "", order.error) for order in left[:SHOWN]]
        print_table(("KEY", "TASK", "STATUS", "WHY"), rows)
    _tell_more(len(left))


def _tell_more(number: int) -> None:
    if number > SHOWN:
        click.echo(f"… and {number - SHOWN:,} more: --json lists all")
