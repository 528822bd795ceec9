import asyncio

import pytest

from gotsurge_async.simulator.state.service import Calls


async def test_a_wait_ends_with_the_awaited_call() -> None:
    """Waiting for the second call of an operation ends with it, and with nothing before."""
    calls = Calls()
    waiting = asyncio.create_task(calls.reached("tasks.get", 2))
    for operation in ("tasks.create", "tasks.get", "tasks.create"):
        calls.note(operation)
        await asyncio.sleep(0)
        assert not waiting.done()
    calls.note("tasks.get")
    await waiting
    assert calls == {"tasks.create": 2, "tasks.get": 2}


async def test_what_was_reached_already_is_not_waited_for() -> None:
    """A count that was reached already ends the wait at once."""
    calls = Calls()
    calls.note("tasks.get")
    await asyncio.wait_for(calls.reached("tasks.get", 1), 60)


async def test_a_wait_can_be_given_up() -> None:
    """A cancelled wait leaves nothing behind, and counting goes on."""
    calls = Calls()
    waiting = asyncio.create_task(calls.reached("tasks.get", 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    calls.note("tasks.get")
    assert calls["tasks.get"] == 1
