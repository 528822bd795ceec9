"""A run that workers send: its ledger, its release to workers, and its watching until the end."""

import asyncio
import time
from collections.abc import Callable
from types import ModuleType

import attrs

from gotsurge_async.cli.shared.exits import Exit, Interrupts
from gotsurge_async.cli.shared.next_steps import Standing
from gotsurge_async.cli.shared.progress import Progress
from gotsurge_async.clock import SystemClock, sleep_or
from gotsurge_async.database import Place
from gotsurge_async.errors import ConfigError, Forbidden, GotSurgeError, NotSent, SignInNeeded, Unauthorized
from gotsurge_async.ledger import UNFINISHED, Ledger, LedgerUnusable, Run, RunState
from gotsurge_async.ledger.segments import Distribution
from gotsurge_async.push.brakes import LimitReached, prices_of
from gotsurge_async.push.push import Push, Sent
from gotsurge_async.tables.checks.words import number_of

POLL_SECONDS = 0.5
POLL_LESS = 20
"""The pause between two reads of the ledger, divided by the time of a read, at least."""
ALONE_SECONDS = 5.0
"""Seconds without a worker until a message reports that."""
PATIENCE_SECONDS = 300.0
"""Seconds that the database may be away."""

INTERRUPTED = "interrupted"
"""The reason that the ledger stores for a run that a person has stopped."""
_WORDS = {
    Exit.INTERRUPTED: "stopping the workers: waiting for their calls; to leave without waiting, stop once more",
    Exit.TERMINATED: "leaving the workers to it: they go on",
}


def fleet_package() -> ModuleType:
    """The package `gotsurge_async.fleet`, which needs an extra."""
    try:
        from gotsurge_async import fleet
    except ModuleNotFoundError as error:
        why = f'sharing work between machines needs {error.name}: pip install "gotsurge-async[fleet]"'
        raise ConfigError(why, "E108") from None
    return fleet


async def publish(ledger: Ledger, push: Push, run: Run) -> Sent | None:
    """Send the canary, if there is one, and release the rest of a held run to workers; returns what stopped it."""
    fleet, brakes = fleet_package(), push.brakes
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
    """Shows the progress of workers until a run is finished or stopped. Ctrl-C stops the run, and SIGTERM only this."""

    place: Place
    run_id: str
    progress: Progress | None
    say: Callable[[str], None]
    interrupts: Interrupts
    _interrupted: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _alone_since: float | None = attrs.field(factory=time.monotonic, init=False)

    async def to_the_end(self) -> Sent | None:
        """Wait for the end; returns the result of the sending, None if it continues without this process."""
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
                await sleep_or(self._interrupted, SystemClock(), POLL_SECONDS)

    async def stop_workers(self) -> None:
        """Stop the workers, if the watching ended before they were stopped."""
        async with await Ledger.open(self.place, clock=SystemClock().now) as ledger:
            await ledger.segments.stop(self.run_id, INTERRUPTED, INTERRUPTED)

    async def _watch(self, ledger: Ledger) -> Sent | None:
        while True:
            began = time.monotonic()
            # The run first: what is read after its end is final.
            info = await ledger.run(self.run_id)
            counts = await ledger.segments.counts(self.run_id)
            distribution = await ledger.segments.distribution(self.run_id)
            await ledger.keep_count()  # this machine sends nothing of it, and must recognize an older copy all the same
            if self.progress is not None:
                self.progress.show(counts)
            if info.state is not RunState.SENDING or distribution is None:
                by_us = self._interrupted.is_set()
                stopper = None if distribution is None or by_us else _stopper(distribution)
                return Sent(stopped_by=stopper, interrupted=by_us)
            if self.interrupts.code is Exit.TERMINATED:
                return None
            if not distribution.goes_on:  # stopped workers may have died, and then none of them finishes the run
                await ledger.segments.finish_runs(info.environment)
            if self.interrupts.code is not None:
                await ledger.segments.stop(self.run_id, INTERRUPTED, INTERRUPTED)
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._note_alone(distribution, counts.of(UNFINISHED), Standing(info=info, counts={}, ledger=self.place))
            took = time.monotonic() - began  # of millions of orders it is a while
            await sleep_or(self._interrupted, SystemClock(), max(POLL_SECONDS, POLL_LESS * took))

    def _note_alone(self, distribution: Distribution, waiting: int, standing: Standing) -> None:
        # Another push may have taken all of it over.
        if distribution.leased or not waiting or not distribution.goes_on:
            self._alone_since = time.monotonic()
        elif self._alone_since is not None and time.monotonic() - self._alone_since > ALONE_SECONDS:
            self._alone_since = None  # once, until there is a worker
            waits = number_of(waiting, "order waits", "orders wait")
            self.say(f"{waits} for a worker: {standing.worker}")


def _stopper(distribution: Distribution) -> GotSurgeError | None:
    """The reason why workers stopped, as the error that would have ended the push of one machine."""
    kind, why = distribution.stopped_as, distribution.stopped_by or ""
    if kind is None:
        return None
    if kind == INTERRUPTED:  # by a person, elsewhere
        return LimitReached("the workers were asked to stop", "E112")
    if kind in (SignInNeeded.__name__, Unauthorized.__name__, Forbidden.__name__):
        return SignInNeeded(why)
    return NotSent(why) if kind == NotSent.__name__ else LimitReached(why)
