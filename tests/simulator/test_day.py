from gotsurge_async.simulator import Life, Simulator, SimulatorOptions
from gotsurge_async.simulator.operations.checks import check_new_task, read_task
from gotsurge_async.simulator.state.tasks import TRANSITIONS

from .kit import FakeTime, signed_in


async def test_a_seeded_day_is_one_of_good_orders() -> None:
    """Each order is one that a create would take, and has come a lawful way to where it is at this moment."""
    async with signed_in("platform", SimulatorOptions(webhook_url="http://127.0.0.1:9/x")) as client:
        simulator = client.simulator
        assert simulator.seed_a_day(200) == 200
        statuses = set()
        for record in simulator._service.tasks.all():
            _, task, problems = read_task(record.source, None)
            assert task is not None
            assert problems + check_new_task(task, None, float("inf")) == []
            for (before, since), (after, at) in zip(record.history, record.history[1:], strict=False):
                assert after in TRANSITIONS[before]
                assert since <= at <= simulator.now()
            statuses.add(record.status)
        assert statuses == set(TRANSITIONS)
        assert simulator.webhooks() == []
        listed = await client.get("/platform/tasks?per_page=1000")
        assert len(listed["tasks"]) == 200


def test_a_seed_gives_the_same_day() -> None:
    """The same seed gives the same orders, another one others; a second day comes on top of the first."""

    def day(seed: int, *parts: int) -> list[object]:
        simulator = Simulator(options=SimulatorOptions(seed=seed), clock=FakeTime())
        for orders in parts:
            simulator.seed_a_day(orders)
        return [(task["tracking_id"], task["history"]) for task in simulator.tasks()]

    assert day(1, 40) == day(1, 25, 15) != day(2, 40)
    assert len(dict(day(1, 40))) == 40  # type: ignore[call-overload]


async def test_a_seeded_day_lives_on() -> None:
    """Where there are drivers, the orders of a seeded day go on from where they stand, and all but marine ones end."""
    async with signed_in("platform", SimulatorOptions(life=Life())) as client:
        client.simulator.seed_a_day(60)
        client.simulator.advance(3 * 86_400)
        open_ = [task for task in client.simulator.tasks() if TRANSITIONS[task["history"][-1][0]]]
        records = [client.simulator._service.tasks.find(task["id"]) for task in open_]
        assert all(record.draft or record.preference == "marine" for record in records)


def test_a_seeded_day_can_be_taken_back() -> None:
    """Orders of a seeded day that are put back to an earlier moment stand where they stood at that moment."""
    simulator = Simulator(clock=FakeTime())
    simulator.seed_a_day(60)
    moment = simulator.now() - 3600
    expected = {}
    for task in simulator.tasks():
        before = [entry for entry in task["history"] if entry[1] <= moment]
        expected |= {task["id"]: before} if before else {}
    assert expected != {task["id"]: task["history"] for task in simulator.tasks()}
    simulator.restore(moment)
    assert {task["id"]: task["history"] for task in simulator.tasks()} == expected
