"""The service of docs/tutorial/fastapi-service.md, by HTTP: which orders free their tracking id, and which never do."""

import asyncio
import importlib.util
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import attrs
import pytest

from gotsurge_async import FileStore, GotSurge
from gotsurge_async.simulator import Fault, Simulator
from tests.support.consoles import FILE
from tests.support.serving import on_uvicorn

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "fastapi-service.md"
CREATE = "platform.drafts.create"
BROADCAST = "platform.drafts.broadcast"
GOOD = {
    "tracking_id": "CALL-7-ROPE",
    "pickup": "7 Loyang Way",
    "delivery": "Marina South Pier",
    "price": "48.50",
    "pickup_from": "2030-03-04T04:00:00Z",
    "pickup_until": "2030-03-04T06:00:00Z",
}
NOBODY_LISTENS = "http://127.0.0.1:1/api/partnership/v1"


@attrs.frozen
class Service:
    """The page's service while it runs."""

    module: ModuleType
    session: aiohttp.ClientSession
    url: str

    async def post(self, **changes: str) -> tuple[int, str]:
        """Post the good order with some changes; the answer's status and text."""
        async with self.session.post(f"{self.url}/orders", json={**GOOD, **changes}) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """A simulator, and the folder and the variables that the page's programs have; no account is signed in."""
    text = next(code for code, name in FILE.findall(PAGE.read_text(encoding="utf-8")) if name == "service.py")
    (tmp_path / "service.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    async with Simulator() as simulator:
        keys = simulator.accounts["platform"]
        variables = {
            "GOTSURGE_ENV": "local",
            "GOTSURGE_API_BASE": simulator.api_base,
            "GOTSURGE_CLIENT_KEY": keys.client_key,
            "GOTSURGE_SECRET_KEY": keys.secret_key,
            "WEBHOOK_TOKEN": "a-secret-that-nobody-guesses",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield simulator


async def sign_in(simulator: Simulator) -> None:
    """Do what the page's sign_in.py does."""
    async with GotSurge.from_env(token_store=FileStore("tokens.json")) as gs:
        await gs.sign_in(simulator.new_code("platform"))


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, **variables: str) -> AsyncIterator[Service]:
    """The service in a fresh state, as after a start; its ledger and its order book stay in the folder."""
    with monkeypatch.context() as only_here, socket.socket(proto=socket.IPPROTO_TCP) as listener:
        for name, value in variables.items():
            only_here.setenv(name, value)
        spec = importlib.util.spec_from_file_location("service", "service.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        only_here.setitem(sys.modules, "service", module)
        spec.loader.exec_module(module)
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with on_uvicorn(module.app, listener, lifespan="on"), aiohttp.ClientSession() as session:
            async with session.get(f"{url}/healthz") as answer:  # answered when the service has started
                assert answer.status == 200
            yield Service(module, session, url)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries wait for no time at all."""
    monkeypatch.setattr("random.Random.random", lambda _: 0.0)


def creates(simulator: Simulator) -> int:
    """How many calls of a create the simulator got."""
    return int(simulator.audit()["calls"].get(CREATE, 0))


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({}, "sign in"),
        ({"GOTSURGE_API_BASE": NOBODY_LISTENS}, "no connection"),
        ({"GOTSURGE_ENV": "production"}, "is a guess"),
    ],
    ids=["SignInNeeded", "NotSent", "EndpointsAssumed"],
)
@pytest.mark.usefixtures("at_once")
async def test_an_order_that_never_left_may_be_posted_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], cause: str
) -> None:
    """While nothing can be sent, each post is 503 with the cause; when the cause has gone, the order is created."""
    if variables:
        await sign_in(simulator)
    if variables.get("GOTSURGE_ENV"):  # its tokens are kept under another name
        variables = {**variables, "GOTSURGE_BEARER_TOKEN": "of-no-use"}
    async with running(monkeypatch, **variables) as service:
        for _ in range(2):
            status, text = await service.post()
            assert (status, cause in text, "not created" in text) == (503, True, True), text
    assert creates(simulator) == 0
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        assert (await service.post())[0] == 201
        assert (await service.post())[0] == 200
    assert creates(simulator) == 1


async def test_an_order_that_met_a_closed_client_may_be_posted_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service ends, an order may come too late for its client; nothing was sent of it."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        await service.module.app.state.gs.close()
        status, text = await service.post()
        assert (status, "not created" in text) == (503, True), text
    async with running(monkeypatch) as service:
        assert (await service.post())[0] == 201


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"price": price}
            for price in ("", "cheap", "48,50", "-48.50", "0", "1.99", "NaN", "1e99", "9" * 99, "0.1234567")
        ),
        *({"tracking_id": name} for name in ("", " ", "\n")),
        {"pickup_until": "2030-03-04T03:00:00Z"},
        {"pickup_from": "0001-01-01T00:00:00+14:00"},
        {"pickup": ""},
    ],
    ids=str,
)
async def test_a_faulty_order_is_the_callers(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    """An order that cannot be right is 422, is not sent, and once mended is created."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        for _ in range(2):
            status, text = await service.post(**changes)
            assert status == 422, text
        assert creates(simulator) == 0
        assert (await service.post())[0] == 201


@pytest.mark.parametrize(("refusal", "status"), [(422, 422), (403, 503), (401, 503)])
async def test_an_order_that_gotsurge_refused_may_be_posted_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, refusal: int, status: int
) -> None:
    """A refusal of the order is the caller's, 422; a refusal of the account is the service's, 503."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        simulator.order_fault(Fault(operation=CREATE, kind="status", status=refusal))
        for _ in range(2):
            answer = await service.post()
            assert (answer[0], "not created" in answer[1]) == (status, True), answer
        simulator.clear_faults()
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        assert (await service.post())[0] == 201


@pytest.mark.usefixtures("at_once")
async def test_an_order_in_doubt_is_never_sent_again(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing shows what became of it, it is 202 and says so, also after a start; then it has one task."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        simulator.order_fault(Fault(operation=BROADCAST, kind="reset", when="after"))
        simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=403))
        for _ in range(2):
            status, text = await service.post()
            assert (status, "in_doubt" in text) == (202, True), text
    async with running(monkeypatch) as service:
        status, text = await service.post()
        assert (status, "in_doubt" in text) == (202, True), text
        simulator.clear_faults()
        assert (await service.post())[0] == 200
    assert creates(simulator) == 1


async def test_a_created_order_has_one_task(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Posted again, it is 200 with the same task; of several posts at the same moment one creates it."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        answers = await asyncio.gather(*(service.post() for _ in range(5)))
        assert sorted(status for status, _ in answers) == [200, 200, 200, 200, 201]
        assert len({text for _, text in answers}) == 1
        async with service.session.get(f"{service.url}/orders/CALL-7-ROPE") as answer:
            known: dict[str, Any] = await answer.json()
        assert known["task_id"] in answers[0][1]
    async with running(monkeypatch) as service:
        assert await service.post() == (200, answers[0][1])
    assert creates(simulator) == 1


async def test_another_order_with_its_tracking_id_is_not_sent(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 409, and the answer says what differs."""
    await sign_in(simulator)
    async with running(monkeypatch) as service:
        assert (await service.post())[0] == 201
        status, text = await service.post(price="52.00")
        assert (status, "these fields differ: price" in text) == (409, True), text
    assert creates(simulator) == 1
