"""`gs.tasks`: create, read and cancel orders of a plain partner."""

import json
from typing import Any

import pytest

from gotsurge_async import Contact, Money, OutcomeUnknown, Unprocessed, codec
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    Conflict,
    Forbidden,
    InvalidData,
    NotFound,
    RateLimited,
    TooLateToCancel,
    Unauthorized,
    UsageError,
)
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import Scripted
from tests.support.clients import client
from tests.support.orders import answer, order
from tests.tables.kit import read as read_file
from tests.tables.kit import table

REASON = "the vessel sails tomorrow"


def task(status: str | None = "broadcasting", **fields: Any) -> Response:
    """The answer of a read."""
    return answer({"id": "t-1", "current_status": status, **fields})


def calls(gs_sent: list[Request]) -> list[str]:
    """The verb and the path of each request."""
    return [f"{request.method} {request.url.rpartition('/v1')[2]}" for request in gs_sent]


CANCEL, READ = "POST /tasks/t-1/cancel", "GET /tasks/t-1"


async def test_an_order_that_json_cannot_hold_is_refused() -> None:
    """A price that no number of JSON holds and the like ends before anything is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData, match=r"orders\[0\].total_item_weight: is nan"):
            await gs.tasks.create([order(total_item_weight=float("nan"))])
    assert transport.sent == []


async def test_a_task_without_a_name_is_not_asked_for() -> None:
    """An empty id would be another path: nothing is sent."""
    async with client([]) as (gs, transport):
        for call in (gs.tasks.get(""), gs.tasks.cancel("", reason=REASON)):
            with pytest.raises(UsageError, match="task_id must be text"):
                await call
    assert transport.sent == []


# --- cancel -----------------------------------------------------------------------------------------------------------


async def cancelled(script: list[Scripted]) -> tuple[str | None, list[str]]:
    """The message of a cancel, and the calls that it took."""
    async with client(script) as (gs, transport):
        done = await gs.tasks.cancel("t-1", reason=REASON)
    return done.message, calls(transport.sent)


async def test_a_cancel_is_one_call_when_it_is_accepted() -> None:
    """The reason goes out, and the service's message comes back; an answer without a body has none."""
    async with client([answer({"message": "done"})]) as (gs, transport):
        assert (await gs.tasks.cancel("t-1", reason=REASON)).message == "done"
    assert json.loads(transport.sent[0].body or b"") == {"reason": REASON}
    for empty in (answer(None, 204), answer(b"")):
        assert await cancelled([empty]) == (None, [CANCEL])


@pytest.mark.parametrize(
    "first", [answer({}, 400), answer({}, 409), answer({}, 422), MaybeSent("lost"), answer({}, 500), answer(b"{")]
)
async def test_a_task_that_is_cancelled_already_is_done(first: Scripted) -> None:
    """After a refusal or a lost answer the task is read: cancelled is cancelled, whoever did it."""
    assert await cancelled([first, task("cancelled")]) == ("the task is cancelled", [CANCEL, READ])


@pytest.mark.parametrize("status", ["broadcasting", "pending_broadcast", "draft"])
async def test_a_lost_cancel_is_asked_for_again(status: str) -> None:
    """When the answer was lost and the task still stands, the cancel is repeated."""
    script: list[Scripted] = [MaybeSent("lost"), task(status), answer({"message": "done"})]
    assert await cancelled(script) == ("done", [CANCEL, READ, CANCEL])


async def test_a_cancel_that_is_lost_for_ever_is_unknown() -> None:
    """After three lost answers, and a task that still stands, the outcome is unknown."""
    async with client([MaybeSent("lost"), task()] * 3) as (gs, transport):
        with pytest.raises(OutcomeUnknown, match=r"tasks\.cancel: lost"):
            await gs.tasks.cancel("t-1", reason=REASON)
    assert calls(transport.sent) == [CANCEL, READ] * 3


@pytest.mark.parametrize(
    "then",
    [
        [answer({"message": "wait a moment"}, 409), task()],
        [answer({}, 404)],
        [answer({}, 403)],
        [NothingSent("refused")] * 9,
    ],
    ids=["refused", "not found", "forbidden", "not sent"],
)
async def test_a_lost_cancel_stays_unknown_whatever_the_next_one_meets(then: list[Scripted]) -> None:
    """The first cancel may act yet: that the second one was refused, or never left, says nothing of it."""
    async with client([MaybeSent("lost"), task(), *then]) as (gs, _):
        with pytest.raises(OutcomeUnknown, match=r"tasks\.cancel: lost"):
            await gs.tasks.cancel("t-1", reason=REASON)


@pytest.mark.parametrize("first", [answer({"message": "too late"}, 409, x_request_id="r-1"), MaybeSent("lost")])
@pytest.mark.parametrize("status", ["accepted", "pickup_arriving", "complete", "expired"])
async def test_a_task_that_has_moved_on_is_too_late(first: Scripted, status: str) -> None:
    """Past broadcasting a cancel is TooLateToCancel, and carries the task as it was read."""
    async with client([first, task(status, tracking_id="T-1")]) as (gs, transport):
        with pytest.raises(TooLateToCancel, match=f"the task is {status}") as caught:
            await gs.tasks.cancel("t-1", reason=REASON)
    assert caught.value.task.tracking_id == "T-1"
    assert caught.value.task.current_status == status
    assert caught.value.operation == "tasks.cancel"
    assert calls(transport.sent) == [CANCEL, READ]


async def test_a_refused_cancel_of_a_task_in_an_unknown_status_is_too_late() -> None:
    """The service refused the only cancel that left, so none can act on the task."""
    async with client([answer({"message": "too late"}, 409), task("something_new")]) as (gs, _):
        with pytest.raises(TooLateToCancel, match="the task is something_new"):
            await gs.tasks.cancel("t-1", reason=REASON)


@pytest.mark.parametrize("status", ["something_new", "", None])
async def test_a_lost_cancel_of_a_task_in_an_unknown_status_stays_unknown(status: str | None) -> None:
    """The lost cancel may still act on such a task, whatever a later cancel meets."""
    script = [MaybeSent("lost"), task("broadcasting"), answer({"message": "no"}, 409), task(status)]
    async with client(script) as (gs, _):
        with pytest.raises(OutcomeUnknown, match=r"tasks\.cancel: lost"):
            await gs.tasks.cancel("t-1", reason=REASON)


@pytest.mark.parametrize(
    ("status", "cls"), [(401, Unauthorized), (403, Forbidden), (404, NotFound), (429, RateLimited)]
)
async def test_a_refusal_that_is_not_about_the_task_is_raised(
    monkeypatch: pytest.MonkeyPatch, status: int, cls: type[CallError]
) -> None:
    """A refusal of the account, of the id or of the rate says nothing of the task: it is not read."""

    def refuse(_: Request) -> Response:
        return answer({}, status)

    async with client(refuse) as (gs, transport):
        monkeypatch.setattr(gs.tokens, "invalidate", lambda _: None)
        with pytest.raises(cls):
            await gs.tasks.cancel("t-1", reason=REASON)
    assert set(calls(transport.sent)) == {CANCEL}


@pytest.mark.parametrize(("status", "cls"), [(400, BadRequest), (409, Conflict)])
async def test_a_refusal_although_the_task_still_stands_is_raised(status: int, cls: type[CallError]) -> None:
    """When a cancel is refused and the task could be cancelled, it is the cancel that was wrong."""
    async with client([answer({"message": "give a reason"}, status), task()]) as (gs, transport):
        with pytest.raises(cls, match="give a reason"):
            await gs.tasks.cancel("t-1", reason="-")
    assert calls(transport.sent) == [CANCEL, READ]


@pytest.mark.parametrize(
    "said",
    [
        {"code": "error", "message": "no"},
        {"code": ["error"]},
        {"success": False},
        {"error": "cannot"},
        {"id": "t-1", "current_status": "accepted"},
        {"task": {"id": "t-1", "current_status": "broadcasting"}},
        {"id": "t-2", "current_status": "cancelled"},
    ],
)
async def test_a_success_that_does_not_say_cancelled_is_looked_after(said: dict[str, Any]) -> None:
    """A 200 that says no, or shows another task or status, counts for nothing: the task tells what became of it."""
    assert await cancelled([answer(said), task("cancelled")]) == ("the task is cancelled", [CANCEL, READ])
    for read, error in (("accepted", TooLateToCancel), (None, OutcomeUnknown), ("broadcasting", OutcomeUnknown)):
        async with client([answer(said), task(read)] * 3) as (gs, _):
            with pytest.raises(error):
                await gs.tasks.cancel("t-1", reason=REASON)


@pytest.mark.parametrize(
    "said",
    [{"message": "done"}, {"code": "success"}, {"success": True, "server_time": "x"}, {"status": 200},
     {"id": "t-1", "current_status": "Cancelled"}],
)  # fmt: skip
async def test_a_success_that_says_so_is_one_call(said: dict[str, Any]) -> None:
    """A 200 that says yes in one of the usual ways is not looked after."""
    assert (await cancelled([answer(said)]))[1] == [CANCEL]


async def test_a_blank_status_is_none() -> None:
    """After a refusal, a task whose status is blank, or not there, is not called too late."""
    for blank in ("", " ", None):
        async with client([answer({"message": "no"}, 409), task(blank)]) as (gs, _):
            with pytest.raises(Conflict) as caught:
                await gs.tasks.cancel("t-1", reason=REASON)
        assert "the task is" not in str(caught.value)


@pytest.mark.parametrize("reason", ["", " ", None, 5])
async def test_a_cancel_without_a_reason_is_not_sent(reason: Any) -> None:
    """The service wants a reason: one that is no text, or blank, is a usage error."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="reason"):
            await gs.tasks.cancel("t-1", reason=reason)
    assert transport.sent == []


async def test_a_create_may_be_held_to_the_rules() -> None:
    """With ``validate`` every fault that `gotsurge push` would tell ends each create before anything is sent."""
    bad = order("T-1", price=Money.of("0.50", "SGD"), to_contact=Contact(phone="+65 6123 4567"))
    async with client([]) as (gs, transport):
        for create in (gs.tasks.create, gs.platform.tasks.create, gs.platform.drafts.create):
            with pytest.raises(InvalidData) as caught:
                await create([order(), bad], validate=True)
            assert [each.path for each in caught.value.problems] == ["orders[1].to_contact.phone", "orders[1].price"]
            assert "did you mean +6561234567?" in str(caught.value)
    assert transport.sent == []


DEAR = Money.of("1000.01", "SGD")


@pytest.mark.parametrize(
    ("given", "max_price", "said"),
    [
        (Money(millicents=-1, currency="SGD"), None, "SGD -0.00001 is negative"),
        (DEAR, None, "SGD 1000.01 is above the limit of SGD 1000.00"),
        (DEAR, Money.of(1001, "USD"), "is above the limit of SGD 1000.00"),
        (Money.of(20, "SGD"), Money.of(19, "SGD"), "is above the limit of SGD 19.00"),
        (DEAR, Money.of(1001, "SGD"), ""),
        (Money.of("5.12345", "SGD"), None, ""),  # the API counts in thousandths of a cent, and so may an order
    ],
)
async def test_amounts_have_the_rules_of_a_file(given: Money, max_price: Money | None, said: str) -> None:
    """With ``validate`` an absurd price is refused as by `gotsurge push`, and ``max_price`` is its option."""
    source = read_file(table({"price": str(given.amount), "currency": given.currency}), max_price=max_price)
    assert [said in fault.rule for fault in source.report.faults] == ([True] if said else [])
    async with client([answer({"tasks": [{"id": "t"}]})] * 3) as (gs, _):
        for create in (gs.tasks.create, gs.platform.tasks.create, gs.platform.drafts.create):
            if not said:
                assert await create([order(price=given)], validate=True, max_price=max_price)
                continue
            with pytest.raises(InvalidData) as caught:
                await create([order(price=given)], validate=True, max_price=max_price)
            assert [problem.path for problem in caught.value.problems] == ["orders[0].price"]
            assert said in str(caught.value)


async def test_a_limit_without_effect_is_refused() -> None:
    """``max_price`` is part of ``validate``, and money."""
    limit: Any = 5
    async with client([]) as (gs, _):
        for method in (gs.push, gs.platform.tasks.create_all, gs.platform.drafts.create_all):
            with pytest.raises(UsageError, match="max_price works only with validate=True"):
                method([order()], max_price=DEAR)
            with pytest.raises(UsageError, match="max_price: give Money, not 5"):
                method([order()], validate=True, max_price=limit)
        for create in (gs.tasks.create, gs.platform.tasks.create, gs.platform.drafts.create):
            with pytest.raises(UsageError, match="max_price works only with validate=True"):
                await create([order()], max_price=DEAR)


async def test_an_amount_without_a_currency_is_never_sent() -> None:
    """The service would set it to 0: it is refused in an order and in a dict, with and without ``validate``."""
    alone = order(price=Money(millicents=500_000, currency=""))
    as_dict = json.loads(codec.encode(order())) | {"currency": None, "min_price": 1, "price": None}
    async with client([]) as (gs, transport):
        for create in (gs.tasks.create, gs.platform.tasks.create, gs.platform.drafts.create):
            with pytest.raises(InvalidData) as caught:
                await create([order(), alone, as_dict])
            assert [each.path for each in caught.value.problems] == ["orders[1].price", "orders[2].min_price"]
            assert "has no currency" in str(caught.value)
        results = [result async for result in gs.push([alone, as_dict])]
        assert [type(result) for result in results] == [Unprocessed, Unprocessed]
    assert transport.sent == []
