"""Answers that came while the ledger could not be written: they are recorded as soon as possible."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs

from gotsurge_async.ledger import (
    IllegalTransition,
    Ledger,
    LedgerError,
    OrderOutcome,
    OrderState,
    Run,
    TaskCancelling,
    TaskTaken,
)
from gotsurge_async.push.desk.run import DeskRun

log: logging.Logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class _OfRun:
    """The outcomes of a run's orders that answers gave, by key; ``current``: the run when it claimed the orders."""

    current: DeskRun
    ledger: Ledger
    epoch: int
    outcomes: dict[str, OrderOutcome] = attrs.field(factory=dict)


class Answers:
    """Known outcomes of orders that the ledger shows as in flight or in doubt: created, refused, or withdrawn.

    In two-phase mode, drafts whose task was recorded already: unless it is found to be the order's own, the order is in
    doubt, and not drafted again.
    """

    def __init__(self) -> None:
        self._of: dict[str, _OfRun] = {}
        self._recording = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._of)

    @property
    def tasks(self) -> dict[str, str]:
        """The tasks that are not recorded, by key."""
        created = [(key, outcome) for key, outcome in self._all() if outcome.state is OrderState.CREATED]
        return {key: outcome.task_id for key, outcome in created if outcome.task_id is not None}

    @property
    def drafts(self) -> set[str]:
        """The keys of orders whose drafts are not recorded."""
        return {key for key, outcome in self._all() if outcome.state is OrderState.DRAFTED}

    def has_run(self, run_id: str) -> bool:
        """Whether an answer for a run is not recorded, or the run is to be recovered."""
        return run_id in self._of

    def any_of(self, keys: Iterable[str]) -> bool:
        """Whether the outcome of an order with one of some keys is not recorded."""
        return bool(self._of) and not {key for key, _ in self._all()}.isdisjoint(keys)

    def keep(self, current: DeskRun, key: str, outcome: OrderOutcome) -> None:
        """Keep the outcome that an answer gave, until it is recorded."""
        self.leave(current).outcomes[key] = outcome

    def leave(self, current: DeskRun) -> _OfRun:
        """Make `record` recover a run that can no longer be written, even if no answer of it is kept."""
        return self._of.setdefault(current.run.id, _OfRun(current, current.ledger, current.run.epoch))

    async def record(self, ledger: Ledger) -> LedgerError | None:
        """Record the answers, except those whose run cannot be held or written now; returns the last such error."""
        last: LedgerError | None = None
        async with self._recording:
            for run_id, of_run in [*self._of.items()]:
                # Over the same ledger other calls of the run may still be under way: it is not taken from them.
                epoch = None if of_run.ledger is ledger else of_run.epoch
                try:
                    async with await ledger.hold(run_id, epoch=epoch) as run:
                        of_run.ledger, of_run.epoch = ledger, run.epoch
                        for key, outcome in [*of_run.outcomes.items()]:  # each alone: others may be settled meanwhile
                            with _warning_if_settled(key, outcome):
                                await _settle(run, of_run, key, outcome)
                            del of_run.outcomes[key]
                        if not of_run.current.sending:  # else a call's answer would come too late for its claim
                            await run.recover()
                            del self._of[run_id]
                except LedgerError as error:
                    last = error
                    log.info(
                        "run %s: answers for the orders %s cannot be recorded yet: %s",
                        run_id,
                        ", ".join(of_run.outcomes),
                        error,
                    )
        return last

    def report(self) -> None:
        """Log each answer that is not recorded."""
        for key, outcome in self._all():
            log.warning("%s; this could not be recorded, so the order is in doubt", _described(key, outcome))

    def _all(self) -> Iterator[tuple[str, OrderOutcome]]:
        for of_run in self._of.values():
            yield from of_run.outcomes.items()


async def _settle(run: Run, of_run: _OfRun, key: str, outcome: OrderOutcome) -> None:
    """Record an outcome; if its task is another order's, or may be cancelled, the order is in doubt."""
    earlier = of_run.current.run
    try:
        await run.settle_claimed(earlier, outcome)
    except TaskCancelling as cancelling:
        if outcome.state is OrderState.CREATED:  # a draft is created again instead
            why = f"the answer names a task that may be cancelled: {cancelling.words}"
            where = outcome.task_id, outcome.status, why
            await run.settle_claimed(earlier, OrderOutcome(outcome.id, OrderState.IN_DOUBT, *where))
            of_run.outcomes[key] = again = OrderOutcome(outcome.id, OrderState.CANCELLING, *where)
            await run.settle_claimed(earlier, again)
        raise
    except TaskTaken as taken:
        why = f"the answer names a task that already belongs to another order: {taken.words}"
        await run.settle_claimed(earlier, OrderOutcome(outcome.id, OrderState.IN_DOUBT, error=why))
        raise


def _described(key: str, outcome: OrderOutcome) -> str:
    if outcome.state is OrderState.DRAFTED:
        return f"an answer names the draft {outcome.task_id} for the order {key}"
    if outcome.task_id is not None:
        return f"GotSurge has the order {key} as task {outcome.task_id}"
    return f"the order {key} was {'refused' if outcome.state is OrderState.REFUSED else 'not sent'}"


@contextmanager
def _warning_if_settled(key: str, outcome: OrderOutcome) -> Iterator[None]:
    try:
        yield
    except (IllegalTransition, TaskTaken) as error:
        log.warning("%s; this was not recorded: %s", _described(key, outcome), error)
