"""Operations that converge: what became of a cancel, an update or a broadcast is found out by reading."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from gotsurge_async import (
    Address,
    CargoDetail,
    Conflict,
    Contact,
    InvalidData,
    Money,
    OutcomeUnknown,
    Rejected,
    Task,
    UsageError,
    VersionConflict,
)
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import MaybeSent, Request, Response
from tests.support.clients import client
from tests.support.orders import NOW, answer, order, window
from tests.support.world import World, world

UPDATE = "platform.tasks.update"


async def a_task(place: World) -> Task:
    """A task of the simulator, as it is read."""
    created = await place.gs.platform.tasks.create([order()])
    return await place.gs.platform.tasks.get(created.tasks[0].id)


class Service:
    """A task that refuses, loses and changes as the test orders it."""

    def __init__(self, *fates: str, shows_revision: bool = True) -> None:
        self.fates = list(fates)
        self.task: dict[str, Any] = {"id": "t", "group_tag": "old"}
        self.revision = 1
        self.shows_revision = shows_revision
        self.updates = 0

    def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return answer(self.view())
        self.updates += 1
        changes = msgspec.json.decode(request.body or b"")
        fate = self.fates.pop(0) if self.fates else "done"
        if fate == "others":
            self.task["group_tag"] = "theirs"
            self.revision += 1
            raise MaybeSent("broke")
        if fate == "lost before":
            raise MaybeSent("broke")
        if fate.isdigit():
            return answer({"message": "no"}, int(fate))
        if changes.pop("version_rev") != f"{self.revision}-a":
            return answer({"message": "stale"}, 409)
        self.task |= changes
        self.revision += 1
        if fate == "lost after":
            raise MaybeSent("broke")
        return answer(self.view())

    def view(self) -> dict[str, Any]:
        return self.task | ({"version_rev": f"{self.revision}-a"} if self.shows_revision else {})


async def test_only_what_is_given_goes_out() -> None:
    """A field that is not named is not sent, None is sent as null, and values are written as in a create."""
    async with client([answer({"id": "t"})]) as (gs, transport):
        await gs.platform.tasks.update(
            "t",
            version_rev="0-a",
            to_address=Address(zip_code="619110"),
            to_contact=None,
            from_time_window=window(timedelta(days=1)),
            client_time_utc=datetime.fromisoformat("2026-01-01T08:00:00+08:00"),
            vehicle_preference="hovercraft",
            cargo_details=(CargoDetail(name="Rope", quantity=2),),
            epod={"photos": 2},
            max_price=Money.of("15", "SGD"),
        )
    assert msgspec.json.decode(transport.sent[0].body or b"") == {
        "to_address": {"zip_code": "619110"},
        "to_contact": None,
        "from_time_window": {"start_time_utc": "2026-01-02T00:00:00Z", "end_time_utc": "2026-01-02T02:00:00Z"},
        "client_time_utc": "2026-01-01T00:00:00Z",
        "vehicle_preference": "hovercraft",
        "cargo_details": [{"name": "Rope", "quantity": 2}],
        "epod": {"photos": 2},
        "max_price": 1_500_000,
        "currency": "SGD",
        "version_rev": "0-a",
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"items": ()}, "items of a task cannot be changed"),
        ({"attachments": ()}, "attachments cannot be changed"),
        ({"driver": None}, "driver is not assigned"),
        ({"current_status": "complete"}, "not completed"),
        ({"currency": "SGD"}, "given with its amount"),
        ({"grop_tag": "x"}, "did you mean group_tag"),
        ({"price": Money(millicents=1, currency="")}, "has no currency"),
        ({"price": Money.of(5, "SGD"), "max_price": Money.of(5, "USD")}, "USD"),
    ],
)
async def test_what_cannot_be_updated_is_not_sent(changes: dict[str, Any], reason: str) -> None:
    """What the document forbids, a field that is none, and money without or in two currencies are refused here."""
    async with client([]) as (gs, transport):
        with pytest.raises(ValueError, match=reason):
            await gs.platform.tasks.update("t", version_rev="0-a", **changes)
        assert transport.sent == []


@pytest.mark.parametrize(
    "changes",
    [
        {"total_item_weight": float("nan")},
        {"total_item_weight": float("inf")},
        {"to_address": Address(latitude=float("nan"), longitude=1.0)},
        {"price": Money.of("5", "SGD"), "min_price": Money.of("5", "USD")},
        {"price": 500_000},
        {"client_time_utc": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
async def test_values_that_are_none_are_invalid_data(changes: dict[str, Any]) -> None:
    """No finite number, two currencies or none, and a time without a zone are refused, and never sent as null."""
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData):
            await gs.platform.tasks.update("t", version_rev="0-a", **changes)
    assert transport.sent == []


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"to_contact": "Bob"}, "to_contact", "expected a Contact, not str 'Bob'"),
        ({"to_contact": {"nmae": "Bob"}}, "to_contact.nmae", 'did you mean "name"?'),
        ({"to_address": {"latitude": "1"}}, "to_address.latitude", "expected a number, not '1'"),
        ({"to_time_window": {"start_time_utc": NOW}}, "to_time_window.end_time_utc", "is required but missing"),
        ({"cargo_details": [CargoDetail(), {"quantity": "2"}]}, "cargo_details[1].quantity", "expected a number"),
        ({"cargo_details": {"name": "Rope"}}, "cargo_details", "give a list or another iterable, not dict"),
        ({"pickup_note_to_driver": 5}, "pickup_note_to_driver", "expected text, not 5"),
        ({"vehicle_preference": 5}, "vehicle_preference", "expected text, not 5"),
        ({"epod": 5}, "epod", "expected an object, not 5"),
        ({"price": 500_000}, "price", "a bare number has no unit"),
    ],
)
async def test_a_value_that_does_not_fit_is_reported(changes: dict[str, Any], path: str, said: str) -> None:
    """An update is as strict as an order, in a dict and in an object; all faults are reported, and nothing is sent."""
    wrong = changes | {"admin_fee": 7, "to_contact": {"phone": 5}} if "to_contact" not in changes else changes
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData) as caught:
            await gs.platform.tasks.update("t", version_rev="0-a", **wrong)
    faults = {problem.path: problem.message for problem in caught.value.problems}
    assert said in faults[path]
    assert set(faults) == ({path, "admin_fee", "to_contact.phone"} if wrong is not changes else {path})
    assert transport.sent == []


async def test_a_dict_is_sent_as_it_was_when_it_was_given() -> None:
    """An object may be a dict; one that is changed while the answer is lost changes nothing of what is sent again."""
    address: dict[str, Any] = {"zip_code": "619110"}
    epod: dict[str, Any] = {"photos": {"least": 2}}
    bodies: list[Any] = []

    def service(request: Request) -> Response:
        if request.method == "GET":
            return answer({"id": "t", "version_rev": "0-a"})
        bodies.append(msgspec.json.decode(request.body or b""))
        address["zip_code"], epod["photos"]["least"] = "other", 9
        if len(bodies) == 1:
            raise MaybeSent("broke")
        return answer({"id": "t", "version_rev": "0-b"})

    async with client(service) as (gs, _):
        task = await gs.platform.tasks.update("t", version_rev="0-a", to_address=address, epod=epod)
    assert task.version_rev == "0-b"
    as_given = {"to_address": {"zip_code": "619110"}, "epod": {"photos": {"least": 2}}, "version_rev": "0-a"}
    assert bodies == [as_given, as_given]


async def test_every_forbidden_field_is_reported() -> None:
    """All fields that cannot be updated are reported together, by their names."""
    changes: dict[str, Any] = {"items": (), "driver": None, "group_tag": "fine"}
    async with client([]) as (gs, _):
        with pytest.raises(InvalidData) as caught:
            await gs.platform.tasks.update("t", version_rev="0-a", **changes)
    assert [problem.path for problem in caught.value.problems] == ["items", "driver"]


async def test_the_revision_is_owed() -> None:
    """An id alone, a task without a revision, and an update without changes are usage errors."""
    async with client([answer({"id": "t"})]) as (gs, transport):
        task = await gs.platform.tasks.get("t")
        for call, reason in (
            (gs.platform.tasks.update("t", group_tag="x"), "give the task that you read, or version_rev"),
            (gs.platform.tasks.update(task, group_tag="x"), "this update needs version_rev"),
            (gs.platform.tasks.update("t", version_rev="0-a"), "at least one field"),
        ):
            with pytest.raises(UsageError, match=reason):
                await call
        assert len(transport.sent) == 1


async def test_a_stale_revision_carries_the_newest_task() -> None:
    """A conflict says both revisions, and its task can be updated at once."""
    async with world() as place:
        task = await a_task(place)
        await place.gs.platform.tasks.update(task, group_tag="theirs")
        with pytest.raises(VersionConflict, match=f"based on revision {task.version_rev}") as caught:
            await place.gs.platform.tasks.update(task, group_tag="mine")
        newest = caught.value.task
        assert newest.group_tag == "theirs"
        mine = await place.gs.platform.tasks.update(newest, group_tag="mine")
        assert mine.group_tag == "mine"
        with pytest.raises(VersionConflict):  # a revision that is given goes before the task's
            await place.gs.platform.tasks.update(mine, version_rev=task.version_rev, group_tag="three")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "status", "garbage", "half"])
async def test_a_lost_answer_converges(when: Any, kind: Any) -> None:
    """Lost before the effect or after it, the change is made once, and the task comes back with its new revision."""
    async with world() as place:
        task = await a_task(place)
        place.simulator.order_fault(Fault(operation=UPDATE, when=when, kind=kind, times=1))
        changed = await place.gs.platform.tasks.update(task, group_tag="MV Example", to_contact=None)
        assert changed.version_rev is not None
        assert changed.version_rev.startswith("1-")
        assert (changed.group_tag, changed.to_contact) == ("MV Example", None)
        assert place.simulator.audit()["calls"][UPDATE] == (1 if when == "after" else 2)


async def test_lost_twice() -> None:
    """A repeat whose answer is lost too is found done, and an update lost every time is in doubt after three tries."""
    service = Service("lost before", "lost after")
    async with client(service) as (gs, _):
        changed = await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
    assert (changed.group_tag, service.revision, service.updates) == ("new", 2, 2)
    service = Service(*["lost before"] * 9)
    async with client(service) as (gs, _):
        with pytest.raises(OutcomeUnknown):
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
    assert service.updates == 3


async def test_lost_and_another_change_was_first() -> None:
    """A lost update after which the task has another's revision and value is a conflict, and is not sent again."""
    service = Service("others")
    async with client(service) as (gs, _):
        with pytest.raises(VersionConflict, match="does not show your changes") as caught:
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
    assert caught.value.task.group_tag == "theirs"
    assert service.updates == 1


async def test_lost_where_tasks_show_no_revision() -> None:
    """Where the service shows no revision, the changes themselves show whether they were made."""
    for fate, updates in (("lost after", 1), ("lost before", 2)):
        service = Service(fate, shows_revision=False)
        async with client(service) as (gs, _):
            changed = await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
        assert (changed.group_tag, service.updates) == ("new", updates)


@pytest.mark.parametrize("shows_revision", [True, False])
async def test_a_refusal_for_another_reason_stays_one(shows_revision: bool) -> None:
    """A refusal while the task has our revision is the service's own; 409 without a revision is a conflict."""
    async with client(Service("422", shows_revision=shows_revision)) as (gs, _):
        with pytest.raises(Rejected) as caught:
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
        assert not isinstance(caught.value, VersionConflict)
    async with client(Service("409", shows_revision=shows_revision)) as (gs, _):
        with pytest.raises(Conflict) as caught:
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
        assert isinstance(caught.value, VersionConflict) is not shows_revision
        assert getattr(caught.value, "task", None) is None


async def test_a_stale_revision_refused_by_another_status() -> None:
    """A service that refuses a stale revision with 422 is understood: the task tells."""
    service = Service("422")
    service.revision = 2
    async with client(service) as (gs, _):
        with pytest.raises(VersionConflict):
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")


@pytest.mark.parametrize("status", [403, 404, 413, 429])
async def test_refusals_that_say_nothing_of_the_revision(status: int) -> None:
    """Refusals of the caller, of the task or of the rate are raised as they are, and the task is not read."""
    async with client(lambda _: answer({"message": "no"}, status)) as (gs, transport):
        with pytest.raises(Rejected) as caught:
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
        assert caught.value.status == status
        assert {request.method for request in transport.sent} == {"PATCH"}


async def test_a_task_that_cannot_be_read_afterwards() -> None:
    """When the task cannot be read, what became of the update is the error, not the failed read."""
    async with client([MaybeSent("broke"), answer({"message": "no"}, 403)]) as (gs, _):
        with pytest.raises(OutcomeUnknown, match="broke") as caught:
            await gs.platform.tasks.update("t", version_rev="1-a", group_tag="new")
        assert caught.value.operation == UPDATE


async def test_changes_are_recognized_whatever_their_shape() -> None:
    """A lost update of addresses, windows, money and lists is recognized in the task that is read."""
    read = {
        "id": "t",
        "version_rev": "2-a",
        "to_address": {"zip_code": "619110", "latitude": 1.3},
        "from_time_window": {"start_time_utc": "2026-01-02T08:00:00+08:00", "end_time_utc": "2026-01-02T02:00:00"},
        "cargo_details": [{"name": "Rope", "quantity": 2.0, "weight": 1}],
        "price": 500_000,
        "currency": "SGD",
    }
    async with client([MaybeSent("broke"), answer(read)]) as (gs, _):
        changed = await gs.platform.tasks.update(
            "t",
            version_rev="1-a",
            to_address=Address(zip_code="619110"),
            from_time_window=window(timedelta(days=1)),
            cargo_details=(CargoDetail(name="Rope", quantity=2),),
            price=Money.of(5, "SGD"),
            group_tag=None,
        )
    assert changed.version_rev == "2-a"


def shown(**fields: Any) -> list[Any]:
    """A lost answer, and a task with a newer revision."""
    return [MaybeSent("broke"), answer({"id": "t", "version_rev": "2-a", **fields})]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"org_id": "5"}, {"org_id": 5}),
        ({"group_tag": "5"}, {"group_tag": 5}),
        ({"total_item_weight": 2}, {"total_item_weight": "2"}),
        ({"total_item_weight": 2}, {"total_item_weight": "2.0"}),
        ({"total_item_weight": 2.5}, {"total_item_weight": "2.50"}),
        ({"cargo_net_quantity": 7}, {"cargo_net_quantity": 7.0}),
        ({"price": Money.of(5, "SGD")}, {"price": "500000", "currency": "SGD"}),
        ({"to_contact": Contact(name="M", vessel_imo=9074729)}, {"to_contact": {"name": "M", "vessel_imo": "9074729"}}),
        ({"cargo_details": (CargoDetail(quantity=2),)}, {"cargo_details": [{"quantity": "2"}]}),
    ],
)
async def test_the_form_of_a_value_does_not_matter(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """A lost update is recognized where numbers come as text and ids as numbers."""
    async with client(shown(**fields)) as (gs, _):
        changed = await gs.platform.tasks.update("t", version_rev="1-a", **changes)
    assert changed.version_rev == "2-a"


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"total_item_weight": 2}, {"total_item_weight": "2 kg"}),
        (
            {"to_time_window": window(timedelta(days=1))},
            {"to_time_window": {"start_time_utc": None, "end_time_utc": ""}},
        ),
        ({"to_contact": None}, {"to_contact": ["old"]}),
        ({"to_contact": Contact(vessel_imo=9074729)}, {"to_contact": {"vessel_imo": ["x"]}}),
        ({"group_tag": "x"}, {}),
    ],
)
async def test_what_cannot_be_compared_is_in_doubt(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """Where the task has changed and does not show a field so that it can be compared, the outcome is unknown."""
    async with client(shown(**fields)) as (gs, transport):
        with pytest.raises(OutcomeUnknown, match="cannot be compared with your changes"):
            await gs.platform.tasks.update("t", version_rev="1-a", **changes)
    assert [request.method for request in transport.sent] == ["PATCH", "GET"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"group_tag": "1"}, {"group_tag": "1.0"}),
        ({"total_item_weight": 2}, {"total_item_weight": 3.0}),
        ({"org_id": "5"}, {"org_id": 6}),
    ],
)
async def test_other_values_are_a_conflict(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """A value that can be compared and is another comes from another change: a conflict."""
    async with client(shown(**fields)) as (gs, _):
        with pytest.raises(VersionConflict):
            await gs.platform.tasks.update("t", version_rev="1-a", **changes)
