"""Two living tasks of one name: nothing is settled by what may be one of them, and what is known of them is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async.bulk import Undo
from gotsurge_async.config import SETTLE
from gotsurge_async.webhooks import settle
from gotsurge_async.webhooks.inbox import EventState
from tests.support.orders import order, orders
from tests.support.threads import eventually
from tests.webhooks.follow_kit import followed, follower
from tests.webhooks.kit import event, put_all
from tests.webhooks.test_follow import all_done, states_are


def told_doubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of doubles."""
    return [each.getMessage() for each in caplog.records if "is a double" in each.getMessage()]


async def test_two_tasks_of_one_name_that_come_together_settle_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither is taken though one is read first; both are told, once."""
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(1))
        await kit.create(order("T-0"))
        ids = [each["id"] for each in kit.here.simulator.tasks()]
        for task_id in ids:
            await kit.event(task_id)

        async def it_is_told() -> object:
            return [row async for row in kit.here.ledger.rows(run_id) if "more than once" in (row.error or "")]

        async with follower(kit, ledger=kit.here.ledger, read_rate=5.0):
            await eventually(it_is_told)
        assert set((await kit.here.states(run_id)).values()) == {"in_doubt"}
        (told,) = told_doubles(caplog)
        assert all(task_id in told for task_id in ids)


async def test_a_second_task_that_comes_later_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was settled by the first one stays, and both are told once; an order alone is none."""
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(2))
        first, alone = (each["id"] for each in kit.here.simulator.tasks())
        async with follower(kit, ledger=kit.here.ledger):
            for task_id in (first, alone):
                await kit.event(task_id)
            await states_are(kit, run_id, "created", "created")
            (second,) = await kit.create(order("T-0"))
            for task_id in (second, second, first):
                await kit.event(task_id)
                await all_done(kit)

            async def it_is_told() -> object:
                return told_doubles(caplog)

            await eventually(it_is_told)
        (told,) = told_doubles(caplog)
        assert "order T-0 is a double: 2 living tasks with the same name" in told
        assert f"task {first} (run {run_id}, key T-0, broadcasting), task {second} (of no push, broadcasting)" in told
        assert await kit.here.tasks(run_id) == {"T-0": first, "T-1": alone}


async def test_an_order_that_was_pushed_again_and_was_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A person said that it was not created: the event of its first task shows the double."""
    async with followed(tmp_path, following=False) as kit:
        first_run = await kit.here.lose(orders(1))
        kit.here.clock.ahead += timedelta(seconds=SETTLE)  # a person says it when the create can no longer act
        (first,) = (each["id"] for each in kit.here.simulator.tasks())
        await kit.here.ledger.resolve(first_run, {"T-0": None}, by="Mei")
        async with follower(kit, ledger=kit.here.ledger):
            run_id = await kit.here.push(orders(1))
            await kit.event(first)

            async def it_is_told() -> object:
                return told_doubles(caplog)

            await eventually(it_is_told)
        (told,) = told_doubles(caplog)
        assert f"run {run_id}, key T-0" in told
        assert first in told


async def test_an_order_that_was_taken_back_and_pushed_again_is_no_double(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the book has not read the first task since."""
    async with followed(tmp_path, following=False) as kit:
        await kit.book.take_in(
            kit.here.ledger, run=(first := await kit.here.push(orders(1))), account_of=lambda _: "default"
        )
        await Undo(kit.here.gs, kit.here.ledger).undo(first, reason="wrong berth")
        second = (await kit.here.tasks(await kit.here.push(orders(1))))["T-0"]
        async with follower(kit, ledger=kit.here.ledger):
            await kit.event(second)
            await kit.until(lambda: kit.statuses(second) == ["broadcasting"])
        assert told_doubles(caplog) == []
        assert await kit.book.doubles() == []


@pytest.mark.slow
async def test_a_flood_of_unknown_ids_does_not_keep_an_order_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are read first for a while, and no longer."""
    monkeypatch.setattr(settle, "LET_OTHERS_FIRST", 0.2)
    monkeypatch.setattr(settle, "LOOK_EVERY", 0.05)
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose(orders(1))
        await kit.event(kit.here.simulator.tasks()[0]["id"])
        await put_all(kit.inbox, *(event(f"99999999-0000-4000-8000-{number:012}") for number in range(200)))
        async with follower(kit, ledger=kit.here.ledger, read_rate=40.0):
            await states_are(kit, run_id, "created")
            assert (await kit.inbox.counts())[EventState.WAITING] > 100
