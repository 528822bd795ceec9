"""``gotsurge resume``: going on with a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from gotsurge_async.bulk import Brakes, Ledger, Push, Run
from gotsurge_async.bulk.after.results import refuse_older
from gotsurge_async.bulk.ledger import UNFINISHED, RunInfo, RunState
from gotsurge_async.cli.shared.books import OUT, ledger_option, open_books, run_told, target_of
from gotsurge_async.cli.shared.brake_options import brake_options
from gotsurge_async.cli.shared.calls import takes_place
from gotsurge_async.cli.shared.connect import Target, connected, default_ledger
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.interrupts import Interrupts
from gotsurge_async.cli.shared.output import json_option
from gotsurge_async.cli.shared.run_job import ROW, RunJob, SendOptions
from gotsurge_async.config import Limits
from gotsurge_async.errors import UsageError


@attrs.frozen(kw_only=True)
class GoOnOptions(SendOptions):
    """What the user said about going on; what was not said is as the run has it."""

    run_id: str | None
    target: Target
    concurrency: int | None
    rate: float | None
    brakes: Brakes
    on_refused_chunk: str | None = None


def going_on_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that resume and retry share; brakes are those of this sending."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        json_option,
        brake_options,
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=OUT,
            show_default=True,
            help="Folder of the result files.",
        ),
        ledger_option,
        click.option(
            "--rate",
            type=click.FloatRange(min=0, min_open=True),
            metavar="PER_SECOND",
            help="Calls a second.  [default: as before]",
        ),
        click.option(
            "--concurrency", type=click.IntRange(1, 1024), help="Calls in flight.  [default: as before]", metavar="N"
        ),
        takes_place,
    ):
        command = option(command)
    return command


class GoOnJob(RunJob):
    """The sending of a run that is in the ledger already."""

    def __init__(self, options: GoOnOptions) -> None:
        super().__init__(options)
        self.run_id = options.run_id
        self._options = options

    async def _run(self, interrupts: Interrupts) -> Exit:
        options = self._options
        async with open_books(options.ledger) as ledger:
            await refuse_older(ledger, options.out)
            info = await self._find(ledger)
            self.run_id = info.id
            counts = await ledger.counts(info.id)
            await self._try_out(counts.total * ROW)
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
                    **({"chunk": known["batch_size"]} if known.get("batch_size") else {}),
                )
                run = await self._take_up(ledger, info)
                counts = await run.counts()
                waiting = counts.of(UNFINISHED)
                return await self._deliver(gs, ledger, push, run, waiting=waiting, interrupts=interrupts)

    async def _find(self, ledger: Ledger) -> RunInfo:
        if self._options.run_id is not None:
            return await ledger.run(self._options.run_id)
        environment = self._options.target.books
        for info in await ledger.runs():
            if info.environment == environment and info.state is not RunState.LOADING:
                return info
        raise UsageError(f"the ledger {ledger.path} has no run of {environment}")

    async def _take_up(self, ledger: Ledger, info: RunInfo) -> Run:
        return await ledger.hold(info.id)


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--last", is_flag=True, help="The newest run of the environment.")
@going_on_options
def resume(run_id: str | None, last: bool, **options: Any) -> None:
    """Go on with RUN: what a crash, a limit or Ctrl-C left is sent, in the mode in which the run was begun.

    The orders come from the ledger: the file may have changed, or be gone. What is in doubt is not sent; see gotsurge
    reconcile and gotsurge resolve. Output and exit codes are those of gotsurge push.
    """
    if last == (run_id is not None):
        raise click.UsageError("say which run, or --last; gotsurge runs lists them")
    go_on(GoOnJob, run_id, **options)


def go_on(
    job: type[GoOnJob],
    run_id: str | None,
    *,
    target: Target,
    ledger: Path | None,
    out: Path,
    concurrency: int | None,
    rate: float | None,
    brakes: Brakes,
    as_json: bool,
    quiet: bool,
    on_refused_chunk: str | None = None,
) -> None:
    target.check_place()
    options = GoOnOptions(
        run_id=run_id,
        target=target,
        concurrency=concurrency,
        rate=rate,
        brakes=brakes,
        on_refused_chunk=on_refused_chunk,
        ledger=ledger or default_ledger(target, out),
        out=out,
        as_json=as_json,
        quiet=quiet,
    )
    going_on = job(options)
    raise SystemExit(int(run_told(going_on.run(), lambda: going_on.run_id)))
