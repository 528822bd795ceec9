"""Notes in the ledger of cancels that leave for tasks that no order has: no order may go on with these meanwhile."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from secrets import randbelow

import attrs

from gotsurge_async.clock import moved_by
from gotsurge_async.ledger import Ledger, LedgerError


@attrs.define(eq=False)
class NotedCancels:
    """The notes of one command, for a ``settle`` of its client.

    It forgets only those that no other command needs, whose cancel may still act.

    Attributes:
        gave_up: whether a write took too long. The ledger's writer is perhaps still at it: to close it is to wait.
    """

    ledger: Ledger
    environment: str
    settle: float
    gave_up: bool = attrs.field(default=False, init=False)
    _number: int = attrs.field(factory=lambda: randbelow(2**31 - 1) + 1, init=False)
    _left: set[str] = attrs.field(factory=set, init=False)

    async def begin(self, task_ids: Sequence[str], *, within: float | None = None) -> dict[str, str]:
        """Note that cancels of tasks are about to leave; returns those in use, see `Ledger.begin_cancel`.

        Raises TimeoutError if that takes longer than ``within``, in seconds; it may be noted all the same.
        """
        self._left.update(task_ids)
        until = moved_by(self.ledger.now(), timedelta(seconds=2 * self.settle))  # also of a try that lasts long
        try:
            noting = self.ledger.begin_cancel(self.environment, task_ids, until=until, by=self._number)
            return await asyncio.wait_for(noting, within)
        except TimeoutError:
            self.gave_up = True
            raise

    def leaves(self, task_id: str) -> None:
        """Keep the note of a task whose cancel leaves now until `forget` is called with its id."""
        self._left.discard(task_id)

    async def forget(self, *task_ids: str, within: float | None = None) -> None:
        """Forget the notes of tasks, or of all whose cancel did not leave. One that cannot be forgotten ends by itself.

        Call it only if no cancel of this command acts on them.
        """
        wanted = task_ids or tuple(self._left)
        self._left.difference_update(wanted)
        if wanted and not self.gave_up:
            try:
                await asyncio.wait_for(self.ledger.forget_cancels(wanted, self._number), within)
            except TimeoutError:
                self.gave_up = True
            except LedgerError:
                pass
