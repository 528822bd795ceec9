"""Opens the ledger of desks, and opens it again after it has failed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict

from attrs import define, field

from gotsurge_async.clock import uninterrupted
from gotsurge_async.database import Place
from gotsurge_async.ledger import Identity, Ledger, LedgerUnusable, Mode
from gotsurge_async.ledger.errors import nothing_sent
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.money import Money
from gotsurge_async.push.chunks import OnRefusedChunk
from gotsurge_async.push.desk.outcomes import Outcome

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge


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


@define(eq=False)
class SharedLedger:
    """A ledger that desks share. When its file or server has failed, the first desk that needs it opens it again.

    Its place, ``where``, is None if the caller owns it: then the desks neither open nor close it.
    """

    ledger: Ledger
    where: Place | None = None
    _opening: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    @classmethod
    async def open(cls, gs: "GotSurge", where: str | Path | Place) -> Self:
        """Open a ledger with the client's clock, or make one."""
        whole = place(where)  # a relative path names the same file after the process has changed its folder
        return cls(await Ledger.open(whole, clock=gs.session.clock.now), whole)

    async def open_again(self, failed: Ledger, identity: Identity | None) -> Ledger:
        """Open the ledger again after it failed, unless another desk has done so; returns the open one.

        Raises LedgerUnusable or LedgerMoved if it is gone, as when its volume is, or another ledger is in its place.
        """
        with nothing_sent():
            return await self._open_again(failed, identity)

    async def _open_again(self, failed: Ledger, identity: Identity | None) -> Ledger:
        async with self._opening:
            if self.ledger is failed and self.where is not None:
                if not await asyncio.to_thread(Backend(self.where).is_there):
                    raise LedgerUnusable("is gone: put it back", "E505", path=str(self.where))
                await failed.refuse_replaced()
                ledger = await Ledger.open(self.where, clock=failed.now)
                try:
                    new = await ledger.identity()
                    if identity is not None and (new is None or new.id != identity.id):
                        why = "is not the ledger that was here before: put that one back"
                        raise LedgerUnusable(why, "E505", path=ledger.path)
                except BaseException:
                    await uninterrupted(ledger.close())
                    raise
                self.ledger = ledger
            return self.ledger

    async def close(self) -> None:
        """Close the ledger, unless the caller owns it."""
        if self.where is not None:
            await self.ledger.close()
