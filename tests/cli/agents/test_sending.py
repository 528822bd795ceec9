"""What an approval starts: the command that was shown, once, over what was shown, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async.cli.agents import sending, tools
from gotsurge_async.cli.agents.sending import Ran, run_command
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.simulator import Fault
from tests.support.commands import Shell, write_orders

from .kit import Office, order


async def test_a_program_in_the_folder_of_tables_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it has the name of a module that the command loads."""
    monkeypatch.chdir(tmp_path)
    for name in ("click", "msgspec", "gotsurge_async"):
        Path(f"{name}.py").write_text(f"open('ran-{name}', 'w').close()\n")
    ran = await run_command(["explain", "E614", "--json"])
    assert ([*tmp_path.glob("ran-*")], ran.exit_code) == ([], 0)


@pytest.mark.parametrize(
    "code", [Exit.CREATED, Exit.RESULTS_FAILED, Exit.IN_DOUBT, Exit.UNREACHABLE, Exit.HELD, -9, 77]
)
async def test_only_what_left_nothing_open_is_done(office: Office, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """All may be proposed again, as the ledger has no such order, but what is still being sent, by whatever process."""

    async def ended(*_: Any) -> Ran:
        return Ran(exit_code=code, document={})

    monkeypatch.setattr(sending, "run_command", ended)
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
        state = (await office.approve(made["proposal"])).state
        again = await agent.propose("create_orders", orders=[order()])
    still = "sending" if code in (Exit.HELD, -9) else "failed"
    assert state == ("done" if code in (Exit.CREATED, Exit.RESULTS_FAILED) else still)
    assert again["state"] == ("sending" if state == "sending" else "proposed")


async def test_a_push_that_sent_a_part_is_not_done_if_its_result_files_are_lost(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest may be proposed again; once everything is sent, lost result files leave nothing open."""

    async def full(*_: object, **__: object) -> None:
        raise ConfigError("cannot write the result files in the folder out (No space left on device)")

    monkeypatch.setattr("gotsurge_async.cli.shared.sending.write_results", full)
    write_orders(office.folder / "orders.csv", range(30))
    forbidden = Fault(operation="tasks.create", when="before", kind="status", status=403, after_calls=1)
    office.simulator.order_fault(forbidden)
    async with office.agent() as agent:
        made = await agent.propose("push_table", file="orders.csv")
        sent = await office.approve(made["proposal"])
        document = msgspec.json.decode(sent.outcome or "")
        assert (sent.state, sent.exit_code, document["created"] < 30) == ("failed", Exit.SIGN_IN, True)
        office.simulator.clear_faults()
        again = await agent.propose("push_table", file="orders.csv")
        assert again["state"] == "proposed"
        sent = await office.approve(again["proposal"])
    assert (sent.state, sent.exit_code) == ("done", Exit.RESULTS_FAILED)
    assert office.simulator.audit()["tasks"] == 30


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
    with pytest.raises(UsageError, match="approve it again at a terminal"):
        await office.approve(made["proposal"], "bob")
    proposal = await office.ledger.proposals.get(made["proposal"])
    done = await sending.send_approved(office.ledger, proposal, "bob", again=True)
    goes_on.set()
    assert (done.state, done.decided_by) == ("done", "bob")
    assert await first == done


async def test_what_was_refused_may_be_proposed_again(office: Office) -> None:
    """Of several orders only those that are not there: approved again, no order is created twice."""
    async with office.agent() as agent:
        await office.approve((await agent.propose("create_orders", orders=[order("T-1")]))["proposal"])
        both = [order("T-1"), order("T-2")]
        made = await agent.propose("create_orders", orders=both)
        office.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
        assert (await office.approve(made["proposal"])).state == "failed"
        again = await agent.propose("create_orders", orders=both)
        assert (again["proposal"], again["state"]) == (f"{made['proposal']}-2", "proposed")
        assert again["preview"][0] == "Create and broadcast 1 order in local"  # and not the money of both
        assert (await office.approve(again["proposal"])).state == "done"
        assert await agent.propose("create_orders", orders=both) != again
    assert sorted(each["tracking_id"] for each in office.simulator.tasks()) == ["T-1", "T-2"]
    assert office.simulator.audit()["doubled"] == {}


async def test_an_order_that_was_taken_back_is_proposed_again(office: Office) -> None:
    """Its proposal is done, but GotSurge has no such order any more; so is one that is no longer the same."""
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order("T-1")])
        await office.approve(made["proposal"])
        assert (await agent.propose("create_orders", orders=[order("T-1")]))["state"] == "done"
        (run,) = await agent.ask("list_runs")
        undo = await agent.propose("undo_run", run=run["run"], reason="The ship sailed")
        await office.approve(undo["proposal"])
        again = await agent.propose("create_orders", orders=[order("T-1")])
        assert (again["proposal"], again["state"]) == (f"{made['proposal']}-2", "proposed")
        other = await agent.propose("create_orders", orders=[order("T-1", price=400_000)])
        await office.approve(other["proposal"])
        await office.ledger.proposals.reject(await office.ledger.proposals.get(again["proposal"]), "amy")
        assert (await agent.propose("create_orders", orders=[order("T-1", price=400_000)]))["state"] == "done"
    assert {each["history"][-1][0] for each in office.simulator.tasks()} == {"cancelled", "broadcasting"}


async def test_an_order_of_the_past_says_that_it_was_sent(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be proposed again, and its agent must not send it under another name."""
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
        await office.approve(made["proposal"])

        async def faulty(*_: Any) -> Ran:
            return Ran(exit_code=Exit.USAGE, document={"error": "1 fault", "exit": 2})

        monkeypatch.setattr(tools, "run_command", faulty)
        why = await agent.refused("create_orders", orders=[order()])
    assert why == f"1 fault; the same request was sent before: proposal {made['proposal']} is done"


async def test_a_cancel_that_failed_may_be_proposed_again(office: Office) -> None:
    """So may all that create nothing: another try sends no driver."""
    async with office.agent() as agent:
        for number in range(1, 3):
            made = await agent.propose("cancel_order", task="none-such", reason="The ship sailed")
            assert (made["state"], made["proposal"].endswith("-2")) == ("proposed", number == 2)
            assert (await office.approve(made["proposal"])).state == "failed"


async def test_an_undo_of_an_order_that_another_run_has_is_not_done(office: Office, shell: Shell) -> None:
    """Its outcome names that run, in which the order is live."""
    _, first = await asyncio.to_thread(shell.push, "A")
    _, second = await asyncio.to_thread(shell.push, "A", "B")
    async with office.agent() as agent:
        made = await agent.propose("undo_run", run=second["run"], keys=["A"], reason="The ship sailed")
        undone = await office.approve(made["proposal"])
    (order,) = msgspec.json.decode(undone.outcome or "")["elsewhere"]
    assert (undone.state, undone.exit_code, order["run"]) == ("failed", Exit.REFUSED, first["run"])


async def test_the_next_step_after_a_mapped_push_names_the_map(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the kept one, which stays: no copy of it that is gone afterwards."""
    maps = office.folder / "maps"
    maps.mkdir()
    monkeypatch.setenv("GOTSURGE_MAPS", str(maps))
    table = write_orders(office.folder / "orders.csv", range(2))
    table.write_text(table.read_text().replace("tracking_id,", "No.,", 1))
    (maps / "mine.toml").write_text('[columns]\n"No." = "tracking_id"\n')
    office.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    async with office.agent() as agent:
        made = await agent.propose("push_table", file="orders.csv", map="mine")
        proposal = await office.approve(made["proposal"])
    (command,) = (step for step in msgspec.json.decode(proposal.outcome or "")["next"] if "--map" in step)
    assert f"--map {maps / 'mine.toml'}" in command


async def test_a_failed_proposal_hides_no_new_reason(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its orders cannot be checked any more, the agent is told why, and not what was once answered."""
    office.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset", times=1))
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=[order()])
        assert (await office.approve(made["proposal"])).state == "failed"

        async def held(*_: Any) -> Ran:
            return Ran(exit_code=Exit.HELD, document={"error": "the ledger is held by another process", "exit": 6})

        monkeypatch.setattr(tools, "run_command", held)
        assert "held by another process" in await agent.refused("create_orders", orders=[order()])


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
