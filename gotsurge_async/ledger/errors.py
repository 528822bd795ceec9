"""The errors of the ledger; each names the file, what happened, and what to do.

::

    GotSurgeError
    └── LedgerError                what the ledger refuses or cannot do
        ├── LedgerUnusable         the file or its disk fails, or a row is damaged; no later write is tried
        │   ├── LedgerOlder        an older copy of what was here, or none where one was; nothing may be sent
        │   └── LedgerAway         its database could not be reached for as long as a worker waits
        ├── LedgerMoved            the file is not where it was opened; answers can be recorded in it, no claims
        ├── LedgerBusy             another process held the file for too long; may be tried again
        ├── LedgerClosed           used after it was closed
        ├── NoSuchRun              no run, or no order, of that name
        ├── RunHeld                another process has the run
        ├── TaskTaken              a task is recorded for another order already
        │   └── TaskCancelling     a cancel of the task has begun, and may act
        ├── RunLost                another process has taken the run over: nothing more of it is sent here
        ├── RegisterUnusable       the register of this machine's ledgers cannot be read, or is damaged
        └── IllegalTransition      the state of an order does not allow the change that was requested
            └── StillOpen          what was sent for it, and not answered, may still act
    UsageError
    ├── SecondLedger               another ledger of this machine has pushed to the account; nothing was sent
    │   ├── SameFile               another ledger has a run of the very same orders; nothing was sent
    │   └── OrdersThere            the Task List has tasks of a new ledger's orders; nothing was sent
    └── OtherServer                a run belongs to another server than the client's; nothing was sent
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec
from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.errors import GotSurgeError, InvalidData, Sent, UsageError
from gotsurge_async.ledger.states import Holder, OrderRow, PendingOrder
from gotsurge_async.models.times import written
from gotsurge_async.models.words import printable
from gotsurge_async.starting import pattern
from gotsurge_async.system import shell

ELSEWHERE = "the answer to its broadcast names another task for this order"
"""The beginning of the ``error`` of an order in doubt whose draft must not be broadcast again."""
_REPLACE = (
    "Replace this ledger with the newest copy that `gotsurge ledger backup` made, and remove the old -wal and -shm "
    "files"
)
RESCUE = (
    "Do not start another ledger: it would send everything again. `gotsurge ledger check` lists the damage. "
    f"{_REPLACE}; then run `gotsurge ledger accept-older` and, for each environment, `gotsurge reconcile`"
)
"""Advice for a person whose ledger is damaged."""

_DUMP = "Restore the newest dump"
_OF_FILES = (
    (_REPLACE, _DUMP),
    ("Replace this copy with the newest one, and remove the -wal and -shm files", _DUMP),
)
"""The advice for a file, and for a database in PostgreSQL."""
_COMMAND = pattern(r"`(gotsurge (?:ledger [a-z-]+|db upgrade|reconcile|runs))`")


def commands_for(text: str, path: str) -> str:
    """A text with its commands as they must be typed to act on this very ledger, and on no other."""
    if path.startswith("postgresql://"):
        for of_a_file, of_a_server in _OF_FILES:
            text = text.replace(of_a_file, of_a_server)
    return _COMMAND.sub(lambda command: f"`{command[1]} --ledger {shell.word(path)}`", text) if path else text


class LedgerError(GotSurgeError):
    """The ledger refuses a request, or cannot fulfil it.

    Attributes:
        path: the ledger's file, or its URL without credentials; "" when no file is involved.
    """

    sent: Sent = "perhaps"

    def __init__(self, message: str = "", explain_code: str | None = None, *, path: str = "") -> None:
        super().__init__(message, explain_code)
        self.path = path

    @property
    def words(self) -> str:
        """The event and the advice, without the path in front."""
        return commands_for(str(self.args[0]), self.path)

    def __str__(self) -> str:
        return printable(f"ledger {self.path}: {self.words}" if self.path else self.words)


@contextmanager
def nothing_sent() -> Iterator[None]:
    """State in the ledger's errors that nothing was sent: the block opens the ledger, or reads from it."""
    try:
        yield
    except LedgerError as error:
        error.sent = "nothing"
        raise


class Flaw(Struct, frozen=True):
    """A fault in the ledger: its table and row, in words ("" if it is in none), and a description."""

    table: str
    row: str
    what: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (f"table {self.table}" if self.table else "", self.row) if part)
        return f"{where}: {self.what}" if where else self.what


class LedgerUnusable(LedgerError, code="E504"):
    """The file, a row of it, or the disk under it fails: nothing more is written, so nothing more may be sent."""

    flaws: tuple[Flaw, ...] = ()
    """The faults of the ledger, where they are known."""

    @property
    def lasts(self) -> bool:
        """Whether a person must repair it; otherwise its database may only be away, and waiting may help."""
        return bool(self.flaws)


class LedgerUnsure(LedgerUnusable, code="E504"):
    """The ledger failed in the middle of a commit: the changes may be durable, or not."""


class LedgerOlder(LedgerUnusable, code="E505"):
    """The ledger is an older copy, or missing where one was: orders sent since would be sent again."""

    @property
    def lasts(self) -> bool:
        """Whether a person must repair it: always."""
        return True


class LedgerMoved(LedgerError, code="E505"):
    """The file was moved, removed or replaced while it was open: another process may claim the same orders by its path.

    Outcomes of claimed orders can still be recorded in it.
    """


class LedgerAway(LedgerUnusable, code="E703"):
    """The database could not be reached for as long as a worker waits: its supervisor starts it again."""


class RegisterUnusable(LedgerError, code="E537"):
    """The register of this machine's ledgers cannot be read or written, or is damaged; nothing was sent."""


class SecondLedger(UsageError, code="E535"):
    """The ledger is new to an account to which another ledger has pushed; nothing was admitted or sent."""


class SameFile(SecondLedger, code="E536"):
    """Another ledger has a run of the very same orders: `new_ledger` does not help; nothing was admitted or sent."""


class OrdersThere(SecondLedger, code="E538"):
    """The Task List has tasks of a new ledger's orders: `new_ledger` does not help; nothing was admitted or sent."""


class OtherServer(UsageError, code="E527"):
    """A run, or the order that has a key, belongs to another server than the client's; nothing was sent or changed."""


class LedgerBusy(LedgerError, code="E508"):
    """Another process kept the ledger locked for longer than we wait. Nothing was written; it may be tried again."""


class LedgerClosed(LedgerError, code="E528"):
    """The ledger, or the run, was closed before this call."""


class NoSuchRun(LedgerError, code="E522"):
    """The ledger has no run of that id, or the run no such order."""


class RunHeld(LedgerError, code="E521"):
    """A run that a living process holds.

    Attributes:
        holder: that process, or None if it has not written its name yet.
        leased: whether a holder that has died keeps the run for some time.
        workers: the names of the workers that send parts of it.
        stopped: whether these were asked to stop, and only end what they have in flight.
    """

    def __init__(
        self,
        run_id: str = "",
        holder: Holder | None = None,
        *,
        leased: bool = False,
        workers: Sequence[str] = (),
        stopped: bool = False,
        path: str = "",
    ) -> None:
        super().__init__(run_id, path=path)
        self.run_id = run_id
        self.holder = holder
        self.leased = leased
        self.workers: tuple[str, ...] = tuple(workers)
        self.stopped = stopped

    def __str__(self) -> str:
        by = "another process"
        if self.workers:
            number = f"{len(self.workers)} workers" if len(self.workers) > 1 else "the worker"
            more = ", …" if len(self.workers) > _NAMED else ""
            by = f"{number} {', '.join(self.workers[:_NAMED])}{more}"
        elif self.holder is not None:
            since = written(self.holder.since, seconds=True)
            by = f"process {self.holder.pid} on {self.holder.host} since {since}"
        where = f"ledger {self.path}: " if self.path else ""
        if self.workers:
            ledger = f" --ledger {shell.word(self.path)}" if self.path else ""
            more = f"wait until it is sent, or stop it first: gotsurge stop {self.run_id}{ledger}"
            if self.stopped:
                more = "they were asked to stop, and are completing their calls: repeat the command in a moment"
            return f"{where}run {self.run_id} is held by {by}; {more}"
        died = "; if it has died, the run is free a minute later" if self.leased else ""
        return f"{where}run {self.run_id} is held by {by}; wait until that process ends, or stop it first{died}"


class RunLost(LedgerError, code="E525"):
    """Another process has taken this run over, while this one was frozen or its lock was gone.

    The other process settles what this one still had. Nothing was written, nothing more is sent.
    """


class TaskTaken(LedgerError, code="E526"):
    """The task that an answer named for an order is already recorded for another one: its owner is not known."""


class TaskCancelling(TaskTaken, code="E526"):
    """A cancel of the task that an answer named for an order has begun: it may act after the task was read as live."""


class IllegalTransition(LedgerError, code="E526"):
    """An order's state does not allow the change that was requested; the whole call was undone."""


class StillOpen(IllegalTransition):
    """A request that was sent for an order, and not answered, may still act: no read or decision settles it yet."""


def open_words(until: datetime | None, *, cancelling: bool) -> str:
    """The reason why an order stays in doubt, and when it can be settled, for people."""
    if until is None:
        return "a request to cancel this order's task is in flight"
    request = "a request to cancel this order's task" if cancelling else "the request that was sent for this order"
    return f"{request} was not answered, and may still take effect until {written(until, seconds=True)}"


# The disk may have changed the JSON that the ledger keeps of an order.

_whole = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@contextmanager
def reading_payload(path: str, order: PendingOrder | OrderRow) -> Iterator[None]:
    """Turn an error of decoding an order's stored data into LedgerUnusable, which names the order."""
    try:
        yield
    except (InvalidData, ValueError, TypeError) as error:
        raise unreadable(f"order {order.id}, line {order.line}, key {order.key}", path) from error


_NAMED = 3
"""The number of flaws that an error names; ``gotsurge ledger check`` lists all."""


def damaged(table: str, row: str, what: str) -> LedgerUnusable:
    """The error for a row that is not valid."""
    return unsound((Flaw(table, row, what),))


def unsound(flaws: Sequence[Flaw], path: str = "") -> LedgerUnusable:
    """The error for a ledger with flaws."""
    error = LedgerUnusable(f"is damaged ({'; '.join(map(str, flaws[:_NAMED]))}). {RESCUE}", "E504", path=path)
    error.flaws = tuple(flaws)
    return error


def unreadable(which: str, path: str = "") -> LedgerUnusable:
    """The error for an order whose JSON is damaged; ``which`` names the order."""
    return unsound((Flaw("bodies", which, "it is not the JSON of an order"),), path)


def names_in(path: str, orders: Sequence[PendingOrder], body: bytes) -> list[tuple[str | None, str | None]]:
    """The names of some orders, read from the body that holds them all, as `Run.names_in`."""
    try:
        names = codec.decode_names_of_batch(body)
        # Pieces that are JSON only together are damaged too, and so are bytes that are not text.
        texts = [order.payload for order in orders]
        apart = [text for text in texts if text[:1] == b"{" and text[-1:] == b"}" and (text.isascii() or text.decode())]
        if len(names) == len(orders) == len(apart):
            return names
    except ValueError:
        pass
    for order in orders:
        with reading_payload(path, order):
            _whole(order.payload)
            codec.decode_names(order.payload)
    raise unreadable(f"orders {orders[0].id} to {orders[-1].id}", path)
