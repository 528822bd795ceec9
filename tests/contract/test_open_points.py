"""What the document leaves open: the same day of a partner, under every reading of it that the simulator offers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gotsurge_async import (
    Address,
    BadRequest,
    Contact,
    Created,
    Money,
    NotFound,
    OutcomeUnknown,
    Task,
    TaskStatus,
    TooLateToCancel,
    Updated,
    UsageError,
    VersionConflict,
)
from gotsurge_async.codec import unreadable
from gotsurge_async.hooks import Event, RetryPlanned
from gotsurge_async.simulator import SWITCHES, Fault, SimulatorOptions
from gotsurge_async.testing import ManualClock
from tests.support.orders import NOW, order, orders
from tests.support.world import World, world

NOWHERE = "00000000-0000-4000-8000-0000000000ff"
DOCUMENTED = SimulatorOptions()
READINGS = [
    pytest.param({name: value}, id=f"{name}={value}", marks=() if value is values[0] else pytest.mark.slow)
    for name, switch in SWITCHES.items()
    for values in [[value for value in switch.values if value != getattr(DOCUMENTED, name)]]
    for value in values
]
"""The first other reading of each switch is a fast test, the rest are slow ones."""


def shows_tracking(place: World) -> bool:
    """Whether this reading ever tells a task's tracking id."""
    return place.simulator.options.tracking_id_echo != "never"


async def creates(place: World) -> None:
    """Each order of a push is created once, and its receipt names its own task."""
    results = [result async for result in place.gs.platform.tasks.create_all(orders(5, "C-"), chunk=5)]
    assert {result.order.tracking_id for result in results if isinstance(result, Created)} == {
        f"C-{number}" for number in range(5)
    }
    audit = place.simulator.audit()
    assert audit["by_tracking_id"] == {f"C-{number}": 1 for number in range(5)}
    for result in results:
        assert isinstance(result, Created)
        task = await place.gs.platform.tasks.get(result.receipt.id)
        assert task.tracking_id == (result.order.tracking_id if shows_tracking(place) else None)


async def refuses(place: World) -> None:
    """A bad row of a create is reported: by an error, or by an answer that does not name it; good rows are not lost."""
    batch = [order("R-good"), order("R-bad", price=Money.of("0.50", "SGD"))]
    rule = place.simulator.options.create_rule
    if rule == "partial":
        with pytest.raises(OutcomeUnknown) as unknown:
            await place.gs.platform.tasks.create(batch)
        assert ([task.tracking_id for task in unknown.value.done.tasks], unknown.value.rows) == (["R-good"], (1,))
        assert unknown.value.done.extra["errors"] is not None
    else:
        with pytest.raises(BadRequest) as caught:
            await place.gs.platform.tasks.create(batch)
        assert caught.value.status == 422
        assert bool(caught.value.service_message) is (place.simulator.options.error_shape != "empty")
    assert ("R-good" in place.simulator.audit()["by_tracking_id"]) is (rule != "all-or-nothing")


async def reads(place: World) -> None:
    """A task is read whole, its times in UTC; an unknown one is not found."""
    created = await place.gs.platform.tasks.create([order("G-1")])
    task = await place.gs.platform.tasks.get(created.tasks[0].id)
    assert isinstance(task, Task)
    options, now = place.simulator.options, place.gs.session.clock.now()
    assert (task.id, task.updated_at) == (created.tasks[0].id, None if options.misfits == "times" else now)
    assert unreadable(task) or options.misfits == "none"
    assert task.server_time == (now if options.envelope == "told" else None)
    steps = [step.updated_at for step in task.statuses]
    shown: dict[str, list[Any]] = {"steps": [now], "bare": [None]}
    times = shown.get(options.status_history, [])
    assert steps == times * (1 + options.unknown_statuses)
    assert (task.current_status in set(TaskStatus)) is not options.unknown_statuses
    sent = order()
    assert task.from_time_window is not None
    assert task.from_time_window.start_time_utc == sent.from_time_window.start_time_utc
    assert task.to_contact is not None
    assert sent.to_contact is not None
    assert task.to_contact.vessel_imo == sent.to_contact.vessel_imo
    (item,) = task.items
    as_text = options.measures == "text"
    assert (item.name, item.quantity, item.weight) == ("Rope", *((None, None) if as_text else (2, 12.5)))
    assert not as_text or item.extra.items() >= {"quantity": "2", "weight": "12.5"}.items()
    assert task.client_time_utc == NOW
    assert task.price == Money.of("5.00", "SGD")
    assert (task.version_rev is None) is (place.simulator.options.version_rev == "absent")
    with pytest.raises(NotFound):
        await place.gs.platform.tasks.get(NOWHERE)


async def updates(place: World) -> None:
    """An update changes what it names, from the newest revision only; without a revision it is not tried."""
    task = await place.gs.platform.tasks.get((await place.gs.platform.tasks.create([order("U-1")])).tasks[0].id)
    if place.simulator.options.version_rev == "absent":
        with pytest.raises(UsageError, match="version_rev"):
            await place.gs.platform.tasks.update(task, group_tag="MV Example")
        return
    changed = await place.gs.platform.tasks.update(task, group_tag="MV Example", to_contact=None)
    assert (changed.group_tag, changed.items) == ("MV Example", task.items)
    assert changed.to_contact in (None, Contact())
    assert changed.version_rev not in (None, task.version_rev)
    with pytest.raises(VersionConflict) as caught:
        await place.gs.platform.tasks.update(task, group_tag="another")
    assert caught.value.task.version_rev == changed.version_rev
    last = await place.gs.platform.tasks.update(changed, group_tag="a third", price=Money.of("1.20", "SGD"))
    assert (last.group_tag, last.price) == ("a third", Money.of("1.20", "SGD"))


async def broadcasts(place: World) -> None:
    """Drafts are broadcast once each, however often they are named, and every one that was named is returned."""
    drafts = (await place.gs.platform.drafts.create(orders(3, "B-"))).tasks
    ids = [draft.id for draft in drafts]
    assert place.simulator.audit()["drafts_by_tracking_id"] == {"B-0": 1, "B-1": 1, "B-2": 1}
    assert all(draft.current_status is not None and draft.current_status.is_draft for draft in drafts)
    for named in (ids[:1], ids, ids):
        updated = (await place.gs.platform.drafts.broadcast(named)).updated_tasks
        assert {task.id for task in updated} == set(named)
    results = [result async for result in place.gs.platform.drafts.broadcast_all(ids, chunk=2)]
    assert all(isinstance(result, Updated) for result in results)
    assert place.simulator.audit()["drafts"] == 0
    assert place.simulator.audit()["doubled"] == {}


async def broadcasts_single(place: World) -> None:
    """The answer to one draft is read, in whatever shape it comes."""
    created = await place.gs.platform.drafts.create([order("S-1")])
    assert len(created.tasks) == 1
    assert created.total_tasks == (1 if place.simulator.options.envelope == "told" else None)


async def tracks(place: World) -> None:
    """Tracking ids arrive, with the broadcast, at a second one, and by themselves."""
    first, second = [draft.id for draft in (await place.gs.platform.drafts.create(orders(2, "X-"))).tasks]
    await place.gs.platform.drafts.broadcast([first])
    await place.gs.platform.drafts.broadcast_with_tracking({first: "TRACK-1", second: "TRACK-2"})
    assert {"TRACK-1", "TRACK-2"} <= set(place.simulator.audit()["by_tracking_id"])
    await place.gs.platform.tasks.patch_tracking_ids({first: "TRACK-3"})
    audit = place.simulator.audit()["by_tracking_id"]
    assert "TRACK-3" in audit
    assert "TRACK-1" not in audit


async def lists(place: World) -> None:
    """Every task and every organization is listed once, whatever a page holds with or without a total."""
    ids = {task.id for task in (await place.gs.platform.tasks.create(orders(7, "L-"))).tasks}
    for per_page in (2, 7, 200):
        found = [task.id async for task in place.gs.platform.tasks.list(per_page=per_page, order="desc")]
        assert set(found) == ids
        assert len(found) == len(ids)
    names = [f"Merchant {number}" for number in range(4)]
    for name in names:
        await place.gs.platform.organizations.create(name)
    assert [each.business_name async for each in place.gs.platform.organizations.list()] == names


async def cancels(place: World) -> None:
    """A cancel is done, also the second one; too late it carries the task."""
    first, second = (await place.gs.tasks.create(orders(2, "K-"))).tasks
    for _ in range(2):
        await place.gs.tasks.cancel(first.id, reason="Wrong information")
    assert (await place.gs.tasks.get(first.id)).current_status == TaskStatus.CANCELLED
    place.simulator.move(second.id, "accepted")
    with pytest.raises(TooLateToCancel) as caught:
        await place.gs.tasks.cancel(second.id, reason="Wrong information")
    assert caught.value.task.current_status == "accepted"


async def prices(place: World) -> None:
    """A route is priced in money, with a vehicle or without; one that has no price is an error, whatever its status."""
    here, there = Address(latitude=1.3, longitude=103.7), Address(latitude=1.31, longitude=103.8)
    quote = await place.gs.prices.recommend(stops=[here, there], service_type="car")
    assert quote.total_fee is not None
    assert quote.total_fee.currency == "SGD"
    assert (await place.gs.prices.recommend(stops=[here, there])).total_fee is not None
    with pytest.raises(BadRequest) as caught:
        await place.gs.prices.recommend(stops=[here, Address(street_address="nobody knows where")], service_type="car")
    if place.simulator.options.error_shape != "empty" or place.simulator.options.price_failure == "code":
        assert "no price" in caught.value.service_message


async def renews(place: World) -> None:
    """A token that the service no longer takes is renewed, again and again."""
    for _ in range(3):
        place.gs.tokens.invalidate(await place.gs.tokens.bearer())
        assert (await place.gs.partner.detail()).name == "Platform Partner"
        with pytest.raises(NotFound):
            await place.gs.tasks.get(NOWHERE)


async def signs_on(place: World) -> None:
    """A person's single sign-on gives tokens, whatever the answer shows of the person."""
    signed = await place.gs.sso.exchange(place.simulator.new_session("platform"))
    assert signed.tokens.refresh is not None
    user = place.simulator.options.sso_user
    assert (signed.user is None) is (user in ("list", "null", "absent"))
    if user in ("names", "objects"):
        assert signed.user is not None
        assert signed.user.email == "platform@example.com"
        assert len(signed.user.roles) == 1


async def waits(place: World) -> None:
    """A call that came too often is made again after the time that the service asked for."""
    planned: asyncio.Queue[RetryPlanned] = asyncio.Queue()

    def note(event: Event) -> None:
        if isinstance(event, RetryPlanned):
            planned.put_nowait(event)

    stop = place.gs.hooks.add(note)
    fault = Fault(
        operation="tasks.create", when="before", kind="status", status=429, headers={"Retry-After": "7"}, times=1
    )
    place.simulator.order_fault(fault)
    call = asyncio.create_task(place.gs.tasks.create([order("W-1")]))
    event = await planned.get()
    assert event.wait == pytest.approx(7)
    clock = place.gs.session.clock
    assert isinstance(clock, ManualClock)
    await clock.advance(event.wait)
    assert len((await call).tasks) == 1
    stop()


DAY: list[Callable[[World], Awaitable[None]]] = [
    creates,
    refuses,
    reads,
    updates,
    broadcasts,
    broadcasts_single,
    tracks,
    lists,
    cancels,
    prices,
    renews,
    signs_on,
    waits,
]


async def a_day(place: World) -> None:
    """Each kind of work once, each in a fresh simulator."""
    for work in DAY:
        place.simulator.reset()
        await place.gs.sign_in(place.simulator.new_code("platform"))
        await work(place)


@pytest.mark.parametrize("switches", [{}, *READINGS])
async def test_a_day_under_every_reading(switches: dict[str, Any]) -> None:
    """Whatever the service makes of an open point, each kind of work of a partner ends as it should."""
    # Where a pickup may not lie in the future, the day begins when that of the orders ends.
    start = order().from_time_window.end_time_utc if "pickup_end" in switches else NOW
    async with world(start=start, **switches) as place:
        await a_day(place)


SHAPES = (
    "blanks",
    "envelope",
    "status_history",
    "unknown_statuses",
    "unnamed_objects",
    "references",
    "attachments",
    "measures",
    "misfits",
    "more_fields",
    "quote_fields",
    "sso_user",
    "meta",
    "updated_tasks",
    "created_fields",
)


@pytest.mark.parametrize("which", [1, -1])
async def test_a_day_with_every_shape_at_once(which: int) -> None:
    """A service that is odd in every way at once is read as one that is odd in one."""
    switches: dict[str, Any] = {name: SWITCHES[name].values[which] for name in SHAPES}
    async with world(**switches) as place:
        await a_day(place)
