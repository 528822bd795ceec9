"""Proposals in a ledger: the same request is one proposal, decided on once, whoever asks at the same moment."""

import asyncio

import pytest

from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import Proposal, ProposalLimits, ProposalState, Request, Summary
from gotsurge_async.money import Money

from .kit import TurnedClock

NO_LIMITS = ProposalLimits()


def request(word: str = "push", environment: str = "sandbox") -> Request:
    """A request of this word."""
    inputs = {"file": ("a", "1"), "items": ("b", "2")}
    return Request(kind="push_table", environment=environment, account="", words=tuple(word.split()), inputs=inputs)


async def propose(
    ledger: Ledger,
    word: str = "push",
    *,
    limits: ProposalLimits = NO_LIMITS,
    orders: int = 1,
    known: int = 0,
    altered: int = 0,
    client: str = "robot",
    environment: str = "sandbox",
) -> Proposal:
    """Propose it for an hour."""
    spend = {"SGD": "2.50"} if orders else {}
    summary = Summary(preview=[f"Push {word}"], orders=orders, known=known, altered=altered, spend=spend)

    async def sum_up() -> Summary:
        return summary

    asked = request(word, environment)
    return await ledger.proposals.propose(asked, sum_up, "kim", client, limits)


async def test_many_who_propose_the_same_have_one_proposal(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """At the same moment, from two processes' connections, in whatever order the files are named."""
    async with await Ledger.open(where, clock=clock) as other:
        made = await asyncio.gather(*(propose(each, client=f"{n}") for n in range(5) for each in (ledger, other)))
    assert len({each.id for each in made}) == len(await ledger.proposals.newest(10)) == 1
    first = request()
    inputs = {"items": ("b", "2"), "file": ("a", "1")}
    turned = Request(kind="push_table", environment="sandbox", account="", words=("push",), inputs=inputs)
    assert made[0].digest == first.digest == turned.digest
    assert made[0].id == first.digest[:12]


async def test_one_of_many_decisions_counts(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """Approvals and rejections at once: one changes the state, the others are refused."""
    proposal = await propose(ledger)
    async with await Ledger.open(where, clock=clock) as other:
        decisions = [each.proposals.approve(proposal, by) for by in "abc" for each in (ledger, other)]
        decisions.append(ledger.proposals.reject(proposal, "eve"))
        ended = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(each, UsageError) for each in ended) == len(decisions) - 1


async def test_a_sender_that_ended_is_followed_by_one(ledger: Ledger, clock: TurnedClock) -> None:
    """What was being sent may be approved again by who says so; of two who do, one sends, and that one ends it."""
    proposal = await propose(ledger)
    sent = await ledger.proposals.approve(proposal, "amy")
    assert sent == await ledger.proposals.get(proposal.id)
    with pytest.raises(UsageError, match="is being sent: when"):
        await ledger.proposals.approve(sent, "bob")
    both = [ledger.proposals.approve(sent, by, again=True) for by in "ab"]  # at the very moment of the first approval
    ended = await asyncio.gather(*both, return_exceptions=True)
    assert [*map(type, ended)].count(UsageError) == 1
    (later,) = (each for each in ended if isinstance(each, Proposal))
    assert (await ledger.proposals.end(sent, ProposalState.FAILED, 8, b"{}")).state == "sending"
    done = await ledger.proposals.end(later, ProposalState.DONE, 0, b'{"ok": true}')
    assert (done.state, done.exit_code, done.outcome) == ("done", 0, '{"ok": true}')
    late = await ledger.proposals.end(later, ProposalState.FAILED, 8, b"{}")
    assert late == done
    with pytest.raises(UsageError, match="is done"):
        await ledger.proposals.approve(done, "amy")


async def test_what_has_expired_is_not_sent_again(ledger: Ledger, clock: TurnedClock) -> None:
    """Who says that its sender has ended gives it up; then it has failed, and the same may be proposed."""
    sent = await ledger.proposals.approve(await propose(ledger), "amy")
    with pytest.raises(UsageError, match="approve it again at a terminal"):
        await ledger.proposals.reject(sent, "amy", ended=True)
    clock.turn(3600)
    with pytest.raises(UsageError, match="reject it at a terminal, and propose"):
        await ledger.proposals.approve(sent, "amy", again=True)
    with pytest.raises(UsageError, match="reject it at a terminal, and propose"):
        await ledger.proposals.reject(sent, "amy")
    assert (await propose(ledger)).state == "sending"
    await ledger.proposals.reject(sent, "bob", "killed", ended=True)
    last = await ledger.proposals.end(sent, ProposalState.DONE, 0, b"{}")
    assert (last.state, last.decided_by, last.outcome) == ("failed", "bob", '{"rejected":"killed"}')
    assert (await propose(ledger)).id == f"{sent.id}-2"


async def send(ledger: Ledger, proposal: Proposal, state: ProposalState = ProposalState.DONE) -> None:
    """Have a proposal approved and sent."""
    await ledger.proposals.end(await ledger.proposals.approve(proposal, "amy"), state, 8, b"{}")


@pytest.mark.parametrize("state", [ProposalState.DONE, ProposalState.FAILED])
async def test_what_was_not_sent_may_be_proposed_again(ledger: Ledger, state: ProposalState) -> None:
    """One that was sent gets a successor with a number, if the ledger does not have all of its orders."""
    proposal = await propose(ledger, orders=2)
    await send(ledger, proposal, state)
    assert (await propose(ledger, orders=2, known=2)).id == proposal.id
    again = await propose(ledger, orders=2, known=1)
    assert (again.id, again.digest) == (f"{proposal.id}-2", proposal.digest)


async def test_orders_that_differ_by_now_are_proposed_again(ledger: Ledger) -> None:
    """A proposal that is done does not answer for orders in doubt, nor for those that were sent with other content."""
    proposal = await propose(ledger)
    await send(ledger, proposal)
    assert (await propose(ledger, known=1, altered=1)).id == f"{proposal.id}-2"


async def test_a_change_is_proposed_again_after_some_minutes(ledger: Ledger, clock: TurnedClock) -> None:
    """What creates no orders is not in the ledger, so its outcome answers only who may have lost the answer."""
    proposal = await propose(ledger, "change task-1", orders=0)
    clock.turn(3000)
    await send(ledger, proposal)
    clock.turn(599)
    assert (await propose(ledger, "change task-1", orders=0)).id == proposal.id
    clock.turn(1)
    assert (await propose(ledger, "change task-1", orders=0)).id == f"{proposal.id}-2"


async def test_a_change_back_is_a_new_proposal(ledger: Ledger, clock: TurnedClock) -> None:
    """Another change of the same task was sent since, even if it was proposed before; that of another task is none."""
    first = await propose(ledger, "60 task-1", orders=0)
    other, rejected, second = [
        await propose(ledger, word, orders=0) for word in ("60 task-2", "80 task-1", "70 task-1")
    ]
    for proposal in (first, other):
        clock.turn(1)
        await send(ledger, proposal)
    await ledger.proposals.reject(rejected, "amy")
    assert (await propose(ledger, "60 task-1", orders=0)).id == first.id
    await send(ledger, second, ProposalState.FAILED)  # it may have had an effect
    assert (await propose(ledger, "60 task-1", orders=0)).id == f"{first.id}-2"


async def test_what_cannot_be_proposed_again_names_what_was_done(ledger: Ledger) -> None:
    """As when the time of an order has passed: its caller must not take it for one that was never sent."""
    proposal = await propose(ledger)
    await send(ledger, proposal)

    async def sum_up() -> Summary:
        raise UsageError("the window is in the past")

    with pytest.raises(UsageError) as raised:
        await ledger.proposals.propose(request(), sum_up, "kim", "robot", NO_LIMITS)
    assert raised.value.__notes__ == [f"the same request was sent before: proposal {proposal.id} is done"]


async def test_two_at_once_do_not_both_pass_a_limit(ledger: Ledger, where: str, clock: TurnedClock) -> None:
    """A limit counts what another process has just proposed, in this environment, and what failed: it may exist."""
    async with await Ledger.open(where, clock=clock) as other:
        asked = [
            propose(each, f"{n}", limits=ProposalLimits(orders=3, spend=Money.of("7.50", "SGD")))
            for n, each in enumerate((ledger, other) * 4)
        ]
        made = await asyncio.gather(*asked, return_exceptions=True)
    assert [*map(type, made)].count(Proposal) == 3
    await propose(ledger, limits=ProposalLimits(orders=3), environment="local")
    failed = next(each for each in made if isinstance(each, Proposal))
    await ledger.proposals.end(await ledger.proposals.approve(failed, "amy"), ProposalState.FAILED, 8, b"{}")
    with pytest.raises(UsageError, match="the limit is 3"):
        await propose(ledger, "one more", limits=ProposalLimits(orders=3))
    await propose(ledger, "no orders", orders=0, limits=ProposalLimits(orders=3))


async def test_time_ends_a_proposal(ledger: Ledger, clock: TurnedClock) -> None:
    """From that moment it is expired, and cannot be approved."""
    proposal = await propose(ledger)
    clock.turn(3599)
    assert (await ledger.proposals.get(proposal.id)).state == "proposed"
    clock.turn(1)
    assert (await ledger.proposals.get(proposal.id)).state == "expired"
    with pytest.raises(UsageError, match="is expired"):
        await ledger.proposals.approve(proposal, "amy")
    assert (await propose(ledger)).id == f"{proposal.id}-2"
