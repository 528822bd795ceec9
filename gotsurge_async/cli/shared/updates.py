"""What became of many tasks that were named by their ids."""

import sys
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import attrs
import click

from gotsurge_async.cli.shared.exits import Exit, exit_code_of
from gotsurge_async.cli.shared.output import print_json, print_table
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.resources.platform.batches import Updated, UpdateResult, UpdateStream

T = TypeVar("T", str, tuple[str, str])


def words_of(arguments: Sequence[str]) -> list[str]:
    """The arguments; a single ``-`` stands for the lines of standard input."""
    if list(arguments) != ["-"]:
        return list(arguments)
    return [line.strip() for line in sys.stdin if line.strip()]


def pairs_of(words: Sequence[str]) -> dict[str, str]:
    """Read ``TASK_ID=TRACKING_ID`` words.

    Raises:
        click.UsageError: a word of another form, or a task that stands there twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        task_id, _, tracking_id = word.partition("=")
        if not task_id or not tracking_id:
            raise click.UsageError(f"{word!r} is not TASK_ID=TRACKING_ID")
        if task_id in pairs:
            raise click.UsageError(f"task {task_id} stands there twice")
        pairs[task_id] = tracking_id
    return pairs


@attrs.frozen
class Updates(Generic[T]):
    """The result of each task, and the error that ended the sending early, if one did."""

    results: list[UpdateResult[T]]
    error: GotSurgeError | None

    @classmethod
    async def of(cls, stream: UpdateStream[T]) -> "Updates[T]":
        """Wait for all results."""
        results: list[UpdateResult[T]] = []
        try:
            async with stream:
                async for result in stream:
                    results.append(result)  # noqa: PERF401 - what came before an error is kept
        except GotSurgeError as error:
            if not results:
                raise
            return cls(results, error)
        return cls(results, None)

    @property
    def exit_code(self) -> Exit:
        """Whether all is done; asking again does no harm, so nothing is in doubt."""
        if self.error is not None:
            return exit_code_of(self.error)
        return Exit.CREATED if all(isinstance(result, Updated) for result in self.results) else Exit.REFUSED

    def tell(self, *, as_json: bool) -> None:
        """Print a row for each task."""
        rows = [_row(result) for result in self.results]
        if as_json:
            done = sum(row["done"] for row in rows)
            print_json({"done": done, "not_done": len(rows) - done, "tasks": rows})
        else:
            print_table(list(rows[0]) if rows else (), [list(row.values()) for row in rows])
        if self.error is not None:
            click.echo(f"Error: {self.error}", err=True)


def _row(result: UpdateResult[Any]) -> dict[str, Any]:
    task = result.task if isinstance(result, Updated) else None
    task_id, tracking_id = result.item if isinstance(result.item, tuple) else (result.item, None)
    return {
        "id": task_id,
        "tracking_id": task.tracking_id if task and task.tracking_id else tracking_id,
        "done": task is not None,
        "status": task.current_status if task else None,
        "error": None if isinstance(result, Updated) else str(result.error),
    }
