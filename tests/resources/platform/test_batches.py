from typing import Any

import pytest

from gotsurge_async import BadRequest, Forbidden, NotUpdated, OutcomeUnknown, Updated
from gotsurge_async.resources.platform.tasks import UpdateStream
from gotsurge_async.transports.memory import Handler
from tests.support.clients import client
from tests.support.orders import answer


def service(status: int, bad: bytes) -> Handler:
    """Refuses a call whose body names ``bad``, and does what any other asks for."""
    return lambda request: (
        answer({"message": "no"}, status)
        if bad in (request.body or b"")
        else answer({"updated_tasks": [id_ for id_ in ("a", "b", "c", "d") if f'"{id_}"'.encode() in request.body]})
        if request.body
        else answer({"id": "a", "current_status": "draft"})
    )


async def test_a_chunk_that_is_refused() -> None:
    """Each item of a refused chunk gets the refusal; the other chunks continue."""
    async with client(service(422, b'"b"')) as (gs, _):
        stream = gs.platform.tasks.patch_all_tracking_ids(dict.fromkeys("abcd", "T"), chunk=2, concurrency=1)
        results = [result async for result in stream]
    refused = [result for result in results if isinstance(result, NotUpdated)]
    assert [result.item for result in refused] == [("a", "T"), ("b", "T")]
    assert all(isinstance(result.error, BadRequest) for result in refused)
    assert [result.item[0] for result in results if isinstance(result, Updated)] == ["c", "d"]


async def test_an_item_that_the_answer_does_not_name() -> None:
    """A task that a success leaves out is not taken for updated."""
    async with client([answer({"updated_tasks": ["a"]}, 207)]) as (gs, _):
        results = [result async for result in gs.platform.tasks.patch_all_tracking_ids([("a", "T"), ("b", "U")])]
    assert [type(result) for result in results] == [Updated, NotUpdated]
    assert isinstance(results[1], NotUpdated)
    assert isinstance(results[1].error, OutcomeUnknown)
    assert "HTTP 207: GotSurge's answer does not name this task" in str(results[1].error)


async def test_the_end_of_the_token_ends_it() -> None:
    """When the token is no longer taken no more chunks are sent, and the error comes after the last result."""
    results: list[object] = []

    async def read(stream: UpdateStream[Any]) -> None:
        async for result in stream:
            results.append(result)  # noqa: PERF401 - what came before the error counts

    async with client(service(403, b"T")) as (gs, transport):
        stream = gs.platform.tasks.patch_all_tracking_ids(dict.fromkeys("abcd", "T"), chunk=1, concurrency=1)
        with pytest.raises(Forbidden):
            await read(stream)
        assert len(transport.sent) == len(results) == 1
