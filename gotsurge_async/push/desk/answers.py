"""Answers that came while the ledger could not be written: they are recorded as soon as possible."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs

from gotsurge_async.ledger import IllegalTransition, Ledger, LedgerError, OrderOutcome, OrderState, TaskTaken
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
    """Known outcomes of orders that the ledger shows as in flight or in doubt: created, refused, or withdrawn."""

    def __init__(self) -> None:
        self._of: dict[str, _OfRun] = {}
        self._recording = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._of)

    @property
    def tasks(self) -> dict[str, str]:
        """The tasks that are not recorded, by key."""
        return {key: outcome.task_id for key, outcome in self._all() if outcome.task_id is not None}

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
                                await run.settle_claimed(of_run.current.run, outcome)
                            del of_run.outcomes[key]
                        if not of_run.current.sending:  # else a call's answer would come too late for its claim
                            await run.recover()
                            del self._of[run_id]
                except LedgerError as error:
                    last = error
                    log.info("run %s lacks the answers %s, and cannot be written: %s", run_id, of_run.outcomes, error)
        return last

    def report(self) -> None:
        """Log each answer that is not recorded."""
        for key, outcome in self._all():
            log.warning("%s, which could not be recorded: it is in doubt", _described(key, outcome))

    def _all(self) -> Iterator[tuple[str, OrderOutcome]]:
        for of_run in self._of.values():
            yield from of_run.outcomes.items()


def _described(key: str, outcome: OrderOutcome) -> str:
    if outcome.task_id is not None:
        return f"GotSurge has the order {key} as task {outcome.task_id}"
    return f"the order {key} was {'refused' if outcome.state is OrderState.REFUSED else 'not sent'}"


@contextmanager
def _warning_if_settled(key: str, outcome: OrderOutcome) -> Iterator[None]:
    try:
        yield
    except (IllegalTransition, TaskTaken) as error:
        log.warning("%s, which is not recorded: %s", _described(key, outcome), error)
