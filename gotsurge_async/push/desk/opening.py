"""Opening a desk, and its ledger again after it has failed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from gotsurge_async.client import GotSurge
from gotsurge_async.clock import uninterrupted
from gotsurge_async.database import Place
from gotsurge_async.ledger import Identity, Ledger, LedgerUnusable, Mode
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.money import Money
from gotsurge_async.push.chunks import OnRefusedChunk
from gotsurge_async.push.desk.outcomes import Outcome


class DeskOptions(TypedDict, total=False):
    """The options of `Desk`."""

    mode: Mode | str | None
    environment: str | None
    validate: bool
    max_price: Money | None
    most_waiting: int
    on_refused_chunk: OnRefusedChunk | str | None
    on_outcome: Callable[[str, Outcome], object] | None
    new_ledger: bool
    register: bool


async def opened(gs: GotSurge, where: str | Path | Place) -> Ledger:
    """Open a ledger with the client's clock, or make one."""
    return await Ledger.open(where, clock=gs.session.clock.now)


async def opened_again(gs: GotSurge, where: str | Path | Place, identity: Identity | None) -> Ledger:
    """Open a ledger that was open before.

    Raises:
        LedgerUnusable: it is gone, as when its volume is, or another one is in its place.
    """
    if not await asyncio.to_thread(Backend(place(where)).is_there):
        raise LedgerUnusable("is gone: put it back", "E505", path=str(where))
    ledger = await opened(gs, where)
    new = await ledger.identity()
    if identity is not None and (new is None or new.id != identity.id):
        await uninterrupted(ledger.close())
        raise LedgerUnusable("is not the ledger that was here before: put that one back", "E505", path=ledger.path)
    return ledger
