"""Loads orders into the ledger, all or none, before anything is sent."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct, structs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.clock import uninterrupted
from gotsurge_async.codec.given import Faulty, OrderLike, each_as_read
from gotsurge_async.errors import Coded, GotSurgeError, InvalidData, Problem, UsageError, code_of
from gotsurge_async.ledger import UNDO, Admission, Ledger, Mode, NewOrder, OrderRow, OrderState, Run
from gotsurge_async.ledger.errors import reading_payload
from gotsurge_async.ledger.sql.admission import NO_EVIDENCE, Evidence
from gotsurge_async.ledger.sql.runs import refuse_archived
from gotsurge_async.ledger.upkeep.register import Keys
from gotsurge_async.models.tasks import Order
from gotsurge_async.push.changes import note_changes
from gotsurge_async.push.entering import Entering
from gotsurge_async.tables import Fault, Source
from gotsurge_async.tables.cells import decode_row
from gotsurge_async.tables.checks.faults import FaultGroup, FaultGroups, Original, SourceReport
from gotsurge_async.tables.source import SourceRow, check_look, fingerprint_of

FORM = "form"
"""The option of a run that holds the form of its source (`Form`): its result files have the same form."""

LEFT_OUT = "left_out"
"""The option of a run that holds the rows of its source that were left out (`Left.remembered`)."""

_MOST_PROBLEMS = 1000
"""The number of faults after which no more orders of a program are read."""
BLOCK = 500
"""The orders that are read, and added to the ledger, at a time; see `whole_chunks`."""


def whole_chunks(size: int) -> int:
    """`BLOCK`, or a little less, so that it is a multiple of ``size`` and each call stays one chunk."""
    return BLOCK // size * size


class UnusableSource(InvalidData):
    """A source has faults: none of its orders is in the ledger, and nothing was sent.

    Attributes:
        faults: the first thousand, each with its place.
        count: the number of faults.
        groups: all faults by column and rule, the most frequent first.
        whole: whether some faults concern the whole file, so that leaving rows out does not help.
    """

    def __init__(
        self,
        message: str = "",
        faults: Sequence[Fault] = (),
        count: int = 0,
        groups: Iterable[FaultGroup] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        code = next(filter(None, (code_of(fault.rule) for fault in faults)), "E236")
        super().__init__(Coded(message, code), [Problem("", str(fault)) for fault in faults])
        self.faults: tuple[Fault, ...] = tuple(faults)
        self.count = count
        self.whole = whole
        if groups is None:
            groups = FaultGroups()
            for fault in faults:
                groups.add(fault)
        self.groups: tuple[FaultGroup, ...] = tuple(groups)

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(UnusableSource, whole=self.whole)
        return (again, (self.args[0], self.faults, self.count, self.groups))


def unusable(name: str, report: SourceReport) -> UnusableSource:
    """The error for a source with faults."""
    return UnusableSource(f"{name} has faults", report.faults, report.fault_count, report.groups, whole=report.whole)


class Loader(Struct, frozen=True):
    """Loads orders into the ledger. A returned run is held: close it.

    Args:
        look_up: reads, before a run is admitted, the outcomes of orders in doubt with its keys. It returns the
            evidence about orders that are pushed for the first time since an older copy of the ledger was accepted.
        entering: enters a run and its keys into the register of ledgers before it is admitted, or refuses it.
        chunk: orders of a call: the ledger stores them together, so that one write marks a call.
        compact: whether the ledger compresses them.
        options: those that every run gets, see `entering.place_of`.
    """

    ledger: Ledger
    environment: str
    mode: Mode
    look_up: Callable[[Run], Awaitable[Evidence]] | None = None
    chunk: int = CHUNK
    compact: bool = False
    entering: Entering | None = None
    options: Mapping[str, Any] = {}

    async def source(self, source: Source, options: Mapping[str, Any] | None = None) -> tuple[Run, Admission]:
        """Load a file of orders, see `Push.load_source`."""
        rows = source.rows()
        block = await asyncio.to_thread(self._block, rows)  # the header is read with the first row
        left = {} if source.left is None else {LEFT_OUT: source.left.remembered()}
        run = await self.ledger.begin(
            environment=self.environment,
            mode=self.mode,
            source=source.name,
            columns=source.columns,
            options={**self.options, **(options or {}), **source.kept, FORM: structs.asdict(source.form), **left},
            chunk=self.chunk,
            compact=self.compact,
        )
        keys = Keys(are_tracking_ids=source.key_path == "tracking_id")
        async with discarded_on_error(run):
            while block:
                await run.add(
                    [NewOrder(row.line, row.key, row.payload, row.original, row.fingerprint) for row in block]
                )
                if self.entering is not None:
                    keys.add([row.key for row in block])
                block = await asyncio.to_thread(self._block, rows)
            report = source.report
            if report.fault_count:
                raise unusable(source.name, report)
            return run, await self._admit(run, keys, source.name, source.sha256, report)

    async def orders(
        self, orders: Iterable[OrderLike] | AsyncIterable[OrderLike], key: Callable[[Order], str | None], name: str
    ) -> tuple[Run, Admission]:
        """Load a program's orders, see `Push.load_orders`."""
        run = await self.ledger.begin(
            environment=self.environment,
            mode=self.mode,
            source=name,
            options=self.options,
            chunk=self.chunk,
            compact=self.compact,
        )
        async with discarded_on_error(run):
            keys, number, problems = Keys(are_tracking_ids=True), 0, list[Problem]()
            async for block in chunks_of(each_as_read(orders), whole_chunks(self.chunk)):
                rows = []
                for order in block:
                    number += 1
                    if isinstance(order, Faulty):
                        problems += [Problem(f"orders[{number - 1}].{at}", *why) for at, *why in order.error.problems]
                        continue
                    order_key = key_of(order, key, name, number)
                    keys.are_tracking_ids = keys.are_tracking_ids and order_key == order.tracking_id
                    payload, plain = codec.encode_order(order)
                    rows.append(NewOrder(number, order_key, payload, None, fingerprint_of(plain)))
                if len(problems) > _MOST_PROBLEMS:
                    break
                await run.add(rows)
                if self.entering is not None:
                    keys.add([row.key for row in rows])
            if problems:
                raise InvalidData("", problems)
            return run, await self._admit(run, keys, name, None)

    def _block(self, rows: Iterator[SourceRow]) -> list[SourceRow]:
        return list(islice(rows, whole_chunks(self.chunk)))

    async def _admit(
        self, run: Run, keys: Keys, name: str, sha256: str | None, report: SourceReport | None = None
    ) -> Admission:
        evidence = NO_EVIDENCE if self.look_up is None else await self.look_up(run)
        try:
            if self.entering is not None:
                await self.entering.enter(run, keys)
            admission = await admit(run, name, sha256, report, evidence)
            if self.entering is not None:
                await self.entering.admitted(run)
        except GotSurgeError:  # after a cancellation it may be admitted all the same
            if self.entering is not None:
                await self.entering.forget(run)
            raise
        return admission


def key_of(order: Order, key: Callable[[Order], str | None], name: str, number: int) -> str:
    """The key of an order, after a check that its names can be compared with those in an answer.

    Classes do not check the types of their values. A number would fail only after its chunk is claimed, and all orders
    of the chunk would be in doubt.
    """
    own: Any = key(order)
    sent = own, order.tracking_id, "" if order.invoice_number is None else order.invoice_number
    if own and {*map(type, sent)} == {str} and own.isascii() and own.isprintable() and not own.isspace():
        return str(own)  # as nearly always
    own = None if isinstance(own, str) and not own.strip() else own
    if own and type(own) is type(order.tracking_id) is str and type(order.invoice_number) in (str, type(None)):
        try:
            check_look(own)
        except ValueError as error:
            fault = Fault(file=name, line=number, value=own, rule=Coded(error))
            raise UnusableSource(f"{name} has faults", [fault], 1) from None
        return own
    names: dict[str, Any] = {"the key": own, "tracking_id": order.tracking_id, "invoice_number": order.invoice_number}
    faults = [
        Fault(
            file=name, line=number, column=column, value=str(value), rule=Coded(f"is {kind}, but must be text", "E229")
        )
        for column, value in names.items()
        for kind in [type(value).__name__]
        if value is not None and not isinstance(value, str)
    ]
    if not (own or faults):
        faults = [Fault(file=name, line=number, rule=Coded("the order has no key: give it a tracking_id", "E229"))]
    if faults:
        raise UnusableSource(f"{name} has faults", faults, len(faults))
    return str(own)


async def admit(
    run: Run,
    name: str,
    sha256: str | None = None,
    report: SourceReport | None = None,
    evidence: Evidence = NO_EVIDENCE,
) -> Admission:
    """Admit a loaded run, and note the fields in which its changed orders differ from those pushed before.

    ``report`` receives the faults, each with its row.
    """
    admission = await run.admit(source_sha256=sha256, evidence=evidence)
    if admission.doubled:
        report = report or SourceReport()
        lines = {doubled.line for doubled in admission.doubled}
        rows = {row.line: row async for row in run.rows() if row.line in lines}
        for doubled in admission.doubled:
            rule = Coded(f"this key is also in line {doubled.first_line}: each order needs its own key", "E229")
            report.add(
                Fault(file=name, line=doubled.line, value=doubled.key, rule=rule),
                _original(rows.get(doubled.line), run.info.columns),
            )
        raise unusable(name, report)
    return structs.replace(admission, changed=await note_changes(run)) if admission.already_pushed else admission


def _original(row: OrderRow | None, columns: Sequence[str] | None) -> Original | None:
    """The row of the source that an order was read from."""
    if row is None or row.source_row is None:
        return None
    return Original(row.source_row) if columns is None else Original(decode_row(row.source_row), columns)


@asynccontextmanager
async def discarded_on_error(run: Run) -> AsyncIterator[None]:
    """Remove a run if the block fails or is cancelled, so that it is not loaded whole.

    A run that was admitted before the failure stays, held by no process.
    """
    try:
        yield
    except BaseException:
        # Best effort: a run that stays behind in the state "loading" is never sent, and is swept away later.
        with suppress(GotSurgeError):
            await uninterrupted(run.discard())
        await uninterrupted(run.close())
        raise


async def load_refused(ledger: Ledger, run_id: str) -> tuple[Run, Admission]:
    """Load the refused orders of a run into a new run, as they are in the ledger: the file is not read again.

    An order that another run created meanwhile is not sent again: it counts as already pushed. The new run has the same
    environment and mode, and is held: send it with `Push.send`, and close it.

    Raises:
        UsageError: the run has no refused orders.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        RunHeld: some of the orders wait in a run that another process is sending.
    """
    old = await ledger.run(run_id)
    refuse_archived(old)
    if not (await ledger.counts(run_id))[OrderState.REFUSED]:
        raise UsageError(f"run {run_id} has no refused orders: there is nothing to retry", "E605")
    chunk = old.options.get("batch_size") or CHUNK
    # Of the new run nothing was left out, nor undone.
    options = {name: value for name, value in old.options.items() if name not in (LEFT_OUT, UNDO)}
    run = await ledger.begin(
        environment=old.environment,
        mode=old.mode,
        source=old.source,
        source_sha256=old.source_sha256,
        columns=old.columns,
        options={**options, "retry_of": run_id},
        chunk=chunk,
        compact=bool(old.options.get("compact")),
    )
    async with discarded_on_error(run):
        async for rows in chunks_of(ledger.rows(run_id, (OrderState.REFUSED,)), whole_chunks(chunk)):
            await run.add([_again(ledger.path, row) for row in rows])
        return run, await admit(run, old.source)


def _again(path: str, row: OrderRow) -> NewOrder:
    with reading_payload(path, row):
        fingerprint = fingerprint_of(msgspec.json.decode(row.payload))
    return NewOrder(row.line, row.key, row.payload, row.source_row, fingerprint)
