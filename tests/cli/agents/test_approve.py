"""``gotsurge approve``: a person at a terminal lists, reads, approves and rejects."""

import asyncio
import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import click
import psutil
import pytest
from msgspec import structs

from gotsurge_async.cli.agents import approve as command
from gotsurge_async.cli.agents import sending
from gotsurge_async.cli.agents.sending import Ran
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.ledger.proposals import ProposalState
from gotsurge_async.simulator import Fault
from tests.support.commands import Runner, start, write_orders

from .kit import Office, order
from .test_tools import fits


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A person at a terminal, and the question that was asked; ``yes`` is the answer."""
    seen: dict[str, Any] = {"yes": True}

    def confirmed(question: str) -> bool:
        seen["question"] = question
        return bool(seen["yes"])

    monkeypatch.setattr(command, "at_a_terminal", lambda: True)
    monkeypatch.setattr(command, "confirmed", confirmed)
    return seen


async def proposed(office: Office, key: str = "T-1") -> dict[str, Any]:
    """A proposal of one order."""
    async with office.agent() as agent:
        return await agent.propose("create_orders", orders=[order(key)])


async def approve(office: Office, run: Runner, *words: str) -> Any:
    """The command, over the office's ledger; it has the time of the test's clock."""
    return await asyncio.to_thread(run, "approve", *words, "--ledger", office.folder / "ledger.db")


@pytest.fixture
async def office(office: Office) -> Office:
    """The same, at the time of the machine, which the command has, too."""
    office.clock.moment = datetime.now(UTC)
    return office


async def test_a_person_reads_and_sends(office: Office, run: Runner, person: dict[str, Any]) -> None:
    """What would be sent stands on the screen, then the question, then what became of it."""
    made = await proposed(office)
    done = await approve(office, run, made["proposal"], "--by", "amy")
    assert (done.exit_code, person["question"]) == (0, f"Send this to local, as {made['proposal']}?")
    assert done.stdout.startswith("Create and broadcast 1 order in local\n")
    assert made["digest"] in done.stdout
    assert '"result": "created"' in done.stdout
    assert done.stdout.endswith(f"proposal {made['proposal']} is done\n")
    assert len(office.simulator.tasks()) == 1
    again = await approve(office, run, made["proposal"])
    assert (again.exit_code, "amy" in again.stdout) == (0, True)
    assert len(office.simulator.tasks()) == 1


async def test_a_person_says_no(office: Office, run: Runner, person: dict[str, Any]) -> None:
    """Nothing is sent, and the proposal still waits; a rejection ends it."""
    made, person["yes"] = await proposed(office), False
    done = await approve(office, run, made["proposal"])
    assert (done.exit_code, "nothing was sent" in done.stderr) == (2, True)
    rejected = await approve(office, run, made["proposal"], "--reject", "wrong berth", "--json")
    fits(json.loads(rejected.stdout), "proposal")
    assert json.loads(rejected.stdout)["outcome"] == {"rejected": "wrong berth"}
    assert (await approve(office, run, made["proposal"], "--yes", made["digest"])).exit_code == 2
    assert office.calls == {}


async def test_without_a_terminal_only_the_digest_approves(office: Office, run: Runner) -> None:
    """Without it a script is told how; another digest sends nothing."""
    made = await proposed(office)
    other = await proposed(office, "T-2")
    shown = await approve(office, run, made["proposal"])
    assert (shown.exit_code, f"--yes {made['digest']}" in shown.stderr) == (0, True)
    for digest in (other["digest"], made["digest"][:12], ""):
        assert (await approve(office, run, made["proposal"], "--yes", digest)).exit_code == 2
    assert office.calls == {}
    done = await approve(office, run, made["proposal"], "--yes", made["digest"], "--json")
    document = json.loads(done.stdout)
    fits(document, "proposal")
    assert (done.exit_code, document["state"], document["outcome"]["created"]) == (0, "done", 1)


async def test_the_proposals_are_listed(office: Office, run: Runner) -> None:
    """The newest first, each with its state and what it would do; with --json whole."""
    first = await proposed(office)
    office.clock.moment += timedelta(seconds=1)
    second = await proposed(office, "T-2")
    lines = (await approve(office, run)).stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines[1:]] == [[each["proposal"], "proposed"] for each in (second, first)]
    documents = json.loads((await approve(office, run, "--json", "--limit", "1")).stdout)
    assert [each["proposal"] for each in documents] == [second["proposal"]]
    fits(documents[0], "proposal")


async def test_the_exit_code_is_that_of_the_command(office: Office, run: Runner) -> None:
    """A service that cannot be reached leaves a proposal that failed, and may be proposed again."""
    made = await proposed(office)
    office.simulator.revoke("plain")
    away_ = Target(env="local", api_base="http://127.0.0.1:1/api")
    lost = attrs.evolve(office, bounds=structs.replace(office.bounds, target=away_))
    async with lost.agent() as agent:
        away = await agent.propose("create_orders", orders=[order()])
    assert away["proposal"] != made["proposal"]
    done = await approve(office, run, away["proposal"], "--yes", away["digest"], "--json")
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (8, "failed")
    async with lost.agent() as agent:
        assert (await agent.propose("create_orders", orders=[order()]))["proposal"] == f"{away['proposal']}-2"


async def test_a_sender_that_was_killed_is_followed_up(
    office: Office, run: Runner, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proposal says that it is being sent; approved once more, the rest is sent, and nothing twice."""
    made, usual = await proposed(office), sending.run_command

    async def killed(*given: Any) -> Ran:
        await usual(*given)
        return Ran(exit_code=-9, document={"error": "killed", "exit": -9})

    monkeypatch.setattr(sending, "run_command", killed)
    done = await approve(office, run, made["proposal"])
    assert (done.exit_code, "was killed, or still runs" in done.stderr) == (3, True)
    assert (await office.ledger.proposals.get(made["proposal"])).state is ProposalState.SENDING
    repeated = await proposed(office)
    assert (repeated["state"], repeated["next"]) == ("sending", made["next"])  # the agent has what its person types
    monkeypatch.setattr(sending, "run_command", usual)
    ran = len(office.ran)
    done = await approve(office, run, made["proposal"], "--yes", made["digest"])
    assert (done.exit_code, "approve it again at a terminal to send the rest" in done.stderr, len(office.ran)) == (
        2,
        True,
        ran,
    )
    done = await approve(office, run, made["proposal"], "--by", "amy")
    assert "Has its process ended, and is the rest to be sent?" in person["question"]
    assert (done.exit_code, '"already_pushed": 1' in done.stdout) == (0, True)
    assert len(office.simulator.tasks()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("with_its_command", [True, False])
async def test_whoever_sends_the_rest_sends_nothing_twice(
    office: Office, run: Runner, person: dict[str, Any], with_its_command: bool
) -> None:
    """A sender is killed in the middle of a call; its command is, too, or still waits for the answer."""
    made = await proposed(office)
    for kind in ("delay", "reset"):
        office.simulator.order_fault(Fault(operation="tasks.create", when="after", kind=kind, seconds=5, times=1))
    words = (made["proposal"], "--yes", made["digest"], "--ledger", office.folder / "ledger.db")
    process = await start("approve", *words, cwd=office.folder)
    while not office.simulator.tasks():  # noqa: ASYNC110 - another process is at it
        await asyncio.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in children if with_its_command else ():
        child.kill()
    await process.communicate()
    done = await approve(office, run, made["proposal"])
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert (done.exit_code, '"in_doubt": 1' in done.stdout) == (3, True), done.output
    again = await proposed(office)
    assert (again["proposal"], again["state"]) == (made["proposal"], "failed")
    assert (office.calls["tasks.create"], len(office.simulator.tasks())) == (1, 1)


async def test_what_expired_while_it_was_sent_is_given_up(office: Office, run: Runner, person: dict[str, Any]) -> None:
    """It is not sent again; once a person says that its sender has ended, it is rejected, and may be proposed again."""
    office.clock.moment -= timedelta(hours=2)
    made = await proposed(office)
    await office.ledger.proposals.approve(await office.ledger.proposals.get(made["proposal"]), "amy")
    done = await approve(office, run, made["proposal"])
    assert (done.exit_code, "reject it at a terminal, and propose it again" in done.stderr) == (2, True)
    person["yes"] = False
    assert (await approve(office, run, made["proposal"], "--reject", "killed")).exit_code == 2
    person["yes"] = True
    assert (await approve(office, run, made["proposal"], "--reject", "killed")).exit_code == 0
    assert "ended?" in person["question"]
    assert (await proposed(office))["proposal"] == f"{made['proposal']}-2"
    assert office.calls == {}


@pytest.mark.parametrize(
    "words", [("nothing",), ("--yes", "d"), ("--reject", "no"), ("p", "--serve"), ("--serve", "--yes", "d")]
)
async def test_what_cannot_be_meant_is_refused(office: Office, run: Runner, words: tuple[str, ...]) -> None:
    """An unknown proposal, and options that go with no other."""
    await proposed(office)
    assert (await approve(office, run, *words)).exit_code == 2


async def test_a_question_without_an_answer_sends_nothing(
    office: Office, run: Runner, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input ends at the question."""

    def aborted(_: str) -> bool:
        raise click.Abort

    monkeypatch.setattr(command, "confirmed", aborted)
    done = await approve(office, run, (await proposed(office))["proposal"])
    assert done.exit_code == 2
    assert office.calls == {}


@pytest.mark.parametrize("variable", ["GOTSURGE_CLIENT_KEY", "GOTSURGE_BEARER_TOKEN", "GOTSURGE_TOKEN_FILE"])
async def test_it_is_sent_only_as_the_account_that_was_shown(office: Office, run: Runner, variable: str) -> None:
    """A shell with other credentials than the server's sends nothing; the account is shown, its secrets are not."""
    made = await proposed(office)
    words = ("approve", made["proposal"], "--yes", made["digest"], "--ledger", office.folder / "ledger.db")
    other = await asyncio.to_thread(lambda: run(*words, **{variable: "of-somebody-else"}))
    assert (other.exit_code, "is for another account (the usual one" in other.stderr) == (2, True)
    assert (made["account"] in other.stdout, "of-somebody-else" in other.output) == (True, False)
    assert office.calls == {}
    assert (await asyncio.to_thread(run, *words)).exit_code == 0


async def test_every_order_is_shown(office: Office, run: Runner) -> None:
    """Each has a line, in which nothing moves a cursor; --json has all of them whole, as they would be sent."""
    orders = [order(f"T-{number}") for number in range(20)]
    orders[7] = order("T-7", to_address={"zip_code": "1" * 400, "street_address": "The Thief's \u202eGarage\x1b[2J 13"})
    async with office.agent() as agent:
        made = await agent.propose("create_orders", orders=orders)
    done = await approve(office, run, made["proposal"])
    assert all(line.replace("\t", " ").isprintable() for line in done.stdout.splitlines())
    lines = [line for line in done.stdout.splitlines() if line.startswith("  tracking_id ")]
    assert [line.partition(";")[0] for line in lines] == [f"  tracking_id T-{number}" for number in range(3, 20)]
    assert "; from_time_window.start_time_utc 2030-03-04 01:00Z; " in lines[0]
    assert "street_address The Thief's Garage [2J 13;" in lines[4]
    assert f"zip_code {'1' * 300}…;" in lines[4]
    assert lines[4].endswith("; currency SGD; price 48.50")
    document = json.loads((await approve(office, run, made["proposal"], "--json")).stdout)
    fits(document, "proposal")
    assert document["input"] == orders


async def test_a_table_is_named_with_its_digest(office: Office, run: Runner) -> None:
    """Its file, the digest of it, and the number of its orders, since not all of them can be shown."""
    table = write_orders(office.folder / "orders.csv", range(5))
    async with office.agent() as agent:
        made = await agent.propose("push_table", file="orders.csv")
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    shown = (await approve(office, run, made["proposal"])).stdout
    assert f"{table}, SHA-256 {digest}" in shown
    assert "  orders: 5\n" in shown
    document = json.loads((await approve(office, run, made["proposal"], "--json")).stdout)
    assert (document["input"], document["files"]) == (None, {str(table): digest})
