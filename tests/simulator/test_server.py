import asyncio
from datetime import datetime

import aiohttp
import pytest

from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions, serve

from .kit import Client, FakeTime


async def test_it_listens_on_loopback_only(plain: Client) -> None:
    """The address is one of this machine's own."""
    assert plain.simulator.origin.startswith("http://127.0.0.1:")
    assert plain.simulator.api_base == plain.simulator.origin + "/api/partnership/v1"


async def test_it_has_no_address_before_it_starts() -> None:
    """Asking for the address too early says what to do."""
    with pytest.raises(RuntimeError, match="async with Simulator"):
        _ = Simulator().api_base


async def test_a_port_in_use_is_an_error(plain: Client) -> None:
    """A second simulator on the same port does not start, and leaves nothing behind."""
    port = int(plain.simulator.origin.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"):
        await Simulator(port).__aenter__()


def test_options_in_the_place_of_the_port_are_refused() -> None:
    """The error says how options are given."""
    with pytest.raises(TypeError, match=r"the first argument is the port, not SimulatorOptions.*: give options="):
        Simulator(SimulatorOptions())  # type: ignore[arg-type]


def test_the_accounts_are_fixed_and_hide_their_secrets() -> None:
    """The two accounts have fixed credentials, which no repr shows."""
    accounts = Simulator().accounts
    assert {name: (account.client_key, account.secret_key) for name, account in accounts.items()} == {
        "plain": ("plain-client-key", "plain-secret-key"),
        "platform": ("platform-client-key", "platform-secret-key"),
    }
    assert [account.platform for account in accounts.values()] == [False, True]
    assert "secret-key" not in repr(accounts)


async def test_it_ends_without_waiting_for_what_is_delayed() -> None:
    """A call that is still delayed does not hold up the end."""
    served = asyncio.Event()

    class Watched(FakeTime):
        def now(self) -> datetime:
            served.set()
            return super().now()

    async with aiohttp.ClientSession() as session:
        async with Simulator(clock=Watched()) as simulator:
            simulator.order_fault(Fault(when="after", kind="delay", seconds=3600))
            call = asyncio.create_task(Client(session, simulator).call("GET", "/tasks/none"))
            await served.wait()
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_serving_announces_the_accounts_and_ends_when_cancelled() -> None:
    """The program says where it is and with which credentials to come, and serves until it is cancelled."""
    lines: list[str] = []
    ready = asyncio.Event()

    def announce(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            ready.set()

    program = asyncio.create_task(serve(0, SimulatorOptions(), announce=announce))
    await ready.wait()
    base = lines[0].rsplit(" ", 1)[1]
    assert "plain-client-key" in lines[1]
    assert "platform-secret-key" in lines[2]
    async with aiohttp.ClientSession() as session, session.get(f"{base}/tasks/none") as response:
        assert response.status == 401
    program.cancel()
    with pytest.raises(asyncio.CancelledError):
        await program
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.ClientSession() as session:
            await session.get(base)
