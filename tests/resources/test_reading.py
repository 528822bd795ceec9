from collections.abc import Callable
from typing import Any

import pytest

from gotsurge_async import GotSurge, OutcomeUnknown, UnreadableAnswer, UsageError
from gotsurge_async.codec import Codec
from gotsurge_async.errors import InvalidData, TooManyInOneCall
from gotsurge_async.models.platform import OrganizationPage, RoleList, UpdatedTasks
from gotsurge_async.resources.reading import check_chunk, reader
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import client, make
from tests.support.orders import answer, order, orders


def read(cls: type[Any], body: bytes) -> Any:
    """What an answer of a class is read as."""
    return reader(cls)(Codec(), answer(body))


@pytest.mark.parametrize("count", [1, 20])
def test_a_call_takes_up_to_twenty(count: int) -> None:
    """1 to 20 items pass."""
    check_chunk(count, "orders", "gs.push(orders)")


def test_more_than_twenty_name_the_call_for_any_number() -> None:
    """21 items are refused, and the message names what takes any number."""
    with pytest.raises(TooManyInOneCall, match=r"at most 20 orders, not 21: gs\.push\(orders\) takes any number"):
        check_chunk(21, "orders", "gs.push(orders)")


def test_nothing_is_not_too_many() -> None:
    """No items are a wrong use in words of its own, and not `TooManyInOneCall`."""
    with pytest.raises(UsageError, match="there are no orders: give 1 to 20") as refusal:
        check_chunk(0, "orders", "gs.push(orders)")
    assert not isinstance(refusal.value, TooManyInOneCall)
    assert refusal.value.explain_code == "E235"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (
            "planted-bearer",
            "the answer contains a different task than the one requested; id: t-2, but the request was for t-1",
        ),
        (
            "t-2",
            "does not fit the request: the field id of the answer is wrong or missing$",
        ),  # a secret, and so not quoted
    ],
)
async def test_the_task_of_another_is_not_returned(token: str, words: str) -> None:
    """An answer with another task's id says so, also where it cannot be quoted."""
    async with make(MemoryTransport(lambda _: answer({"id": "t-2"})), bearer_token=token) as gs:
        with pytest.raises(OutcomeUnknown, match=words) as caught:
            await gs.tasks.get("t-1")
    assert caught.value.explain_code == "E403"


@pytest.mark.parametrize("body", [b"{}", b'{"roles":null}', b'{"roles":[]}'])
def test_an_empty_list_is_one(body: bytes) -> None:
    """An empty list, null or nothing at all in its place is no items."""
    assert read(RoleList, body).roles == ()


def test_another_answer_is_not_an_empty_list() -> None:
    """A success that holds only fields that were not asked for is not taken for a list without items."""
    with pytest.raises(UnreadableAnswer, match="nothing that was requested"):
        read(OrganizationPage, b'{"code":"error","message":"not today"}')
    assert read(OrganizationPage, b'{"meta":{"page":1},"more":1}').organizations == ()


@pytest.mark.parametrize(
    ("cls", "body"),
    [
        (RoleList, b'{"roles":[],"count":0}'),
        (OrganizationPage, b'{"organizations":[],"links":{}}'),
        (OrganizationPage, b'{"meta":{},"links":{}}'),
        (UpdatedTasks, b'{"updated_tasks":[],"message":"done"}'),
    ],
)
def test_an_empty_list_with_unknown_fields_is_one(cls: type[Any], body: bytes) -> None:
    """An answer that names its list is that answer, though the list is empty and all else in it is unknown."""
    assert read(cls, body).extra


@pytest.mark.parametrize("body", [b'{"code":"error","roles":null}', b'{"roles":null,"count":0}'])
def test_a_list_that_is_null_with_unknown_fields_is_none(body: bytes) -> None:
    """Null in the place of a list is no answer to what was asked for, where all else is unknown."""
    with pytest.raises(UnreadableAnswer, match="nothing that was requested"):
        read(RoleList, body)


@pytest.mark.parametrize(
    "create", [lambda gs: gs.tasks.create, lambda gs: gs.platform.tasks.create, lambda gs: gs.platform.drafts.create]
)
async def test_a_create_that_names_no_task_is_in_doubt(create: Callable[[GotSurge], Any]) -> None:
    """A success without a task leaves open what became of the orders; a create is sent once all the same."""
    async with client(lambda _: answer({"code": "error"})) as (gs, transport):
        with pytest.raises(OutcomeUnknown, match="names no task") as caught:
            await create(gs)([order()])
        assert caught.value.body == transport.sent[0].body
        with pytest.raises(TooManyInOneCall, match=r"push\(orders\)|create_all\(orders\)"):
            await create(gs)(orders(21))
        assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("etag", "revision"),
    [
        ('"3-1a2b3c4d"', "3-1a2b3c4d"),
        ('W/"3-1a2b3c4d"', "3-1a2b3c4d"),
        ("3-1a2b3c4d", "3-1a2b3c4d"),
        ('W/"5f-kJx0dQ9vZ2+a"', None),
        ('"33a64df551425fcc55e4d42a148795d9f25f89d4"', None),
        ("", None),
    ],
)
async def test_a_revision_comes_from_the_etag(etag: str, revision: str | None) -> None:
    """An ETag that looks like a revision of the document is one; that of a web server is not."""
    async with client(lambda _: answer({"id": "t"}, **({"etag": etag} if etag else {}))) as (gs, _):
        assert (await gs.tasks.get("t")).version_rev == revision


async def test_the_task_knows_its_revision_best() -> None:
    """A revision in the task itself goes before the ETag."""
    async with client(lambda _: answer({"id": "t", "version_rev": "1-a"}, etag='"2-b"')) as (gs, _):
        assert (await gs.tasks.get("t")).version_rev == "1-a"


async def test_both_reads_take_the_etag() -> None:
    """A task that is read by either operation carries the revision of the ETag header."""
    async with client(lambda _: answer({"id": "t"}, etag='"7-0000000a"')) as (gs, _):
        assert (await gs.tasks.get("t")).version_rev == "7-0000000a"
        assert (await gs.platform.tasks.get("t")).version_rev == "7-0000000a"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([order(), 7, None], r"orders\[1\]: expected an Order, not int 7; orders\[2\]: .* NoneType"),
        ("T-1", "orders: give a list or another iterable, not str"),
        (order(), "orders: give a list or another iterable, not Order"),
        (5, "orders: give a list or another iterable, not int"),
    ],
    ids=["others", "text", "one", "number"],
)
async def test_a_value_that_is_no_order_is_refused_before_anything_is_sent(given: Any, said: str) -> None:
    """Each create names what cannot be an order, by its place, and sends nothing."""
    async with client([]) as (gs, transport):
        for create in (gs.tasks.create, gs.platform.tasks.create, gs.platform.drafts.create):
            with pytest.raises(InvalidData, match=said):
                await create(given)
    assert transport.sent == []
