"""`gotsurge_async.auth.keeping`: one task in the background for any number of accounts."""

import asyncio

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.auth.keeping import Keeper
from gotsurge_async.testing import ManualClock


@define(eq=False)
class Account:
    """Notes when it is looked after; each look takes a while, and says when the next one is due."""

    clock: ManualClock
    takes: float = 0.0
    every: float = 10.0
    account: str = "a"
    looks: list[float] = field(factory=list)

    async def keep(self) -> float:
        self.looks.append(self.clock.monotonic())
        if self.takes:
            await self.clock.sleep(self.takes)
        return self.every


def tasks() -> set["asyncio.Task[object]"]:
    """All tasks but the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_each_is_looked_after_when_it_is_due() -> None:
    """At once, and then as often as each asks for; a slow one keeps the others not waiting."""
    clock = ManualClock()
    keeper = Keeper(clock)
    quick, slow = Account(clock, every=10), Account(clock, takes=25, every=5)
    for each in (quick, slow):
        keeper.add(each)
    await clock.advance(62)
    assert quick.looks == [0, 10, 20, 30, 40, 50, 60]
    assert slow.looks == [0, 30, 60]
    for each in (quick, slow):
        await keeper.remove(each)
    assert not tasks()


async def test_what_changes_is_looked_after_at_once() -> None:
    """Also while it is being looked after: then again right afterwards."""
    clock = ManualClock()
    keeper, account = Keeper(clock), Account(clock, takes=3, every=100)
    keeper.add(account)
    await clock.advance(1)
    keeper.soon(account)
    await clock.advance(9)
    keeper.soon(account)
    await clock.advance(1)
    assert account.looks == [0, 3, 10]
    await keeper.remove(account)
    assert not tasks()


async def test_thousands_sleep_in_a_few_tasks() -> None:
    """While none is due there are no more tasks for three thousand accounts than for one."""
    clock = ManualClock()
    keeper = Keeper(clock)
    accounts = [Account(clock) for _ in range(3000)]
    keeper.add(accounts[0])
    await clock.advance(1)
    for_one = len(tasks())
    for account in accounts[1:]:
        keeper.add(account)
    await clock.advance(1)
    assert len(tasks()) == for_one <= 3
    for account in accounts:
        assert account.looks
        await keeper.remove(account)
    assert not tasks()


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 7.0]), st.sampled_from([1.0, 4.0, 60.0])), min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, 13.0]), st.integers(0, 4), st.booleans()), max_size=8),
)
@settings(max_examples=30)
async def test_nobody_is_forgotten(accounts: list[tuple[float, float]], steps: list[tuple[float, int, bool]]) -> None:
    """Whatever is removed, changed and added again meanwhile, no account waits longer than it asked for."""
    clock = ManualClock()
    keeper = Keeper(clock)
    kept = [Account(clock, takes=takes, every=every) for takes, every in accounts]
    there = set(kept)
    for account in kept:
        keeper.add(account)
    for seconds, number, removes in steps:
        await clock.advance(seconds)
        account = kept[number % len(kept)]
        if account not in there:
            keeper.add(account)
            there.add(account)
        elif removes:
            await keeper.remove(account)
            there.discard(account)
        else:
            keeper.soon(account)
    await clock.advance(100)
    for account in kept:
        if account in there:
            assert clock.monotonic() - account.looks[-1] <= account.every + account.takes
        await keeper.remove(account)
    assert not tasks()
