"""Answers that came while the ledger could not be written: recorded as soon as it can be."""

import asyncio
import logging

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
    tasks: dict[str, str | None] = attrs.field(factory=dict)


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
        return {key: task for of_run in self._of.values() for key, task in of_run.tasks.items() if task is not None}

    def keep(self, ledger: Ledger, run: Run, key: str, task_id: str) -> None:
        """Keep the task that an answer named."""
        self._of.setdefault(run.id, _OfRun(ledger, run.epoch)).tasks[key] = task_id

    async def record(self, ledger: Ledger) -> None:
        """Record them, except those whose run cannot be held or written now."""
        async with self._recording:
            for run_id, of_run in [*self._of.items()]:
                tasks = dict(of_run.tasks)
                # Over the same ledger other calls of the run may still be under way: it is not taken from them.
                epoch = None if of_run.ledger is ledger else of_run.epoch
                try:
                    async with await ledger.hold(run_id, epoch=epoch) as run:
                        of_run.ledger, of_run.epoch = ledger, run.epoch
                        await run.recover()
                        await run.resolve(tasks, by="the answer, when the ledger had failed")
                except (IllegalTransition, TaskTaken) as error:  # it was settled meanwhile
                    log.warning("the answers to orders of run %s are not recorded: %s", run_id, error)
                except LedgerError as error:
                    log.info("run %s is to have the tasks %s, and cannot be written: %s", run_id, tasks, error)
                    continue
                for key in tasks:
                    del of_run.tasks[key]
                if not of_run.tasks:
                    del self._of[run_id]
