"""The states of orders and runs, and the one table that says which may follow which."""

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
    """Claimed for the broadcast of its recorded draft. Found after a crash it is read, by its id."""
    CREATED = "created"
    REJECTED = "rejected"
    """The service said no, and nothing exists of it. Its key may be pushed again."""
    IN_DOUBT = "in_doubt"
    """Sent, and nobody knows whether it was processed: never sent again without evidence."""
    ALREADY_PUSHED = "already_pushed"
    """Its key is created or in doubt in another run: nothing of it is sent."""
    SUPERSEDED = "superseded"
    """A later run took it over before anything of it could act. Its key lives on there."""


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
"""The states in which bytes may be on their way."""

TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = MappingProxyType(
    {
        OrderState.LOADING: frozenset({OrderState.PENDING, OrderState.ALREADY_PUSHED}),
        OrderState.PENDING: frozenset({OrderState.SENDING, OrderState.DRAFTING, OrderState.SUPERSEDED}),
        OrderState.SENDING: frozenset(
            {OrderState.CREATED, OrderState.REJECTED, OrderState.IN_DOUBT, OrderState.PENDING}
        ),
        OrderState.DRAFTING: frozenset(
            {OrderState.DRAFTED, OrderState.REJECTED, OrderState.PENDING, OrderState.SUPERSEDED}
        ),
        OrderState.DRAFTED: frozenset({OrderState.BROADCASTING, OrderState.REJECTED, OrderState.SUPERSEDED}),
        OrderState.BROADCASTING: frozenset(
            {OrderState.CREATED, OrderState.REJECTED, OrderState.IN_DOUBT, OrderState.DRAFTED}
        ),
        OrderState.IN_DOUBT: frozenset({OrderState.CREATED, OrderState.REJECTED, OrderState.DRAFTED}),
        OrderState.CREATED: frozenset(),
        OrderState.REJECTED: frozenset(),
        OrderState.ALREADY_PUSHED: frozenset(),
        OrderState.SUPERSEDED: frozenset(),
    }
)
"""Which state may follow which; every write of the ledger is conditional on it."""


def sources(target: OrderState) -> frozenset[OrderState]:
    """The states from which an order may go to ``target``."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)
