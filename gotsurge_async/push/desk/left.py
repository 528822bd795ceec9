"""Resumes the runs of desks whose processes have ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gotsurge_async.errors import Forbidden, NotFound
from gotsurge_async.ledger import UNDO, Ledger, LedgerUnusable, Mode, RunHeld, RunInfo
from gotsurge_async.push.push import Push

log: logging.Logger = logging.getLogger(__name__)


async def resume_left(
    ledger: Ledger,
    left: Iterable[RunInfo],
    new_push: Callable[[Ledger, Mode], Push],
    present_mode: Callable[[], Awaitable[Mode]],
    reading: asyncio.Lock,
) -> set[str]:
    """Resume those of some runs that no living process has, unless a person has undone them; each has the lock.

    Returns the ids of two-phase runs that the service refused, because the account is a plain partner's by now. A desk
    in direct mode sends the orders that wait in them.
    """
    refused: set[str] = set()
    for info in left:
        if UNDO in info.options:
            continue
        try:
            async with reading:
                if await ledger.is_held(info.id):
                    continue
                async with await ledger.hold(info.id) as run:
                    if UNDO in run.info.options:  # since it was listed
                        continue
                    why = (await new_push(ledger, info.mode).send(run)).stopped_by
            if why is None:
                continue
            log.warning("run %s of an earlier process cannot be resumed now: %r", info.id, why)
            may_be_plain = isinstance(why, Forbidden | NotFound) and info.mode is Mode.TWO_PHASE
            if may_be_plain and await present_mode() is Mode.DIRECT:
                refused.add(info.id)
        except RunHeld:
            continue
        except LedgerUnusable:
            raise
        except Exception as error:
            log.warning("run %s of an earlier process cannot be resumed now: %r", info.id, error)
    return refused
