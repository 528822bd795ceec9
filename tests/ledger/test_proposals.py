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
    return Request(kind="push_table", environment=environment, account="", words=(word,), inputs=inputs)


async def propose(
    ledger: Ledger,
    word: str = "push",
    *,
    limits: ProposalLimits = NO_LIMITS,
    orders: int = 1,
    client: str = "robot",
    environment: str = "sandbox",
) -> Proposal:
    """Propose it for an hour."""
    summary = Summary(preview=[f"Push {word}"], orders=orders, spend={"SGD": "2.50"} if orders else {})

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


@pytest.mark.parametrize("state", [ProposalState.DONE, ProposalState.FAILED])
async def test_what_was_not_sent_may_be_proposed_again(ledger: Ledger, state: ProposalState) -> None:
    """A failed one gets a successor with a number; one that is done answers for ever after."""
    proposal = await propose(ledger)
    await ledger.proposals.end(await ledger.proposals.approve(proposal, "amy"), state, 8, b"{}")
    again = await propose(ledger)
    expected = proposal.id if state is ProposalState.DONE else f"{proposal.id}-2"
    assert (again.id, again.digest) == (expected, proposal.digest)


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
