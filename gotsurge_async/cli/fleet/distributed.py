"""A run that workers send: put up, watched until its end, and told as any other."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from gotsurge_async.bulk import Brakes, Ledger, LimitReached, Push, Run, Sent
from gotsurge_async.bulk.ledger import UNFINISHED, RunState
from gotsurge_async.bulk.ledger.segments import Distribution
from gotsurge_async.cli.fleet.needed import fleet_of
from gotsurge_async.cli.shared.progress import PushProgress
from gotsurge_async.cli.shared.sending import Interrupts
from gotsurge_async.errors import GotSurgeError, SignInNeeded

LOOK_SECONDS = 0.5
ALONE_SECONDS = 5.0
"""After how long without a worker that is said."""


async def put_up(ledger: Ledger, push: Push, run: Run, brakes: Brakes) -> Sent | None:
    """Send the canary, if there is to be one, and put the rest of a held run up; what stopped it, if that did."""
    fleet = fleet_of()
    if brakes.canary:
        sent = await push.send(run, canary_only=True)
        if sent.stopped_by is not None or sent.interrupted:
            return sent
    environment = run.info.environment
    await ledger.segments.put_up(
        run,
        brakes=msgspec.to_builtins(brakes),
        enqueue=lambda db, waiting: fleet.enqueue(db, environment, waiting),
    )
    return None


async def watched(
    ledger: Ledger, run_id: str, progress: PushProgress | None, say: Callable[[str], None], interrupts: Interrupts
) -> Sent:
    """Wait until workers have brought a run to its end, or were stopped, and show how it goes on."""
    interrupted = asyncio.Event()
    interrupts.on_stop = interrupted.set
    alone_since: float | None = time.monotonic()
    while True:
        info = await ledger.run(run_id)
        counts = await ledger.segments.counts(run_id)
        distribution = await ledger.segments.distribution(run_id)
        if progress is not None:
            progress.show(counts)
        if info.state in (RunState.DONE, RunState.STOPPED):
            return Sent(stopped_by=_stopper(distribution), interrupted=interrupted.is_set())
        if interrupted.is_set() and distribution is not None and distribution.stopped_at is None:
            await ledger.segments.stop(run_id, "interrupted", "interrupted")
        if distribution is not None and distribution.leased:
            alone_since = time.monotonic()
        elif alone_since is not None and time.monotonic() - alone_since > ALONE_SECONDS:
            alone_since = None
            say(f"{counts.of(UNFINISHED):,} orders wait for workers: gotsurge worker --ledger {ledger.path}")
        await asyncio.sleep(LOOK_SECONDS)


def _stopper(distribution: Distribution | None) -> GotSurgeError | None:
    if distribution is None or distribution.stopped_by is None or distribution.stopped_as == "interrupted":
        return None
    if distribution.stopped_as == SignInNeeded.__name__:
        return SignInNeeded(distribution.stopped_by)
    return LimitReached(distribution.stopped_by)
