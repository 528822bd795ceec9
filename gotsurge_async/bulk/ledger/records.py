"""The plain values that go into the ledger and come out of it. All times are aware UTC datetimes."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from attrs import field, frozen

from gotsurge_async.bulk.ledger.states import Mode, OrderState, RunState


@frozen
class NewOrder:
    """An order as it is put in."""

    line: int
    """Its line in the source, 1-based; or its ordinal where a source has no lines."""
    key: str
    """What makes it one and the same order in every file and run: its tracking id, unless the user says otherwise."""
    payload: bytes = field(repr=False)
    """Its JSON, exactly as it will be sent."""
    source_row: bytes | None = field(default=None, repr=False)
    """The row it was read from; the ledger gives it back as it came."""
    fingerprint: bytes | None = field(default=None, repr=False)
    """A digest of pickup, delivery, window and invoice: two keys of one fingerprint are worth a warning."""


@frozen
class PendingOrder:
    """An order that waits to be sent."""

    id: int
    line: int
    key: str
    payload: bytes = field(repr=False)


@frozen
class Outcome:
    """What became of one claimed order."""

    id: int
    state: OrderState
    """What `marks.RECORDED` names: ``created``, ``drafted``, ``rejected``, ``in_doubt``, ``cancelled``, or
    ``broadcasting`` for an order in doubt whose recorded draft was seen to be one still."""
    task_id: str | None = None
    """The service's id of the task; None keeps the one that is recorded, which is never replaced by another."""
    status: str | None = None
    """The service's word for where the task stands; None keeps the one that is recorded."""
    error: str | None = None
    """Why it was rejected or is in doubt, for people; None clears it."""


@frozen
class Remark:
    """What was learnt about an order that stays in its state."""

    id: int
    state: OrderState
    """The state it is in; in another one, nothing is noted."""
    status: str | None = None
    """The service's word for where the task stands; None keeps the one that is recorded."""
    error: str | None = None
    """For people; None keeps the one that is recorded."""


@frozen
class OrderRow:
    """An order as the ledger has it."""

    id: int
    line: int
    key: str
    state: OrderState
    payload: bytes = field(repr=False)
    source_row: bytes | None = field(repr=False)
    task_id: str | None
    status: str | None
    error: str | None
    claimed_at: datetime | None
    updated_at: datetime


class ResultRow(NamedTuple):
    """What became of an order, and what it was read from. A tuple: results are read by the million."""

    line: int
    id: int
    state: str
    """The value of an `OrderState`."""
    task_id: str | None
    status: str | None
    error: str | None
    source: bytes
    """The row of the source, or the payload of an order that has none."""


@frozen
class UnusedDraft:
    """A draft that no order will be broadcast by: no driver knows of it. It may be cancelled."""

    key: str
    task_id: str
    cancelled: bool


@frozen(kw_only=True)
class Counts:
    """How many orders of a run are in each state."""

    loading: int = 0
    pending: int = 0
    sending: int = 0
    drafting: int = 0
    drafted: int = 0
    broadcasting: int = 0
    created: int = 0
    rejected: int = 0
    in_doubt: int = 0
    already_pushed: int = 0
    changed: int = 0
    superseded: int = 0
    cancelled: int = 0

    def __getitem__(self, state: OrderState) -> int:
        return int(getattr(self, state.value))

    @property
    def total(self) -> int:
        """All orders of the run."""
        return self.of(OrderState)

    def of(self, states: Iterable[OrderState]) -> int:
        """The orders in some states."""
        return sum(self[state] for state in states)


@frozen
class Doubled:
    """A key that stands more than once in one run."""

    key: str
    first_line: int
    line: int
    """The line that repeats it."""


@frozen(kw_only=True)
class Admission:
    """What became of the orders of a run when they were admitted.

    With ``doubled`` not empty nothing was admitted, and the other counts are 0.
    """

    doubled: tuple[Doubled, ...] = ()
    """Keys that stand more than once in the run, by line; the first 1000."""
    pending: int = 0
    already_pushed: int = 0
    """Orders whose key is created or in doubt in another run; of these ``in_doubt`` are in doubt."""
    in_doubt: int = 0
    changed: int = 0
    """Orders of those already pushed that differ from what was pushed: what they say now was never sent."""
    superseded: int = 0
    """Orders taken over from other runs; they count as ``pending`` here."""


@frozen
class Similar:
    """Two keys with one fingerprint: perhaps one delivery, ordered twice."""

    key: str
    line: int
    other_key: str
    other_run: str
    other_line: int
    other_state: OrderState


@frozen
class Holder:
    """The process that has a run, as it wrote itself down."""

    pid: int
    host: str
    since: datetime


@frozen(kw_only=True)
class RunInfo:
    """A run as the ledger has it."""

    id: str
    created_at: datetime
    state: RunState
    environment: str
    mode: Mode
    source: str
    """The name of the file or of what else the orders came from."""
    source_sha256: str | None
    columns: tuple[str, ...] | None
    """The columns of the source, in their order, where it had any."""
    options: Mapping[str, Any]
    holder: Holder | None
    """Who has it; after a crash, who had it last."""
    finished_at: datetime | None


@frozen
class Decision:
    """An operator's word about an order in doubt."""

    run_id: str
    key: str
    created: bool
    task_id: str | None
    by: str
    at: datetime
