import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from gotsurge_async.simulator import Life, SimulatorOptions
from tests.support.threads import until

from ..kit import START, Client, FakeTime, order, signed_in

DAY = 86_400.0
HOUR = 3600.0

LAWFUL = {
    "pending_broadcast": {"broadcasting", "cancelled"},
    "broadcasting": {"accepted", "cancelled", "expired"},
    "accepted": {"pending_pickup"},
    "pending_pickup": {"pickup_arriving"},
    "pickup_arriving": {"pending_delivery", "unsuccessful_pickup"},
    "pending_delivery": {"delivery_arriving"},
    "delivery_arriving": {"complete", "unsuccessful_delivery"},
}
"""Section "Order Statuses", read once more for this test."""
ENDS = {"complete", "cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery"}
PICKUP_START, PICKUP_END = START + 26 * HOUR, START + 28 * HOUR


def living(seed: int = 1, **shares: float) -> SimulatorOptions:
    return SimulatorOptions(life=Life(**shares), seed=seed)


async def create(client: Client, count: int, **changes: Any) -> None:
    """Create orders L-0, L-1 …, of each preference in turn."""
    for start in range(0, count, 20):
        numbers = range(start, min(start + 20, count))
        preferences = ("squad", "all", "marine")
        rows = (order(f"L-{n}", **{"broadcast_preference": preferences[n % 3], **changes}) for n in numbers)
        assert (await client.create(*rows)).status == 200


def lives(client: Client) -> dict[str, list[tuple[str, float]]]:
    """The history of each order, times since the start."""
    return {
        task["tracking_id"]: [(status, at - START) for status, at in task["history"]]
        for task in client.simulator.tasks()
    }


async def test_every_order_goes_a_lawful_way_to_its_end() -> None:
    """Each step is one of the document's, none is before the one before, and every order but a marine one ends."""
    async with signed_in(options=living(accepting=0.8, cancelling=0.05, late=0.2, failing=0.1)) as client:
        await create(client, 300)
        client.simulator.advance(3 * DAY)
        ended: Counter[str] = Counter()
        for name, history in lives(client).items():
            statuses, times = zip(*history, strict=True)
            assert statuses[0] == "broadcasting"
            assert all(after in LAWFUL[before] for before, after in pairwise(statuses))
            assert list(times) == sorted(times)
            assert statuses[-1] in ENDS or (statuses == ("broadcasting",) and int(name.removeprefix("L-")) % 3 == 2)
            ended[statuses[-1]] += 1
        assert set(ended) == {*ENDS, "broadcasting"}
        assert ended["complete"] > 150


async def test_a_standard_broadcast_ends_after_the_longest_time() -> None:
    """A standard order for a far day expires after 14 days, which is the longest that a broadcast lasts."""
    window = {"start_time_utc": "2026-03-01T02:00:00Z", "end_time_utc": "2026-03-01T04:00:00Z"}
    later = {"start_time_utc": "2026-03-01T05:00:00Z", "end_time_utc": "2026-03-01T07:00:00Z"}
    async with signed_in(options=living(accepting=0, cancelling=0)) as client:
        await client.create(order("L", from_time_window=window, to_time_window=later))
        client.simulator.advance(20 * DAY)
        assert lives(client)["L"][-1] == ("expired", 14 * DAY)


async def test_a_seed_gives_the_same_lives() -> None:
    """The same orders live the same day, turned at once or by the hour; another seed gives them another one."""

    async def day(seed: int, turns: int) -> dict[str, list[tuple[str, float]]]:
        async with signed_in(options=living(seed)) as client:
            await create(client, 40)
            for _ in range(turns):
                client.simulator.advance(2 * DAY / turns)
            return lives(client)

    assert await day(1, 1) == await day(1, 48) != await day(2, 1)


async def test_the_shares_are_kept() -> None:
    """Of many orders about as many fail, come late, and are not accepted as the shares say."""
    async with signed_in(options=living(accepting=0.9, cancelling=0, late=0.25, failing=0.1)) as client:
        await create(client, 1000, broadcast_preference="all")
        client.simulator.advance(3 * DAY)
        histories = [dict(history) for history in lives(client).values()]
        arrived = [task for task in histories if "pickup_arriving" in task]
        assert 850 < len(arrived) < 950
        assert 60 < sum("unsuccessful_pickup" in task for task in histories) < 125
        late = sum(task["pickup_arriving"] + START > PICKUP_END for task in arrived)
        assert 0.2 < late / len(arrived) < 0.3


async def test_a_task_tells_what_became_of_it() -> None:
    """Every step has its time and a note; the driver, the price he accepted and the proof of delivery are there."""
    async with signed_in(options=living(accepting=1, cancelling=0, failing=0, late=0)) as client:
        prices = {"price": 500_000, "min_price": 500_000, "max_price": 900_000, "increment": 100_000}
        ids = [task["id"] for n in range(3) for task in (await client.create(order(f"L-{n}", **prices))).json["tasks"]]
        client.simulator.advance(3 * DAY)
        tasks = [await client.get(f"/tasks/{task_id}") for task_id in ids]
    for task in tasks:
        assert task["current_status"] == "complete"
        assert task["driver"]["name"]
        assert task["price"] in range(500_000, 1_000_000, 100_000)
        assert task["epod"]["recipient_name"] == "Master"
        assert task["epod"]["signed_at"] == task["statuses"][-1]["updated_at"]
        assert [entry["status"] for entry in task["statuses"]][-1] == "complete"
        assert all(entry["note"] for entry in task["statuses"][1:])
    assert {task["price"] for task in tasks} != {500_000}


async def test_an_order_that_was_moved_by_hand_lives_on_from_there() -> None:
    """What a person does to an order counts: its life goes on from the status to which it was taken, or is over."""
    async with signed_in(options=living(accepting=0, cancelling=0, failing=0)) as client:
        await client.create(order("GOES"), order("ENDS"))
        goes, ends = (task["id"] for task in client.simulator.tasks())
        client.simulator.move(goes, "pickup_arriving", through=True, note="by hand")
        await client.call("POST", f"/tasks/{ends}/cancel", {"reason": "wrong ship"})
        client.simulator.advance(3 * DAY)
        statuses = {name: [status for status, _ in history] for name, history in lives(client).items()}
        assert statuses["GOES"][-1] == "complete"
        assert statuses["ENDS"] == ["broadcasting", "cancelled"]
        notes = [entry.get("note") for entry in (await client.get(f"/tasks/{ends}"))["statuses"]]
        assert notes == [None, "wrong ship"]


async def test_a_changed_order_ends_by_its_new_window() -> None:
    """An update that moves the pickup moves the end of the broadcast, also to earlier; removed ones do nothing."""
    async with signed_in("platform", options=living(accepting=0, cancelling=0)) as client:
        created = (await client.create(order("EARLIER"), order("LATER"), order("GONE"))).json["tasks"]
        client.simulator.remove(created[2]["id"])
        for task, day in zip(created, ("2026-01-01T12", "2026-01-04T12"), strict=False):
            windows = {
                "from_time_window": {"start_time_utc": f"{day}:00:00Z", "end_time_utc": f"{day}:30:00Z"},
                "to_time_window": {"start_time_utc": f"{day}:40:00Z", "end_time_utc": f"{day}:50:00Z"},
            }
            body = {"version_rev": task["version_rev"], **windows}
            assert (await client.call("PATCH", f"/platform/tasks/{task['id']}", body)).status == 200
        client.simulator.advance(10 * DAY)
        assert {name: history[-1] for name, history in lives(client).items()} == {
            "EARLIER": ("expired", 12.5 * HOUR),
            "LATER": ("expired", 84.5 * HOUR),
        }


async def test_nobody_drives_without_a_life() -> None:
    """Without a life orders stay as they are, a reset ends all lives, and drafts wait for their broadcast."""
    async with signed_in("platform") as client:
        await client.create(order("L"))
        client.simulator.advance(DAY)
        assert [status for status, _ in lives(client)["L"]] == ["broadcasting"]
    async with signed_in("platform", options=living()) as client:
        await client.create(order("L"))
        await client.draft(order("D"))
        client.simulator.advance(DAY)
        assert [status for status, _ in lives(client)["D"]] == ["pending_broadcast"]
        client.simulator.reset()
        client.simulator.advance(DAY)
        assert client.simulator.tasks() == []


@pytest.mark.slow
async def test_a_day_of_many_orders_is_quick() -> None:
    """Turning the clock of 5,000 orders by two days takes half a second of CPU, or a few where a machine is slow."""
    async with signed_in(options=living()) as client:
        await create(client, 5000)
        began = time.process_time()
        client.simulator.advance(2 * DAY)
        assert time.process_time() - began < 5
        steps = sum(len(task["history"]) for task in client.simulator.tasks())
    assert steps > 25_000


async def test_the_clock_moves_orders_by_itself() -> None:
    """While time goes by, at the speed that was set, orders move without a call; none while the clock stands still."""

    class Running(FakeTime):
        """The machine's time, from this test's start."""

        began = time.monotonic()

        def now(self) -> Any:
            self.seconds = START + time.monotonic() - self.began
            return super().now()

    async with signed_in(options=living(accepting=1, cancelling=0), time=Running()) as client:
        simulator = client.simulator
        simulator.run_at(0)
        stands = simulator.now()
        await client.create(order("L"))
        assert simulator.now() == stands
        simulator.run_at(86_400)
        await until(lambda: lives(client)["L"][-1][0] in ENDS)
        assert len(lives(client)["L"]) == 7


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(share: float) -> None:
    """A share below 0 or above 1 is refused."""
    with pytest.raises(ValueError, match="failing"):
        Life(failing=share)
