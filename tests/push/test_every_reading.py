"""A push under every reading of what the document leaves open, with lost answers; judged by what the simulator has."""

from pathlib import Path

import pytest

from gotsurge_async import Limits, RetryPolicy, Timeouts
from gotsurge_async.bulk import Ledger, Mode, Push
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import SWITCHES, Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.push.test_lost_answers import judge
from tests.support.orders import orders

NOT_READ = {"sso_user", "meta", "quote_fields", "price_failure", "cancel_answer"}
"""Switches of answers that no push asks for."""
READINGS = [
    ("created_status", SWITCHES["created_status"].default),  # for all defaults
    *(
        pytest.param(each.name, value, marks=pytest.mark.slow)
        for each in SWITCHES.values()
        if each.name not in NOT_READ
        for value in each.values[1:]
    ),
]
COUNT = 40


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("switch", "value"), READINGS)
async def test_a_push_keeps_its_promise_under_every_reading(
    tmp_path: Path, mode: Mode, switch: str, value: str | bool | int
) -> None:
    """Whatever the document means, none is lost, none doubled, and two-phase ends with none in doubt."""
    async with (
        Simulator(options=SimulatorOptions.from_mapping({switch: value})) as simulator,
        simulated(
            "platform",
            simulator=simulator,
            retry=RetryPolicy(attempts=10, base=0.01, cap=0.02),
            timeouts=Timeouts(read=1.0),
            limits=Limits(concurrency=2),
        ) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=SystemClock().now) as ledger,
    ):
        push = Push(gs, ledger, mode=mode, chunk=4)
        run, _ = await push.load_orders(orders(COUNT))
        for operation in ("tasks.create", "platform.drafts.create", "platform.drafts.broadcast"):
            simulator.order_fault(Fault(operation=operation, when="after", kind="reset", rate=0.3, seed=4))
        async with run:
            sent = await push.send(run)
            assert sent.stopped_by is None
            if switch == "unknown_statuses":  # a known one follows when a driver accepts
                for task in simulator.tasks():
                    if not task["draft"]:
                        simulator.move(task["id"], "accepted")
                assert (await push.send(run)).stopped_by is None
            states = {row.key: row.state async for row in run.rows()}
        in_doubt = judge(states, simulator, COUNT)
    assert (not in_doubt) == (mode is Mode.TWO_PHASE)
