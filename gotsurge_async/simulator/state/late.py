"""Calls that were received, and take effect at a later time of the simulator's clock, whoever still waits."""

import asyncio
from math import inf
from typing import Any

from attrs import define, field

from gotsurge_async.simulator.replies import Reply


@define(eq=False)
class LateCall:
    """A call that has not taken effect yet. Times are seconds since the epoch, of the simulator's clock.

    ``acts_at`` is infinity while the call's connection stands, if its seconds count from the end of that.
    """

    operation: str
    task_id: str
    received_at: float
    acts_at: float = inf
    number: int = 0
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, repr=False)
    _reply: "asyncio.Future[Reply | None]" = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._reply = self._loop.create_future()

    async def reply(self) -> Reply | None:
        """Wait until the call has taken effect; None if it never will."""
        return await self._reply

    def end(self, reply: Reply | None) -> None:
        """Pass the reply to the connection that waits for it. May be called in any thread."""
        if not self._loop.is_closed():  # the clock may be turned after the simulator has stopped
            self._loop.call_soon_threadsafe(self._end, reply)

    def _end(self, reply: Reply | None) -> None:
        if not self._reply.done():
            self._reply.set_result(reply)

    def described(self) -> dict[str, Any]:
        """The call as JSON."""
        return {
            "number": self.number,
            "operation": self.operation,
            "task_id": self.task_id,
            "received_at": self.received_at,
            "acts_at": self.acts_at if self.acts_at < inf else None,
        }


class LateCalls:
    """All calls that have not taken effect yet."""

    def __init__(self) -> None:
        self._by_number: dict[int, LateCall] = {}
        self._added = 0

    def add(self, call: LateCall) -> LateCall:
        """Number a call and keep it."""
        self._added += 1
        call.number = self._added
        self._by_number[call.number] = call
        return call

    def take(self, call: LateCall) -> bool:
        """Forget a call that is to take effect now; whether it still may."""
        return self._by_number.pop(call.number, None) is call

    def clear(self) -> None:
        """Forget all calls, so that none takes effect; connections that wait are ended without an answer."""
        calls, self._by_number = list(self._by_number.values()), {}
        for call in calls:
            call.end(None)

    def described(self) -> list[dict[str, Any]]:
        """The calls as JSON, the next to take effect first."""
        return [call.described() for call in sorted(self._by_number.values(), key=lambda call: call.acts_at)]
