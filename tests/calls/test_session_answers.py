"""`gotsurge_async.calls.session`: what is read of an answer, noted and reported."""

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from gotsurge_async import codec
from gotsurge_async.api.endpoints import PARTNER_DETAIL, TASKS_CANCEL, TASKS_CREATE, TASKS_GET
from gotsurge_async.calls import outcome
from gotsurge_async.calls.outcome import MOST_VALUES
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    NotFound,
    OutcomeUnknown,
)
from gotsurge_async.hooks import CallDone, CallStarted, RequestDone, RetryPlanned
from gotsurge_async.models.tasks import Cancellation, Message, TaskBatch
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from tests.calls.rig import TASK, Rig
from tests.support.orders import answer, order

if TYPE_CHECKING:
    from gotsurge_async.transports.memory import Scripted

# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b'["a",'], ids=repr)
async def test_an_answer_that_expands_is_not_made_into_objects(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a million values are never built: a success is unknown then, and a refusal has no words."""
    body = b'{"tasks":[' + unit * (MOST_VALUES // unit.count(b",") // (1 + (unit[0] in b"[{")) + 1) + b"0]}"
    for module, reader in ((codec.text, "_decode"), (codec.text, "_heads"), (outcome, "_find")):
        monkeypatch.setattr(module, reader, None)
    async with Rig([answer(body), answer(body, 400)]) as rig:
        with pytest.raises(OutcomeUnknown, match="more than 1,000,000 values"):
            await rig.create()
        with pytest.raises(BadRequest) as caught:
            await rig.create()
    assert caught.value.service_message == ""


async def test_an_answer_that_is_too_large_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport may bring an answer of any size: one of more than is read shows only that something was done."""
    monkeypatch.setattr(outcome, "MAX_ANSWER", 10)
    async with Rig([answer(b" " * 11), answer(b" " * 11, 400)]) as rig:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match="the answer is larger than 10 bytes"):
                await rig.create()


@pytest.mark.parametrize("before", [0, 65_530, 70_000])
async def test_a_long_answer_is_kept_and_searched_as_far_as_it_is_shown(before: int) -> None:
    """An error keeps the beginning of a long answer, and no part of a secret that stands in it or is cut at its end."""
    body = b"x" * before + b"planted-bearer-0" + b"y" * 70_000
    async with Rig([answer(body, 500), answer(body), answer(body, 400)]) as rig:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as unknown:
                await rig.create()
            kept = unknown.value.response
            assert kept is None if before == 0 else kept is not None
            assert kept is None or (60_000 < len(kept.body) <= 65_536 and b"planted" not in kept.body)
            assert "planted" not in str(unknown.value)
        with pytest.raises(BadRequest) as refused:
            await rig.create()
    assert "planted" not in refused.value.service_message


async def test_a_header_shows_no_secret() -> None:
    """Headers are kept in an error without the secrets that a service quotes in them."""
    async with Rig([answer({}, 500, etag="planted-bearer-0", server="for planted-bearer-0")]) as rig:
        with pytest.raises(OutcomeUnknown) as unknown:
            await rig.create()
    assert unknown.value.response is not None
    assert unknown.value.response.headers["server"] == "for ***"
    assert "planted" not in repr(unknown.value.response.headers)


ODD: list[Any] = [
    None,
    {"status": 200},
    Response(status="200"),  # type: ignore[arg-type]
    Response(status=200, body="x"),  # type: ignore[arg-type]
    Response(status=429, headers={"retry-after": 5}),  # type: ignore[dict-item]
]
"""What a transport may return by mistake."""


async def test_a_status_may_be_an_enumeration() -> None:
    """Whole numbers of any class are statuses, such as those of `http.HTTPStatus`."""
    async with Rig([Response(status=HTTPStatus.OK, body=b'{"id":"t-1"}')]) as rig:
        assert (await rig.call()).id == "t-1"


@pytest.mark.parametrize("returned", ODD)
async def test_what_is_no_answer_is_unknown(returned: Any) -> None:
    """A transport that returns something else has sent the request all the same."""
    async with Rig(lambda _: returned) as rig:
        with pytest.raises(OutcomeUnknown, match="something other than a Response"):
            await rig.create()


@pytest.mark.parametrize(
    ("begins", "length", "ends"),
    [('{"message":"', 65_536, '"}'), ("x", 65_535, ""), ("<html>", 8_186, "")],
    ids=["JSON", "text", "HTML"],
)
@pytest.mark.parametrize("shown", range(1, 16))
async def test_a_message_shows_no_part_of_a_secret_where_it_is_cut(
    begins: str, length: int, ends: str, shown: int
) -> None:
    """A message is cut before it is shortened, and a secret at the cut is left out with it."""
    size = length - shown
    filled = " " * (size % 4) + "<br>" * (size // 4) if begins == "<html>" else " " * size
    async with Rig([answer(f"{begins}{filled}planted-bearer-0{ends}".encode(), 400)]) as rig:
        with pytest.raises(BadRequest) as refused:
            await rig.create()
    assert "p" not in refused.value.service_message


@pytest.mark.parametrize(
    "body", [b"", b"<html>it works</html>", b'{"tasks":[{"id":"a"', b"[]", b'{"tasks":5}', b'{"tasks":[{"price":1}]}']
)
async def test_a_create_whose_answer_cannot_be_read_is_in_doubt(body: bytes) -> None:
    """A success that is no JSON, or not the JSON promised, says that something was done, not what."""
    async with Rig([answer(body)]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
    assert caught.value.status == 200
    assert caught.value.body == rig.transport.sent[0].body
    assert caught.value.response is not None
    assert caught.value.response.body == body
    assert len(rig.transport.sent) == 1


async def test_a_safe_answer_that_was_cut_is_asked_for_again() -> None:
    """Half a JSON answer to a safe call is asked for again; a whole one that is not what was promised is not."""
    async with Rig([answer(b'{"id":"t-'), answer(TASK)]) as rig:
        assert (await rig.call()).id == "t-1"
    async with Rig([answer({"name": "no task"})]) as rig:
        with pytest.raises(OutcomeUnknown, match="id: is required but missing"):
            await rig.call()


async def test_an_empty_answer_is_a_message() -> None:
    """Where a sentence is promised, an empty 204 or 200 will do."""
    for status in (200, 204):
        async with Rig([answer(None, status)]) as rig:
            done = await rig.call(TASKS_CANCEL, path={"task_id": "x"}, body=Cancellation(reason="r"))
        assert done == Message()


async def test_an_answer_may_be_read_otherwise() -> None:
    """A reader given with the call reads the answer instead of the endpoint's class."""
    async with Rig([answer(b"\x00\x01")]) as rig:
        assert await rig.call(read=lambda _, answer: answer.body[::-1]) == b"\x01\x00"


async def test_an_answer_with_secrets_is_not_quoted() -> None:
    """The error for an unreadable answer to a call without a bearer token shows none of it, nor of the path."""
    async with Rig([answer({"secret_key": "planted-secret", "id": [5]})]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.call(PARTNER_DETAIL, path={"signature": "planted-signature"})
    assert "planted" not in str(caught.value)
    assert b"planted" not in caught.value.body
    assert caught.value.response is None


async def test_an_answer_that_cannot_be_read_is_no_message() -> None:
    """A success that cannot be read is not the service's word on a fault: its content stays out of the error."""
    for content in ({"tasks": [{"name": "planted Mr Ng"}]}, b'{"tasks":[{"name":"planted'):
        async with Rig([answer(content)]) as rig:
            with pytest.raises(OutcomeUnknown) as caught:
                await rig.create()
        assert caught.value.service_message == ""
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 500])
async def test_a_secret_that_the_service_quotes_is_hidden(status: int) -> None:
    """A service that repeats the token or the path in its refusal does not bring it into the error."""
    text = "bad token planted-bearer-0 for /partners/planted%2Fsignature planted/signature"
    async with Rig([answer({"message": text}, status)] * 8) as rig:
        with pytest.raises(CallError) as caught:
            await rig.create()
        assert "planted-bearer" not in str(caught.value)
        with pytest.raises(CallError) as caught:
            await rig.call(PARTNER_DETAIL, path={"signature": "planted/signature"})
    assert "planted/sig" not in str(caught.value)
    assert "planted%2Fsig" not in str(caught.value)


async def test_an_answer_is_carried_without_secrets() -> None:
    """The error of an unknown outcome holds the answer for people, unless it quotes the token, and no secret header."""
    async with Rig([answer({"tasks": 5}, set_cookie="planted"), answer({"tasks": "planted-bearer-0"})]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
        assert caught.value.response is not None
        assert caught.value.response.headers["set-cookie"] == "***"
        assert "tasks" not in repr(caught.value.response)
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
        assert caught.value.response is None
    async with Rig([answer(b"half", 503), MaybeSent("lost")]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
        assert caught.value.response is not None
        assert (caught.value.response.status, caught.value.response.body) == (503, b"half")
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
        assert caught.value.response is None


# --- recording --------------------------------------------------------------------------------------------------------


async def test_recording_notes_every_answer() -> None:
    """All answers of a call are noted, those of refused tries too, the last one last."""
    async with Rig([answer({}, 429, x_a="1"), MaybeSent("lost"), answer(TASK, x_a="2")]) as rig:
        with rig.session.recording() as answers:
            await rig.call()
        assert [(each.status, each.headers["x-a"]) for each in answers] == [(429, "1"), (200, "2")]


async def test_two_recordings_do_not_mix() -> None:
    """Tasks that record at the same time each note their own answers, and an outer block those of the inner one."""

    async def handle(request: Request) -> Response:
        await asyncio.sleep(0)
        return answer(TASK | {"id": request.url.rpartition("/")[2]})

    async def record(name: str) -> list[str]:
        with rig.session.recording() as answers:
            for number in range(3):
                await rig.session.call(TASKS_GET, path={"task_id": f"{name}{number}"})
            return [each.body.decode() for each in answers]

    async with Rig(handle) as rig:
        with rig.session.recording() as all_answers:
            a, b = await asyncio.gather(record("a"), record("b"))
            await rig.session.call(TASKS_GET, path={"task_id": "c"})
        await rig.session.call(TASKS_GET, path={"task_id": "d"})
    assert len(a) == len(b) == 3
    assert all('"id":"a' in each for each in a)
    assert all('"id":"b' in each for each in b)
    assert len(all_answers) == 7


# --- telling ----------------------------------------------------------------------------------------------------------


async def test_hooks_get_an_event_for_every_try() -> None:
    """A call tells of its start, each try, each planned wait and its end, under one number."""
    script: list[Scripted] = [
        MaybeSent("the connection broke"),
        answer({}, 429, retry_after="3"),
        answer(TASK, x_request_id="r-9"),
    ]
    async with Rig(script) as rig:
        await rig.call()
    started, *between, done = rig.events
    assert isinstance(started, CallStarted)
    assert (started.operation, started.method, started.path, started.server) == (
        "tasks.get",
        "GET",
        "/tasks/{task_id}",
        "https://api.example",
    )
    assert done == CallDone(call=started.call, operation="tasks.get", seconds=4.5, error="")
    assert [type(event) for event in between] == [RequestDone, RetryPlanned, RequestDone, RetryPlanned, RequestDone]
    tries = [event for event in between if isinstance(event, RequestDone)]
    assert [(each.attempt, each.status, each.reason, each.request_id) for each in tries] == [
        (1, None, "the connection broke", None),
        (2, 429, "", None),
        (3, 200, "", "r-9"),
    ]
    retries = [event for event in between if isinstance(event, RetryPlanned)]
    assert [(each.attempt, each.wait, each.reason) for each in retries] == [
        (1, 0.5, "the connection broke"),
        (2, 4.0, "HTTP 429"),
    ]
    assert {each.call for each in tries} == {each.call for each in retries} == {started.call}


async def test_a_failed_call_tells_its_error() -> None:
    """The end of a call names the class of its error."""
    async with Rig([answer({}, 404)]) as rig:
        with pytest.raises(NotFound):
            await rig.call()
    assert rig.events[-1] == CallDone(call=1, operation="tasks.get", seconds=0.0, error="NotFound")


async def test_a_cancelled_call_tells_its_end() -> None:
    """A call that is cancelled on its way has an end as well, and the next one a number of its own."""

    async def handle(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Rig(handle) as rig:
        for _ in range(2):
            calling = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "x"}))
            await rig.clock.settle()
            calling.cancel()
            await asyncio.wait([calling])
    seen = [(type(event), event.call) for event in rig.events if isinstance(event, CallStarted | CallDone)]
    assert seen == [(CallStarted, 1), (CallDone, 1), (CallStarted, 2), (CallDone, 2)]
    assert isinstance(rig.events[-1], CallDone)
    assert rig.events[-1].error == "CancelledError"


async def test_logs_hold_no_secret_and_no_body(caplog: pytest.LogCaptureFixture) -> None:
    """At the finest level a request is one line without token, path, body or answer, whatever becomes of it."""
    caplog.set_level(logging.DEBUG)
    script: list[Scripted] = [
        NothingSent("refused"),
        answer({"note": "planted-answer"}, 429),
        answer({"note": "planted-answer"}, 401),
        answer({"tasks": [{"id": "planted-id"}]}),
        answer(b'{"planted-half'),
        answer({"id": "planted-id", "secret_key": "planted-secret"}),
        answer({"message": "planted-answer"}, 400),
    ]
    async with Rig(script) as rig:
        await rig.call(TASKS_CREATE, body=TaskBatch(tasks=(order("planted-order"),)))
        await rig.call(PARTNER_DETAIL, path={"signature": "planted-signature"})
        with pytest.raises(BadRequest):
            await rig.call(TASKS_GET, path={"task_id": "planted-id"})
    tries = [record for record in caplog.records if record.levelno == logging.DEBUG and "attempt" in record.message]
    assert len(tries) == len(rig.transport.sent) == 7
    assert tries[0].message == "tasks.create refused in 0 ms, attempt 1, request id None"
    assert "planted" not in caplog.text
    assert "planted" not in repr(rig.events)


async def test_a_request_id_is_no_secret() -> None:
    """A header that quotes the token is no request id: neither error, event nor log shows it."""
    headers = {"x_request_id": "planted-bearer-0", "cf_ray": "ray-1"}
    async with Rig([answer({}, status=400, **headers), answer({"id": "t-1"}, **headers)]) as rig:
        with pytest.raises(BadRequest) as caught:
            await rig.call()
        await rig.call()
    assert caught.value.request_id == "ray-1"
    assert [event.request_id for event in rig.events if isinstance(event, RequestDone)] == ["ray-1"] * 2
