"""Wherever an order, or an object in one, belongs, a dict of its fields as the API writes them is taken."""

import inspect
import json
import typing
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import GotSurge, InvalidData, Unprocessed, codec
from gotsurge_async.bulk import Desk, Ledger, Mode, Push
from gotsurge_async.models.answers import Task
from gotsurge_async.models.base import Model
from gotsurge_async.transports.base import Request, Response
from tests.support.clients import client
from tests.support.orders import answer, order
from tests.support.public import hints_of, public_calls

ORDER: dict[str, Any] = json.loads(codec.encode(order()))
WRONG = {**ORDER, "to_address": {"latitude": "1.3"}}
Give = Callable[[GotSurge, Path, dict[str, Any]], Awaitable[Any]]


async def all_of(stream: Any) -> None:
    """Read a stream to its end; what was not processed is raised."""
    async for result in stream:
        if isinstance(result, Unprocessed):
            raise result.error


async def load(gs: GotSurge, path: Path, given: dict[str, Any]) -> None:
    """Put an order into a ledger."""
    async with await Ledger.open(path / "ledger.db") as ledger:
        run, _ = await Push(gs, ledger, mode=Mode.DIRECT).load_orders([given])
        await run.close()


async def ask(gs: GotSurge, path: Path, given: dict[str, Any]) -> None:
    """Ask a desk for an order."""
    async with await Desk.open(gs, path / "ledger.db", mode=Mode.DIRECT, validate=False) as desk:
        await desk.create(given)


async def push(gs: GotSurge, path: Path, given: dict[str, Any]) -> None:
    """Push an order through a desk."""
    async with await Desk.open(gs, path / "ledger.db", mode=Mode.DIRECT, validate=False) as desk:
        await all_of(desk.push([given]))


async def submit(gs: GotSurge, path: Path, given: dict[str, Any]) -> None:
    """Submit an order to a desk."""
    async with await Desk.open(gs, path / "ledger.db", mode=Mode.DIRECT, validate=False) as desk:
        await desk.submit(given)
        await desk.outcome(given["tracking_id"])


GIVE: dict[str, tuple[Give, str]] = {
    "Tasks.create": (lambda gs, _, given: gs.tasks.create([given]), "orders[0].to_address.latitude"),
    "PlatformTasks.create": (lambda gs, _, given: gs.platform.tasks.create([given]), "orders[0].to_address.latitude"),
    "Drafts.create": (lambda gs, _, given: gs.platform.drafts.create([given]), "orders[0].to_address.latitude"),
    "GotSurge.push": (lambda gs, _, given: all_of(gs.push([given])), "to_address.latitude"),
    "PlatformTasks.create_all": (
        lambda gs, _, given: all_of(gs.platform.tasks.create_all([given])),
        "to_address.latitude",
    ),
    "Drafts.create_all": (lambda gs, _, given: all_of(gs.platform.drafts.create_all([given])), "to_address.latitude"),
    "Push.load_orders": (load, "orders[0].to_address.latitude"),
    "Desk.create": (ask, "to_address.latitude"),
    "Desk.push": (push, "to_address.latitude"),
    "Desk.submit": (submit, "to_address.latitude"),
    "Prices.recommend": (
        lambda gs, _, given: gs.prices.recommend(stops=[{"address": given["from_address"]}, given["to_address"]]),
        "stops[1].latitude",
    ),
    "PlatformTasks.update": (
        lambda gs, _, given: gs.platform.tasks.update("t", version_rev="0-a", to_address=given["to_address"]),
        "to_address.latitude",
    ),
}
"""How each method is given a dict, and the path of a fault in it."""

NO_DICT = {
    "Desk.open": "has an option that is called with outcomes",
    "check_order": "looks at an order that was made, in whatever form: its attributes are read",
    "unreadable": "tells what of an answer could not be read",
}
"""What takes an object and no dict, and why not."""


def models_in(hint: Any) -> Iterator[type[Model]]:
    """The classes of the API's objects in a type."""
    if typing.is_typeddict(hint):
        for each in hints_of(hint).values():
            yield from models_in(each)
    elif isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    for part in typing.get_args(hint):
        for each in part if isinstance(part, list) else [part]:
            yield from models_in(each)


def takes(code: Callable[..., Any]) -> set[type[Model]]:
    """The objects that users make and a function takes: a task is made by the service only."""
    try:
        hints = hints_of(code)
    except NameError:  # a type that only checkers import is of no object
        return set()
    return {
        each
        for name in inspect.signature(code).parameters
        for each in models_in(hints.get(name))
        if each is not Task and name != "key"
    }


def test_no_method_is_forgotten() -> None:
    """Each public function or method that takes an object has a case below, or a reason why it takes no dict."""
    found = {call.name for call in public_calls() if call.code.__name__ != "__init__" and takes(call.code)}
    assert found == {*GIVE, *NO_DICT}


def serve(request: Request) -> Response:
    """Any answer that a method of these waits for."""
    if "prices" in request.url:
        return answer({"code": "success", "total_fee": 5})
    if request.method == "PATCH":
        return answer({"id": "t", "version_rev": "0-b"})
    return answer({"tasks": [{"id": "t", "tracking_id": each["tracking_id"]} for each in sent(request)["tasks"]]})


def sent(request: Request) -> Any:
    """The body of a request."""
    return msgspec.json.decode(request.body or b"")


@pytest.mark.parametrize("name", GIVE)
async def test_a_dict_is_taken(name: str, tmp_path: Path) -> None:
    """A dict is as good as the object, and what does not fit is InvalidData with its path, before anything is sent."""
    give, path = GIVE[name]
    async with client(serve) as (gs, transport):
        await give(gs, tmp_path, ORDER)
        before = len(transport.sent)
        with pytest.raises(InvalidData) as caught:
            await give(gs, tmp_path, WRONG)
        assert [(each.path, each.message) for each in caught.value.problems] == [(path, "expected a number, not '1.3'")]
    assert len(transport.sent) == before == (name != "Push.load_orders")
    if transport.sent:
        assert json.dumps(ORDER["to_address"]) in json.dumps(sent(transport.sent[0]))
