"""The refused orders of a run, once more, in a run of their own."""

import msgspec

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.bulk.ledger import Admission, Ledger, NewOrder, OrderRow, OrderState, Run
from gotsurge_async.bulk.ledger.errors import reading_payload
from gotsurge_async.bulk.ledger.sql.runs import refuse_archived
from gotsurge_async.bulk.send.load import admit, discarded_on_error, whole_chunks
from gotsurge_async.bulk.sources.source import fingerprint_of
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.errors import UsageError


async def load_refused(ledger: Ledger, run_id: str) -> tuple[Run, Admission]:
    """Put the refused orders of a run into a new one, as they stand in the ledger: the file is not read again.

    An order that was created meanwhile by another run is not sent again: it counts as already pushed. The new run is
    of the same environment and mode, and is held: send it with `Push.send`, and close it.

    Raises:
        UsageError: the run has no refused orders.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        RunHeld: some of the orders wait in a run that another process is sending.
    """
    old = await ledger.run(run_id)
    refuse_archived(old)
    if not (await ledger.counts(run_id))[OrderState.REFUSED]:
        raise UsageError(f"run {run_id} has no refused orders: there is nothing to try again")
    chunk = old.options.get("batch_size") or CHUNK
    run = await ledger.begin(
        environment=old.environment,
        mode=old.mode,
        source=old.source,
        source_sha256=old.source_sha256,
        columns=old.columns,
        options={**old.options, "retry_of": run_id},
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
