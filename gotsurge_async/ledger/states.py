"""The states of orders and runs, and the values that the ledger takes and returns.

This is the only place that defines which orders wait, are in flight, are in doubt or may be pushed again. All times are
aware UTC datetimes; they are stored as whole microseconds since 1970.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Struct, structs

from gotsurge_async.models.tasks import Receipt


class Mode(StrEnum):
    """The way in which a run brings its orders to the service."""

    DIRECT = "direct"
    """One call creates and broadcasts: at most once, and orders with an unknown outcome are named."""
    TWO_PHASE = "two-phase"
    """Drafts first, then a broadcast of the recorded drafts: exactly once."""


class RunState(StrEnum):
    """The state of a run."""

    LOADING = "loading"
    """Its orders are being added; none may be sent. A run without a holder is discarded."""
    READY = "ready"
    """Its orders are admitted."""
    SENDING = "sending"
    """A process sends it, or did so when that process ended."""
    STOPPED = "stopped"
    """It ended before every order was decided: by a limit, a person or an error. It can be resumed."""
    DONE = "done"
    """Every order is decided, or in doubt."""


class OrderState(StrEnum):
    """The state of an order.

    Direct: ``pending → sending → created | refused | in_doubt``.
    Two-phase: ``pending → drafting → drafted → broadcasting → created``.
    Afterwards: ``created → cancelling → cancelled``.
    """

    LOADING = "loading"
    """It is in a run whose orders are being added."""
    PENDING = "pending"
    """No request for it was ever sent."""
    SENDING = "sending"
    """Claimed: the bytes may be on their way. After a crash it becomes in_doubt."""
    DRAFTING = "drafting"
    """Claimed for a draft. After a crash it is drafted anew: an unused draft calls no driver."""
    DRAFTED = "drafted"
    """A draft exists and its task id is recorded; it was not broadcast."""
    BROADCASTING = "broadcasting"
    """The broadcast of its recorded draft is on its way, or was not answered. Only a read of its task, by the
    recorded id, settles it; until then it is in doubt unless a living process has it."""
    CREATED = "created"
    """GotSurge has the order."""
    REFUSED = "refused"
    """The service refused it, and has no task of it. Its key may be pushed again."""
    IN_DOUBT = "in_doubt"
    """Sent, and it is not known whether it was processed: never sent again without evidence."""
    ALREADY_PUSHED = "already_pushed"
    """Its key is created or in doubt in another run: this one sends nothing of it."""
    CHANGED = "changed"
    """As ALREADY_PUSHED, but the order differs from the one pushed under its key: its present text was never sent."""
    SUPERSEDED = "superseded"
    """A later run took it over, with its draft if it is the same order. That run has its key now."""
    CANCELLED = "cancelled"
    """Its task was cancelled, or had expired when it was read in two-phase mode, or a person stated that it is gone.
    Its key may be pushed again."""
    WITHDRAWN = "withdrawn"
    """It was certainly not sent, and will not be, as its caller knows. Its key may be pushed again."""
    CANCELLING = "cancelling"
    """A cancel of its task left, or is about to, and may act late. Only its result, or the time until which it may act,
    ends this state."""


CLAIMED = frozenset({OrderState.SENDING, OrderState.DRAFTING, OrderState.BROADCASTING})
"""Requests for these may be on their way: they are in flight while a living process has the run."""

DOUBTFUL = frozenset({OrderState.IN_DOUBT, OrderState.SENDING, OrderState.BROADCASTING, OrderState.CANCELLING})
"""These are in doubt if no living process has the run."""

WAITING = frozenset({OrderState.PENDING, OrderState.DRAFTING, OrderState.DRAFTED})
"""No driver was asked about these, and none will be before the run is sent."""

WITH_DRAFT = frozenset({OrderState.DRAFTED, OrderState.BROADCASTING, OrderState.IN_DOUBT})
"""These may have a recorded draft, in two-phase mode. Its broadcast acts once, however often it is requested."""

READABLE = frozenset({OrderState.BROADCASTING, OrderState.IN_DOUBT, OrderState.CANCELLING})
"""These are in doubt, and no process sends them: if a task is recorded, a read of it may settle them."""

PUSHED = DOUBTFUL | {OrderState.CREATED}
"""GotSurge has these, or may have: their keys are not pushed by another run."""

UNSETTLED = CLAIMED | READABLE | {OrderState.DRAFTED}
"""The service may have a task of these that the ledger does not know to be theirs, whichever process has their run."""

LIVE = WAITING | PUSHED
"""The states in which an order owns its key: at most one row for each environment and key, over all runs."""

UNFINISHED = WAITING | {OrderState.BROADCASTING}
"""A resumed run continues with these; a run without any of them is done."""

UNPROCESSED = WAITING | {OrderState.LOADING, OrderState.SUPERSEDED, OrderState.WITHDRAWN}
"""This run certainly brought none of these to the service: they may be pushed again."""

FREE = frozenset({OrderState.REFUSED, OrderState.CANCELLED, OrderState.WITHDRAWN})
"""The service has nothing of these: their keys may be pushed again."""

OWNED_ELSEWHERE = frozenset({OrderState.ALREADY_PUSHED, OrderState.CHANGED, OrderState.SUPERSEDED})
"""Another run has, or had, the key: the outcome of such an order is that of its key there."""

LETTERS: Mapping[OrderState, str] = MappingProxyType(
    dict(zip([state for state in OrderState if state is not OrderState.LOADING], "psgdbcriahuxwk", strict=True))
)
"""Each state as the ledger stores it. ``loading`` is stored as ``pending`` in a run that is not admitted."""

STATE_OF: Mapping[str, OrderState] = MappingProxyType({letter: state for state, letter in LETTERS.items()})


class Word(StrEnum):
    """The outcome of an order, in the words of summaries, result files and ``status``."""

    CREATED = "created"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    UNPROCESSED = "unprocessed"
    IN_FLIGHT = "in_flight"
    CANCELLED = "cancelled"
    ALREADY_PUSHED = "already_pushed"
    CHANGED = "changed"


def word_of(state: OrderState, *, held: bool = False) -> Word:
    """The word for a state; ``held``: a living process has the run, and may be sending the order at this moment."""
    if held and state in CLAIMED:
        return Word.IN_FLIGHT
    if state in DOUBTFUL:
        return Word.IN_DOUBT
    if state in UNPROCESSED:
        return Word.UNPROCESSED
    return Word(state.value)


def in_words(state: OrderState, *, held: bool = False) -> str:
    """The word for a state in a sentence: ``in doubt``; see `word_of`."""
    return word_of(state, held=held).replace("_", " ")


_AFTER = {
    "p": "sguw",
    "s": "crip",
    "g": "dbripu",  # straight to broadcasting: its draft and the intent to broadcast it are one write
    "d": "buxkw",
    "b": "cridxuk",  # drafted only while certainly nothing left; superseded only by a run that goes on with its draft
    "c": "xik",
    "r": "",
    "i": "crbxuk",
    "a": "h",
    "h": "a",
    "u": "",
    "x": "",
    "w": "",
    "k": "xcbrdi",  # all but cancelled only by an answer to the cancel, or after the time until which it may act
}
TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = MappingProxyType(
    {OrderState.LOADING: frozenset(STATE_OF[letter] for letter in "pahdb")}
    | {STATE_OF[letter]: frozenset(STATE_OF[target] for target in after) for letter, after in _AFTER.items()}
)
"""The states that may follow each state; every write of the ledger is conditional on them."""


def sources(target: OrderState) -> frozenset[OrderState]:
    """The states from which an order may go to ``target``."""
    return frozenset(state for state, after in TRANSITIONS.items() if target in after)


class NewOrder(Struct, frozen=True, gc=False):
    """An order to add to a run. A struct, because one is made for every order."""

    line: int
    """Its line in the source, 1-based; or its ordinal number if the source has no lines."""
    key: str
    """Identifies the order in every file and run: its tracking id, unless the user chose another column."""
    payload: bytes
    """Its JSON, exactly as it will be sent."""
    source_row: bytes | None = None
    """The row it was read from, which the ledger returns unchanged."""
    fingerprint: bytes | None = None
    """A digest of pickup, delivery, window and invoice: two keys with the same fingerprint cause a warning."""

    def __repr__(self) -> str:
        return f"NewOrder(line={self.line}, key={self.key!r})"


class Submitted(Struct, frozen=True):
    """A submitted order, which waits to be sent."""

    number: int
    account: str
    """Only desks of this account send it."""
    key: str
    payload: bytes
    """Its JSON, exactly as it will be sent."""
    at: int
    """The time at which it was submitted, in microseconds."""
    tries: int = 0
    """The number of failed attempts to send it."""
    claimed: int = 0
    """The id of the order of a run that has the key for it, and whose outcome is its own; 0 if there is none."""
    stopped: int = 0
    """The reason why it is not sent: `OTHER_CONTENT`, `OLDER_COPY` or `OLDER_COPY_REPORTED`; 0 if it will be sent."""

    def __repr__(self) -> str:
        return f"Submitted(number={self.number}, account={self.account!r}, key={self.key!r})"


OTHER_CONTENT = 1
"""The key of a submitted order was used for an order with other content."""
OLDER_COPY = 2
"""An accepted older copy of the ledger had the submitted order waiting: it may have been sent since."""
OLDER_COPY_REPORTED = 3
"""As `OLDER_COPY`, and a desk has reported that the order is in doubt."""


class PendingOrder(Struct, frozen=True, gc=False):
    """An order that waits to be sent. A struct, because one is made for every order that is sent."""

    id: int
    line: int
    key: str
    payload: bytes

    def __repr__(self) -> str:
        return f"PendingOrder(id={self.id}, line={self.line}, key={self.key!r})"


class OrderOutcome(NamedTuple):
    """The outcome of one claimed order."""

    id: int
    state: OrderState
    """A state of `marks.RECORDED`; ``broadcasting`` is for an order in doubt whose recorded draft is still a draft."""
    task_id: str | None = None
    """The service's id of the task; None keeps the recorded one, which is never replaced by another."""
    status: str | None = None
    """The task's status, as the service names it; None keeps the recorded one."""
    error: str | None = None
    """The reason why it was refused or is in doubt, for people; None clears it."""
    ended: bool = False
    """Whether the call of a cancel has ended. With ``cancelling`` its result is unknown, and the time until which it
    may act counts from now. With another state its answer shows that no cancel of the task can act any more."""


class Taken(Struct, frozen=True):
    """The outcome of orders that the service took: a column of ids, one of tasks, and their one state."""

    ids: Sequence[int]
    state: OrderState
    tasks: Sequence[Receipt]

    def __iter__(self) -> Iterator[OrderOutcome]:
        for order, task in zip(self.ids, self.tasks, strict=True):
            yield OrderOutcome(order, self.state, task.id, task.current_status)

    def __len__(self) -> int:
        return len(self.ids)


class Remark(Struct, frozen=True):
    """A note about an order that stays in its state."""

    id: int
    state: OrderState
    """The state that it must have; otherwise nothing is noted."""
    status: str | None = None
    """The task's status, as the service names it; None keeps the recorded one."""
    error: str | None = None
    """The note for people; None keeps the recorded one."""


class OrderRow(Struct, frozen=True, gc=False):
    """An order as the ledger has it. A struct, because results are read by the million."""

    id: int
    line: int
    key: str
    state: OrderState
    payload: bytes
    source_row: bytes | None
    task_id: str | None
    status: str | None
    error: str | None
    claimed_at: datetime | None
    updated_at: datetime
    open_until: datetime | None = None
    """If in doubt, the time until which an unanswered request for it may act; None while a cancel is on its way. If
    created, the time until which reads may not show its task."""

    def is_open(self, now: datetime) -> bool:
        """Whether a request that was sent for it may still act, or its task may not be visible yet."""
        if self.open_until is None:
            return self.state is OrderState.CANCELLING
        return now < self.open_until

    @property
    def source(self) -> bytes:
        """The row of the source that it was read from, or the payload of an order without one."""
        return self.payload if self.source_row is None else self.source_row

    def __repr__(self) -> str:
        return f"OrderRow(id={self.id}, line={self.line}, key={self.key!r}, state={self.state!r})"


class UnusedDraft(Struct, frozen=True):
    """A draft that will never be broadcast. It may be cancelled."""

    key: str
    task_id: str
    cancelled: bool


class Counts(Struct, frozen=True, kw_only=True):
    """The number of orders of a run in each state."""

    loading: int = 0
    pending: int = 0
    sending: int = 0
    drafting: int = 0
    drafted: int = 0
    broadcasting: int = 0
    created: int = 0
    refused: int = 0
    in_doubt: int = 0
    already_pushed: int = 0
    changed: int = 0
    superseded: int = 0
    cancelled: int = 0
    withdrawn: int = 0
    cancelling: int = 0

    def __getitem__(self, state: OrderState) -> int:
        return int(getattr(self, state.value))

    @property
    def total(self) -> int:
        """The number of all orders of the run."""
        return self.of(OrderState)

    def of(self, states: Iterable[OrderState]) -> int:
        """The number of orders in some states."""
        return sum(self[state] for state in states)


class Doubled(Struct, frozen=True):
    """A key that one run has more than once."""

    key: str
    first_line: int
    line: int
    """The line that repeats the key."""


class Admission(Struct, frozen=True, kw_only=True):
    """The result of an admission. If ``doubled`` is not empty, nothing was admitted, and all counts are 0."""

    doubled: tuple[Doubled, ...] = ()
    """Keys that the run has more than once, by line; the first 1000."""
    pending: int = 0
    already_pushed: int = 0
    """Orders whose key is created or in doubt in another run; ``in_doubt`` are in doubt, ``archived`` archived."""
    in_doubt: int = 0
    archived: int = 0
    changed: int = 0
    """The already pushed orders that differ from those pushed before: their present text was never sent."""
    superseded: int = 0
    """Orders taken over from other runs; they count as ``pending`` here."""
    created: int = 0
    """Orders that are pushed first since an older copy of the ledger was accepted, and whose task is known."""
    held_back: int = 0
    """Such orders for which nothing shows whether they were sent before: they are in doubt, and are not sent."""


class Similar(Struct, frozen=True):
    """An order with the fingerprint of ``others``, their number: perhaps one delivery that was ordered twice."""

    key: str
    line: int
    other_key: str
    """The key of the first similar order; the run, the line and the state are also those of that order."""
    other_run: str
    other_line: int
    other_state: OrderState
    others: int = 1
    invoice: bool = False
    """Whether the orders have an invoice number, which is then the same."""

    @property
    def alike_in(self) -> str:
        """The data that the orders share, for people."""
        return "pickup, delivery, time windows and invoice" if self.invoice else "pickup, delivery and time windows"

    @property
    def and_more(self) -> str:
        """The end of a sentence that names the first of the similar orders."""
        return f", and as {self.others - 1:,} more" if self.others > 1 else ""


class Holder(Struct, frozen=True):
    """The process that has a run."""

    pid: int
    host: str
    since: datetime


UNDO = "undo"
"""The option of a run that is, or was, undone: whether ``drafts`` too, and whether the undo has ``ended``."""


class RunInfo(Struct, frozen=True, kw_only=True):
    """A run as the ledger has it."""

    id: str
    created_at: datetime
    state: RunState
    environment: str
    mode: Mode
    source: str
    """The name of the orders' source, such as a file."""
    source_sha256: str | None
    columns: tuple[str, ...] | None
    """The columns of the source, in order, if it has any."""
    options: Mapping[str, Any]
    holder: Holder | None
    """The process that has the run; after a crash, the process that had it last."""
    finished_at: datetime | None
    archived_in: str | None = None
    """The archive that has its orders; the ledger keeps their keys, states and tasks."""
    archived_at: datetime | None = None
    """The time when it was archived; also set in the archive itself."""
    number: int = 0
    """The number of its row in this ledger."""
    epoch: int = 0
    """A number that is raised whenever a process takes the run."""

    def __eq__(self, other: object) -> bool:  # without the number and the epoch, which each ledger has of its own
        return isinstance(other, RunInfo) and structs.astuple(self)[:-2] == structs.astuple(other)[:-2]

    def __hash__(self) -> int:
        return hash(self.id)


class Decision(Struct, frozen=True):
    """An operator's decision about an order in doubt, or one whose task does not exist any more."""

    run_id: str
    key: str
    created: bool
    task_id: str | None
    """The order's task; if the order is not created, the task that it had, or None if there never was one."""
    by: str
    at: datetime


Clock = Callable[[], datetime]
"""Returns the present time, aware of its zone."""


def utc_now() -> datetime:
    """The present time of the system, in UTC."""
    return datetime.now(UTC)
