"""The runs of a desk: single orders join a run, are sent as those of a file are, and get their outcomes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from gotsurge_async.after.reconcile import Reconciler
from gotsurge_async.calls.create import InDoubt, Unprocessed
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import CallError, Forbidden, GotSurgeError, NotFound, NotSent, SignInNeeded
from gotsurge_async.ledger import (
    DOUBTFUL,
    READABLE,
    WAITING,
    Identity,
    Ledger,
    LedgerError,
    LedgerMoved,
    LedgerUnsure,
    LedgerUnusable,
    Mode,
    NewOrder,
    OrderRow,
    OtherServer,
    PendingOrder,
    Recorded,
    RunHeld,
    RunLost,
)
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.models.words import folded
from gotsurge_async.push.chunks import Results
from gotsurge_async.push.desk.answers import Answers
from gotsurge_async.push.desk.left import resume_left
from gotsurge_async.push.desk.opening import SharedLedger
from gotsurge_async.push.desk.outcomes import (
    DESK,
    OPERATION,
    Entry,
    Leaving,
    TakenByAnother,
    continues_draft,
    in_hand,
    replayed,
    settled,
    with_order,
)
from gotsurge_async.push.desk.run import DeskRun
from gotsurge_async.push.entering import account_name_of, place_of, warn_of_other_servers
from gotsurge_async.push.load import discarded_on_error
from gotsurge_async.push.push import Push
from gotsurge_async.tables.source import fingerprint_of

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

log: logging.Logger = logging.getLogger(__name__)

NEW_FOR = timedelta(days=7)
"""The age up to which a ledger is new: the first run of a desk then checks which orders other ledgers have sent."""
LOOK = 60.0
"""Seconds between two checks for runs that ended processes left."""
_FIRST_POLL, _LAST_POLL = 0.05, 1.0


class DeskRuns:
    """Sends entries through runs of a shared ledger, and calls ``again`` to send one again, as its key is free by now.

    Unless it is the caller's, the ledger is opened again when its file or server has failed.
    """

    def __init__(
        self,
        gs: "GotSurge",
        shared: SharedLedger,
        environment: str,
        mode: Mode | None,
        new_push: Callable[[Ledger, Mode], Push],
        again: Callable[[Entry], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._gs = gs
        self._clock = gs.session.clock
        self._shared = shared
        self.ledger: Ledger = shared.ledger
        self.environment: str = environment
        self.account: str = account_name_of(gs)
        self.api_base: str = gs.environment.api_base
        self._mode = mode
        self._new_push = new_push
        self._push = new_push(self.ledger, mode or Mode.DIRECT)
        self._again = again
        self._spawn = spawn
        self._now: DeskRun | None = None
        self._unusable = self._is_recording = False
        self._identity: Identity | None = None
        self._there: dict[str, set[str]] = {}
        self._warned: set[str] = set()
        self.answers: Answers = Answers()
        self.leaving: Leaving = Leaving(lambda keys: self.ledger.known(self.environment, keys))
        self.refused: set[str] = set()  # runs that cannot be resumed: their waiting orders join other runs
        self._read_at: dict[str, float] = {}
        self._changing = asyncio.Lock()
        self._reading = asyncio.Lock()

    # --- sending ----------------------------------------------------------------------------------------------------

    async def send(self, entries: Sequence[Entry]) -> None:
        """Give each of at most 20 entries its outcome, or send it again, whatever happens."""
        may_be_there = False
        try:
            current = await self._joinable()
            may_be_there = True
            try:
                await self._send(current, entries)
            finally:
                current.sending -= 1
                if current is not self._now:
                    await uninterrupted(self._end(current))
                if self.answers and not self._is_recording:
                    self._is_recording = True
                    self._spawn(self._record_answers())
        except GotSurgeError as error:  # nothing of these is in the ledger, unless they were tried before
            self.failed(error)
            for entry in entries:
                entry.end_by_ledger(error)
        except Exception as error:
            log.exception("unexpected error in a desk")
            for entry in entries:
                entry.end_in_doubt(f"an unexpected error left the order in doubt: {error!r}")
        except BaseException:
            for entry in entries:
                if may_be_there or entry.tried:  # else `Desk.close` reads what the ledger knows of it
                    entry.end_in_doubt("the desk was closed before the order's outcome was known")
            raise

    async def _send(self, current: DeskRun, entries: Sequence[Entry]) -> None:
        if self.answers.any_of(entry.key for entry in entries):  # else the ledger would put these orders in doubt
            await self.answers.record(self.ledger)
            for entry in entries:
                if entry.key in self.answers.drafts:  # else another draft would be created
                    entry.end_in_doubt("the ledger could not record an answer for the order yet")
        claim = current.sender.new_claim()
        fresh: dict[int, Entry] = {}
        orders: list[PendingOrder] = []
        begun: dict[int, Entry] = {}
        drafts: list[OrderRow] = []
        await self._refuse_there(entries)
        for entry, row, answer in await self._join(current, entries):
            if isinstance(answer, int):
                fresh[answer] = entry
                orders.append(PendingOrder(answer, row.line, row.key, row.payload))
                continue
            if answer is None:
                entry.end_unprocessed(TakenByAnother("another desk has claimed the order", "E906", operation=OPERATION))
                continue
            try:
                if continues_draft(current.run, entry, answer):
                    begun[answer.row.id] = entry
                    drafts.append(answer.row)
                else:
                    refuse_other_server(answer.run, self.api_base)
                    await self._answer(current, entry, answer)
            except OtherServer as error:
                entry.end(error)
            except LedgerError as error:  # the other ones are claimed, and are sent
                entry.end_in_doubt(f"the ledger failed: {error}")
        if fresh:
            await self._take(current, fresh, partial(current.sender.send, orders, claim))
        if begun:
            await self._take(current, begun, partial(current.sender.finish, drafts))

    async def _refuse_there(self, entries: Sequence[Entry]) -> None:
        """Refuse orders that another ledger sent."""
        there = [(entry, tasks) for entry in entries if (tasks := self._there.get(folded(entry.order.tracking_id)))]
        if there and (entering := self._push.entering) is not None:
            # The list may have been read before they were cancelled, or after another desk over this ledger sent them.
            known = await self.ledger.known(self.environment, [entry.key for entry, _ in there])
            own = await self.ledger.recorded(self.environment, [task for _, tasks in there for task in tasks])
            for entry, tasks in there:
                tasks.difference_update(own)  # of an order whose key is free again, or of another key's order
                if entry.key not in known and await entering.are_still_live(tasks):
                    entry.end(entering.orders_there([entry.key]))

    async def _join(
        self, current: DeskRun, entries: Sequence[Entry]
    ) -> Iterable[tuple[Entry, NewOrder, int | Recorded | None]]:
        """Make entries join a run, and return each with the ledger's answer; none if the run cannot be joined."""
        entries = [entry for entry in entries if entry.result is None]  # refused, or left by its callers
        if not entries:
            return ()
        for entry in entries:
            entry.begun = True
        rows = [NewOrder(current.orders + number, entry.key, entry.payload) for number, entry in enumerate(entries, 1)]
        plain = {entry.key: entry.plain for entry in entries}
        submitted = {entry.key: entry.submitted.number for entry in entries if entry.submitted is not None}
        current.orders += len(rows)
        try:
            joined = await current.run.join(rows, submitted, lambda key: fingerprint_of(plain[key]))
            return zip(entries, rows, joined, strict=True)
        except RunLost:  # nothing of these is in it: they join another one
            current.lost = True
            for entry in entries:
                self._again(entry)
        except (LedgerUnusable, LedgerMoved) as error:
            self._fail(current, error)
            for entry in entries:
                entry.tried |= isinstance(error, LedgerUnsure)  # the ledger, opened again, shows whether it has it
                if self._shared.where is not None and not entry.failed:
                    entry.failed = True
                    self._again(entry)
                else:
                    entry.end_by_ledger(error)
        return ()

    async def _take(self, current: DeskRun, own: dict[int, Entry], send: Callable[[], Awaitable[Results]]) -> None:
        """Give entries the outcomes of a call, which are then in the ledger."""
        try:
            results = await send()
        except (Exception, asyncio.CancelledError) as error:
            self._fail(current, error)
            self._keep_answers(current, own, error)
            text = "the desk was closed" if isinstance(error, asyncio.CancelledError) else repr(error)
            why = error if isinstance(error, GotSurgeError) else NotSent(text, "E906", operation=OPERATION)
            await uninterrupted(self._withdraw(current, own, dict.fromkeys(own, why)))
            if why is not error:
                raise
            return
        unprocessed: dict[int, GotSurgeError] = {}
        for result in results:
            number = result.order.id
            current.refused |= isinstance(getattr(result, "error", None), Forbidden | NotFound)
            if isinstance(result, Unprocessed):
                unprocessed[number] = result.error
                continue
            entry = own.pop(number)
            current.has_doubts |= isinstance(result, InDoubt)
            entry.end(with_order(result, entry.order))
        if unprocessed:
            await uninterrupted(self._withdraw(current, own, unprocessed))
        if not own:
            return
        try:  # another run took them over, or a cancel of them may still act
            known = await self.ledger.known(self.environment, [entry.key for entry in own.values()])
            for entry in own.values():
                recorded = known.get(entry.key)
                if recorded is None and entry.submitted is not None:  # it waits no longer
                    recorded = await self.ledger.last(self.environment, entry.key)
                if recorded is None:
                    self._again(entry)
                else:
                    entry.end(settled(entry, recorded))
        except LedgerError as error:
            for entry in own.values():
                entry.end_in_doubt(f"the order may have been sent: {error}")

    def _keep_answers(self, current: DeskRun, own: dict[int, Entry], error: BaseException) -> None:
        """Give entries the outcomes that an answer, or its absence, made certain, even if they are not recorded yet."""
        if isinstance(error, LedgerUnusable | LedgerMoved):
            self.answers.leave(current)
        for number in current.sender.unrecorded.keys() & own.keys():
            result = current.sender.unrecorded.pop(number)
            is_direct = current.run.info.mode is Mode.DIRECT
            if isinstance(result, InDoubt) or current.sender.names_known_task(result) is is_direct:
                continue  # in doubt, or a draft that calls no driver, unless it is another order's
            entry = own[number]
            current.lost = True  # else no process could hold it to record them
            self.answers.keep(current, entry.key, current.sender.outcome_of(result))
            if is_direct:
                del own[number]
                entry.end(with_order(result, entry.order))

    async def _withdraw(self, current: DeskRun, own: dict[int, Entry], unsent: dict[int, GotSurgeError]) -> None:
        """Withdraw orders that were not sent, so that no later run sends them; those that stay end in doubt."""
        if not unsent:
            return
        withdrawn: set[int] = set()
        with suppress(LedgerError):
            withdrawn = await current.run.withdraw([*unsent], f"not sent: {next(iter(unsent.values()))}")
        for number, error in unsent.items():
            if number in withdrawn:
                own.pop(number).end_unprocessed(error)
            else:
                current.has_doubts = True
                own.pop(number).end_in_doubt(f"it is unknown whether the order was sent, or will be: {error}")

    # --- keys that are taken ----------------------------------------------------------------------------------------

    async def _answer(self, current: DeskRun, entry: Entry, recorded: Recorded) -> None:
        """Answer an entry with the outcome of the order that has its key, when that is known."""
        state, is_own = recorded.row.state, recorded.run.id == current.run.id
        if is_own and state in WAITING:  # it was not sent, and that could not be recorded
            # One that cannot be withdrawn is being drafted, by a call that has ended: another run takes it over.
            current.lost |= not await current.run.withdraw([recorded.row.id], "not sent")
            self._again(entry)
        elif not is_own and in_hand(recorded, self.ledger.now()):
            self._spawn(self._watch(entry))
        elif not is_own and recorded.row.task_id is not None and state in READABLE:
            self._spawn(self._read(entry, recorded))
        else:
            current.has_doubts |= is_own and state in DOUBTFUL
            entry.end(replayed(entry, recorded, is_own=is_own))

    async def _read(self, entry: Entry, recorded: Recorded) -> None:
        """Answer an entry with the outcome of an order in doubt of another run, whose task is read first."""
        asked = self._clock.monotonic()
        try:
            async with self._reading:
                if self._read_at.get(recorded.run.id, asked) <= asked:  # else all of the run were read since
                    self._read_at = {recorded.run.id: self._clock.monotonic()}
                    with suppress(RunHeld, CallError, SignInNeeded):  # then it stays in doubt
                        await Reconciler(self._gs, self.ledger).reconcile(recorded.run.id, task_list=False)
            if (now := await self.known(entry.key)) is None:
                self._again(entry)
            else:
                entry.end(replayed(entry, now))
        except BaseException as error:
            entry.end_in_doubt(f"the task of the order could not be read: {error!r}")
            raise

    async def _watch(self, entry: Entry) -> None:
        """Wait for the outcome of an order that another process is sending, as long as a caller waits for it."""
        pause = _FIRST_POLL
        try:
            while entry.waiters > entry.retriers:
                await self._clock.sleep(pause)
                pause = min(_LAST_POLL, pause * 2)
                recorded = await self.known(entry.key)
                if recorded is None or not in_hand(recorded, self.ledger.now()):
                    self._again(entry)  # its outcome is known, its key is free, or its process has ended
                    return
            entry.end_elsewhere()
        except BaseException as error:
            entry.end_in_doubt(f"another process is still working on the order; this one stopped waiting: {error!r}")
            raise

    # --- runs -------------------------------------------------------------------------------------------------------

    def _fail(self, current: DeskRun, error: BaseException) -> None:
        current.lost |= isinstance(error, RunLost | LedgerUnusable | LedgerMoved)
        if current.ledger is self.ledger:
            self.failed(error)

    async def _joinable(self) -> DeskRun:
        """The run that orders join now; one more chunk of it counts as under way."""
        async with self._changing:
            await self._open_again_if_unusable()
            await self._leave_if_over()
            while self._now is None:
                with suppress(RunLost):  # this process stood still, and another one has the empty run
                    self._now = await self._begin()
            self._now.sending += 1
            return self._now

    def failed(self, error: BaseException) -> None:
        """Note an error: a ledger that cannot be written is opened again."""
        self._unusable |= isinstance(error, LedgerUnusable | LedgerMoved)

    async def usable(self) -> Ledger:
        """The ledger, opened again if it has failed."""
        if self._has_failed:
            async with self._changing:  # a caller that is cancelled must not leave it half done
                await uninterrupted(self._open_again_if_unusable())
        return self.ledger

    @property
    def _has_failed(self) -> bool:
        """Whether this ledger must and can be opened again, or another desk has done so."""
        return self._shared.ledger is not self.ledger or (self._unusable and self._shared.where is not None)

    async def _open_again_if_unusable(self) -> None:
        if self._unusable and self._shared.ledger is self.ledger:
            self._unusable = not await self.ledger.is_writable()  # one of its reads may have failed alone
        if self._has_failed:
            failed, self.ledger = self.ledger, await self._shared.open_again(self.ledger, self._identity)
            last, self._now, self._unusable = self._now, None, False
            self._push = self._new_push(self.ledger, self._push.mode)
            if last is not None:
                await uninterrupted(self._end(last))
            self._spawn(failed.close())
            await self.answers.record(self.ledger)

    async def _record_answers(self) -> None:
        """Record the answers that came while the ledger could not be written, as soon as it can be."""
        pause = _FIRST_POLL
        while self.answers:
            try:
                await self._keep_up()
            except Exception as error:
                log.info("the ledger cannot be used yet: %r", error)
            if self._unusable and self._shared.where is None and not await self.ledger.is_writable():
                self.answers.report()  # only the caller, whose ledger it is, can open it again
                return
            if self.answers:
                await self._clock.sleep(pause)
                pause = min(_LAST_POLL, pause * 2)
        self._is_recording = False
        await self._resume_left()  # what these runs had begun

    async def _keep_up(self) -> None:
        async with self._changing:
            await uninterrupted(self._open_again_if_unusable())
            await self._leave_if_over()
        ledger = self.ledger
        if (error := await self.answers.record(ledger)) is not None and ledger is self.ledger:
            self.failed(error)

    async def _leave_if_over(self) -> None:
        """Leave the present run if it is over, so that the next order begins another; it ends with its last call."""
        if (current := self._now) is not None and current.is_over(self._clock.monotonic()):
            self._now = None
            await uninterrupted(self._end(current))

    async def _begin(self) -> DeskRun:
        if self._mode is None:  # for each run, see also `DeskRun.check_mode`
            self._push.check_endpoints(*Mode)
            await self._push.choose_mode()
        self._push.check_endpoints()
        options = {DESK: True, **place_of(self._gs)}
        run = await self.ledger.begin(environment=self.environment, mode=self._push.mode, source=DESK, options=options)
        async with discarded_on_error(run):
            await warn_of_other_servers(self.ledger, self.environment, self.api_base, "are refused", self._warned)
            await self._push.enter(run)
            if self._push.entering is not None:
                self._there |= await self._push.entering.there_before(run, NEW_FOR)
            await run.admit()
            run.settle_after(self._gs.limits.settle)
            await run.start()
        return DeskRun(run, self.ledger, self._push.sender(run), self._clock.monotonic())

    async def _end(self, current: DeskRun) -> None:
        if not current.sending:
            with suppress(LedgerError):  # then whoever opens the ledger next ends it
                await current.run.finish()
            await current.run.close()

    async def look(self) -> None:
        """Resume the runs of desks whose processes have ended, and end runs in time, until cancelled."""
        while True:
            try:
                self._identity = self._identity or await self.ledger.identity()
                await self._keep_up()
                await self._resume_left()
                if self._mode is None and self._now is not None:  # last: in an outage it may take long
                    await self._now.check_mode(self._new_push(self.ledger, Mode.DIRECT), self._clock.monotonic())
            except Exception as error:
                self.failed(error)
                log.warning("the desk cannot check its ledger now: %r", error)
            await self._clock.sleep(LOOK)

    async def _resume_left(self) -> None:
        whose = self.environment, self.account, self.api_base, self.answers.has_run
        # Whoever asks for one of their orders waits until it is settled.
        self.refused = await resume_left(self.ledger, whose, self._new_push, self._present_mode, self._reading)

    async def _present_mode(self) -> Mode:
        """The mode of runs that begin now."""
        return self._mode or await self._new_push(self.ledger, Mode.DIRECT).choose_mode()

    async def known(self, key: str) -> Recorded | None:
        """The order that has a key, if the ledger knows one."""
        return (await self.ledger.known(self.environment, [key])).get(key)

    def stop(self) -> None:
        """Stop retrying calls that were not processed."""
        self._push.stop()
        self._is_recording = True  # `close` does it

    async def close(self) -> None:
        """End the run; call it only when nothing is under way any more."""
        if self.answers:
            with suppress(Exception):  # then they are reported
                await self._keep_up()
        if self._now is not None:
            await self._end(self._now)
        self.answers.report()
