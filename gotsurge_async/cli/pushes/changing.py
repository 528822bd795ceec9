"""Changing the tasks of changed orders for ``gotsurge push --replace-changed``: interrupts, and a ledger that fails."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gotsurge_async.after.replace import Replaced, count_uncertain, replace_changed
from gotsurge_async.cli.shared.exits import Exit, Failure, Interrupts
from gotsurge_async.cli.shared.next_steps import same_again
from gotsurge_async.cli.shared.sending import READ_SECONDS
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import Coded
from gotsurge_async.ledger import LedgerError, Run
from gotsurge_async.tables.checks.words import number_of


async def change_tasks(
    gs: GotSurge, run: Run, concurrency: int, interrupts: Interrupts, say: Callable[[str], None]
) -> Replaced:
    """Change tasks until the first interrupt; the second one cancels updates, whose tasks may have been changed."""
    try:
        done = await replace_changed(gs, run, concurrency=concurrency, is_stopped=lambda: interrupts.code is not None)
        certainly = " certainly" if done.unknown else ""
        say(f"{number_of(done.replaced, 'task was', 'tasks were')}{certainly} changed to match the orders")
    except asyncio.CancelledError:
        if interrupts.code is None:
            raise
        done = Replaced(unknown=await count_uncertain(run))
    except LedgerError as error:
        raise await _ledger_failed(run, error) from None
    if done.unknown:
        say(f"{_uncertain(done.unknown)}: run the same command again to find out")
    return done


async def _ledger_failed(run: Run, error: LedgerError) -> Failure:
    """The failure with the ledger's data about tasks; any may have been changed if it cannot be read either."""
    code, what = Exit.IN_DOUBT, "the tasks that were being changed may have been changed"
    with suppress(LedgerError, TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            number = await count_uncertain(run)
        code, what = (Exit.IN_DOUBT, _uncertain(number)) if number else (Exit.STOPPED, "nothing is in doubt")
    text = f"{error}\n{what}; no further task was changed, and no order was sent (run {run.id})"
    return Failure(Coded(text, error.explain_code), code, more={"next": [same_again()]})


def _uncertain(number: int) -> str:
    return f"{number_of(number, 'task')} may or may not have been changed"
