"""``gotsurge resolve``: the decisions of people about orders in doubt."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import click

from gotsurge_async.after import resolve as resolving
from gotsurge_async.after.resolve import Resolution, Resolved, read_resolutions
from gotsurge_async.cli.files.faults import report_faults
from gotsurge_async.cli.shared.connect import SIMULATED, Target, connected
from gotsurge_async.cli.shared.exits import Exit, Failure, Unreachable, WrongUse, asynchronous, exit_code_of
from gotsurge_async.cli.shared.ledger import open_ledger, takes_ledger, target_of
from gotsurge_async.cli.shared.next_steps import Standing, next_steps
from gotsurge_async.cli.shared.options import PATH, json_option, user_name
from gotsurge_async.cli.shared.output import SHOWN, counted, finish
from gotsurge_async.client import GotSurge
from gotsurge_async.database import Place
from gotsurge_async.errors import CallError, ConfigError, GotSurgeError, SignInNeeded
from gotsurge_async.push.load import UnusableSource


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@click.option("--api-base", metavar="URL", help="The URL before the paths of the API.  [default: as the run had it]")
@click.option("--account", metavar="NAME", help="The account that reads the tasks.  [default: as the run had it]")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="The key of an order: its tracking id, unless the push said otherwise. May be given several times.",
)
@click.option(
    "--created",
    multiple=True,
    metavar="TASK_ID",
    help="The order exists, and this is its task. Give one for each --key, in the same order.",
)
@click.option("--not-created", is_flag=True, help="The orders do not exist: their keys may be pushed again.")
@click.option(
    "--file",
    type=PATH,
    metavar="FILE",
    help="The in-doubt file of the run, RUN-in-doubt.csv or .jsonl, filled in as said above.",
)
@click.option(
    "--no-check", is_flag=True, help="Believe you without reading the tasks, where GotSurge cannot be reached."
)
@click.option("--by", metavar="NAME", help="Who has found it out.  [default: your user name on this machine]")
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
    It is read, where it can be, before you are believed.

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

        async def connect() -> GotSurge:
            base = api_base or os.environ.get("GOTSURGE_API_BASE") or info.options.get("api_base")
            target = target_of(info, Target(env=info.environment, api_base=base, account=account))
            return await stack.enter_async_context(connected(target))

        # A throw-away simulator is gone: nothing can be read there.
        check = not no_check and info.environment != SIMULATED
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
            steps = next_steps(attrs.evolve(standing, counts={"in_doubt": resolved.left}))
    one = decisions[0] if file is None and len(decisions) == 1 else None
    details = (
        _document(resolved, untouched, by)
        if one is None
        else {
            "key": one.key,
            "created": one.task_id is not None,
            "task_id": one.task_id,
            "by": by,
        }
    )
    document = {"run": run_id, **details, "left_in_doubt": resolved.left}
    return finish(document, Exit.CREATED, lambda: _show(run_id, resolved, untouched, by, whole=one is None), steps)


def _unread(error: GotSurgeError) -> Failure:
    text = f"{error}\nthe tasks could not be read, and nothing was recorded: --no-check takes your word as it is"
    return Failure(text, exit_code_of(error), more={"explain": [error.explain_code, "E612"]})


def _decisions(
    keys: tuple[str, ...], created: tuple[str, ...], not_created: bool, file: Path | None
) -> tuple[Resolution, ...]:
    if file is not None:
        if keys or created or not_created:
            raise WrongUse("--file says it all: leave --key, --created and --not-created out", "E611")
        return ()
    if not keys:
        raise WrongUse("say which order, by --key, or give the filled in --file", "E611")
    if bool(created) == not_created:
        raise WrongUse("say either --created TASK_ID or --not-created", "E611")
    if not_created:
        return tuple(Resolution(key=key) for key in keys)
    if len(created) != len(keys):
        raise WrongUse(f"{len(keys)} --key and {len(created)} --created: each order is one task", "E611")
    if not all(task_id.strip() for task_id in created):
        raise WrongUse("--created names the task that exists", "E611")
    return tuple(Resolution(key=key, task_id=task_id.strip()) for key, task_id in zip(keys, created, strict=True))


def _document(resolved: Resolved, untouched: int, by: str) -> dict[str, Any]:
    return {
        "by": by,
        "created": [{"key": decision.key, "task_id": decision.task_id} for decision in resolved.created],
        "not_created": [{"key": decision.key} for decision in resolved.not_created],
        "said_before": len(resolved.before),
        "untouched": untouched,
    }


def _show(run_id: str, resolved: Resolved, untouched: int, by: str, *, whole: bool) -> None:
    for decision in (*resolved.created, *resolved.not_created)[:SHOWN]:
        what = f"created as {decision.task_id}" if decision.task_id is not None else "not created"
        click.echo(f"{decision.key} of run {run_id}: {what}, says {by}")
    numbers = {
        "created": len(resolved.created),
        "not created": len(resolved.not_created),
        "known before": len(resolved.before),
        "rows left as they were": untouched,
        "still in doubt": resolved.left,
    }
    if whole:
        click.echo(counted(numbers) or "nothing to record")
