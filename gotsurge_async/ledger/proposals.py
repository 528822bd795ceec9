"""Proposals: requests of programs to send orders, and the decisions of people about them.

A person approves the digest of exactly what would be sent, once, while the proposal lasts. If two people decide, the
compare-and-swap of its state accepts one. Nothing here sends anything.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from gotsurge_async.clock import from_microseconds, to_microseconds
from gotsurge_async.database import Database, Row
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger.sql.store import Store
from gotsurge_async.money import Money

MINUTE = 60_000_000
"""In microseconds, as the ledger keeps times."""
DAY = 24 * 60 * MINUTE
DONE_FOR = 10 * MINUTE
"""For so long after its end, a proposal that created no orders answers the same request, whose answer may be lost."""
MOST_WAITING = 100
"""The most proposals that may wait for a person at the same time."""
_ALL = 2**31


class ProposalState(StrEnum):
    """The state of a proposal. It is sending until its command ends; it failed if that left something unsent."""

    PROPOSED = "proposed"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"


_COUNTED = (ProposalState.PROPOSED, ProposalState.SENDING, ProposalState.DONE, ProposalState.FAILED)
"""The states that count towards the limits of a day; a failed proposal may have created all of its orders."""


class Request(Struct, frozen=True, kw_only=True):
    """Exactly what would be sent: a command, its input, and the files that it reads.

    Attributes:
        kind: the tool that proposes it.
        environment, account: those with which it would be sent; the account is "" for the usual one.
        words: the words of the ``gotsurge`` command that sends it.
        stdin: its input; "" without one.
        inputs: a file that it reads ("file", "items" or "map") -> its path, and the SHA-256 of its bytes in hex.
    """

    kind: str
    environment: str
    account: str
    words: tuple[str, ...]
    stdin: str = ""
    inputs: Mapping[str, tuple[str, str]] = {}

    @property
    def digest(self) -> str:
        """The SHA-256 of all of it, in hex."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def target(self) -> str:
        """The task, the run or the table that its command ends with."""
        return self.words[-1]


class Summary(Struct, frozen=True, kw_only=True):
    """A summary of what a request would do.

    Attributes:
        preview: lines for people, safe for a terminal.
        orders: the number of its orders; of ``unpriced`` of them nothing says what they may cost.
        known: the number of those that the ledger has: nothing of them would be sent. ``altered`` of them are in doubt,
            or differ from what was sent; one may count twice.
        spend: the sum of what they may cost at most, by currency, as decimals.
    """

    preview: Sequence[str]
    orders: int = 0
    unpriced: int = 0
    known: int = 0
    altered: int = 0
    spend: Mapping[str, str] = {}


class Proposal(Struct, frozen=True):
    """A request, and its outcome.

    Attributes:
        id: the beginning of the digest; with a number behind it if the same was proposed before.
        by, client: the user of the machine, and the program, that proposed it.
        decided_by, decided_at: the person who approved or rejected it, and when.
        exit_code: that of the command that sent it.
        outcome: that command's JSON document, or why it was rejected.
    """

    id: str
    digest: str
    request: Request
    summary: Summary
    by: str
    client: str
    created_at: datetime
    expires_at: datetime
    state: ProposalState
    decided_by: str | None
    decided_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    outcome: str | None

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document."""
        request, summary = self.request, self.summary
        later = ("created_at", "expires_at", "decided_by", "decided_at", "ended_at")
        return {
            "proposal": self.id,
            "digest": self.digest,
            "state": self.state.value,
            "kind": request.kind,
            "environment": request.environment,
            "account": request.account or None,
            "command": ["gotsurge", *request.words],
            "preview": list(summary.preview),
            "orders": summary.orders,
            "spend": dict(summary.spend),
            "proposed_by": self.by,
            "client": self.client,
            **{name: getattr(self, name) for name in later},
            "exit": self.exit_code,
            "outcome": None if self.outcome is None else msgspec.Raw(self.outcome.encode()),
        }


class ProposalLimits(Struct, frozen=True, kw_only=True):
    """Limits for the proposals of an environment in a day; None for no limit.

    Attributes:
        minutes: for how long a person may approve it.
        spend: the sum of what the orders may cost at most; without a currency, of each one.
    """

    minutes: float = 60.0
    orders: int | None = None
    spend: Money | None = None

    def check(self, summary: Summary, before: Sequence[Summary]) -> None:
        """Raise UsageError if a request, with all before it, exceeds a limit of the day."""
        orders = sum(each.orders for each in (*before, summary))
        if self.orders is not None and summary.orders and orders > self.orders:
            raise UsageError(
                f"with this proposal, there would be {orders} orders in 24 hours, but the limit is {self.orders}",
                "E613",
            )
        if self.spend is None:
            return
        if summary.unpriced:
            raise UsageError(
                "spending is limited: each order needs a price, and an order with an increment needs a max_price",
                "E613",
            )
        for currency in summary.spend:
            if not currency:
                raise UsageError("there is a spending limit: give each amount a currency", "E613")
            if self.spend.currency not in ("", currency):
                limit = self.spend.currency
                raise UsageError(f"the spending limit is in {limit}, but an amount is in {currency}", "E613")
            amounts = (Decimal(each.spend.get(currency, 0)) for each in (*before, summary))
            total = Money.of(sum(amounts, Decimal(0)), currency)
            if total.millicents > self.spend.millicents:
                raise UsageError(
                    f"with this proposal, the spend of 24 hours would be {total}, but the limit is {self.spend}", "E613"
                )


class Proposals:
    """The proposals of a ledger; see `Ledger.proposals`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def propose(
        self, request: Request, sum_up: Callable[[], Awaitable[Summary]], by: str, client: str, limits: ProposalLimits
    ) -> Proposal:
        """Record a request; or return the proposal of the same request, with its outcome, if there is one that stands.

        ``sum_up`` checks what would be sent. A failed proposal stands while that is nothing, such as an order that it
        left in doubt; one that is done, while the ledger has all of its orders, as they were sent. Without orders, it
        stands for `DONE_FOR`, unless another one with its target was sent since. UsageError where a limit of the day is
        exceeded.
        """
        digest = request.digest
        same = await self._store.read(self._read, "proposals_of", digest=digest)
        if same and self._stands(same[0]):
            return same[0]
        try:
            summary = await sum_up()
        except Exception as error:
            if same and same[0].state is ProposalState.DONE:  # else it would seem that nothing was ever sent
                error.add_note(f"the same request was sent before: proposal {same[0].id} is done")
            raise
        if same and await self._still_holds(same[0], summary):
            return same[0]

        def job(db: Database) -> Proposal:
            db.script("one_proposes")
            now, same = self._store.stamp(), self._read(db, "proposals_of", digest=digest)
            if same and self._stands(same[0]):
                return same[0]
            day = self._read(db, "proposals_since", since=now - DAY, most=_ALL)
            if sum(each.state is ProposalState.PROPOSED for each in day) >= MOST_WAITING:
                raise UsageError(
                    f"{MOST_WAITING} proposals are already waiting: let a person decide on one first", "E613"
                )
            here = [each for each in day if each.request.environment == request.environment]
            limits.check(summary, [each.summary for each in here if each.state in _COUNTED])
            name = digest[:12] + (f"-{len(same) + 1}" if same else "")
            body, expires = msgspec.json.encode((request, summary, by, client)), now + round(limits.minutes * MINUTE)
            db.change("propose", id=name, digest=digest, body=body, now=now, expires_at=expires)
            return self._get(db, name)

        return await self._store.write(job)

    async def get(self, name: str) -> Proposal:
        """A proposal by its id; raises UsageError if there is none."""
        return await self._store.read(self._get, name)

    async def newest(self, most: int) -> list[Proposal]:
        """The newest proposals, at most ``most``."""
        return await self._store.read(self._read, "proposals_since", since=-1, most=most)

    async def approve(self, proposal: Proposal, by: str, *, again: bool = False) -> Proposal:
        """Approve a proposal for one sending, which follows immediately; returns it as the one that `end` takes.

        With ``again``, a person states that the process that was sending it has ended; until it expires, not after.
        UsageError where it is no longer waiting, or was altered: nothing changed.
        """
        if proposal.request.digest != proposal.digest:
            raise UsageError(f"proposal {proposal.id} was changed after it was made: it cannot be sent", "E614")
        if again and proposal.state is ProposalState.SENDING:
            return await self._decide("send_proposal_again", proposal, by)
        return await self._decide("decide_proposal", proposal, by, state=ProposalState.SENDING.value, outcome=None)

    async def reject(self, proposal: Proposal, by: str, why: str = "", *, ended: bool = False) -> Proposal:
        """Reject a proposal, which is returned; UsageError if it is no longer waiting.

        With ``ended``, a person states that the process that sent it has ended. Then one that is being sent has
        failed once it has expired, and may be proposed again.
        """
        outcome = msgspec.json.encode({"rejected": why}).decode()
        if ended and proposal.state is ProposalState.SENDING:
            return await self._decide("give_up_proposal", proposal, by, outcome=outcome)
        return await self._decide("decide_proposal", proposal, by, state=ProposalState.REJECTED.value, outcome=outcome)

    async def end(self, proposal: Proposal, state: ProposalState, exit_code: int, outcome: bytes) -> Proposal:
        """Record the outcome of a proposal that was sent, unless another sending of it was approved since."""
        values = {"state": state.value, "exit_code": exit_code, "outcome": outcome.decode()}
        return (await self._change("end_proposal", proposal, **values))[1]

    async def _change(self, statement: str, proposal: Proposal, **values: Any) -> tuple[int, Proposal]:
        """Run a statement on a proposal, unless its sending has changed; returns the rows changed, and the proposal."""
        since = 0 if proposal.decided_at is None else to_microseconds(proposal.decided_at)
        values |= {"id": proposal.id, "digest": proposal.digest, "now": self._store.stamp(), "since": since}
        return await self._store.write(lambda db: (db.change(statement, **values), self._get(db, proposal.id)))

    async def _decide(self, statement: str, proposal: Proposal, by: str, **values: Any) -> Proposal:
        changed, last = await self._change(statement, proposal, by=by, **values)
        if changed:
            return last
        if last.state is ProposalState.SENDING:
            ended = f"proposal {last.id} is being sent: when the process that sends it has ended (see `gotsurge runs`)"
            if last.expires_at > self._store.clock():
                raise UsageError(f"{ended}, approve it again at a terminal to send the rest", "E614")
            raise UsageError(f"{ended}, reject it at a terminal, and propose it again", "E614")
        if last.state is ProposalState.PROPOSED:
            raise UsageError(f"this is not the digest of proposal {last.id}: nothing was approved or rejected", "E614")
        again = "" if last.state is ProposalState.DONE else ": propose it again"
        why = f"proposal {last.id} is {last.state}, and can be neither approved nor rejected{again}"
        raise UsageError(why, "E614")

    def _stands(self, proposal: Proposal) -> bool:
        """Whether a proposal waits, is being sent, or was rejected, so that the same request is not proposed again."""
        was_rejected = proposal.state is ProposalState.REJECTED and proposal.expires_at > self._store.clock()
        return was_rejected or proposal.state in (ProposalState.PROPOSED, ProposalState.SENDING)

    async def _still_holds(self, proposal: Proposal, summary: Summary) -> bool:
        """Whether the outcome of a proposal that was sent still answers the same request; the summary is of now."""
        is_done = proposal.state is ProposalState.DONE
        if summary.orders:
            is_known = summary.known == summary.orders and not (is_done and summary.altered)
            return is_known and proposal.state in (ProposalState.DONE, ProposalState.FAILED)
        if not is_done or proposal.decided_at is None or proposal.ended_at is None:
            return False
        if to_microseconds(proposal.ended_at) + DONE_FOR <= self._store.stamp():
            return False
        later = await self._store.read(self._read, "proposals_sent_since", since=to_microseconds(proposal.decided_at))
        return all(each.request.target != proposal.request.target for each in later)

    def _get(self, db: Database, name: str) -> Proposal:
        proposals = self._read(db, "proposal", id=name)
        if not proposals:
            raise UsageError(f"there is no proposal {name}: gotsurge approve lists the proposals", "E614")
        return proposals[0]

    def _read(self, db: Database, statement: str, /, **values: Any) -> list[Proposal]:
        return [self._of(row) for row in db.rows(statement, **values)]

    def _of(self, row: Row) -> Proposal:
        name, digest, body, created, expires, text, by, decided, ended, code, outcome = row
        request, summary, who, client = msgspec.json.decode(body, type=tuple[Request, Summary, str, str])
        state = ProposalState(text)
        if expires <= self._store.stamp() and state is ProposalState.PROPOSED:
            state = ProposalState.EXPIRED
        start, end = from_microseconds(created), from_microseconds(expires)
        when, done = (None if each is None else from_microseconds(each) for each in (decided, ended))
        return Proposal(name, digest, request, summary, who, client, start, end, state, by, when, done, code, outcome)
