"""From an event to a handler: the task is read, and each of its steps is handed on once, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.errors import UsageError
from gotsurge_async.simulator import Fault
from gotsurge_async.webhooks import follow, lanes, reads
from gotsurge_async.webhooks.book import Change
from gotsurge_async.webhooks.follow import Follower, changes
from gotsurge_async.webhooks.inbox import EventState
from tests.support.orders import order, orders
from tests.support.threads import eventually
from tests.webhooks.follow_kit import Followed, followed, follower


async def all_done(kit: Followed) -> None:
    """Wait until no event waits."""

    async def none_waits() -> bool:
        return not (await kit.inbox.counts())[EventState.WAITING]

    await eventually(none_waits)


async def states_are(kit: Followed, run_id: str, *states: str) -> None:
    """Wait until the orders of a run are in some states."""

    async def they_are() -> bool:
        return sorted((await kit.here.states(run_id)).values()) == sorted(states)

    await eventually(they_are)


async def test_an_event_makes_us_read_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an event claims is not believed: what is handed on is what the task says, each step once, in order."""
    monkeypatch.setattr(reads, "LAGS", ())
    async with followed(tmp_path) as kit:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.move(task_id, "accepted")
        await kit.event(task_id, current_status="complete")
        await kit.until(lambda: len(kit.seen) == 2)
        kit.here.simulator.move(task_id, "pending_pickup")
        await kit.event(task_id)
        await kit.event(task_id)
        await kit.until(lambda: len(kit.seen) == 3)
        await all_done(kit)
        assert kit.statuses(task_id) == ["broadcasting", "accepted", "pending_pickup"]
        assert (await kit.inbox.counts())[EventState.DONE] == 3
        assert await kit.book.waiting() == []


async def test_events_of_a_task_are_one_read(tmp_path: Path) -> None:
    """A hundred events of a task that come before it is read cost one read, or two."""
    async with followed(tmp_path, following=False) as kit:
        (task_id,) = await kit.create(order("T-0"))
        await asyncio.gather(*(kit.event(task_id) for _ in range(100)))
        async with follower(kit):
            await all_done(kit)
            await kit.until(lambda: bool(kit.seen))
        assert 1 <= kit.reads() <= 2
        assert kit.statuses(task_id) == ["broadcasting"]


async def test_reads_stay_within_the_budget(tmp_path: Path) -> None:
    """So many a second and no more, retries included, whatever comes."""
    async with followed(tmp_path, read_rate=80.0) as kit:
        ids = [await kit.create(each) for each in orders(10)]
        kit.here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=503, rate=0.3))
        started = asyncio.get_running_loop().time()
        for (task_id,) in ids:
            await kit.event(task_id)
        await all_done(kit)
        seconds = asyncio.get_running_loop().time() - started
        calls = kit.here.simulator.audit()["calls"]
        assert calls["tasks.get"] + calls.get("platform.tasks.list", 0) <= seconds * 80 + 1
        await kit.until(lambda: len(kit.seen) == 10)


@pytest.mark.slow
async def test_the_sweep_finds_what_no_event_told(tmp_path: Path) -> None:
    """A task of which no event comes any more is read again after a while; one that has ended is not."""
    async with followed(tmp_path, sweep_after=0.2) as kit:
        (task_id,) = await kit.create(order("T-0"))
        await kit.event(task_id)
        await kit.until(lambda: len(kit.seen) == 1)
        kit.here.simulator.move(task_id, "cancelled")
        await kit.until(lambda: len(kit.seen) == 2)
        reads = kit.reads()
        await asyncio.sleep(1.2)
        assert kit.reads() == reads


async def test_pushed_orders_are_followed_without_an_event(tmp_path: Path) -> None:
    """Every order of the ledger is in the book, and swept."""
    async with followed(tmp_path, following=False) as kit:
        await kit.here.push(orders(3))
        async with follower(kit, ledger=kit.here.ledger, sweep_after=0.2):
            for each in kit.here.simulator.tasks():
                kit.here.simulator.move(each["id"], "accepted")
            await kit.until(lambda: sum(str(change.status) == "accepted" for change in kit.seen) == 3)


async def test_orders_in_doubt_are_settled(tmp_path: Path) -> None:
    """An order whose answer was lost is created once its event came and its task was read; the others stay in doubt."""
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(3))
        async with follower(kit, ledger=kit.here.ledger):
            for each in kit.here.simulator.tasks()[:2]:
                await kit.event(each["id"])
            await all_done(kit)
            await states_are(kit, run_id, "created", "created", "in_doubt")
        assert kit.here.simulator.audit()["doubled"] == {}


async def test_a_task_that_was_read_before_its_order_was_in_doubt(tmp_path: Path) -> None:
    """An event may be over when the answer of the create is lost: the book knows its task, which is read once more."""
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(1))
        async with follower(kit):
            await kit.event(kit.here.simulator.tasks()[0]["id"])
            await all_done(kit)
        assert set((await kit.here.states(run_id)).values()) == {"in_doubt"}
        async with follower(kit, ledger=kit.here.ledger):
            await states_are(kit, run_id, "created")


async def test_an_order_that_is_there_twice_is_not_settled(tmp_path: Path) -> None:
    """Of two tasks of one name neither is taken: both are read, and it is said that the order was created twice."""
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(1))
        await kit.create(order("T-0"))
        async with follower(kit):
            for each in kit.here.simulator.tasks():
                await kit.event(each["id"])
            await all_done(kit)

        async def it_is_told() -> object:
            return [row async for row in kit.here.ledger.rows(run_id) if "more than once" in (row.error or "")]

        async with follower(kit, ledger=kit.here.ledger):
            await eventually(it_is_told)
        assert set((await kit.here.states(run_id)).values()) == {"in_doubt"}


async def test_a_handler_that_fails_gets_the_change_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same change comes again until it is done, later ones of its task wait, other tasks do not."""
    monkeypatch.setattr(follow, "_AGAIN", follow.RetryPolicy(base=0.01, cap=0.01))
    monkeypatch.setattr(follow, "POLL", 0.01)
    tries: list[str] = []
    async with followed(tmp_path, following=False) as kit:
        bad, good = await kit.create(order("T-0"), order("T-1"))

        async def on_status(change: Change) -> None:
            tries.append(f"{change.task_id} {change.status}")
            if change.task_id == bad and len([each for each in tries if bad in each]) <= 3:
                raise ValueError("a fault of the user's")
            await kit.on_status(change)

        async with follower(kit, on_status=on_status):
            for task_id in (bad, good):
                kit.here.simulator.move(task_id, "accepted")
                await kit.event(task_id)
            await kit.until(lambda: len(kit.seen) == 4)
        assert [each for each in tries if bad in each] == [f"{bad} broadcasting"] * 4 + [f"{bad} accepted"]
        assert kit.statuses(bad) == kit.statuses(good) == ["broadcasting", "accepted"]


async def test_a_handler_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it has failed; in the end its change is parked, and the next of its task is handed on after it."""
    monkeypatch.setattr(follow, "_AGAIN", follow.RetryPolicy(base=0.01, cap=0.01))
    monkeypatch.setattr(follow, "POLL", 0.01)
    async with followed(tmp_path, following=False) as kit:
        bad, good = await kit.create(order("T-0"), order("T-1"))

        async def on_status(change: Change) -> None:
            if change.task_id == bad and str(change.status) == "broadcasting":
                await asyncio.Event().wait()
            await kit.on_status(change)

        async with follower(kit, on_status=on_status, handler_seconds=0.05, park_after=timedelta(milliseconds=5)):
            for task_id in (bad, good):
                kit.here.simulator.move(task_id, "accepted")
                await kit.event(task_id)
            await kit.until(lambda: len(kit.seen) == 2)
            await eventually(kit.book.parked_changes)
        (parked,) = await kit.book.parked_changes()
        assert (parked.status, parked.why) == ("broadcasting", "the handler did not return within 0.05 s")
        assert kit.statuses(good) == ["broadcasting", "accepted"]
        assert await kit.book.skip(parked.number)
        async with follower(kit):
            await kit.until(lambda: kit.statuses(bad) == ["accepted"])


async def test_one_follows_at_a_time(tmp_path: Path) -> None:
    """Of two followers of an inbox the second begins when the first has ended."""
    async with followed(tmp_path) as kit, follower(kit) as second:
        await asyncio.sleep(0.3)
        assert not second.ready.is_set()
    async with followed(tmp_path) as kit, follower(kit) as another:
        await kit.event((await kit.create(order("T-1")))[0])
        await kit.until(lambda: bool(kit.seen))
        assert not another.ready.is_set()


async def test_an_outage_loses_no_event(tmp_path: Path) -> None:
    """While the service does not answer, events wait, and it is said why; when it is back, their tasks are read."""
    async with followed(tmp_path, following=False) as kit, follower(kit) as following:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=503))
        await kit.event(task_id)

        async def there_is_trouble() -> object:
            return following.troubles

        await eventually(there_is_trouble)
        assert "503" in following.troubles["default"]
        assert (await kit.inbox.counts())[EventState.WAITING] == 1
        kit.here.simulator.clear_faults()
        await kit.until(lambda: len(kit.seen) == 1)
        assert not following.troubles


async def test_changes_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop gets each change, and acknowledges it by asking for the next; one that it was left with comes again."""
    monkeypatch.setattr(follow, "POLL", 0.01)
    async with followed(tmp_path, on_status=None) as kit:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.move(task_id, "accepted")
        await kit.event(task_id)
        found: list[str] = []
        for statuses in (["broadcasting"], ["broadcasting", "accepted"]):
            found.clear()
            following = changes(kit.book)
            async for change in following:
                found.append(str(change.status))
                if len(found) == len(statuses):
                    break
            await following.aclose()  # type: ignore[attr-defined]
            assert found == statuses


@pytest.mark.parametrize(
    "options", [{"read_rate": 0.0}, {"sweep_after": -1.0}, {"keep": timedelta(0)}, {"park_after": -timedelta(1)}]
)
async def test_what_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    """A budget of nothing, an age of less than nothing, and keeping or trying for no time are refused."""
    async with followed(tmp_path, following=False) as kit:
        with pytest.raises(UsageError):
            Follower(kit.inbox, kit.book, kit.here.gs, **options)


async def test_a_flood_of_unknown_ids_is_read_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More ids than memory takes wait in the inbox; what the book knows does not wait behind them."""
    monkeypatch.setattr(lanes, "MOST_UNKNOWN", 3)
    monkeypatch.setattr(reads, "MOST_ABSENT", 5)
    monkeypatch.setattr(reads, "PAUSES", (0.05,))
    monkeypatch.setattr(reads, "LOOK_AGAIN", 0.05)
    monkeypatch.setattr(reads, "POLL", 0.05)
    async with followed(tmp_path, following=False) as kit:
        (task_id,) = await kit.create(order("T-0"))
        await kit.book.observe("default", await kit.here.gs.tasks.get(task_id), source="create")
        for number in range(20):
            await kit.event(f"99999999-0000-4000-8000-{number:012}")
        kit.here.simulator.move(task_id, "accepted")
        await kit.event(task_id)
        before = kit.reads()
        async with follower(kit, read_rate=50.0):
            await kit.until(lambda: "accepted" in kit.statuses(task_id))
            assert kit.reads() - before <= 12
            await all_done(kit)
        assert kit.reads() - before <= 41


@pytest.mark.slow
async def test_what_was_being_read_when_another_took_over(tmp_path: Path) -> None:
    """A read that was broken off in its middle is made again by whoever goes on, also in the same process."""
    async with followed(tmp_path, following=False) as kit, follower(kit) as following:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="delay", seconds=0.5))
        await kit.event(task_id)
        await kit.here.simulator.called("tasks.get")
        assert following._lost is not None
        following._lost.set()
        await kit.until(lambda: len(kit.seen) == 1)
        await all_done(kit)


async def test_events_of_other_accounts_are_left_alone(tmp_path: Path) -> None:
    """They wait for a process that has that account."""
    async with followed(tmp_path) as kit:
        (task_id,) = await kit.create(order("T-0"))
        await kit.event(task_id, account="another")
        await kit.event(task_id)
        await kit.until(lambda: len(kit.seen) == 1)

        async def its_own_is_done() -> bool:
            return [each.account for each in await kit.inbox.waiting()] == ["another"]

        await eventually(its_own_is_done)


@pytest.mark.parametrize(
    "odd", [".", "..", "../../x", "a/b?c=d", "%2e%2e", " ", "\u00e4\u4e2d", "x" * 200, "a#b", "-1", "null", "a\u202eb"]
)
async def test_an_id_that_leads_elsewhere(tmp_path: Path, odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is looked up as the id of a task and nothing else; what could be none is not looked up at all."""
    monkeypatch.setattr(reads, "PAUSES", (0.01,))
    async with followed(tmp_path) as kit:
        await kit.event(odd)
        await all_done(kit)
        calls = kit.here.simulator.audit()["calls"]
        assert set(calls) <= {"tasks.get", "platform.tasks.list", "auth.exchange"}
        assert calls.get("tasks.get", 0) <= 2
        await kit.event(odd)
        await all_done(kit)
        assert kit.here.simulator.audit()["calls"].get("tasks.get", 0) <= 3
        assert kit.seen == []


async def test_a_client_that_is_closed_loses_no_event(tmp_path: Path) -> None:
    """Who closes the client before the follower leaves events waiting, and none dead."""
    async with followed(tmp_path, following=False) as kit, follower(kit) as following:
        (task_id,) = await kit.create(order("T-0"))
        await kit.here.gs.close()
        await kit.event(task_id)

        async def there_is_trouble() -> object:
            return following.troubles

        await eventually(there_is_trouble)
        assert (await kit.inbox.counts())[EventState.WAITING] == 1


async def test_each_account_may_have_a_follower_of_its_own(tmp_path: Path) -> None:
    """Two that follow other accounts of one inbox do so at once, and each is handed the changes of its own."""
    async with followed(tmp_path, following=False) as kit:
        seen: dict[str, list[str]] = {"one": [], "two": []}

        def noting(name: str) -> Callable[[Change], Awaitable[None]]:
            async def note(change: Change) -> None:
                seen[name].append(change.account)
                await kit.on_status(change)

            return note

        gs = kit.here.gs
        async with (
            follower(kit, accounts={"one": gs}, on_status=noting("one")),
            follower(kit, accounts={"two": gs}, on_status=noting("two")),
        ):
            ids = await kit.create(*orders(4))
            for number, task_id in enumerate(ids):
                await kit.event(task_id, account="two" if number % 2 else "one")
            await kit.until(lambda: len(kit.seen) == 4)
        assert seen == {"one": ["one"] * 2, "two": ["two"] * 2}


async def test_orders_at_their_end_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the book forgets what is at its end and was handed on, and keeps what is not."""
    monkeypatch.setattr(follow, "FORGET_EVERY", 0.05)
    async with followed(tmp_path, keep=timedelta(microseconds=1)) as kit:
        ended, open_one = await kit.create(*orders(2))
        kit.here.simulator.move(ended, "cancelled")
        for task_id in (ended, open_one):
            await kit.event(task_id)
        await kit.until(lambda: "cancelled" in kit.statuses(ended) and bool(kit.statuses(open_one)))

        async def it_is_forgotten() -> bool:
            return [order.task_id async for order in kit.book.orders()] == [open_one]

        await eventually(it_is_forgotten)
