from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gotsurge_async.simulator.state.tasks import TRANSITIONS, TaskRecord, Tasks, expires_at

from ..kit import Client, order

NAMES = ("", "A", "B", "C")


class TasksMachine(RuleBasedStateMachine):
    """The tasks through any sequence of changes, beside a recount from scratch."""

    @initialize()
    def start(self) -> None:
        self.tasks = Tasks()
        self.records: list[TaskRecord] = []
        self.removed: list[TaskRecord] = []
        self.ids: set[str] = set()
        self.now = 0.0
        self.past: list[tuple[float, list[dict[str, Any]], list[str]]] = []

    @rule()
    def go_on(self) -> None:
        """Let a second pass, and remember how all tasks stood in the one before."""
        self.past.append((self.now, self.tasks.histories(), [r.id for r in self.tasks.listed("me")]))
        self.now += 1.0

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        if self.past:
            place = data.draw(st.integers(0, len(self.past) - 1))
            moment, tasks, listed = self.past[place]
            gone = {record.id for record in self.removed}
            self.tasks.restore(moment)
            assert self.tasks.histories() == [task for task in tasks if task["id"] not in gone]
            assert {record.id for record in self.tasks.listed("me")} == set(listed) - gone
            del self.past[place + 1 :]
            self.records = list(self.tasks.all())

    @rule(data=st.data())
    def read_an_older_state(self, data: st.DataObject) -> None:
        if self.past:
            moment, tasks, listed = data.draw(st.sampled_from(self.past))
            lag = self.now - moment
            gone = {record.id for record in self.removed}
            assert {r.id for r in self.tasks.listed("me", self.now, lag)} == set(listed) - gone
            for task in tasks:
                if task["id"] not in gone:
                    state = self.tasks.seen("me", task["id"], self.now, lag)
                    assert state is not None
                    assert [list(entry) for entry in state.history] == task["history"]
                    assert (state.tracking_id, state.draft) == (task["tracking_id"], task["draft"])

    @rule(name=st.sampled_from(NAMES), draft=st.booleans(), listed=st.booleans())
    def add(self, name: str, draft: bool, listed: bool) -> None:
        status = "pending_broadcast" if draft else "broadcasting"
        record = TaskRecord(
            id=self.tasks.new_id(),
            owner="me",
            source=b"{}",
            tracking_id=name,
            history=((status, self.now),),
            group="",
            preference="marine",
            pickup_end=0.0,
            distance=0,
            updated_at=self.now,
            draft=draft,
        )
        assert record.id not in self.ids
        self.ids.add(record.id)
        self.tasks.add(record, listed=listed or not draft)
        self.records.append(record)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.records:
            record = data.draw(st.sampled_from(self.records))
            self.tasks.remove(record.id)
            self.records.remove(record)
            self.removed.append(record)
            with pytest.raises(LookupError):
                self.tasks.find(record.id)

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def set_tracking_id(self, data: st.DataObject, name: str) -> None:
        if self.records:
            self.tasks.set_tracking_id(data.draw(st.sampled_from(self.records)), name, self.now)

    @rule(data=st.data(), status=st.sampled_from(["broadcasting", "cancelled", "accepted"]))
    def move(self, data: st.DataObject, status: str) -> None:
        if self.records:
            self.tasks.move(data.draw(st.sampled_from(self.records)).id, status, self.now, force=True)

    @invariant()
    def counts_are_those_of_a_recount(self) -> None:
        """What the audit keeps is what counting all over again gives."""
        if not hasattr(self, "tasks"):
            return
        counted = [*self.records, *(record for record in self.removed if not record.draft)]
        assert self.tasks.audit() == recount(counted)
        for name in NAMES[1:]:
            assert self.tasks.in_use(name, drafts_too=True) == any(r.tracking_id == name for r in counted)

    @invariant()
    def every_task_is_listed_once(self) -> None:
        """Task List shows every broadcast task once, and no draft that was to be hidden."""
        if hasattr(self, "tasks"):
            listed = self.tasks.listed("me")
            assert {record.id for record in listed} <= {record.id for record in self.records}
            assert len(listed) == len({record.id for record in listed})
            assert {r.id for r in self.records if not r.draft} <= {r.id for r in listed}


def recount(records: list[TaskRecord]) -> dict[str, Any]:
    shown = Counter(r.tracking_id for r in records if not r.draft)
    drafts = Counter(r.tracking_id for r in records if r.draft)
    tracked = {name: count for name, count in shown.items() if name}
    return {
        "tasks": shown.total(),
        "by_tracking_id": tracked,
        "doubled": {name: count for name, count in tracked.items() if count > 1},
        "drafts": drafts.total(),
        "drafts_by_tracking_id": {name: count for name, count in drafts.items() if name},
    }


TestTasks = TasksMachine.TestCase
TestTasks.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_two_simulators_give_out_different_ids() -> None:
    """The ids of one simulator are not those of another."""
    assert Tasks().new_id() != Tasks().new_id()


def test_a_group_is_no_task() -> None:
    """The id of a group of tasks is never the id of a task."""
    tasks = Tasks()
    assert tasks.new_group() != tasks.new_id()


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
    with pytest.raises(ValueError, match=r"from broadcasting to complete; possible statuses: accepted, cancelled, exp"):
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
    with pytest.raises(ValueError, match="from expired to accepted; possible statuses: none"):
        plain.simulator.move(task_id, "accepted")


times = st.floats(0, 4e9)


@given(st.sampled_from(["all", "squad", "marine"]), times, times)
def test_a_broadcast_lasts_a_while(preference: str, pickup_end: float, broadcast_at: float) -> None:
    """A broadcast never ends before it began, not even one for a pickup that is over."""
    assert expires_at(preference, pickup_end, broadcast_at) > broadcast_at
