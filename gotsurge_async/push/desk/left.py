"""Resumes the runs of desks whose processes have ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gotsurge_async.errors import Forbidden, NotFound
from gotsurge_async.ledger import UNDO, Ledger, LedgerUnusable, Mode, RunHeld
from gotsurge_async.ledger.sql.runs import is_at
from gotsurge_async.push.desk.outcomes import DESK
from gotsurge_async.push.push import Push

log: logging.Logger = logging.getLogger(__name__)


async def resume_left(
    ledger: Ledger,
    whose: tuple[str, str, str, Callable[[str], bool]],
    new_push: Callable[[Ledger, Mode], Push],
    present_mode: Callable[[], Awaitable[Mode]],
    reading: asyncio.Lock,
) -> set[str]:
    """Resume the runs of desks that no living process has, unless a person has undone them; each has the lock.

    Returns the ids of those that cannot be resumed here: runs of another server, and two-phase runs that the service
    refused, because the account is a plain partner's by now. The orders that wait in them join other runs.

    Args:
        whose: only the runs of this environment and account are resumed, at this API base, unless answers of
            them are being recorded.
    """
    environment, account, api_base, is_recording = whose
    refused: set[str] = set()
    for info in await ledger.unfinished():
        if DESK not in info.options or UNDO in info.options or info.environment != environment:
            continue
        if info.options.get("account", "") != account or is_recording(info.id):
            continue
        if not is_at(info, api_base):
            refused.add(info.id)
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
