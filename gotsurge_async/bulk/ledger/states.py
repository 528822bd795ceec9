"""The states of orders and runs: which may follow which, and what each means for people.

Whatever must know which orders wait, are in flight, are in doubt or may be pushed again asks here.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Mode(StrEnum):
    """How a run brings its orders to the service."""

    DIRECT = "direct"
    """One call creates and broadcasts: at most once, and what is unknown is named."""
    TWO_PHASE = "two-phase"
    """Drafts first, then a broadcast of the recorded drafts: exactly once."""


class RunState(StrEnum):
    """Where a run stands."""

    LOADING = "loading"
    """Its orders are being read in; nothing of it may be sent. Found without a holder, it is rubbish."""
    READY = "ready"
    """All orders are in and admitted."""
    SENDING = "sending"
    STOPPED = "stopped"
    """Ended before every order was decided: by a limit, a person or an error. It can be resumed."""
    DONE = "done"


class OrderState(StrEnum):
    """Where an order stands.

    Direct: ``pending → sending → created | rejected | in_doubt``.
    Two-phase: ``pending → drafting → drafted → broadcasting → created``.
    Afterwards: ``created → cancelled``.
    """

    LOADING = "loading"
    """In a run that is still read in."""
    PENDING = "pending"
    """Nothing of it was ever sent."""
    SENDING = "sending"
    """Claimed: the bytes may be on their way. Found after a crash it becomes in_doubt."""
    DRAFTING = "drafting"
    """Claimed for a draft. Found after a crash it is drafted anew: an unused draft calls no driver."""
    DRAFTED = "drafted"
    """A draft exists and its task id is recorded; it was not broadcast."""
    BROADCASTING = "broadcasting"
    """The broadcast of its recorded draft is on its way, or left and was not answered. Only a read of its task, by the
    recorded id, says what became of it; until then it is in doubt unless a living process has it."""
    CREATED = "created"
    REJECTED = "rejected"
    """The service said no, and nothing exists of it. Its key may be pushed again."""
    IN_DOUBT = "in_doubt"
    """Sent, and nobody knows whether it was processed: never sent again without evidence."""
    ALREADY_PUSHED = "already_pushed"
    """Its key is created or in doubt in another run: nothing of it is sent."""
    CHANGED = "changed"
    """The same, but the order differs from the one that its key was pushed with: what it says now was never sent."""
    SUPERSEDED = "superseded"
    """A later run took it over, with its draft if it is the same order. Its key lives on there."""
    CANCELLED = "cancelled"
    """It was there and was taken back, or its draft was, before anybody broadcast it. Its key may be pushed again."""


LIVE = frozenset(
    {
        OrderState.PENDING,
        OrderState.SENDING,
        OrderState.DRAFTING,
        OrderState.DRAFTED,
        OrderState.BROADCASTING,
        OrderState.CREATED,
        OrderState.IN_DOUBT,
    }
)
"""The states in which an order owns its key: at most one row for each environment and key, over all runs."""

CLAIMED = frozenset({OrderState.SENDING, OrderState.DRAFTING, OrderState.BROADCASTING})
"""Bytes may be on their way: in flight, while a living process has the run."""

DOUBTFUL = frozenset({OrderState.IN_DOUBT, OrderState.SENDING, OrderState.BROADCASTING})
"""In doubt, when no living process has the run: sent, and nobody knows."""

WAITING = frozenset({OrderState.PENDING, OrderState.DRAFTING, OrderState.DRAFTED})
"""Nothing of these ever called a driver, and nobody will be called before somebody sends the run."""

WITH_DRAFT = frozenset({OrderState.DRAFTED, OrderState.BROADCASTING, OrderState.IN_DOUBT})
"""Of these a draft may be recorded, in two-phase mode. Its broadcast acts once, whoever asks for it and how often."""

PUSHED = DOUBTFUL | {OrderState.CREATED}
"""GotSurge has these, or may have: their keys are not pushed by another run."""

UNFINISHED = WAITING | {OrderState.BROADCASTING}
"""What a resume goes on with; a run with none of these is done."""

UNPROCESSED = WAITING | {OrderState.LOADING, OrderState.SUPERSEDED}
"""Certainly not there by this run: they may be pushed again."""

OWNED_ELSEWHERE = frozenset({OrderState.ALREADY_PUSHED, OrderState.CHANGED, OrderState.SUPERSEDED})
"""Another run has, or had, the key: what became of such an order is what became of its key there."""

FINAL = OWNED_ELSEWHERE | {OrderState.REJECTED, OrderState.CANCELLED}
"""Nothing of these is sent any more."""


class Word(StrEnum):
    """What became of an order, in the words of summaries, result files and ``status``."""

    CREATED = "created"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    UNPROCESSED = "unprocessed"
    IN_FLIGHT = "in_flight"
    CANCELLED = "cancelled"
    ALREADY_PUSHED = "already_pushed"
    CHANGED = "changed"


def word_of(state: OrderState, *, held: bool = False) -> Word:
    """The word for a state; ``held`` says whether a living process has the run, and may be sending at this moment."""
    if held and state in CLAIMED:
        return Word.IN_FLIGHT
    if state in DOUBTFUL:
        return Word.IN_DOUBT
    if state in UNPROCESSED:
        return Word.UNPROCESSED
    return _WORDS[state]


def in_words(state: OrderState, *, held: bool = False) -> str:
    """`word_of` as a sentence says it: ``in doubt``."""
    return word_of(state, held=held).replace("_", " ")


_WORDS = {
    OrderState.CREATED: Word.CREATED,
    OrderState.REJECTED: Word.REFUSED,
    OrderState.CANCELLED: Word.CANCELLED,
    OrderState.ALREADY_PUSHED: Word.ALREADY_PUSHED,
    OrderState.CHANGED: Word.CHANGED,
}

TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = MappingProxyType(
    {
        OrderState.LOADING: frozenset(
            {OrderState.PENDING, OrderState.ALREADY_PUSHED, OrderState.DRAFTED, OrderState.BROADCASTING}
        ),
        OrderState.PENDING: frozenset({OrderState.SENDING, OrderState.DRAFTING, OrderState.SUPERSEDED}),
        OrderState.SENDING: frozenset(
            {OrderState.CREATED, OrderState.REJECTED, OrderState.IN_DOUBT, OrderState.PENDING}
        ),
        OrderState.DRAFTING: frozenset(
            {OrderState.DRAFTED, OrderState.REJECTED, OrderState.PENDING, OrderState.SUPERSEDED}
        ),
        OrderState.DRAFTED: frozenset({OrderState.BROADCASTING, OrderState.SUPERSEDED, OrderState.CANCELLED}),
        # Back to drafted only while certainly nothing left; superseded only by a run that goes on with the same draft.
        OrderState.BROADCASTING: frozenset(
            {
                OrderState.CREATED,
                OrderState.REJECTED,
                OrderState.IN_DOUBT,
                OrderState.DRAFTED,
                OrderState.CANCELLED,
                OrderState.SUPERSEDED,
            }
        ),
        OrderState.IN_DOUBT: frozenset(
            {
                OrderState.CREATED,
                OrderState.REJECTED,
                OrderState.BROADCASTING,
                OrderState.CANCELLED,
                OrderState.SUPERSEDED,
            }
        ),
        # In doubt while it is taken back, and after it if nobody knows whether it was.
        OrderState.CREATED: frozenset({OrderState.CANCELLED, OrderState.IN_DOUBT}),
        OrderState.REJECTED: frozenset(),
        OrderState.ALREADY_PUSHED: frozenset({OrderState.CHANGED}),
        OrderState.CHANGED: frozenset({OrderState.ALREADY_PUSHED}),
        OrderState.SUPERSEDED: frozenset(),
        OrderState.CANCELLED: frozenset(),
    }
)
"""Which state may follow which; every write of the ledger is conditional on it."""


def sources(target: OrderState) -> frozenset[OrderState]:
    """The states from which an order may go to ``target``."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)
