"""``gotsurge worker``: sends segments of runs that were released to many machines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import click

from gotsurge_async.calls.shared_rate import SharedRate, shared_rate
from gotsurge_async.cli.fleet.seen import TRACE, Seen, takes_seen
from gotsurge_async.cli.shared.connect import Target, connected, read_settings, takes_place
from gotsurge_async.cli.shared.distributed import fleet_package
from gotsurge_async.cli.shared.exits import Exit, Failure, Interrupts, asynchronous
from gotsurge_async.cli.shared.ledger import ledger_option, new_ledger_option, shared_ledger, target_of
from gotsurge_async.cli.shared.options import GroupedCommand, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.cli.shared.push_options import concurrency, rate
from gotsurge_async.client import GotSurge
from gotsurge_async.config import Limits
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded, UsageError
from gotsurge_async.ledger import RunInfo
from gotsurge_async.push.desk.desk import Desk
from gotsurge_async.push.worker import Worker, timeouts_for

_working = in_group("The worker")


@click.command(cls=GroupedCommand)
@takes_place
@concurrency("How many calls this worker may have in flight at once.", default=16)
@rate(
    "How many calls may begin in a second, of all workers together. If the push has a --rate, too, the lower one "
    "counts.  [default: no limit]"
)
@_working(
    "--lease SECONDS",
    "How long its orders stay its own when it is not heard of; then another worker goes on with them.",
    type=click.FloatRange(min=2),
    default=60.0,
)
@_working(
    "--patience SECONDS",
    "How long it waits for a database that it cannot reach.",
    type=click.FloatRange(min=0),
    default=300.0,
)
@_working(
    "--submitted", "Send the orders that services have submitted to the ledger for the account, too (Desk.submit)."
)
@takes_seen
@ledger_option
@new_ledger_option
@asynchronous
async def worker(
    target: Target,
    ledger: Place | None,
    new_ledger: bool,
    submitted: bool,
    concurrency: int,
    rate: float | None,
    lease: float,
    patience: float,
    seen: Seen,
) -> Exit:
    """Send what gotsurge push --distributed has put up, together with all other workers.

    With --submitted it also sends the orders that services have submitted to the ledger.

    You may start and stop workers at any time, on any machine that reaches the ledger. If a worker dies, this is
    noticed when its lease ends. Then another worker goes on with its orders, by the same rules as after any crash. All
    workers share one rate. If GotSurge slows one of them down, all go slower.

    At SIGTERM or Ctrl-C it waits for what is in flight, gives the rest back at once, and ends with exit code 0. A
    second one aborts it.

    \b
    Exit codes:
      0 stopped, and everything was given back
      2 wrong usage, or the ledger cannot be used
      4 sign-in failed
      10 the ledger's database could not be reached for longer than --patience: start it again
      130, 143 aborted by a second Ctrl-C or SIGTERM
    """
    place = shared_ledger(ledger)
    fleet = fleet_package()
    timeouts = timeouts_for(lease)
    read_settings(target)  # refuses wrong ones now, and not when there is something to send
    for library in ("procrastinate", "psycopg.pool"):  # our own messages say in a line what they say at length
        logging.getLogger(library).setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(leave_out_the_queue)
    shared: list[SharedRate] = []

    @asynccontextmanager
    async def client(target: Target, rate: float | None) -> AsyncIterator[GotSurge]:
        async with (
            connected(target, Limits(concurrency=concurrency), timeouts) as gs,
            shared_rate(place, target.environment, gs.session, rate) as turns,
        ):
            seen.watch(gs)
            shared.append(turns)
            if working.stopping.is_set():
                turns.give_up()
            yield gs

    def connect(info: RunInfo) -> AbstractAsyncContextManager[GotSurge]:
        most = min(filter(None, (rate, info.options.get("rate"))), default=None)
        return client(target_of(info, target), most)

    @asynccontextmanager
    async def desk() -> AsyncIterator[None]:
        async with (
            client(target, rate) as gs,
            report_unrecorded(await Desk.open(gs, place, environment=target.environment, new_ledger=new_ledger)),
        ):
            yield

    def around(info: RunInfo, number: int) -> AbstractContextManager[None]:
        return seen.segment(info.id, number, info.options.get(TRACE))

    working = Worker(
        connect,
        environment=target.environment,
        concurrency=concurrency,
        lease=lease,
        timeouts=timeouts,
        around=around,
        serves=_choice_of(target),
    )
    interrupts = Interrupts(say)

    def stop() -> None:
        working.stop()
        for turns in shared:  # what only waits for its turn is given back immediately
            turns.give_up()

    interrupts.on_stop = stop
    with interrupts.caught():
        try:
            async with seen.served(), working:
                seen.show("gotsurge_worker_segments", "Segments in hand.", lambda: working.in_hand)
                seen.show("gotsurge_places", "Calls that may be in flight.", lambda: sum(one.places for one in shared))
                seen.show("gotsurge_turns_lost", "Turns that came to nothing.", lambda: sum(one.lost for one in shared))
                async with desk() if submitted else nullcontext():
                    say(f"worker {working.name}: waits for runs of {target.environment} in {place}")
                    await fleet.work(place, working, patience=patience)
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            text = (
                "aborted: orders in flight are in doubt (direct mode), or are looked up when you resume the run "
                "(two-phase mode)"
            )
            raise Failure(Coded(text, "E112"), interrupts.code) from None
    say(f"worker {working.name}: stopped{'' if submitted else ', and gave everything back'}")
    return Exit.CREATED


def _choice_of(target: Target) -> Callable[[RunInfo], bool]:
    """Whether a worker sends a run; of each run that it leaves to others, because of its target, it tells once."""
    left: set[str] = set()

    def serves(info: RunInfo) -> bool:
        try:
            target_of(info, target)
        except UsageError as error:
            if info.id not in left:
                left.add(info.id)
                say(f"a run is left to other workers: {error}")
            return False
        return True

    return serves


@asynccontextmanager
async def report_unrecorded(desk: Desk) -> AsyncIterator[None]:
    """Enter a desk, and report the orders whose answers it could not record before it was closed or aborted."""
    try:
        async with desk:
            yield
    finally:
        for key, task in desk.unrecorded.items():
            say(
                f"order {key} is task {task}: the ledger could not be written, and has it in doubt; "
                "see gotsurge resolve"
            )


def leave_out_the_queue(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report errors of tasks that were not awaited, except the queue's: a job that was removed while this process was
    frozen, or its database away, is no loss."""
    if not type(context.get("exception")).__module__.startswith("procrastinate"):
        loop.default_exception_handler(context)
