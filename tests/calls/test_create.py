"""`gotsurge_async.calls.create`: which order an answer is about, and what an error says of each."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.api.endpoints import TASKS_CREATE
from gotsurge_async.calls.create import (
    Created,
    Identity,
    InDoubt,
    PushStream,
    Refused,
    Unprocessed,
    create_chunk,
    match,
    results_of_error,
    results_of_receipts,
    stops_all,
)
from gotsurge_async.errors import (
    BadRequest,
    ClientClosed,
    ConfigError,
    Forbidden,
    GotSurgeError,
    NotSent,
    OutcomeUnknown,
    PayloadTooLarge,
    RateLimited,
    SignInNeeded,
    Unauthorized,
)
from gotsurge_async.models.tasks import Receipt
from tests.calls.rig import Rig
from tests.support.clients import client
from tests.support.orders import answer, order

names = st.none() | st.sampled_from(["A", "B", "C"])
identities = st.lists(st.tuples(names, names), max_size=6)


def receipt(number: int, tracking_id: str | None, invoice_number: str | None = None) -> Receipt:
    """A receipt with an id of its own."""
    return Receipt(id=f"task-{number}", tracking_id=tracking_id, invoice_number=invoice_number)


def contradict(identity: Identity, found: Receipt) -> bool:
    """Whether the two name different things."""
    pairs = ((identity[0], found.tracking_id), (identity[1], found.invoice_number))
    return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)


receipts = st.lists(st.tuples(names, names), max_size=6).map(
    lambda pairs: [receipt(number, *pair) for number, pair in enumerate(pairs)]
)


@given(identities, receipts)
@example([("A", "B"), ("A", "C")], [receipt(0, "A", "C"), receipt(1, "A", "B")])
def test_a_match_never_contradicts_and_never_repeats(wanted: list[Identity], answered: list[Receipt]) -> None:
    """Whatever is answered, no receipt is given twice, and none to an order that is named otherwise."""
    found = match(wanted, answered)
    assert len(found) == len(wanted)
    given_out = [each.id for each in found if each]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= {each.id for each in answered}
    assert not any(each and contradict(identity, each) for identity, each in zip(wanted, found, strict=True))


@given(st.integers(0, 20).flatmap(lambda count: st.permutations(range(count))), st.integers(0, 20))
def test_a_shuffled_answer_is_matched_by_tracking_id(order: list[int], lost: int) -> None:
    """With tracking ids of their own, each order finds its task in any order of the answer; a lost one finds none."""
    wanted = [(f"T-{number}", None) for number in range(len(order))]
    answered = [receipt(number, f"T-{number}") for number in order if number != lost]
    found = match(wanted, answered)
    assert [each.id if each else None for each in found] == [
        None if number == lost else f"task-{number}" for number in range(len(order))
    ]


@given(st.permutations(range(5)), st.lists(st.sampled_from(["both", "tracking", "invoice"]), min_size=5, max_size=5))
def test_each_order_is_found_by_what_is_echoed(order: list[int], echoes: list[str]) -> None:
    """Where tracking ids are not echoed invoice numbers serve, mixed too."""
    wanted = [(f"T-{number}", f"I-{number}") for number in range(5)]
    answered = [
        receipt(
            number,
            f"T-{number}" if echoes[number] != "invoice" else None,
            f"I-{number}" if echoes[number] != "tracking" else None,
        )
        for number in order
    ]
    assert [each and each.id for each in match(wanted, answered)] == [f"task-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("wanted", "answered", "found"),
    [
        # nothing echoed: by position, if the counts agree
        ([("A", None), ("B", None)], [(None, None), (None, None)], [0, 1]),
        ([(None, None), (None, None)], [(None, None), (None, None)], [0, 1]),
        ([("A", None), ("B", None)], [(None, None)], [None, None]),
        ([("A", None)], [(None, None), (None, None)], [None]),
        # one is echoed where it belongs: the others stand where they stood
        ([("A", None), ("B", None)], [("A", None), (None, None)], [0, 1]),
        # one is echoed elsewhere: the answer is shuffled, and positions say nothing
        ([("A", None), ("B", None), ("C", None)], [(None, None), (None, None), ("B", None)], [None, 2, None]),
        # another name in the place of an order
        ([("A", None), ("B", None)], [("A", None), ("X", None)], [0, None]),
        # it names an order that was not sent: then the nameless may be of the same strange answer
        ([("A", None), ("B", None)], [("X", None), (None, None)], [None, None]),
        ([("A", "1")], [("A", "2")], [None]),
        ([("A", "1"), ("A", "2")], [("A", "2"), ("A", "1")], [1, 0]),
        # tracking ids that are not unique, in their order
        ([("A", None), ("A", None)], [("A", None), ("A", None)], [0, 1]),
        ([("A", None), ("A", None)], [("A", None)], [None, None]),
        # a name of several orders identifies none of them, wherever it stands
        ([("A", "I"), ("B", "I")], [(None, "I")], [None, None]),
        ([("A", "I"), ("B", "I")], [(None, "I"), ("A", "I")], [1, None]),
        ([("A", "I"), ("B", "I"), ("C", "J")], [(None, "I"), (None, "J"), (None, "I")], [None, None, 1]),
        # the other name does, and so does an answer that has both
        ([("A", "1"), ("A", "2")], [("A", "2")], [None, 0]),
        ([("A", None), ("A", "2")], [("A", "2"), ("A", None)], [None, 0]),
        # an order's own task is not doubted for the name that it shares with another order
        ([("A", "I"), ("B", "I")], [("A", None), (None, "I"), (None, "I")], [0, None]),
        ([], [("A", None)], []),
    ],
)
def test_what_is_not_named_is_matched_with_care(
    wanted: Sequence[tuple[str | None, str | None]],
    answered: Sequence[tuple[str | None, str | None]],
    found: Sequence[int | None],
) -> None:
    """Positions count only if as many came as went, and nothing in the answer stands elsewhere."""
    given_out = match(list(wanted), [receipt(number, *names) for number, names in enumerate(answered)])
    assert [int(each.id[5:]) if each else None for each in given_out] == list(found)


def test_after_reads_no_position_decides_between_orders_that_share_a_name() -> None:
    """A whole answer whose tasks name two orders each is matched by position only where no read could tell."""
    wanted: list[Identity] = [("A", "I"), ("B", "I"), ("C", None), ("D", None)]
    answered = [receipt(0, None, "I"), receipt(1, None, "I"), receipt(2, None), receipt(3, "D")]
    assert match(wanted, answered) == answered
    assert match(wanted, answered, shared_by_place=False) == [None, None, *answered[2:]]


@pytest.mark.parametrize(
    ("answered", "found"),
    [
        # no names, and one task stands twice: whose the others are is a guess as well
        ([(0, None), (1, None), (1, None)], [None, None, None]),
        # it says whose it is, and is that one's once
        ([(0, "A"), (1, "B"), (1, "B")], ["task-0", "task-1", None]),
        # twice, and a third without a name: as many are left as were sent, and it may be any
        ([(1, None), (1, None), (0, None), (2, None), (3, None)], [None, None, None]),
        # it says that it is two orders'
        ([(0, "A"), (1, "B"), (1, "C")], ["task-0", None, None]),
    ],
)
def test_a_task_is_one_orders(answered: Sequence[tuple[int, str | None]], found: Sequence[str | None]) -> None:
    """A task that stands twice in an answer belongs to no order, unless it names its order both times."""
    wanted: list[Identity] = [("A", None), ("B", None), ("C", None)]
    given_out = match(wanted, [receipt(number, name) for number, name in answered])
    assert [each.id if each else None for each in given_out] == list(found)


def test_an_order_without_a_task_is_in_doubt() -> None:
    """An order that the answer does not name is in doubt, and its error says how many tasks came."""
    results = results_of_receipts(["a", "b"], [("A", None), ("B", None)], [receipt(0, "B")], "tasks.create", 200)
    missing, created = results
    assert created == Created(order="b", receipt=receipt(0, "B"))
    assert isinstance(missing, InDoubt)
    assert missing.order == "a"
    assert str(missing.error).startswith("tasks.create: HTTP 200: ")
    assert "no task in the answer is certainly for this order" in str(missing.error)


def test_an_order_with_two_tasks_is_in_doubt() -> None:
    """Where an answer names two tasks for one order both are named: a living double must not be forgotten."""
    answered = [receipt(0, "A"), receipt(1, "A"), receipt(2, "B"), receipt(3, "X"), receipt(4, "B", "other")]
    doubled, created = results_of_receipts(["a", "b"], [("A", "I"), ("B", "I")], answered, "tasks.create", 207)
    assert created == Created(order="b", receipt=receipt(2, "B"))
    assert isinstance(doubled, InDoubt)
    assert "tasks.create: HTTP 207: the answer names more than one task for this order: task-0, task-1" in str(
        doubled.error
    )


@pytest.mark.parametrize(
    ("error", "cls", "stops"),
    [
        (OutcomeUnknown("lost"), InDoubt, False),
        (BadRequest("no", status=422), Refused, False),
        (PayloadTooLarge("no", status=413), Refused, False),
        (NotSent("refused"), Unprocessed, False),
        (RateLimited("slow down", status=429), Unprocessed, False),
        (Unauthorized("no", status=401), Unprocessed, True),
        (Forbidden("no", status=403), Unprocessed, True),
        (SignInNeeded(), Unprocessed, True),
    ],
)
def test_an_error_says_the_same_of_each_order(error: GotSurgeError, cls: type, stops: bool) -> None:
    """Unknown is in doubt, a refusal refuses, what never left is unprocessed, and some errors stop the push."""
    results = results_of_error(["a", "b"], error)
    assert [type(result) for result in results] == [cls, cls]
    assert [result.order for result in results] == ["a", "b"]
    assert all(not isinstance(result, Created) and result.error is error for result in results)
    assert stops_all(error) is stops


@pytest.mark.parametrize("error", [ClientClosed("closed"), ConfigError("token file"), GotSurgeError("?")])
def test_an_error_that_says_nothing_of_orders_is_raised(error: GotSurgeError) -> None:
    """What is no outcome of a call is no result of an order."""
    with pytest.raises(type(error)) as caught:
        results_of_error(["a"], error)
    assert caught.value is error


def test_nothing_is_matched_by_place_when_something_was_left_out() -> None:
    """If a task of the answer cannot be matched, the position of the others proves nothing, whatever the counts."""
    answered = codec.Codec().decode_receipts(b'{"tasks":[null,{"id":"1"},{"id":"2","tracking_id":"B"}]}')
    found = match([("A", None), ("B", None)], answered)
    assert [each.id if each else None for each in found] == [None, "2"]


async def test_a_name_in_extra_is_matched() -> None:
    """An order whose tracking id stands in ``extra`` is sent with it, and matched by it, not by its place."""
    orders = [order(None, extra={"tracking_id": name}) for name in ("X", 7)]
    tasks = [{"id": "id-7", "tracking_id": 7}, {"id": "id-X", "tracking_id": "X"}]
    async with Rig([answer({"tasks": tasks})]) as rig:
        stream = PushStream(rig.session, TASKS_CREATE, orders, size=20, concurrency=1, validate=False)
        found = [result async for result in stream]
    assert [each.receipt.id for each in found if isinstance(each, Created)] == ["id-X", "id-7"]


async def test_a_doubt_says_the_status_of_the_answer() -> None:
    """An answer 207 that names no task of the order is called what it is."""
    async with client([answer({"tasks": [{"id": "t-X", "tracking_id": "X"}]}, 207)]) as (gs, _):
        (result,) = [result async for result in gs.push([order("A")])]
    assert isinstance(result, InDoubt)
    assert (result.error.status, "HTTP 207: " in str(result.error)) == (207, True)


@pytest.mark.parametrize("task_id", [0, "0", "00000000-0000-0000-0000-000000000000", "t-B"])
@pytest.mark.parametrize("status", [200, 207])
async def test_an_order_that_a_create_denies_is_in_doubt(task_id: Any, status: int) -> None:
    """Its item may name a task all the same; the others of the call are created."""
    good = {"id": "t-A", "tracking_id": "A", "status": 201}
    denied = {"id": task_id, "tracking_id": "B", "status": 422, "error": "price too low"}
    async with client([answer({"tasks": [good, denied]}, status)]) as (gs, _):
        names = [("A", None), ("B", None)]
        first, second = await create_chunk(gs.session, TASKS_CREATE, ["a", "b"], b"{}", names)
    assert isinstance(first, Created)
    assert isinstance(second, InDoubt)
    assert "the answer says no: price too low" in str(second.error)


async def test_a_denial_without_a_name_is_of_the_order_in_its_place() -> None:
    """Where the answer names no order at all, the order of the tasks decides for denials, too."""
    tasks = [{"id": "t-1", "status": 201}, {"id": "t-2", "status": 400}]
    async with client([answer({"tasks": tasks}, 207)]) as (gs, _):
        names = [("A", None), ("B", None)]
        results = await create_chunk(gs.session, TASKS_CREATE, ["a", "b"], b"{}", names)
    assert [type(result) for result in results] == [Created, InDoubt]
