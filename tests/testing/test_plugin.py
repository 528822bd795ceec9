"""`gotsurge_async.testing.plugin` and `simulated`: what the tests of a program that uses this package get."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gotsurge_async import OutcomeUnknown
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import ManualClock, simulated
from tests.support.orders import order

SAMPLE = """
from gotsurge_async import GotSurge
from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import ManualClock


{mark}
async def test_a_client(gotsurge: GotSurge, gotsurge_simulator: Simulator) -> None:
    assert [task async for task in gotsurge.platform.tasks.list()] == []
    assert gotsurge_simulator.audit()["calls"]["platform.tasks.list"] == 1


{mark}
async def test_answers(gotsurge_http) -> None:
    base = "https://staging.gotsurge.co/api/partnership/v1"
    gotsurge_http.get(f"{{base}}/tasks/t-1", payload={{"id": "t-1"}})
    async with GotSurge("sandbox", api_base=base, bearer_token="any") as gs:
        assert (await gs.tasks.get("t-1")).id == "t-1"


{mark}
@pytest.mark.parametrize("gotsurge", [["acme", "bert"]], indirect=True)
async def test_accounts(gotsurge: GotSurge) -> None:
    for name in ("acme", "bert"):
        assert await gotsurge.as_account(name).tokens.current()


{mark}
@pytest.mark.parametrize("gotsurge_http", [["http://127.0.0.1"]], indirect=True)
async def test_passthrough(gotsurge_http, gotsurge: GotSurge) -> None:
    gotsurge_http.get("https://example.com/t-1", payload={{}})
    assert [task async for task in gotsurge.platform.tasks.list()] == []


{mark}
async def test_a_clock(gotsurge_clock: ManualClock) -> None:
    await gotsurge_clock.advance(60)
    assert gotsurge_clock.monotonic() == 60
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_fixtures_work_in_somebody_s_tests(tmp_path: Path, mode: str) -> None:
    """A conftest of one line gives a client, its simulator, answers and a clock, in either mode of pytest-asyncio."""
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["gotsurge_async.testing.plugin"]\n')
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    (tmp_path / "test_sample.py").write_text("import pytest\n" + SAMPLE.format(mark=mark))
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path)]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # of all that is installed, somebody has this one
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env, check=False)
    assert "5 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize("account", ["plain", "platform"])
async def test_a_client_is_signed_in_to_a_simulator_of_its_own(account: str) -> None:
    """`simulated` is a client that can create at once, as either account."""
    async with simulated(account) as gs:
        assert len((await gs.tasks.create([order()])).tasks) == 1


async def test_several_accounts_are_signed_in() -> None:
    """Each name has tokens of its own, and can create at once; so can the client's own account."""
    async with Simulator() as simulator, simulated(accounts=["acme", "bert"], simulator=simulator) as gs:
        clients = [gs, gs.as_account("acme"), gs.as_account("bert")]
        for number, each in enumerate(clients):
            await each.tasks.create([order(f"T-{number}")])
        tokens = [await each.tokens.current() for each in clients]
        assert len({each.bearer.reveal() for each in tokens if each}) == simulator.audit()["tasks"] == 3


async def test_faults_are_ordered_in_one_line() -> None:
    """They meet the first call of the test, and not the sign-in."""
    lost = Fault(operation="tasks.create", when="after", kind="reset", times=1)
    async with Simulator() as simulator, simulated(simulator=simulator, faults=[lost]) as gs:
        with pytest.raises(OutcomeUnknown):
            await gs.tasks.create([order()])
        await gs.tasks.create([order("T-2")])
        assert simulator.audit()["tasks"] == 2


async def test_the_clock_of_a_client_is_that_of_its_simulator() -> None:
    """What the test turns, both see: an order is created at that time, and the token renews itself."""
    clock = ManualClock()
    async with simulated(clock=clock) as gs:
        created = await gs.tasks.create([order()])
        task = await gs.tasks.get(created.tasks[0].id)
    assert task.updated_at == clock.now()


async def test_two_clients_may_share_a_simulator() -> None:
    """Given a running simulator, the client signs in to that one, and leaves it running."""
    async with Simulator() as simulator:
        for number in range(2):
            async with simulated(simulator=simulator) as gs:
                await gs.tasks.create([order(f"T-{number}")])
        assert simulator.audit()["by_tracking_id"] == {"T-0": 1, "T-1": 1}
