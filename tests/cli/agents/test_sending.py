"""What an approval starts: the command that was shown, once, over what was shown, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.cli.agents import sending
from gotsurge_async.cli.agents.sending import Ran, run_command
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.errors import UsageError
from gotsurge_async.simulator import Fault

from .kit import Office, order


async def test_a_program_in_the_folder_of_tables_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it has the name of a module that the command loads."""
    monkeypatch.chdir(tmp_path)
    for name in ("click", "msgspec", "gotsurge_async"):
        Path(f"{name}.py").write_text(f"open('ran-{name}', 'w').close()\n")
    ran = await run_command(["explain", "E614", "--json"])
    assert ([*tmp_path.glob("ran-*")], ran.exit_code) == ([], 0)


@pytest.mark.parametrize("code", [*Exit, -9, 77])
async def test_only_what_left_nothing_open_is_done(office: Office, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Any other may be proposed again, but what is still being sent: by nobody knows whom, or by another process."""

    async def ended(*_: Any) -> Ran:
        return Ran(exit_code=code, document={})

    monkeypatch.setattr(sending, "run_command", ended)
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
        state = (await office.approve(made["proposal"])).state
        again = await agent.propose("create_orders", orders=[order()])
    still = "sending" if code in (Exit.HELD, -9) else "failed"
    assert state == ("done" if code in (Exit.CREATED, Exit.RESULTS_FAILED) else still)
    assert again["state"] == ("proposed" if state == "failed" else state)


async def test_another_sender_ends_only_its_own_sending(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's answer comes after a person had the rest sent; it changes nothing."""
    usual, arrived, goes_on = sending.run_command, asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> Ran:
        arrived.set()
        await goes_on.wait()
        return Ran(exit_code=Exit.UNREACHABLE, document={})

    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
    monkeypatch.setattr(sending, "run_command", slow)
    first = asyncio.create_task(office.approve(made["proposal"]))
    await arrived.wait()
    monkeypatch.setattr(sending, "run_command", usual)
    with pytest.raises(UsageError, match="approve` sends the rest"):
        await office.approve(made["proposal"], "bob")
    proposal = await office.ledger.proposals.get(made["proposal"])
    done = await sending.send_approved(office.ledger, proposal, "bob", again=True)
    goes_on.set()
    assert (done.state, done.decided_by) == ("done", "bob")
    assert await first == done


async def test_what_is_in_doubt_answers_with_its_outcome(office: Office) -> None:
    """A lost answer leaves an order in doubt: the same call tells the agent that, and sends nothing."""
    office.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset", times=1))
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
        sent = await office.approve(made["proposal"])
        calls = office.calls
        again = await agent.propose("create_orders", orders=[order()])
    assert (sent.state, sent.exit_code) == ("failed", Exit.IN_DOUBT)
    assert (again["proposal"], again["state"], again["outcome"]["in_doubt"]) == (made["proposal"], "failed", 1)
    assert office.calls == calls
