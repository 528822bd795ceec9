"""The desks of a client: one for each of its accounts, over one ledger."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gotsurge_async.clock import Clock, Deadline
from gotsurge_async.database import Place, place_of
from gotsurge_async.errors import ConfigError, WrongLoop
from gotsurge_async.ledger import Ledger
from gotsurge_async.push.desk.desk import RECORDING, Desk
from gotsurge_async.push.desk.opening import SharedLedger

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

log: logging.Logger = logging.getLogger(__name__)


def ledger_setting(ledger: str | Path | Place | Ledger) -> Place | Ledger:
    """The ledger setting of a client, as an open ledger or a place; ConfigError if it is neither."""
    if isinstance(ledger, Place | Ledger):
        return ledger
    if isinstance(ledger, str | Path):
        return place_of(ledger)
    why = f"ledger: give a path, a postgresql:// URL or an open Ledger, not {type(ledger).__name__}"
    raise ConfigError(why, "E903")


class Desks:
    """The desks of a client's accounts. Each desk starts when it is first used."""

    def __init__(self, ledger: SharedLedger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._desks: dict[str, Desk] = {}

    @classmethod
    async def open(cls, gs: "GotSurge", ledger: Place | Ledger) -> Self:
        """Open the ledger, unless it is open: then its owner closes it."""
        shared = SharedLedger(ledger) if isinstance(ledger, Ledger) else await SharedLedger.open(gs, ledger)
        return cls(shared, gs.session.clock)

    def of(self, gs: "GotSurge") -> Desk:
        """The desk of a client's account; WrongLoop if it is not there yet, and the client's event loop is another."""
        account = gs.tokens.account
        if account not in self._desks:
            self.refuse_other_loop()
            desk = Desk(gs, self._ledger.ledger, _shared=self._ledger)
            desk._start()
            self._desks[account] = desk
        return self._desks[account]

    def refuse_other_loop(self) -> None:
        """Raise WrongLoop in another event loop than that of the client, and in a thread without one."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise WrongLoop("this client was opened in another event loop: one client belongs to one loop")

    async def release(self, account: str, timeout: float) -> None:
        """Close the desk of an account, if it has one."""
        if (desk := self._desks.get(account)) is not None:
            try:
                await desk.close(timeout)
            finally:
                self._desks.pop(account, None)

    async def stopped(self) -> None:
        """Wait until desks that are being closed begin no more calls, and have cut those under way."""
        for desk in [*self._desks.values()]:
            await desk._stopped.wait()

    async def close(self, timeout: float) -> None:
        """Close all desks, with ``timeout`` seconds for their orders, then the ledger; later if it is not writable."""
        deadline = Deadline(self._clock, timeout)
        ended = await asyncio.gather(*(desk.close(timeout) for desk in self._desks.values()), return_exceptions=True)
        closing = asyncio.ensure_future(self._close_ledger())
        if await deadline.awaits(closing, RECORDING):
            closing.result()
        else:
            log.warning("the ledger %s did not close in time", self._ledger.ledger.path)
        for error in filter(None, ended):
            raise error

    async def _close_ledger(self) -> None:
        """Close the ledger when the desks have written everything."""
        if closing := [desk._closing for desk in self._desks.values() if desk._closing is not None]:
            await asyncio.wait(closing)
        await self._ledger.close()
