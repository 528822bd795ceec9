"""The table of operations, a row for each: what goes out, byte by byte, and the object that comes back.

Every row runs over real HTTP against the simulator, and without a network against an answer that has the form of the
document's sample.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from gotsurge_async import Credentials, GotSurge, Secret
from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.memory import MemoryTransport
from tests.contract.operations import ORG, ROLE, ROWS, TASK, Row
from tests.support.orders import answer
from tests.support.world import called, sent, world

EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
FIXED = {
    "task": TASK,
    "org": ORG,
    "role": ROLE,
    "rev": "0-1a2b3c4d",
    "code": "a-code",
    "session": "a-session",
    "refresh": "a-refresh-token",
}


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """The value with every ``{name}`` in its texts replaced."""
    if isinstance(value, Secret):
        return Secret(filled(value.reveal(), names))
    if type(value) is str:
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    elif isinstance(value, dict):
        value = {name: filled(each, names) for name, each in value.items()}
    elif isinstance(value, list):
        value = [filled(each, names) for each in value]
    return value


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path of attributes, keys and indices."""
    for part in path.split("."):
        key = int(part) if part.isdigit() else part
        value = getattr(value, part) if hasattr(value, part) and not isinstance(value, dict) else value[key]
    return value


def check(row: Row, request: Any, result: Any, names: Mapping[str, str]) -> None:
    """Hold what went out and what was read against the row."""
    assert called(request) == filled(row.request, names)
    assert sent(request) == filled(row.body, names)
    assert request.body is None or request.body == msgspec.json.encode(msgspec.json.decode(request.body))
    endpoint = ENDPOINTS[row.operation]
    assert ("Authorization" in request.headers) is endpoint.bearer
    assert request.headers.get("Content-Type") == (None if row.body is None else "application/json")
    read = {path: at(result, path) for path in row.reads}
    assert read == {path: filled(value, names) for path, value in row.reads.items()}


def test_no_operation_is_missing() -> None:
    """Every operation of the endpoint table has exactly one row, and no row is of another."""
    assert [row.operation for row in ROWS] == list(ENDPOINTS)


@EVERY_ROW
async def test_over_http(row: Row) -> None:
    """Against the simulator the operation sends exactly its JSON, once, and reads what the simulator did."""
    async with world() as place:
        names = await row.prepare(place) if row.prepare else {}
        place.spy.requests.clear()
        result = await row.call(place.gs, names)
        assert len(place.spy.requests) == 1
        check(row, place.spy.requests[0], result, names)


@EVERY_ROW
async def test_without_a_network(row: Row) -> None:
    """Against an answer like the document's sample the operation sends the same JSON and reads the same object."""
    transport = MemoryTransport([answer(filled(row.answer, FIXED))])
    keys = Credentials(client_key="platform-client-key", secret_key=Secret("platform-secret-key"))
    async with GotSurge(
        "local",
        api_base="http://127.0.0.1:1/api/partnership/v1",
        credentials=keys,
        bearer_token="a-bearer-token",
        transport=transport,
        clock=ManualClock(),
    ) as gs:
        result = await row.call(gs, FIXED)
        check(row, transport.sent[0], result, FIXED)
        assert len(transport.sent) == 1
