"""A service that answers anything at all, at every operation."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gotsurge_async import GotSurgeError
from gotsurge_async.transports.base import Response
from tests.support.clients import client

from .test_operations import EVERY_ROW, FIXED, ROWS, Row, filled

texts = st.sampled_from(["", "0", "a", "success", "error", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00", "\0"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | texts, inner, max_size=3),
    max_leaves=6,
)
statuses = st.sampled_from([200, 200, 200, 201, 202, 204, 301, 400, 401, 404, 409, 418, 422, 429, 500, 503])
headers = st.fixed_dictionaries(
    {},
    optional={
        "retry-after": st.sampled_from(["0", "now", "Thu, 01 Jan 1970 00:00:00 GMT", "\u0663", "-1"]),
        "etag": st.text(max_size=5) | st.just('W/"1-a"'),
        "x-request-id": st.text(max_size=5),
    },
)


def near(value: Any) -> st.SearchStrategy[Any]:
    """The value, or something that has its form here and there."""
    if isinstance(value, dict):
        fields = {name: near(each) for name, each in value.items()}
        return st.fixed_dictionaries({}, optional=fields) | st.fixed_dictionaries(fields) | junk
    if isinstance(value, list):
        return st.tuples(*map(near, value)).map(list) | junk
    return st.just(value) | st.just(value) | junk


def answers(right: Any) -> st.SearchStrategy[Response]:
    """Any answer; many of them close to the right one."""
    bodies = near(right).map(msgspec.json.encode) | st.binary(max_size=30) | st.just(b"<html><title>502</title></html>")
    cut = st.tuples(bodies, st.integers(0, 100)).map(lambda pair: pair[0][: pair[1]])
    return st.builds(
        lambda status, some, body: Response(status=status, headers=some, body=body), statuses, headers, bodies | cut
    )


ANSWERS = {row.operation: answers(filled(row.answer, FIXED)) for row in ROWS}


@pytest.mark.slow
@EVERY_ROW
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
async def test_any_answer_is_an_object_or_one_of_our_errors(row: Row, data: st.DataObject) -> None:
    """Whatever a service answers, a call returns an object or raises an error of this package, and it ends."""
    given_answers = data.draw(st.lists(ANSWERS[row.operation], min_size=1, max_size=3))
    asked = 0

    def service(_: object) -> Response:
        nonlocal asked
        asked += 1
        return given_answers[min(asked, len(given_answers)) - 1]

    async with client(service, refresh_token="a-refresh-token") as (gs, _):
        with suppress(GotSurgeError):
            assert await row.call(gs, FIXED) is not None
    assert asked < 100
