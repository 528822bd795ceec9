"""``gotsurge undo``: cancels the orders of a run."""

import asyncio
import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import click
from msgspec import structs

from gotsurge_async.after.undo import REASON, OrderElsewhere, Undo, Undone
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, Failure, Interrupts, about_run, asynchronous, exit_code_of
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, open_ledger, target_of
from gotsurge_async.cli.shared.next_steps import SHOWN_OWNERS, Standing, next_steps, same_again
from gotsurge_async.cli.shared.options import json_option, option
from gotsurge_async.cli.shared.output import Step, at_a_terminal, confirmed, counted, finish, print_first, prose, say
from gotsurge_async.cli.shared.sending import counts_after
from gotsurge_async.clock import cancellations
from gotsurge_async.config import Limits
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded
from gotsurge_async.ledger import DOUBTFUL, PUSHED, Counts, Ledger, LedgerError, OrderState, RunHeld, RunInfo, RunState
from gotsurge_async.ledger.states import in_words
from gotsurge_async.system import loops, shell
from gotsurge_async.tables.checks.words import number_of, verb

_INTERRUPTED = Coded("the undo was interrupted: run the same command again, and do not resume the run", "E115")


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_place
@ledger_option
@option("--reason", "For GotSurge and the drivers.", default=REASON, type=str)
@option("--concurrency N", "Calls in flight, at most.  [default: 64]", type=click.IntRange(1, 1024))
@option("--drafts", "Cancel unused drafts too, which no driver sees.")
@option("--key KEY", "Only this order; may be given more than once.", name="keys", multiple=True)
@option("--yes", "Do not ask first, as a terminal is asked.")
@json_option
def undo(
    run_id: str, target: Target, ledger: Place | None, drafts: bool, keys: tuple[str, ...], yes: bool, **rest: Any
) -> Exit | None:
    """Cancel every order of RUN that no driver has taken yet, and say what was too late.

    It may be repeated. With --key only the named orders are cancelled. The key of a cancelled order is free again:
    mend the file, and push it. With --drafts the drafts of the run that were never broadcast are cancelled too, also
    those that no order has.

    \b
    Exit codes:
      0 all are cancelled              1 some were too late, or could not be cancelled
      2 wrong usage                    3 some are in doubt, and may exist
      4 sign-in failed                 6 another process has the run
      130, 143 interrupted by Ctrl-C, by SIGTERM: give it again
    """
    place = find_ledger(ledger, target)
    # Asked outside of an event loop, which would not notice Ctrl-C before a line is typed.
    if not yes and at_a_terminal():
        about_run(run_id)
        if not confirmed(loops.run(_question(place, run_id, drafts, keys))):
            raise Failure(Coded("nothing was cancelled", "E112"), Exit.USAGE)
    return take_back(run_id=run_id, target=target, place=place, drafts=drafts, keys=keys, **rest)


@functools.partial(asynchronous, interrupted=_INTERRUPTED)
async def take_back(
    run_id: str,
    target: Target,
    place: Place,
    drafts: bool,
    keys: tuple[str, ...],
    reason: str,
    concurrency: int | None,
) -> Exit:
    """Cancel orders of a run, print the outcomes, and return the exit code."""
    async with open_ledger(place) as opened:
        info = await opened.run(run_id)
        limits = None if concurrency is None else Limits(concurrency=concurrency)
        interrupts = Interrupts(say)
        with interrupts.caught():
            try:
                async with connected(target_of(info, target), limits) as gs:
                    undoing = Undo(gs, opened, concurrency=concurrency)
                    done = await undoing.undo(run_id, reason=reason, drafts=drafts, keys=keys or None)
            except asyncio.CancelledError:
                raise await _interrupted(opened, info, interrupts.code or Exit.INTERRUPTED) from None
            except LedgerError as error:
                if isinstance(error, RunHeld) or info.archived_in is not None or info.state is RunState.LOADING:
                    raise  # the undo did not begin
                raise await _ledger_failed(opened, info, error) from None
        info = await opened.run(run_id)  # which says now whether the undo has ended
        runs = Counter(order.run for order in done.elsewhere)
        others = [await opened.run(other) for other in runs] if keys else []
    steps = next_steps(
        Standing(
            info=info,
            counts={"in_doubt": done.in_doubt},
            ledger=place,
            recorded=any(order.task_id for order in done.doubtful),
            cancelling=done.cancelling,
            open_until=done.open_until,
        )
    )
    steps += [step for other in others for step in _steps_elsewhere(other, done.elsewhere, place)]
    if runs and not keys:
        named = ", ".join(f"{run} ({number:,})" for run, number in runs.most_common(SHOWN_OWNERS))
        more = ", …" if len(runs) > SHOWN_OWNERS else ""
        orders = number_of(runs.total(), "order was", "orders were")
        say(f"{orders} sent by other runs, and not cancelled: {named}{more}")
    if done.stopped_by is not None:
        say(f"stopped: {done.stopped_by}")
    code = _code_of(done, keys)
    document = {**structs.asdict(done), "stopped_by": None if done.stopped_by is None else str(done.stopped_by)}
    return finish(document, code, lambda: _show(done, keys), steps)


async def _interrupted(ledger: Ledger, info: RunInfo, code: Exit) -> Failure:
    """The error for a signal: the run must not be resumed, which would send waiting orders, but undone to its end."""
    counts = None
    with suppress(asyncio.CancelledError):  # by one more signal
        counts = await ledger.counts(info.id)
    while cancellations():  # else asyncio takes a Ctrl-C while the ledger is closed for a cancellation by a program
        cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
    return Failure(_unfinished(info, counts), code, more=_again("E115"))


async def _ledger_failed(ledger: Ledger, info: RunInfo, error: LedgerError) -> Failure:
    """The error for a ledger that fails in the middle; what was in flight is in doubt if it cannot be read either."""
    counts = await counts_after(error, ledger, info.id)
    code = exit_code_of(error)
    if counts is None or counts.of(DOUBTFUL):
        code = Exit.IN_DOUBT
    elif counts.cancelled:
        code = Exit.REFUSED
    return Failure(f"{error}\n{_unfinished(info, counts)}", code, more=_again(error.explain_code, "E115"))


def _unfinished(info: RunInfo, counts: Counts | None) -> str:
    so_far = "the orders that were in flight are in doubt"
    if counts is not None:
        so_far = f"cancelled so far: {counts.cancelled:,}, in doubt: {counts.of(DOUBTFUL):,}"
    return f"the undo of run {info.id} was interrupted: {so_far}; do not resume the run"


def _again(*codes: str | None) -> Mapping[str, Any]:
    return {"next": [same_again()], "explain": [*filter(None, codes)]}


def _steps_elsewhere(info: RunInfo, orders: Sequence[OrderElsewhere], place: Place) -> list[Step]:
    """The commands about orders that a person named, and another run has: they undo them, or show those that wait."""
    standing, mine = Standing(info=info, counts={}, ledger=place), [order for order in orders if order.run == info.id]
    live = [order for order in mine if order.state in PUSHED]
    if info.archived_in is not None:
        account = info.options.get("account")
        words = f"--reason {shell.word(REASON)} {standing.place(calls=True)}"
        words += f" --account {shell.word(account)}" if account else ""
        return [
            Step(
                f"Order {order.key} is in the archived run {info.id}",
                "To cancel it",
                f"gotsurge tasks cancel {shell.word(order.task_id)} {words}",
            )
            for order in live
            if order.task_id
        ]
    why = f"{number_of(len(mine), 'order is', 'orders are')} in run {info.id}"
    if live:
        keys = [f"--key {shell.word(order.key)}" for order in live]
        return [Step(why, f"To cancel {verb(len(live), 'it', 'them')}", standing.command("undo", *keys, calls=True))]
    return [Step(why, f"To see {verb(len(mine), 'its state', 'their states')}", standing.command("status"))]


def _code_of(done: Undone, keys: Collection[str]) -> Exit:
    if done.in_doubt:
        return Exit.IN_DOUBT
    if done.stopped_by is not None:
        return exit_code_of(done.stopped_by)
    is_left = done.too_late or done.failed or (keys and done.elsewhere)  # without --key, those are not this run's
    return Exit.REFUSED if is_left else Exit.CREATED


async def _question(place: Place, run_id: str, drafts: bool, keys: Collection[str]) -> str:
    """The question for a person at a terminal, with the number of tasks that the undo will try to cancel."""
    async with open_ledger(place, look=True) as ledger:
        info = await ledger.run(run_id)
        states = PUSHED | {OrderState.DRAFTED} if drafts or keys else PUSHED
        tasks = [row.key async for row in ledger.rows(info.id, states) if row.task_id]
        if drafts:
            tasks += [draft.key for draft in await ledger.unused_drafts(info.id) if not draft.cancelled]
    number = sum(not keys or key in keys for key in tasks)
    what = number_of(number, "order or draft", "orders and drafts") if drafts else number_of(number, "order")
    return f"Cancel {what} of run {info.id} ({info.environment}, from {info.source})?"


def _show(done: Undone, keys: Collection[str]) -> None:
    numbers = {
        "cancelled": len(done.cancelled),
        "already cancelled": len(done.already_cancelled),
        "too late": len(done.too_late),
        "failed": len(done.failed),
        "in other runs": len(done.elsewhere),
        "in doubt": done.in_doubt,
        "drafts cancelled": len(done.drafts),
        "unprocessed": done.unprocessed,
        "unused drafts left": done.unused_drafts,
    }
    click.echo(f"run {done.run}: {counted(numbers) or 'nothing to cancel'}")
    orders = (*done.too_late, *done.failed, *done.doubtful)
    left = [(order.key, order.task_id, order.status or "", order.error) for order in orders]
    named = done.elsewhere if keys else ()
    left += [(each.key, each.task_id or "", "", f"it is {in_words(each.state)} in run {each.run}") for each in named]
    print_first(("KEY", "TASK", "STATUS", prose("WHY")), left)
