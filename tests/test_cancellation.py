"""`gotsurge_async.cancellation`: what must not be left half done."""

import asyncio

import pytest

from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.ledger import LedgerError


async def test_a_write_that_fails_after_a_cancellation_is_reported() -> None:
    """The cancellation is raised when the write has ended, and its error is the cause."""
    go_on = asyncio.Event()

    async def write() -> None:
        await go_on.wait()
        raise LedgerError("the disk is full")

    writing = asyncio.create_task(uninterrupted(write()))
    await asyncio.wait([writing], timeout=0.001)
    writing.cancel()
    await asyncio.wait([writing], timeout=0.001)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as raised:
        await writing
    assert isinstance(raised.value.__cause__, LedgerError)


async def test_what_was_begun_is_ended_though_it_is_cancelled() -> None:
    """A write that was begun is not broken off."""
    go_on = asyncio.Event()
    writes = []

    async def write() -> None:
        await go_on.wait()
        writes.append("whole")

    writing = asyncio.create_task(uninterrupted(write()))
    await asyncio.wait([writing], timeout=0.001)
    writing.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as raised:
        await writing
    assert (writes, raised.value.__cause__) == (["whole"], None)
