"""``gotsurge resume`` and ``gotsurge retry``: continue a run, and send its refused orders again."""

from typing import Any

import click

from gotsurge_async.after.reading import refuse_older
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, WrongUse, about_run, asynchronous
from gotsurge_async.cli.shared.ledger import (
    find_ledger,
    ledger_option,
    new_ledger_option,
    open_ledger,
    out_option,
    quiet_option,
    shared_ledger,
    target_of,
)
from gotsurge_async.cli.shared.options import Decorator, GroupedCommand, json_option, option, together
from gotsurge_async.cli.shared.push_options import (
    check_distributed,
    concurrency,
    rate,
    refused_chunk,
    takes_brakes,
    takes_distributed,
)
from gotsurge_async.cli.shared.sending import ROW, Sending, SendOptions, try_out
from gotsurge_async.config import Limits
from gotsurge_async.database import Place
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import UNDO, UNFINISHED, Ledger, Run, RunInfo, RunState
from gotsurge_async.push.load import load_refused
from gotsurge_async.push.push import Push

resuming_options: Decorator[Any] = together(
    takes_place,
    concurrency("How many calls may be in flight at once.  [default: as before]"),
    rate("How many calls may begin in a second.  [default: as before]"),
    takes_brakes,
    ledger_option,
    new_ledger_option,
    out_option,
    json_option,
    quiet_option,
)
"""The options that resume and retry share; brakes are those of this sending."""


class Resuming(Sending):
    """The sending of a run that is in the ledger already.

    Without a ``run_id``, of the last run of the environment. An option that is None has the run's own value.
    """

    def __init__(self, run_id: str | None, *, ledger: Place | None, **options: Any) -> None:
        target: Target = options["target"]
        self._options = SendOptions(ledger=find_ledger(ledger, target, options["out"]), **options)
        super().__init__(self._options)
        self._run_id = run_id

    async def _run(self) -> Exit:
        options = self._options
        async with open_ledger(options.ledger) as ledger:
            await refuse_older(ledger, options.out)
            info = await self._find(ledger)
            about_run(info.id)
            await try_out(options.out, (await ledger.counts(info.id)).total * ROW, "nothing was sent")
            known = info.options
            limits = Limits(
                concurrency=options.concurrency or known.get("concurrency") or Limits().concurrency,
                rate=options.rate or known.get("rate"),
            )
            async with connected(target_of(info, options.target), limits) as gs:
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
                run = await self._held(ledger, info)
                try:
                    await push.enter(run)
                except BaseException:
                    await run.close()
                    raise
                waiting = (await run.counts()).of(UNFINISHED)
                return await self._deliver(gs, ledger, push, run, waiting=waiting)

    async def _find(self, ledger: Ledger) -> RunInfo:
        if self._run_id is not None:
            return await ledger.run(self._run_id)
        environment = self._options.target.environment
        for info in await ledger.runs():
            if info.environment == environment and info.state is not RunState.LOADING:
                if UNDO in info.options and (await ledger.counts(info.id)).of(UNFINISHED):
                    why = f"the last run was undone: to send its remaining orders anyway, name the run: {info.id}"
                    raise UsageError(why, "E103")
                return info
        raise UsageError(f"the ledger {ledger.path} has no run in {environment}", "E501")

    async def _held(self, ledger: Ledger, info: RunInfo) -> Run:
        return await ledger.hold(info.id)


@click.command(cls=GroupedCommand)
@click.argument("run_id", metavar="[RUN]", required=False)
@option("--last", "The newest run of the environment.")
@takes_distributed
@resuming_options
@asynchronous
async def resume(run_id: str | None, last: bool, ledger: Place | None, **options: Any) -> Exit:
    """Go on with RUN: what a crash, a limit or Ctrl-C left is sent, in the mode in which the run was begun.

    The orders come from the ledger: the file may have changed, or be gone. Orders in doubt are not sent; see gotsurge
    reconcile and gotsurge resolve. With --distributed workers send it, as with gotsurge push --distributed. Output and
    exit codes are those of gotsurge push.
    """
    if last == (run_id is not None):
        raise WrongUse("name a run, or pass --last; see all runs with gotsurge runs")
    check_distributed(**options)
    if options["distributed"] and options["rate"]:
        raise WrongUse("the workers use the --rate of the push: for another rate, pass --rate to gotsurge worker")
    return await Resuming(run_id, ledger=shared_ledger(ledger) if options["distributed"] else ledger, **options).run()


class Retrying(Resuming):
    """The sending of a run's refused orders, in a new run."""

    async def _held(self, ledger: Ledger, info: RunInfo) -> Run:
        run, admission = await load_refused(ledger, info.id)
        if admission.already_pushed:
            self.say(f"{admission.already_pushed:,} of them were pushed by another run since")
        return run


@click.command(cls=GroupedCommand)
@click.argument("run_id", metavar="RUN")
@refused_chunk("as before")
@resuming_options
@asynchronous
async def retry(run_id: str, **options: Any) -> Exit:
    """Put the refused orders of RUN into a new run, as they stand in the ledger, and send it.

    For orders that were refused for a passing reason, or only because another order of their chunk was wrong: then
    --on-refused-chunk split finds the one that is. A refusal is believed: nothing of it was created. An order that is
    wrong itself is refused again: correct it in RUN-refused.csv (gotsurge results), and push that file. Output and exit
    codes are those of gotsurge push.
    """
    return await Retrying(run_id, **options).run()
