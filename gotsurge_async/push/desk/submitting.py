"""Sends the orders that were submitted to a ledger, by this process or another one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.calls.create import InDoubt, Unprocessed
from gotsurge_async.clock import Clock, to_microseconds, uninterrupted
from gotsurge_async.database import is_text
from gotsurge_async.errors import GotSurgeError, NotSent, OutcomeUnknown, UsageError
from gotsurge_async.ledger import (
    FREE,
    OLDER_COPY,
    OLDER_COPY_REPORTED,
    OTHER_CONTENT,
    PUSHED,
    WAITING,
    LedgerError,
    OrderState,
    OrdersThere,
    OtherServer,
    Recorded,
    Submitted,
)
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.ledger.submitted import SubmittedOrders
from gotsurge_async.models.tasks import Order
from gotsurge_async.push.changes import differing
from gotsurge_async.push.desk.outcomes import (
    OPERATION,
    Changed,
    Entry,
    OrderChanged,
    Outcome,
    TakenByAnother,
    is_over,
    is_to_be_sent,
    pause_after,
    replayed,
    settled,
)
from gotsurge_async.push.desk.runs import DeskRuns

log: logging.Logger = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two checks for orders of other processes, or of transactions that have committed."""
OUTCOME_POLL, LAST_POLL = 0.2, 2.0
"""Seconds between two checks for the outcome of another process's order: at first, and at most."""
LONGEST_POLL = 60.0
"""The most seconds between two checks for an order that another process has in hand, however many there are."""
LONGEST_PROBE = 60.0
"""Seconds after which another order probes an outage, because the one before may wait for another process."""
IN_HAND = 5 * CHUNK
"""The most submitted orders in memory; the others wait in the ledger."""


class _Unclaimed(Exception):
    """A submitted order is due again, because the run that claimed it will not send it."""


class Sender:
    """Takes submitted orders, creates each, and removes those whose outcome is known.

    ``create`` creates an order once, and returns the outcome that is in the ledger. ``on_outcome`` is called with each
    outcome that is final.
    """

    def __init__(
        self,
        runs: DeskRuns,
        create: Callable[[Submitted], Awaitable[Outcome]],
        clock: Clock,
        on_outcome: Callable[[str, Outcome], object] | None,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._runs = runs
        self._create = create
        self._clock = clock
        self._on_outcome = on_outcome
        self._spawn = spawn
        self._wake = asyncio.Event()
        self._in_hand: dict[int, Submitted] = {}
        self._reported: set[int] = set()  # orders whose outcome was reported, and not noted in the ledger yet
        self._ended: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._failures = 0
        self._not_before = 0.0
        self._probe = 0  # the number of the order that was taken last
        self._probe_ends = 0.0

    async def submit(self, made: Order, key: str, payload: bytes, connection: Any) -> None:
        """Add an order to those that will be sent, see `Desk.submit`."""
        replaced: set[int] = set()
        try:
            orders = await self._orders()
            waiting, recorded = await orders.add(
                self._runs.account,
                key,
                payload,
                connection,
                is_over=is_over,
                on_replace=partial(self._report_replaced, replaced),
            )
        except LedgerError as error:
            self._runs.failed(error)
            raise
        except asyncio.CancelledError as cancelled:
            why = (
                "the call was cancelled, but the order may already be recorded, and would then be sent. To make sure "
                "that the order is recorded, submit it again with the same key"
            )
            raise cancelled from OutcomeUnknown(why, "E907", operation="desk.submit", body=payload)
        if waiting is not None and connection is None:  # else the caller's transaction may still be undone
            self._reported -= replaced - {waiting.number} - self._in_hand.keys()
        if recorded is not None:
            refuse_other_server(recorded.run, self._runs.api_base)
            was = replayed(_entry(made, key, payload), recorded)
            if isinstance(was, Changed):
                fields = ", ".join(was.fields)
                why = f"an order with the key {key} was sent, or may have been sent, with different content: {fields}"
                raise OrderChanged(why, was.fields, was.outcome)
            return
        theirs = payload if waiting is None else waiting.payload
        if theirs != payload and (differ := differing(payload, theirs, key)):
            fields = ", ".join(differ)
            raise OrderChanged(
                f"an order with the key {key} already waits to be sent, with different content: {fields}", differ
            )
        if connection is None:
            self._wake.set()

    async def outcome(self, key: str, pause: float) -> Outcome | None:
        """The outcome of an order, see `Desk.outcome`; None, after a pause, if it is not known yet."""
        if not is_text(key):
            raise UsageError(f"key: give text without NUL characters and surrogates, not {key!r:.60}", "E903")
        ended = self._ended.setdefault(key, asyncio.Event())
        waiting, recorded = await (await self._orders()).standing(key)
        if waiting is None and recorded is None:
            raise UsageError(f"no order has the key {key}", "E910")
        self._refuse_elsewhere(recorded)
        outcome = _outcome_of(key, waiting, recorded, self._runs.refused)
        if outcome is None:
            await self._sleep_until(ended, pause)
        return outcome

    async def run(self) -> None:
        """Send submitted orders until cancelled."""
        while True:
            self._wake.clear()
            try:
                if await self._take():
                    continue
            except Exception as error:
                if isinstance(error, LedgerError):
                    self._runs.failed(error)
                log.warning("submitted orders are postponed, because they cannot be read now: %r", error)
            await self._rest()

    async def release(self) -> None:
        """Make the orders that this sender holds due for other desks; called when nothing is under way any more."""
        if self._in_hand:
            await (await self._orders()).put_off([*self._in_hand.values()])

    async def _orders(self) -> SubmittedOrders:
        return (await self._runs.usable()).submitted(self._runs.environment)

    async def _take(self) -> bool:
        """Take a few orders, and send them; returns whether there may be more."""
        now = self._clock.monotonic()
        if len(self._in_hand) > IN_HAND - CHUNK or now < self._not_before:
            return False
        if self._failures and self._probe in self._in_hand and now < self._probe_ends:
            return False
        most = 1 if self._failures else CHUNK  # an outage is probed by one: each try leaves a row in the ledger
        taking = asyncio.ensure_future((await self._orders()).take(self._runs.account, most))
        try:
            taken = await uninterrupted(taking)
        except asyncio.CancelledError:
            # `release` lets others take them.
            if taking.done() and not taking.cancelled() and taking.exception() is None:
                self._in_hand |= {order.number: order for order in taking.result()}
            raise
        for order in taken:
            if order.number not in self._in_hand:
                self._in_hand[order.number] = order
                self._probe, self._probe_ends = order.number, now + LONGEST_PROBE
                self._spawn(self._send(order))
        return len(taken) == CHUNK and not self._failures

    async def _rest(self) -> None:
        """Wait until there may be orders to take."""
        await self._sleep_until(self._wake, max(POLL, self._not_before - self._clock.monotonic()))

    async def _sleep_until(self, event: asyncio.Event, seconds: float) -> None:
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _send(self, order: Submitted) -> None:
        cut = waits = is_due = False
        try:
            try:
                outcome = await (self._look(order) if order.claimed or order.stopped else self._create(order))
                waits = outcome is None or not await self._note(order, outcome)
            except TakenByAnother:
                waits = True  # for that process, which sends it, or had it locked only for a moment
            except _Unclaimed:
                waits = is_due = True
            if waits and not is_due:
                await (await self._orders()).put_off([order], self._pause_of(order))
        except asyncio.CancelledError:
            cut = True
            raise
        except GotSurgeError as error:
            await self._put_off(order, error)
        finally:
            if (ended := self._ended.pop(order.key, None)) is not None:
                ended.set()
            if not cut:  # else `release` lets others take it
                del self._in_hand[order.number]
                if len(self._in_hand) == IN_HAND - CHUNK or order.stopped or waits:  # which was no probe of an outage
                    self._wake.set()

    def _pause_of(self, order: Submitted) -> float:
        """Seconds until an order that waits for another process is read again: the more, the longer it has waited."""
        waited = (to_microseconds(self._runs.ledger.now()) - order.at) / 1_000_000
        return min(LONGEST_POLL, max(LAST_POLL, waited / 10))

    async def _look(self, order: Submitted) -> Outcome | None:
        """The outcome of an order that an earlier process claimed or stopped; None if it is not known yet."""
        orders = await self._orders()
        waiting, recorded = await orders.standing(order.key)
        if waiting is None or (waiting.number, waiting.stopped) != (order.number, order.stopped):
            if waiting is None or waiting.number != order.number:
                self._reported.discard(order.number)  # it is gone
            raise TakenByAnother("the order is no longer waiting", "E906", operation=OPERATION)
        if _waits_again(order, recorded, self._runs.refused):
            if await orders.unclaim(order):
                raise _Unclaimed
            return None
        self._refuse_elsewhere(recorded)
        return _outcome_of(order.key, waiting, recorded, self._runs.refused)

    def _refuse_elsewhere(self, recorded: Recorded | None) -> None:
        """Raise OtherServer for an order that another server has, or may have."""
        if recorded is not None and recorded.row.state in PUSHED:
            refuse_other_server(recorded.run, self._runs.api_base)

    async def _note(self, order: Submitted, outcome: Outcome) -> bool:
        """Report the outcome of an order, and note that it is known; returns False if it is not."""
        orders = await self._orders()
        if isinstance(outcome, Unprocessed) and not order.claimed:
            raise outcome.error
        if not order.stopped:  # else nothing was sent: an outage may last
            self._failures = 0
        if isinstance(outcome, InDoubt):
            waiting, recorded = await orders.standing(order.key)
            if waiting is None or waiting.number != order.number:
                return False  # another desk has reported it
            if not (waiting.claimed or waiting.stopped):
                if recorded is None or recorded.row.state is not OrderState.IN_DOUBT:
                    return False  # of another order with this key, whose cancel may act, or which another process sends
            elif not isinstance(_outcome_of(order.key, waiting, recorded, self._runs.refused), InDoubt):
                return False  # the ledger failed: it shows another outcome, or a run that will send the order
        if order.number not in self._reported:  # before the note: after a crash, another process reports it again
            self._reported.add(order.number)
            self._report(order.key, outcome)
        if order.stopped:
            await orders.stop(order, OLDER_COPY_REPORTED)
        elif isinstance(outcome, Changed) and not order.claimed:
            log.warning(
                "the submitted order with the key %s is not sent: the key was used with different content", order.key
            )
            await orders.stop(order, OTHER_CONTENT)
        else:
            await orders.forget(order)
        self._reported.discard(order.number)
        return True

    def _report_replaced(self, replaced: set[int], order: Submitted, recorded: Recorded | None) -> None:
        """Report the outcome of an order before another one replaces it, unless it was reported; add its number."""
        replaced.add(order.number)
        if order.stopped not in (0, OLDER_COPY) or order.number in self._reported:
            return
        if (outcome := _outcome_of(order.key, order, recorded)) is not None:
            self._reported.add(order.number)  # this desk may be about to take it
            self._report(order.key, outcome)

    async def _put_off(self, order: Submitted, error: GotSurgeError) -> None:
        """Postpone an order, and pause all others for a while if they may fail for the same reason."""
        now = self._clock.monotonic()
        if isinstance(error, OrdersThere | OtherServer):
            log.warning("the submitted order with the key %s is postponed: %s", order.key, error)
        elif now >= self._not_before:
            log.warning(
                "submitted orders are postponed, because the one with the key %s was not sent: %s", order.key, error
            )
            self._not_before = now + pause_after(self._failures)
            self._failures += 1
        with suppress(LedgerError):  # then it may be taken again in a minute
            await (await self._orders()).put_off([order], pause_after(order.tries), failed=True)

    def _report(self, key: str, outcome: Outcome) -> None:
        if self._on_outcome is not None:
            try:
                self._on_outcome(key, outcome)
            except (Exception, asyncio.CancelledError):  # it may read a cancelled future
                log.exception("on_outcome failed for the key %s", key)


def _waits_again(order: Submitted, recorded: Recorded | None, refused: Container[str]) -> bool:
    """Whether the run that has a key for a submitted order will not send it, so that it joins another one.

    A push of a file took it over, and has ended before it sent it; or no desk can resume the run.
    """
    if not order.claimed or recorded is None or recorded.row.state not in WAITING:
        return False
    return not (is_to_be_sent(recorded, refused) or is_over(recorded))


def _outcome_of(
    key: str, waiting: Submitted | None, recorded: Recorded | None, refused: Container[str] = ()
) -> Outcome | None:
    """The outcome of an order that waits under a key, or else of the key's owner; None if it is not known yet."""
    if waiting is not None and waiting.stopped in (OLDER_COPY, OLDER_COPY_REPORTED):
        order = codec.decode(waiting.payload, Order)
        why = (
            "the order was waiting when this older copy of the ledger was made, and may have been sent since: check "
            "whether GotSurge has it"
        )
        return InDoubt(order=order, error=OutcomeUnknown(why, "E907", operation=OPERATION, body=waiting.payload))
    if recorded is None or (waiting is not None and not (waiting.stopped or waiting.claimed)):
        return None
    if is_to_be_sent(recorded, refused) or (waiting is not None and _waits_again(waiting, recorded, refused)):
        return None
    payload = recorded.row.payload if waiting is None else waiting.payload
    if not payload:
        why = f"the order with the key {key} is archived; for its outcome, run gotsurge results {recorded.run.id}"
        raise UsageError(why, "E910")
    entry = _entry(codec.decode(payload, Order), key, payload)
    if waiting is not None and waiting.stopped and recorded.row.state in FREE:
        why = "the order was not sent, because another order with the same key was live: submit the order again"
        return Unprocessed(order=entry.order, error=NotSent(why, "E906", operation=OPERATION))
    return settled(entry, recorded)


def _entry(order: Order, key: str, payload: bytes) -> Entry:
    """Make an entry for an order that no caller waits for."""
    return Entry(order, key, payload, {}, lambda _: None)
