"""``gotsurge reconcile`` and ``gotsurge resolve``: settle orders in doubt, by reading or by a person's decision."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from gotsurge_async.after import resolve as resolving
from gotsurge_async.after.reconcile import Reconciled, Reconciler
from gotsurge_async.after.resolve import Resolution, Resolved, read_resolutions
from gotsurge_async.cli.files.faults import report_faults
from gotsurge_async.cli.shared.connect import SIMULATED, Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, Failure, Unreachable, WrongUse, asynchronous, exit_code_of
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, open_ledger, own_runs, takes_ledger, target_of
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import PATH, json_option, option, person, user_name
from gotsurge_async.cli.shared.output import SHOWN, Step, counted, finish, print_first, prose, say, shown
from gotsurge_async.cli.shared.push_options import rescan_after
from gotsurge_async.client import GotSurge
from gotsurge_async.database import Place
from gotsurge_async.errors import CallError, ConfigError, GotSurgeError, SignInNeeded
from gotsurge_async.ledger import DOUBTFUL, Ledger, RunHeld, RunInfo
from gotsurge_async.push.load import UnusableSource


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@takes_place
@ledger_option
@rescan_after("The time between two readings of the Task List, if the first does not show every order.")
@json_option
@asynchronous
async def reconcile(
    run_id: str | None,
    target: Target,
    ledger: Place | None,
    rescan_after: float,
) -> Exit:
    """Find out what became of the orders in doubt of RUN, or of all runs of the environment, or of --account.

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
    elsewhere = 0
    async with open_ledger(find_ledger(ledger, target)) as opened:
        infos, others = await _in_doubt(opened, run_id, target)
        for info in infos:
            async with connected(target_of(info, target)) as gs:
                try:
                    result = await Reconciler(gs, opened, rescan_after=rescan_after).reconcile(info.id)
                except RunHeld as error:
                    if run_id is not None:
                        raise
                    held.append(error)
                    continue
            done.append(result)
            standing = await Standing.of(opened, info, was_read=True)
            if run_id is not None:  # else the other runs are reconciled, too
                elsewhere = standing.elsewhere
            left = {"in_doubt": len(result.in_doubt) + elsewhere, "drafts": len(result.still_draft)}
            steps += next_steps(structs.replace(standing, counts=left, elsewhere=elsewhere))
        for info in others:
            standing = await Standing.of(opened, info)
            own = standing.counts["in_doubt"] - standing.elsewhere  # the rest is in doubt in another of these runs
            steps += next_steps(structs.replace(standing, counts={"in_doubt": own}, elsewhere=0))
            elsewhere += own
    # A recorded draft whose broadcast was lost may still be broadcast by it at any moment.
    doubt = elsewhere or any(result.in_doubt or result.still_draft for result in done)
    code = Exit.IN_DOUBT if doubt else Exit.HELD if held else Exit.CREATED
    runs = [{**structs.asdict(result), "doubled": [order.key for order in result.doubled]} for result in done]
    for run in held:
        say(run)
    document = {"runs": runs, "held": [run.run_id for run in held], "in_doubt_elsewhere": elsewhere}
    return finish(document, code, lambda: _show_reconciled(done, elsewhere), steps)


async def _in_doubt(opened: Ledger, run_id: str | None, target: Target) -> tuple[list[RunInfo], list[RunInfo]]:
    """The named run, or all runs of the target with orders in doubt; and those of other accounts or servers."""
    if run_id is not None:
        return [await opened.run(run_id)], []
    here = [info for info in await opened.runs() if info.environment == target.environment]
    return own_runs([info for info in here if (await opened.counts(info.id)).of(DOUBTFUL)], target)


def _show_reconciled(done: list[Reconciled], elsewhere: int) -> None:
    if not elsewhere and not any(one.created or one.cancelled or one.still_draft or one.in_doubt for one in done):
        click.echo("nothing is in doubt")
        return
    for result in done:
        for trouble in result.troubles:
            say(trouble)
        orders = {
            "created": result.created,
            "cancelled": result.cancelled,
            "still drafts, which gotsurge resume broadcasts": result.still_draft,
            "in doubt": result.in_doubt,
        }
        numbers = {word: len(some) for word, some in orders.items()}
        words = counted({**numbers, "in doubt in other runs": elsewhere})
        click.echo(f"run {result.run}: {words or 'nothing was in doubt'}")
        # Doubles first: they are the ones that cost money.
        in_doubt = sorted(result.in_doubt, key=lambda order: not order.doubled)
        print_first(("KEY", prose("WHY")), [(order.key, order.reason) for order in in_doubt])


# --- decisions of people ----------------------------------------------------------------------------------------------


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@option("--api-base URL", "The URL before the paths of the API.  [default: as the run had it]")
@option("--account NAME", "The account that reads the tasks.  [default: as the run had it]")
@option(
    "--key KEY",
    "The key of an order: its tracking id, unless the push said otherwise. May be given several times.",
    name="keys",
    multiple=True,
)
@option(
    "--created TASK_ID",
    "The order exists, and this is its task. Give one for each --key, in the same order.",
    multiple=True,
)
@option("--not-created", "The orders do not exist: their keys may be pushed again.")
@option("--file FILE", "The in-doubt file of the run, RUN-in-doubt.csv or .jsonl, filled in as said above.", type=PATH)
@option("--no-check", "Believe you without reading the tasks, where GotSurge cannot be reached.")
@option("--by NAME", "Who has found it out.  [default: your user name on this machine]", type=person)
@json_option
@asynchronous
async def resolve(
    run_id: str,
    ledger: Place,
    api_base: str | None,
    account: str | None,
    keys: tuple[str, ...],
    created: tuple[str, ...],
    not_created: bool,
    file: Path | None,
    no_check: bool,
    by: str | None,
) -> Exit:
    """Say what became of orders of RUN that are in doubt, when you have looked them up; your word is recorded.

    In --file, the in-doubt file of the run, write the task id into gs_task_id if you found the order, or not_created
    into gs_status if there is none. Rows that you leave as they are stay in doubt.

    All answers are recorded, or none. A task must exist, must not be a draft, and must not belong to another order.
    It is read, where it can be, before you are believed. If it is cancelled, so is the order, and its key is free.

    Think twice before you say not created: if the order does exist, its next push sends a second driver.

    \b
    Exit codes:
      0 recorded                       4 sign-in failed
      2 wrong usage, or a word that cannot be true; nothing was recorded
      8 the service cannot be reached: --no-check does without it
    """
    decisions, untouched, by = _decisions(keys, created, not_created, file), 0, by or user_name()
    async with open_ledger(ledger) as opened, AsyncExitStack() as stack:
        info = await opened.run(run_id)

        target = Target(env=info.environment, api_base=api_base, account=account)
        # A throw-away simulator is gone: nothing can be read there.
        if check := not no_check and info.environment != SIMULATED:
            target = target_of(info, target)

        async def connect() -> GotSurge:
            return await stack.enter_async_context(connected(target))

        try:
            if file is not None:
                decisions, untouched = await read_resolutions(opened, info.id, file)
            read, name = connect if check else None, str(file or "resolve")
            try:
                resolved = await resolving.resolve(opened, info.id, decisions, by=by, connect=read, file=name)
            except (CallError, SignInNeeded, ConfigError, Unreachable) as error:
                raise _unread(error) from None
        except UnusableSource as error:
            raise report_faults(error, "nothing was recorded") from None
        steps = []
        if not await opened.is_held(info.id):
            standing = await Standing.of(opened, info)
            steps = next_steps(structs.replace(standing, counts={"in_doubt": resolved.left}))
    one = decisions[0] if file is None and len(decisions) == 1 else None
    details = (
        _document(resolved, untouched, by)
        if one is None
        else {
            "key": one.key,
            "created": one.task_id is not None and one not in resolved.cancelled,
            "cancelled": one in resolved.cancelled,
            "task_id": one.task_id,
            "by": by,
        }
    )
    document = {"run": run_id, **details, "left_in_doubt": resolved.left}
    return finish(document, Exit.CREATED, lambda: _show(run_id, resolved, untouched, by, whole=one is None), steps)


def _unread(error: GotSurgeError) -> Failure:
    text = (
        f"{error}\nthe tasks could not be read, so nothing was recorded. To record your decision without this check, "
        "add --no-check"
    )
    return Failure(text, exit_code_of(error), more={"explain": [error.explain_code, "E612"]})


def _decisions(
    keys: tuple[str, ...], created: tuple[str, ...], not_created: bool, file: Path | None
) -> tuple[Resolution, ...]:
    if file is not None:
        if keys or created or not_created:
            raise WrongUse("--file contains the decisions: leave out --key, --created and --not-created", "E611")
        return ()
    if not keys:
        raise WrongUse("name the order with --key, or pass the completed file with --file", "E611")
    if bool(created) == not_created:
        raise WrongUse("pass either --created TASK_ID or --not-created", "E611")
    if not_created:
        return tuple(Resolution(key=key) for key in keys)
    if len(created) != len(keys):
        raise WrongUse(f"{len(keys)} --key but {len(created)} --created: pass a --created TASK for each --key", "E611")
    if not all(task_id.strip() for task_id in created):
        raise WrongUse("--created needs the id of the task that was created", "E611")
    return tuple(Resolution(key=key, task_id=task_id.strip()) for key, task_id in zip(keys, created, strict=True))


def _document(resolved: Resolved, untouched: int, by: str) -> dict[str, Any]:
    return {
        "by": by,
        "created": [{"key": decision.key, "task_id": decision.task_id} for decision in resolved.created],
        "cancelled": [{"key": decision.key, "task_id": decision.task_id} for decision in resolved.cancelled],
        "not_created": [{"key": decision.key} for decision in resolved.not_created],
        "said_before": len(resolved.before),
        "untouched": untouched,
    }


def _show(run_id: str, resolved: Resolved, untouched: int, by: str, *, whole: bool) -> None:
    for decision in (*resolved.created, *resolved.cancelled, *resolved.not_created)[:SHOWN]:
        what = f"created as {shown(decision.task_id)}" if decision.task_id is not None else "not created"
        if decision in resolved.cancelled:
            what += ", and cancelled at GotSurge"
        click.echo(f"{decision.key} of run {run_id}: {what}, says {by}")
    numbers = {
        "created": len(resolved.created),
        "cancelled": len(resolved.cancelled),
        "not created": len(resolved.not_created),
        "known before": len(resolved.before),
        "rows left as they were": untouched,
        "still in doubt": resolved.left,
    }
    if whole:
        click.echo(counted(numbers) or "nothing to record")
