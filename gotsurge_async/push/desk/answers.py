"""Answers that came while the ledger could not be written: recorded as soon as it can be."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from gotsurge_async.ledger import IllegalTransition, Ledger, LedgerError, Run, TaskTaken

log: logging.Logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class _OfRun:
    """The tasks that the answers to a run's orders named, by key.

    Attributes:
        ledger, epoch: over which, and under which, this process had the run last.
    """

    ledger: Ledger
    epoch: int
    tasks: dict[str, str] = attrs.field(factory=dict)


class Answers:
    """The tasks of orders that the ledger has as being sent, or in doubt."""

    def __init__(self) -> None:
        self._of: dict[str, _OfRun] = {}
        self._recording = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._of)

    @property
    def tasks(self) -> dict[str, str]:
        """By key, the tasks that are not recorded."""
        return {key: task for of_run in self._of.values() for key, task in of_run.tasks.items()}

    def keep(self, ledger: Ledger, run: Run, key: str, task_id: str) -> None:
        """Keep the task that an answer named."""
        self._of.setdefault(run.id, _OfRun(ledger, run.epoch)).tasks[key] = task_id

    async def record(self, ledger: Ledger) -> LedgerError | None:
        """Record them, except those whose run cannot be held or written now; returns the last error of that."""
        last: LedgerError | None = None
        async with self._recording:
            for run_id, of_run in [*self._of.items()]:
                # Over the same ledger other calls of the run may still be under way: it is not taken from them.
                epoch = None if of_run.ledger is ledger else of_run.epoch
                try:
                    async with await ledger.hold(run_id, epoch=epoch) as run:
                        of_run.ledger, of_run.epoch = ledger, run.epoch
                        await run.recover()
                        for key, task in [*of_run.tasks.items()]:  # each alone: others may be settled meanwhile
                            with _warning_if_settled(key, task):
                                await run.resolve({key: task}, by="the answer, when the ledger had failed")
                            del of_run.tasks[key]
                except LedgerError as error:
                    last = error
                    log.info("run %s is to have the tasks %s, and cannot be written: %s", run_id, of_run.tasks, error)
                if not of_run.tasks:
                    del self._of[run_id]
        return last

    def report(self) -> None:
        """Log each task that is not recorded."""
        for key, task in self.tasks.items():
            log.warning("GotSurge has the order %s as task %s, which could not be recorded: it is in doubt", key, task)


@contextmanager
def _warning_if_settled(key: str, task: str) -> Iterator[None]:
    try:
        yield
    except (IllegalTransition, TaskTaken) as error:
        log.warning("the answer to order %s, task %s, is not recorded: %s", key, task, error)
