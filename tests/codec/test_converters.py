"""`gotsurge_async.codec.converters`: tolerant reading, strict checking, and that everything goes through them."""

import json
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gotsurge_async import Created, Receipt, Task, codec
from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.codec.compiled import Structs
from gotsurge_async.codec.converters import converter
from gotsurge_async.errors import InvalidData, UnreadableAnswer
from gotsurge_async.models.answers import CreatedTasks
from gotsurge_async.models.base import Field, Model, fields_of, is_model
from gotsurge_async.models.platform import OrganizationPage, RoleList
from gotsurge_async.models.tasks import Order, TaskBatch
from gotsurge_async.money import Money
from tests.support.clients import client
from tests.support.orders import answer, order
from tests.support.strategies import json_values, models

NOT_TEXT = [5, 4.5, True, [1], {"a": 1}]
NOT_WHOLE = ["7", 4.5, True, [1], {"a": 1}]
NOT_AMOUNT = [*NOT_WHOLE, "", 4.0]
NOT_NUMBER = ["5", False, [1], {"a": 1}]
NOT_OBJECT = ["text", 5, True, [1]]
NOT_LIST = ["text", 5, {"a": 1}]
NOT_TIME = ["", 1767225600, "yesterday", "2026-01-01", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59", [1]]
MOMENT = "2026-01-01T00:00:00Z"
ODD: dict[str, list[Any]] = {
    **dict.fromkeys(("group_tag", "currency", "pickup_note_to_driver", "current_status", "service_type"), NOT_TEXT),
    "task_creation_group": NOT_TEXT,
    **dict.fromkeys(("platform_id", "org_id"), NOT_TEXT[1:]),
    "version_rev": NOT_TEXT[1:],
    **dict.fromkeys(("cargo_net_quantity", "price", "admin_fee"), NOT_AMOUNT),
    **dict.fromkeys(("distance_in_meters", "total_item_weight"), NOT_NUMBER),
    "is_urgent": [0, 1, "true", [1]],
    **dict.fromkeys(("epod", "org_transporter", "vehicle_emissions", "client", "driver", "to_address"), NOT_OBJECT),
    **dict.fromkeys(("items", "statuses", "attachments"), NOT_LIST),
    **dict.fromkeys(("server_time", "client_time_utc", "updated_at"), NOT_TIME),
    "from_time_window": [
        *NOT_OBJECT,
        {"start_time_utc": MOMENT},
        {"start_time_utc": MOMENT, "end_time_utc": None},
        {"start_time_utc": MOMENT, "end_time_utc": ""},
    ],
}
"""Of a field of a task, values that do not fit it."""


def decoded(tree: Any, cls: type[Any]) -> Any:
    """What reading a tree gives."""
    return codec.decode(msgspec.json.encode(tree), cls)


# --- tolerant reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_an_odd_field_loses_nothing_else(name: str) -> None:
    """What does not fit is kept as it came, told with its path and written back; every task keeps its id."""
    for value in ODD[name]:
        other = "group_tag" if name != "group_tag" else "epod"
        tree = {"tasks": [{"id": "a", "tracking_id": "A", name: value, other: {}}]}
        created = decoded(tree, CreatedTasks)
        (task,) = created.tasks
        assert (task.id, task.tracking_id, task.extra[name]) == ("a", "A", value)
        assert getattr(task, name) in (None, ()), value
        assert [path for path in codec.unreadable(created) if path.startswith(f"tasks[0].{name}")], value
        assert json.loads(codec.encode(created)) == tree


@pytest.mark.parametrize("value", [None, {}, []])
def test_what_says_nothing_is_ordinary(value: Any) -> None:
    """null, {} and [] are no value, whatever the field, the names of a task too: nothing is told of them."""
    for name in {field.name for field in fields_of(Task)} - {"id"}:
        task = decoded({"id": "a", name: value}, Task)
        assert task.id == "a", name
        assert not codec.unreadable(task), name
        assert json.loads(codec.encode(task)) == ({"id": "a"} if value is None else {"id": "a", name: value})


def test_what_is_odd_below_is_odd_where_it_stands() -> None:
    """Inside objects and lists only the odd field is set aside; an item that is none sets its list aside."""
    tree = {
        "id": "a",
        "to_address": {"city": 5, "latitude": 1.3},
        "items": [{"name": "Rope", "weight": "2 kg"}],
        "statuses": [{"status": "accepted"}, {"note": "no status"}, None],
        "driver": {"id": 4, "phone": 6581234567},
    }
    task = decoded(tree, Task)
    assert (task.to_address.city, task.to_address.latitude, task.to_address.extra) == (None, 1.3, {"city": 5})
    assert (task.items[0].name, task.items[0].weight) == ("Rope", None)
    assert (task.statuses, task.driver.id) == ((), "4")
    assert codec.unreadable(task) == {
        "to_address.city": "expected text, not 5",
        "items[0].weight": "expected a number, not '2 kg'",
        "statuses[1].status": "is required but missing",
        "statuses[2]": "expected an object, not None",
        "driver.phone": "expected text, not 6581234567",
    }
    assert json.loads(codec.encode(task)) == tree


@pytest.mark.parametrize("name", ["id", "tracking_id", "invoice_number", "version_rev", "org_id", "platform_id"])
def test_an_id_may_be_a_whole_number(name: str) -> None:
    """It is read as its decimal text, is nothing odd, and is written as it came unless it was changed."""
    tree = {"id": "a", name: 12345678901234567890}
    task = decoded(tree, Task)
    assert getattr(task, name) == "12345678901234567890"
    assert not codec.unreadable(task)
    assert json.loads(codec.encode(task)) == tree
    assert json.loads(codec.encode(attrs.evolve(task, **{name: "b"})))[name] == "b"


@pytest.mark.parametrize(
    ("cls", "tree", "path"),
    [
        (Task, {"tracking_id": "A"}, "id"),
        (Task, {"id": None}, "id"),
        (Task, {"id": {}}, "id"),
        (Task, {"id": True}, "id"),
        (Task, {"id": "a", "tracking_id": ["A"]}, "tracking_id"),
        (CreatedTasks, {"tasks": [{"price": 5}]}, "tasks[0].id"),
        (CreatedTasks, {"tasks": ["task"]}, "tasks[0]"),
        (CreatedTasks, {"tasks": "a"}, "tasks"),
        (OrganizationPage, {"organizations": [{"id": [1]}]}, "organizations[0].id"),
        (RoleList, {"roles": [{"name": "OrgAdmin"}]}, "roles[0].id"),
    ],
)
def test_objects_without_an_identity_are_unreadable(cls: Any, tree: Any, path: str) -> None:
    """An object that is to have a name and has none makes its answer unreadable, and the path is told."""
    with pytest.raises(UnreadableAnswer) as caught:
        decoded(tree, cls)
    assert [problem.path for problem in caught.value.problems] == [path]


# --- the contract -----------------------------------------------------------------------------------------------------

ANSWERS = sorted({endpoint.response for endpoint in ENDPOINTS.values()}, key=lambda cls: cls.__name__)


def is_vital(cls: Any, field: Field) -> bool:
    """Whether the document's answer cannot be told without this field, as design and docstrings have it."""
    return field.required or field.name in cls.IDENTITY or bool(field.many and getattr(field.inner, "IDENTITY", None))


def spoil(tree: dict[str, Any], cls: Any, data: st.DataObject, free: bool = False) -> Any:
    """Put any JSON in the place of one field that is not vital, at any depth; gives it, or None if there is no such.

    Args:
        free: whether the object itself is not vital: then anything in it may be spoilt.
    """
    fields = {field.name: field for field in fields_of(cls) if free or not is_vital(cls, field)}
    below = [field for field in fields_of(cls) if is_model(field.inner) and _objects(tree.get(field.name))]
    if below and (not fields or data.draw(st.booleans())):
        field = data.draw(st.sampled_from(below))
        inner = data.draw(st.sampled_from(_objects(tree[field.name])))
        return spoil(inner, field.inner, data, free or field.name in fields)
    if not fields:
        return None
    name = data.draw(st.sampled_from(sorted(fields)))
    tree[name] = data.draw(json_values)
    return tree[name]


def _objects(value: Any) -> list[Any]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def without_nulls(value: Any, cls: Any) -> Any:
    """A tree without the fields that say nothing, in the objects that a class names: null, and no partial quote."""
    if type(value) is not dict:
        return value
    names = {field.name: field for field in fields_of(cls)}
    kept = {
        name: each
        for name, each in value.items()
        if name not in names or not (each is None or (each is False and names[name].default is False))
    }
    for name in [name for name in kept if name in names and is_model(names[name].inner)]:
        inner = names[name].inner
        each = kept[name]
        listed = type(each) is list and names[name].many
        kept[name] = [without_nulls(one, inner) for one in each] if listed else without_nulls(each, inner)
    return kept


def identity(value: Any) -> list[Any]:
    """What tells an answer's objects apart, from its top down to where they stop having names."""
    names = [getattr(value, name) for name in sorted(value.IDENTITY)]
    inside = [getattr(value, field.name) for field in fields_of(type(value)) if is_vital(type(value), field)]
    listed = [each for many in inside if isinstance(many, tuple) for each in many if isinstance(each, Model)]
    return [names, [identity(each) for each in listed]]


@pytest.mark.slow
@pytest.mark.parametrize("cls", ANSWERS)
def test_any_json_in_any_field_is_read(cls: Any) -> None:
    """Of any answer with any JSON at a field that names nothing: an object, its names right, the rest as it came."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        right = data.draw(models(cls))
        tree = json.loads(codec.encode(right))
        spoilt = spoil(tree, cls, data)
        read = decoded(tree, cls)
        assert isinstance(read, cls)
        assert identity(read) == identity(right)
        assert without_nulls(json.loads(codec.encode(read)), cls) == without_nulls(tree, cls)
        faults = faults_of(tree, cls)
        if spoilt is not None and (spoilt in ({}, []) or type(spoilt) is int):
            assert codec.unreadable(read).keys() <= faults  # it says nothing, or may be an id
        else:
            assert codec.unreadable(read).keys() == faults

    check()


def faults_of(tree: Any, cls: Any) -> set[str]:
    """The paths at which a tree does not fit a class, as checking tells them."""
    try:
        codec.structure(tree, cls)
    except InvalidData as error:
        return {problem.path for problem in error.problems}
    return set()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(models(Task), min_size=1, max_size=3), st.data())
def test_a_create_never_loses_an_id(tasks: list[Task], data: st.DataObject) -> None:
    """Whatever stands beside them, the ids that the answer of a create names are read, whole or as receipts."""
    trees = [json.loads(codec.encode(attrs.evolve(task, id=task.id or "id"))) for task in tasks]
    ids = [tree["id"] for tree in trees]
    for tree in trees:
        for _ in range(data.draw(st.integers(0, 3))):
            spoil(tree, Task, data)
    body = json.dumps({"tasks": trees, "server_time": data.draw(json_values)}).encode()
    assert [task.id for task in codec.decode(body, CreatedTasks).tasks] == ids
    assert [receipt.id for receipt in codec.Codec().decode_receipts(body)] == ids


# --- strict checking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tracking_id", 7, "expected text, not 7"),
        ("cargo_net_quantity", "7", "expected a whole number, not '7'"),
        ("cargo_net_quantity", 12.7, "expected a whole number, not 12.7"),
        ("cargo_net_quantity", 12.0, "expected a whole number, not 12.0"),
        ("cargo_net_quantity", True, "expected a whole number, not True"),
        ("price", "2.00", "expected a whole number of thousandths of a cent, not '2.00'"),
        ("price", 2.5, "expected a whole number of thousandths of a cent, not 2.5"),
        ("price", True, "expected a whole number of thousandths of a cent, not True"),
        ("total_item_weight", "5", "expected a number, not '5'"),
        ("total_item_weight", False, "expected a number, not False"),
        ("items", "ab", "expected a list, not 'ab'"),
        ("items", {"a": 1}, "expected a list, not {'a': 1}"),
        ("epod", [], "expected an object, not []"),
        ("client_time_utc", 1767225600, "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not 1767225600"),
        ("client_time_utc", "yesterday", "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not 'yesterday'"),
        ("client_time_utc", "2026-01-01", "expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not '2026-01-01'"),
        ("from_address", "1 Pioneer Rd", "expected an object, not '1 Pioneer Rd'"),
        ("from_address", None, "expected an object, not None"),
        ("group_tag", {}, "expected text, not {}"),
    ],
)
def test_nothing_that_a_user_gives_is_coerced(field: str, value: Any, message: str) -> None:
    """A value of another type than the field's is refused, with the path of the field."""
    tree = json.loads(codec.encode(TaskBatch(tasks=(order(), order()))))
    tree["tasks"][1][field] = value
    with pytest.raises(InvalidData) as caught:
        codec.structure(tree, TaskBatch)
    assert {problem.path: problem.message for problem in caught.value.problems} == {f"tasks[1].{field}": message}
    with pytest.raises(InvalidData):
        codec.parse(msgspec.json.encode(tree), TaskBatch)


@pytest.mark.parametrize("more", [{}, {"undocumented": 1}])
def test_only_our_own_text_may_have_a_time_without_a_zone(more: dict[str, int]) -> None:
    """A ledger of an earlier version may have one, which is in UTC; in a user's value it is a fault."""
    made = order(extra=more)
    tree = json.loads(codec.encode(made))
    tree["from_time_window"] = {name: time.rstrip("Z") for name, time in tree["from_time_window"].items()}
    assert codec.parse(msgspec.json.encode(tree), Order) == made
    with pytest.raises(InvalidData, match="has no time zone"):
        codec.structure(tree, Order)


def test_every_fault_is_listed_with_its_path() -> None:
    """Checking goes on after the first fault: lists, nested objects and missing fields each give a line."""
    tree = json.loads(codec.encode(order()))
    tree |= {"to_address": {"latitude": "x"}, "items": [{"quantity": 1}, {"quantity": "2"}, "item"], "price": 12.7}
    del tree["service_type"]
    with pytest.raises(InvalidData) as caught:
        codec.structure(tree, Order)
    assert {problem.path: problem.message for problem in caught.value.problems} == {
        "to_address.latitude": "expected a number, not 'x'",
        "items[1].quantity": "expected a number, not '2'",
        "items[2]": "expected an object, not 'item'",
        "price": "expected a whole number of thousandths of a cent, not 12.7",
        "service_type": "is required but missing",
    }


def test_what_is_checked_is_left_as_it_was() -> None:
    """The plain values that are checked are not changed, and whole numbers stay whole."""
    tree = {**json.loads(codec.encode(order())), "total_item_weight": 2, "new": {"x": 1}}
    before = json.dumps(tree)
    checked = codec.structure(tree, Order)
    assert json.dumps(tree) == before
    assert b'"total_item_weight":2,' in codec.encode(checked)


def test_a_long_value_is_shortened() -> None:
    """The message shows at most 60 characters of a value."""
    (message,) = codec.unreadable(decoded({"id": "a", "is_urgent": "x" * 500}, Task)).values()
    assert len(message) < 100


# --- everything goes through the converter ----------------------------------------------------------------------------


async def test_a_push_and_a_read_go_through_the_converter() -> None:
    """Another hook in a session's converter changes what a push and a read give."""
    async with client(lambda _: answer({"id": "a", "tasks": [{"id": "a", "tracking_id": "T-1"}]})) as (gs, _):
        reading = converter(Structs({}), strict=False)
        gs.session.codec.reading = reading
        usual = reading.get_structure_hook(Receipt)
        reading.register_structure_hook(Receipt, lambda given, cls: attrs.evolve(usual(given, cls), id="from the hook"))
        (result,) = [result async for result in gs.platform.tasks.create_all([order()])]
        assert isinstance(result, Created)
        assert result.receipt.id == "from the hook"
        reading.register_structure_hook(Task, lambda given, _: Task(id="a", group_tag="from the hook"))
        assert (await gs.tasks.get("a")).group_tag == "from the hook"


async def test_what_a_push_writes_goes_through_the_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another hook for orders changes what a create sends."""
    strict = converter(Structs({}), strict=True)
    strict.register_unstructure_hook(Order, lambda order: {"tracking_id": order.tracking_id, "note": "from the hook"})
    monkeypatch.setattr("gotsurge_async.codec.text.writing", strict)
    async with client(lambda _: answer({"tasks": [{"id": "a", "tracking_id": "T-1"}]})) as (gs, transport):
        await gs.tasks.create([order()])
    sent = json.loads(transport.sent[0].body or b"")
    assert sent["tasks"] == [{"tracking_id": "T-1", "note": "from the hook"}]


def test_money_of_an_answer_has_its_currency_in_both_converters() -> None:
    """A converter by itself makes the objects that the codec makes."""
    tree = {"id": "a", "price": 5, "currency": "SGD"}
    assert codec.Codec().reading.structure(tree, Task).price == Money(millicents=5, currency="SGD")
    assert codec.checking.unstructure(codec.checking.structure(tree, Task)) == tree
