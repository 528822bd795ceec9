"""How long a claim may be sent, and what is known of the calls that were made under it."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import pytest

from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.ledger import IllegalTransition
from gotsurge_async.push.chunks import Claim
from gotsurge_async.testing import ManualClock

if TYPE_CHECKING:
    from gotsurge_async.bulk import Run


class Books:
    """A run that notes what becomes of claims; a write of it takes some time each, or is refused."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.writes: list[float] = []
        self.refuses = False
        self.renewed: list[tuple[float, Sequence[int]]] = []
        self.released: list[Sequence[int]] = []

    async def renew_claim(self, ids: Sequence[int]) -> None:
        """Note when it was asked for, and let the write take its time."""
        self.renewed.append((self.clock.monotonic(), ids))
        if self.refuses:
            raise IllegalTransition("another one's by now")
        if self.writes:
            await self.clock.advance(self.writes.pop())

    async def release_claim(self, ids: Sequence[int]) -> None:
        """Note it."""
        self.released.append(ids)


@pytest.fixture
def books() -> Books:
    """A run, and its clock."""
    return Books(ManualClock())


def claim_of(books: Books) -> Claim:
    """A claim of two orders, good for a minute, with a call begun."""
    claim = Claim(cast("Run", books), books.clock, 60)
    assert not claim.may_have_acted
    assert not claim.refused
    claim.begin_call([1, 2])
    return claim


async def test_a_claim_is_renewed_when_half_its_life_is_over(books: Books) -> None:
    """A young claim leaves without a write, an older one is renewed first, and is young for as long again."""
    claim = claim_of(books)
    for seconds, renewed in ((30, []), (1, [31]), (30, [31]), (1, [31, 62])):
        await books.clock.advance(seconds)
        await claim.leave()
        assert books.renewed == [(at, [1, 2]) for at in renewed]


async def test_a_claim_that_grew_old_while_it_was_renewed_is_renewed_again(books: Books) -> None:
    """A renewal counts from before its write: one that took more than half a life is followed by another."""
    claim = claim_of(books)
    books.writes = [1, 31]
    await books.clock.advance(31)
    await claim.leave()
    assert [at for at, _ in books.renewed] == [31, 62]


async def test_what_is_not_ones_own_any_more_does_not_leave(books: Books) -> None:
    """Where the ledger refuses to renew a claim, the call ends with its error, and nothing may have acted."""
    claim = claim_of(books)
    books.refuses = True
    await books.clock.advance(31)
    with pytest.raises(IllegalTransition):
        await claim.leave()
    assert not claim.may_have_acted


@pytest.mark.parametrize(
    ("outcome", "status", "acted", "refused"),
    [
        (Outcome.ANSWERED, 200, True, False),
        (Outcome.UNKNOWN, None, True, False),
        (Outcome.NOT_SENT, None, False, False),
        (Outcome.RATE_LIMITED, 429, False, False),
        (Outcome.REJECTED, 422, False, True),
        (Outcome.REJECTED, 401, False, False),
        (Outcome.REJECTED, 403, False, False),
    ],
)
async def test_a_claim_knows_what_a_try_may_have_done(
    books: Books, outcome: Outcome, status: int | None, acted: bool, refused: bool
) -> None:
    """On its way a try may have acted; afterwards its outcome says so, whatever comes of later ones of the call."""
    claim = claim_of(books)
    await claim.leave()
    assert claim.may_have_acted
    claim.land(outcome, status)
    assert (claim.may_have_acted, claim.refused) == (acted, refused)
    await claim.leave()
    claim.land(Outcome.NOT_SENT, None)
    assert (claim.may_have_acted, claim.refused) == (acted, refused)
    await claim.leave()
    claim.begin_call([2])
    assert (claim.may_have_acted, claim.refused) == (False, False)


async def test_a_claim_that_is_cancelled_is_released(books: Books) -> None:
    """Whoever is cancelled while it claims gives back what was granted, and nothing where the claim failed."""
    written: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def grant(_: Sequence[int]) -> list[int]:
        return await written

    async def fail(_: Sequence[int]) -> list[int]:
        await written
        raise IllegalTransition("no")

    assert await claim_of(books).take(lambda _: done([2]), [1, 2]) == {2}
    taking = [asyncio.create_task(claim_of(books).take(how, [1, 2])) for how in (grant, fail)]
    await books.clock.settle()
    for each in taking:
        each.cancel()
    await books.clock.settle()
    written.set_result([1])
    ended = await asyncio.gather(*taking, return_exceptions=True)
    assert [type(end) for end in ended] == [asyncio.CancelledError] * 2
    assert books.released == [[1]]


async def done(ids: list[int]) -> list[int]:
    """A claim that is granted at once."""
    return ids
