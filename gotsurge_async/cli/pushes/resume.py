"""``gotsurge resume``: going on with a run."""

from pathlib import Path
from typing import Any

import attrs
import click

from gotsurge_async.bulk import Brakes, Ledger, Push, Run
from gotsurge_async.bulk.after.reading import refuse_older
from gotsurge_async.bulk.ledger import UNDO, UNFINISHED, RunInfo, RunState
from gotsurge_async.cli.fleet.needed import of_many_machines
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, run_told
from gotsurge_async.cli.shared.ledger import (
    find_ledger,
    ledger_option,
    new_ledger_option,
    open_ledger,
    out_option,
    quiet_option,
    target_of,
)
from gotsurge_async.cli.shared.options import Decorator, GroupedCommand, json_option, together
from gotsurge_async.cli.shared.push_options import check_distributed, concurrency, rate, takes_brakes, takes_distributed
from gotsurge_async.cli.shared.report import ROW, try_out
from gotsurge_async.cli.shared.sending import Interrupts, Sending, SendOptions
from gotsurge_async.config import Limits
from gotsurge_async.database import Place
from gotsurge_async.errors import UsageError

going_on_options: Decorator[Any] = together(
    takes_place,
    concurrency(help="How many calls may be in flight at once.  [default: as before]"),
    rate(help="How many calls may begin in a second.  [default: as before]"),
    takes_brakes,
    ledger_option,
    new_ledger_option,
    out_option,
    json_option,
    quiet_option,
)
"""The options that resume and retry share; brakes are those of this sending."""


@attrs.frozen(kw_only=True)
class GoOnOptions(SendOptions):
    """What the user said about going on; what was not said is as the run has it."""

    run_id: str | None
    target: Target
    concurrency: int | None
    rate: float | None
    brakes: Brakes
    on_refused_chunk: str | None = None
    distributed: bool = False
    no_wait: bool = False
    new_ledger: bool = False


class GoingOn(Sending):
    """The sending of a run that is in the ledger already."""

    def __init__(self, options: GoOnOptions) -> None:
        super().__init__(options)
        self.run_id = options.run_id
        self._options = options

    async def _run(self, interrupts: Interrupts) -> Exit:
        options = self._options
        async with open_ledger(options.ledger) as ledger:
            await refuse_older(ledger, options.out)
            info = await self._find(ledger)
            self.run_id = info.id
            await try_out(options.out, (await ledger.counts(info.id)).total * ROW, "nothing was sent")
            target = target_of(info, options.target)
            known = info.options
            limits = Limits(
                concurrency=options.concurrency or known.get("concurrency") or Limits().concurrency,
                rate=options.rate or known.get("rate"),
            )
            async with connected(target, limits) as gs:
                push = Push(
                    gs,
                    ledger,
                    mode=info.mode,
                    environment=info.environment,
                    on_refused_chunk=options.on_refused_chunk or known.get("on_refused_chunk"),
                    brakes=options.brakes,
                    new_ledger=options.new_ledger,
                    **({"chunk": known["batch_size"]} if known.get("batch_size") else {}),
                )
                run = await self._take_up(ledger, info)
                try:
                    await push.enter(run)
                except BaseException:
                    await run.close()
                    raise
                waiting = (await run.counts()).of(UNFINISHED)
                if options.distributed:
                    return await self._distribute(
                        gs,
                        ledger,
                        push,
                        run,
                        brakes=options.brakes,
                        waiting=waiting,
                        wait=not options.no_wait,
                        interrupts=interrupts,
                    )
                return await self._deliver(gs, ledger, push, run, waiting=waiting, interrupts=interrupts)

    async def _find(self, ledger: Ledger) -> RunInfo:
        if self._options.run_id is not None:
            return await ledger.run(self._options.run_id)
        environment = self._options.target.environment
        for info in await ledger.runs():
            if info.environment == environment and info.state is not RunState.LOADING:
                if UNDO in info.options and (await ledger.counts(info.id)).of(UNFINISHED):
                    raise UsageError(
                        f"the last run was taken back: name it if what it has left is to be sent, as {info.id}"
                    )
                return info
        raise UsageError(f"the ledger {ledger.path} has no run of {environment}")

    async def _take_up(self, ledger: Ledger, info: RunInfo) -> Run:
        return await ledger.hold(info.id)


@click.command(cls=GroupedCommand)
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--last", is_flag=True, help="The newest run of the environment.")
@takes_distributed
@going_on_options
def resume(run_id: str | None, last: bool, ledger: Place | None, **given: Any) -> None:
    """Go on with RUN: what a crash, a limit or Ctrl-C left is sent, in the mode in which the run was begun.

    The orders come from the ledger: the file may have changed, or be gone. Orders in doubt are not sent; see gotsurge
    reconcile and gotsurge resolve. With --distributed workers send it, as with gotsurge push --distributed. Output and
    exit codes are those of gotsurge push.
    """
    if last == (run_id is not None):
        raise click.UsageError("say which run, or --last; gotsurge runs lists them")
    check_distributed(**given)
    if given["distributed"] and given["rate"]:
        raise click.UsageError(
            "of a run that workers send, --rate is that of its push: give another to gotsurge worker"
        )
    go_on(GoingOn, run_id=run_id, ledger=of_many_machines(ledger) if given["distributed"] else ledger, **given)


def go_on(how: type[GoingOn], *, ledger: Place | None, target: Target, out: Path, **given: Any) -> None:
    """Go on with a run, and end the process."""
    options = GoOnOptions(ledger=find_ledger(ledger, target, out), target=target, out=out, **given)
    sending = how(options)
    raise SystemExit(int(run_told(sending.run(), lambda: sending.run_id)))
