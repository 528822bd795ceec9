import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.life import TRANSITIONS, expires_at

from .kit import Client, order

HAPPY = [
    "accepted", "pending_pickup", "pickup_arriving", "pending_delivery", "delivery_arriving", "complete",
]  # fmt: skip
TERMINAL = {"complete", "cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery"}
PICKUP_END = 28 * 3600.0
"""Seconds from the start of the tests' clock to the end of the pickup window of their orders."""


async def create(client: Client, **changes: object) -> str:
    answer = await client.create(order(**changes))
    task_id: str = answer.json["tasks"][0]["id"]
    return task_id


def test_the_transitions_are_the_documents() -> None:
    """Every status that follows another is one itself, and the terminal ones are followed by none."""
    assert set().union(*TRANSITIONS.values()) <= set(TRANSITIONS)
    assert {status for status, following in TRANSITIONS.items() if not following} == TERMINAL


async def test_a_task_lives_to_its_end(plain: Client) -> None:
    """A task goes through the statuses of the document; a driver appears when it is accepted."""
    task_id = await create(plain)
    assert (await plain.get(f"/tasks/{task_id}"))["driver"] is None
    for status in HAPPY:
        plain.simulator.advance(60)
        plain.simulator.move(task_id, status)
        assert await plain.status(task_id) == status
    task = await plain.get(f"/tasks/{task_id}")
    assert set(task["driver"]) == {"id", "name", "phone", "vehicle_name"}
    assert [entry["status"] for entry in task["statuses"]] == ["broadcasting", *HAPPY]
    assert task["statuses"][-1]["updated_at"] == task["updated_at"] == "2026-01-01T00:06:00Z"


async def test_a_leap_is_refused_unless_forced(plain: Client) -> None:
    """A status that does not follow is refused, the ones that may are named, and force lets it follow."""
    task_id = await create(plain)
    with pytest.raises(ValueError, match=r"complete does not follow broadcasting; what may: accepted, cancelled, exp"):
        plain.simulator.move(task_id, "complete")
    assert await plain.status(task_id) == "broadcasting"
    plain.simulator.move(task_id, "complete", force=True)
    assert await plain.status(task_id) == "complete"
    with pytest.raises(ValueError, match="there is no status 'done'"):
        plain.simulator.move(task_id, "done", force=True)
    with pytest.raises(LookupError, match="there is no task 'none'"):
        plain.simulator.move("none", "accepted")


@pytest.mark.parametrize("status", ["broadcasting", *HAPPY])
async def test_only_what_is_still_broadcast_is_cancelled(plain: Client, status: str) -> None:
    """A cancel is refused as soon as a driver has accepted, and the task stays what it is."""
    task_id = await create(plain)
    if status != "broadcasting":
        plain.simulator.move(task_id, status, force=True)
    answer = await plain.call("POST", f"/tasks/{task_id}/cancel", {"reason": "x"})
    assert answer.status == (200 if status == "broadcasting" else 409)
    assert await plain.status(task_id) == ("cancelled" if status == "broadcasting" else status)


@pytest.mark.parametrize(
    ("preference", "end"), [("squad", PICKUP_END - 1800), ("all", PICKUP_END), ("marine", float("inf"))]
)
async def test_a_broadcast_ends_by_the_clock(plain: Client, preference: str, end: float) -> None:
    """The squad's broadcast ends half an hour before the pickup window, a standard one with it, a marine one never."""
    task_id = await create(plain, broadcast_preference=preference)
    plain.simulator.advance(min(end, PICKUP_END) - 1)
    assert await plain.status(task_id) == "broadcasting"
    plain.simulator.advance(1)
    assert await plain.status(task_id) == ("broadcasting" if preference == "marine" else "expired")
    if preference != "marine":
        answer = await plain.call("POST", f"/tasks/{task_id}/cancel", {"reason": "x"})
        assert answer.status == 409


async def test_what_was_accepted_does_not_expire(plain: Client) -> None:
    """A task that a driver accepted in time lives on."""
    task_id = await create(plain)
    plain.simulator.move(task_id, "accepted")
    plain.simulator.advance(20 * 86400)
    assert await plain.status(task_id) == "accepted"


async def test_nobody_accepts_what_has_expired(plain: Client) -> None:
    """A broadcast that is over cannot be accepted, whether or not somebody looked."""
    task_id = await create(plain)
    plain.simulator.advance(PICKUP_END)
    with pytest.raises(ValueError, match="accepted does not follow expired; what may: nothing"):
        plain.simulator.move(task_id, "accepted")


times = st.floats(0, 4e9)


@given(st.sampled_from(["all", "squad", "marine"]), times, times)
def test_a_broadcast_lasts_a_while(preference: str, pickup_end: float, broadcast_at: float) -> None:
    """A broadcast never ends before it began, not even one for a pickup that is over."""
    assert expires_at(preference, pickup_end, broadcast_at) > broadcast_at


@given(times, times)
def test_a_broadcast_does_not_last_for_ever(pickup_end: float, broadcast_at: float) -> None:
    """A standard broadcast lasts two weeks at most."""
    assert expires_at("all", pickup_end, broadcast_at) <= broadcast_at + 14 * 86400
