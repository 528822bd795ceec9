"""A run that workers send: put up, and watched until its end."""

import asyncio
import time
from collections.abc import Callable

import attrs

from gotsurge_async.bulk import Brakes, Ledger, LimitReached, Push, Run, Sent
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import UNFINISHED, LedgerUnusable, RunState
from gotsurge_async.bulk.ledger.segments import Distribution
from gotsurge_async.bulk.send.brakes import prices_of
from gotsurge_async.cli.fleet.needed import fleet_of
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.next_steps import Standing
from gotsurge_async.cli.shared.progress import PushProgress
from gotsurge_async.cli.shared.sending import Interrupts
from gotsurge_async.clock import SystemClock, sleep_or
from gotsurge_async.database import Place
from gotsurge_async.errors import Forbidden, GotSurgeError, NotSent, SignInNeeded, Unauthorized

LOOK_SECONDS = 0.5
LOOK_LESS = 20
"""How many times as long as a look takes it is waited until the next one."""
ALONE_SECONDS = 5.0
"""After how long without a worker that is said."""
PATIENCE_SECONDS = 300.0
"""How long the database may be away."""

INTERRUPTED = "interrupted"
"""What a person stops a run as."""
_WORDS = {
    Exit.INTERRUPTED: "stopping the workers: what is in flight is waited for; once more to leave them to it",
    Exit.TERMINATED: "leaving the workers to it: they go on",
}


async def put_up(ledger: Ledger, push: Push, run: Run, brakes: Brakes) -> Sent | None:
    """Send the canary, if there is to be one, and put the rest of a held run up; what stopped it, if that did."""
    fleet = fleet_of()
    if brakes.canary:
        sent = await push.send(run, canary_only=True)
        if sent.stopped_by is not None or sent.interrupted:
            return sent
    environment, prices = run.info.environment, None
    if brakes.max_spend is not None:
        try:
            prices = await prices_of(run, brakes.max_spend)
        except LimitReached as error:
            return Sent(stopped_by=error)
    await ledger.segments.put_up(
        run,
        brakes=brakes.for_workers(),
        prices=prices,
        enqueue=lambda db, waiting: fleet.enqueue(db, environment, waiting),
    )
    return None


@attrs.define
class Watch:
    """Waits until workers have brought a run to its end, or were stopped, and shows how it goes on.

    Ctrl-C stops the run; SIGTERM, by which a machine is shut down, only ends the watching.
    """

    place: Place
    run_id: str
    progress: PushProgress | None
    say: Callable[[str], None]
    interrupts: Interrupts
    _interrupted: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _alone_since: float | None = attrs.field(factory=time.monotonic, init=False)

    async def to_the_end(self) -> Sent | None:
        """How the sending ended; None where it goes on without us.

        Raises:
            LedgerError: the ledger cannot be used; its database may be away for some minutes.
        """
        self.interrupts.on_stop = self._interrupted.set
        self.interrupts.words = _WORDS
        away_since: float | None = None
        while True:
            try:
                async with await Ledger.open(self.place, clock=SystemClock().now) as ledger:
                    away_since = None
                    return await self._watch(ledger)
            except LedgerUnusable as error:
                if error.lasts:
                    raise
                if away_since is None:
                    self.say(f"waiting for the ledger's database: {error}")
                    away_since = time.monotonic()
                if time.monotonic() - away_since > PATIENCE_SECONDS or self._interrupted.is_set():
                    raise
                await sleep_or(self._interrupted, SystemClock(), LOOK_SECONDS)

    async def stop_workers(self) -> None:
        """Have them stop, where the watching was broken off before they were told."""
        async with await Ledger.open(self.place, clock=SystemClock().now) as ledger:
            await ledger.segments.stop(self.run_id, INTERRUPTED, INTERRUPTED)

    async def _watch(self, ledger: Ledger) -> Sent | None:
        while True:
            looked_at = time.monotonic()
            # The run first: what is read after its end is all there is.
            info = await ledger.run(self.run_id)
            counts = await ledger.segments.counts(self.run_id)
            distribution = await ledger.segments.distribution(self.run_id)
            await ledger.keep_count()  # this machine sends nothing of it, and must know an older copy all the same
            if self.progress is not None:
                self.progress.show(counts)
            if info.state is not RunState.SENDING or distribution is None:
                by_us = self._interrupted.is_set()
                stopper = None if distribution is None or by_us else _stopper(distribution)
                return Sent(stopped_by=stopper, interrupted=by_us)
            if self.interrupts.code is Exit.TERMINATED:
                return None
            if not distribution.goes_on:  # they were stopped, and died: there may be no worker that says so
                await ledger.segments.finish_runs(info.environment)
            if self.interrupts.code is not None:
                await ledger.segments.stop(self.run_id, INTERRUPTED, INTERRUPTED)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            self._tell_alone(distribution, counts.of(UNFINISHED), Standing(info=info, counts={}, ledger=self.place))
            took = time.monotonic() - looked_at  # of millions of orders it is a while
            await sleep_or(self._interrupted, SystemClock(), max(LOOK_SECONDS, LOOK_LESS * took))

    def _tell_alone(self, distribution: Distribution, waiting: int, standing: Standing) -> None:
        # Another push may have taken all of it over.
        if distribution.leased or not waiting or not distribution.goes_on:
            self._alone_since = time.monotonic()
        elif self._alone_since is not None and time.monotonic() - self._alone_since > ALONE_SECONDS:
            self._alone_since = None  # said once, until there is one
            waits = number_of(waiting, "order waits", "orders wait")
            self.say(f"{waits} for a worker: gotsurge worker {standing.place(calls=True)}")


def _stopper(distribution: Distribution) -> GotSurgeError | None:
    """Why workers stopped, as the error that a push of one machine would have ended with."""
    kind, why = distribution.stopped_as, distribution.stopped_by or ""
    if kind is None:
        return None
    if kind == INTERRUPTED:  # by a person, elsewhere
        return LimitReached("the workers were told to stop")
    if kind in (SignInNeeded.__name__, Unauthorized.__name__, Forbidden.__name__):
        return SignInNeeded(why)
    return NotSent(why) if kind == NotSent.__name__ else LimitReached(why)
