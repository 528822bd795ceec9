"""Work that a cancellation must not leave half done."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end, and is raised then.

    If it failed meanwhile, its error is the cause of the cancellation that is raised.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        await asyncio.wait([task])
        if task.cancelled():
            raise
        raise cancelled from task.exception()
