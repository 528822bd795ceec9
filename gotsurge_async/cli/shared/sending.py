"""The sending of a run, for push, resume and retry, and its report: result files, counts, next steps."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, structs

from gotsurge_async.after.lookup import note_unused_drafts
from gotsurge_async.after.results import Reason, Summary, count_results, try_folder, write_results
from gotsurge_async.calls.create import stops_all
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.exits import (
    Exit,
    Failure,
    Interrupts,
    about_run,
    exit_code_of,
    explained_too,
    is_unreachable,
)
from gotsurge_async.cli.shared.next_steps import Standing, about_task, next_steps, same_again
from gotsurge_async.cli.shared.output import SHOWN, Step, counted, finish, say, shown
from gotsurge_async.cli.shared.progress import Progress
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.errors import Coded, ConfigError, GotSurgeError
from gotsurge_async.ledger import (
    DOUBTFUL,
    Counts,
    Ledger,
    LedgerError,
    LedgerUnusable,
    Mode,
    Run,
    RunHeld,
    RunInfo,
    RunLost,
)
from gotsurge_async.push.brakes import Brakes
from gotsurge_async.push.load import LEFT_OUT
from gotsurge_async.push.push import Push, Sent
from gotsurge_async.tables.checks.words import number_of

if TYPE_CHECKING:
    from rich.console import Console

    from gotsurge_async.after.replace import Replaced

READ_SECONDS = 10.0
"""The most seconds for which a ledger that failed is read, to report orders that were in flight."""
ROW = 600
"""The approximate bytes of the result files for an order."""
SHOWN_REASONS = 3
"""The number of reasons of each kind that are printed; --json has more."""
_COUNTED = ("refused", "unprocessed", "in_doubt", "cancelled", "changed")
"""The files whose rows are counted next to their names; the created file also has orders of earlier pushes."""


class SendOptions(Struct, frozen=True, kw_only=True):
    """The options that push, resume and retry share."""

    target: Target
    ledger: Place
    out: Path
    concurrency: int | None
    rate: float | None
    brakes: Brakes
    on_refused_chunk: str | None = None
    distributed: bool = False
    no_wait: bool = False
    new_ledger: bool = False
    quiet: bool


class Sending:
    """The sending of one run, which subclasses find or load; ``replaced``: the result for tasks to change."""

    def __init__(self, options: SendOptions) -> None:
        self.replaced: Replaced | None = None
        self._send_options = options
        self._begun: Run | None = None
        self._changing = False
        self._interrupts: Interrupts

    async def run(self) -> Exit:
        """Send, print the result, and return the exit code."""
        self._interrupts = Interrupts(self.say)
        with self._interrupts.caught():
            try:
                return await self._run()
            except asyncio.CancelledError:
                if self._interrupts.code is None:
                    raise
                raise self._interrupted(self._interrupts.code) from None

    def _interrupted(self, code: Exit) -> Failure:
        if self._begun is None:
            return Failure(Coded("interrupted: nothing was sent", "E112"), code)
        if self._changing:
            why = f"interrupted: tasks may or may not have been changed, and no order was sent (run {self._begun.id})"
            return Failure(Coded(why, "E112"), code, more={"next": [same_again()]})
        text = "interrupted before the result files were written; the ledger has everything"
        return self._failure(text, code, self._standing(self._begun, {}, results_failed=True))

    async def _run(self) -> Exit:
        """Find or load the run, and `_deliver` it."""
        raise NotImplementedError

    async def _deliver(self, gs: GotSurge, ledger: Ledger, push: Push, run: Run, *, waiting: int) -> Exit:
        """Send the ``waiting`` orders of a held run, or let workers send them; write its result files; report."""
        about_run(run.id)
        if self._send_options.distributed:
            return await self._distribute(gs, ledger, push, run, waiting)
        progress = self._progress(waiting)
        if progress is not None:
            gs.hooks.add(progress)
            means = "exactly once" if run.info.mode is Mode.TWO_PHASE else "at most once"
            self.say(f"{number_of(waiting, 'order')} to send, in {run.info.mode} mode: {means}")
        async with run:
            self._interrupts.on_stop = push.stop
            self._begun = run
            started = time.monotonic()
            with nullcontext() if progress is None else progress.shown():
                sent = await self._send(ledger, push, run)
            seconds = time.monotonic() - started if waiting else 0.0
            return await self._end(gs, ledger, run, sent, seconds)

    async def _end(self, gs: GotSurge, ledger: Ledger, run: Run, sent: Sent, seconds: float) -> Exit:
        """Write the result files of a held run, close it, and report."""
        async with run:
            try:
                unused = await self._unused_drafts(gs, ledger, run, sent)
                summary, standing, failed = await self._results(ledger, run, sent, seconds, unused)
            except LedgerError as error:
                raise await self._ledger_failed(ledger, run, error) from None
        stopped_by = sent.stopped_by or (self.replaced.stopped_by if self.replaced else None)
        code = self._exit_code(summary, stopped_by, failed is not None)
        problems = [Coded(f"stopped: {stopped_by}", stopped_by.explain_code)] if stopped_by is not None else []
        problems += [failed] if failed is not None else []
        return finish_run(summary, code, next_steps(standing), problems)

    async def _distribute(self, gs: GotSurge, ledger: Ledger, push: Push, run: Run, waiting: int) -> Exit:
        """Publish a held run for workers, wait until they have sent it, write its result files, and report."""
        from gotsurge_async.cli.shared.distributed import Watch, publish  # few pushes have workers

        self._begun = run
        self._interrupts.on_stop = push.stop
        async with run:
            is_stopped = self._interrupts.code is not None  # while tasks were changed: no worker may begin
            sent = Sent(interrupted=True) if is_stopped else await publish(ledger, push, run)
            if sent is not None:
                return await self._end(gs, ledger, run, sent, 0.0)
        published = f"run {run.id}: {number_of(waiting, 'order is', 'orders are')} put up for workers"
        if self._send_options.no_wait:
            return self._finish_published(run, waiting, published)
        self.say(published)
        progress = self._progress(waiting)
        watch = Watch(ledger.place, run.id, progress, self.say, self._interrupts)
        started = time.monotonic()
        try:
            with nullcontext() if progress is None else progress.shown():
                sent = await watch.to_the_end()
        except asyncio.CancelledError:
            if self._interrupts.code is None:
                raise
            if self._interrupts.code is Exit.INTERRUPTED:
                await watch.stop_workers()
            text = Coded(
                f"this command stopped waiting: the workers will complete the calls they have begun for run {run.id}; "
                f"{_how_it_ended(ledger, run)}",
                "E112",
            )
            raise Failure(text, self._interrupts.code) from None
        if sent is None:
            self.say(f"run {run.id} goes on: gotsurge status {run.id} --ledger {ledger.path}")
            return Exit.TERMINATED
        seconds = time.monotonic() - started if waiting else 0.0
        async with await Ledger.open(ledger.place, clock=SystemClock().now) as opened:  # its connection may be lost
            try:
                run = await opened.hold(run.id)
            except RunHeld as error:  # by a process that resumes it: what is on its way there is not in doubt
                text = Coded(f"{error}; {_how_it_ended(opened, run)}", error.explain_code)
                raise Failure(text, self._interrupts.code or Exit.HELD) from None
            sent = structs.replace(sent, lost_drafts=frozenset(await run.lost_drafts()))
            return await self._end(gs, opened, run, sent, seconds)

    def _finish_published(self, run: Run, waiting: int, published: str) -> Exit:
        left = run.info.options.get(LEFT_OUT)
        code = Exit.STOPPED if left else Exit.CREATED
        left_out = {"left_out": left["rows"], "left_out_file": left["file"]} if left else {}
        document = {"run": run.id, "put_up": waiting, **left_out}
        steps = next_steps(self._standing(run, {})) or None
        return finish(document, code, published, steps)

    def _progress(self, waiting: int) -> Progress | None:
        return None if self._send_options.quiet else Progress(self._console, "pushing", waiting)

    async def _send(self, ledger: Ledger, push: Push, run: Run) -> Sent:
        try:
            return await push.send(run)
        except asyncio.CancelledError:
            if self._interrupts.code is None:
                raise
            return Sent(interrupted=True)
        except LedgerError as error:
            raise await self._ledger_failed(ledger, run, error) from None
        except GotSurgeError as error:  # a sign-in that ended in the middle of a chunk, for instance
            return Sent(stopped_by=error)

    async def _ledger_failed(self, ledger: Ledger, run: Run, error: LedgerError) -> Failure:
        """The failure with the ledger's data about orders in flight; all are in doubt if it cannot be trusted."""
        counts = await counts_after(error, ledger, run.id)
        code, what = Exit.IN_DOUBT, "the orders that were in flight are in doubt"
        if counts is not None:
            in_doubt = counts.of(DOUBTFUL)
            code = Exit.IN_DOUBT if in_doubt else Exit.STOPPED
            what = f"{in_doubt:,} in doubt" if in_doubt else "nothing is in doubt"
            if counts.drafting:
                what = f"{number_of(counts.drafting, 'order')} must be drafted again (no driver saw the drafts); {what}"
        text = Coded(f"{error}\n{what}; no further order was sent (run {run.id})", error.explain_code)
        return self._failure(text, code, self._standing(run, {"unprocessed": 1}))

    def _failure(self, text: str, code: Exit, standing: Standing) -> Failure:
        """A failure with the commands to type next."""
        return Failure(text, code, more={"next": [step.command for step in next_steps(standing)]})

    async def _unused_drafts(self, gs: GotSurge, ledger: Ledger, run: Run, sent: Sent) -> list[str]:
        """The drafts that will never be broadcast, as far as the ledger or the Task List shows them."""
        if sent.lost_drafts and not sent.interrupted:
            try:
                await note_unused_drafts(gs, ledger, run, sent.lost_drafts)
            except LedgerError:
                raise
            except GotSurgeError as error:
                orders = number_of(len(sent.lost_drafts), "order")
                self.say(f"{orders} may have left an unused draft each; the list tells nothing: {error}")
        unused = await unused_drafts(ledger, run.id)
        name_unused(unused, run.info)
        return unused

    async def _results(
        self, ledger: Ledger, run: Run, sent: Sent, seconds: float, unused: Sequence[str]
    ) -> tuple[Summary, Standing, Coded | None]:
        """Write the result files, or only count if that fails; returns the reason of the failure, too."""
        stopped = str(sent.stopped_by) if sent.stopped_by else "interrupted" if sent.interrupted else ""
        failed = None
        try:
            summary = await write_results(
                ledger, run.info, self._send_options.out, seconds=seconds, unused_drafts=unused, stopped=stopped
            )
        except ConfigError as error:
            failed = Coded(f"{error}; the ledger has everything", error.explain_code)
            summary = await count_results(ledger, run.info, seconds=seconds, unused_drafts=unused, stopped=stopped)
        standing = await Standing.of(
            ledger,
            run.info,
            files=summary.files,
            out=self._send_options.out,
            sign_in=sent.stopped_by is not None and exit_code_of(sent.stopped_by) is Exit.SIGN_IN,
            results_failed=failed is not None,
        )
        return summary, standing, failed

    def _standing(self, run: Run, counts: Mapping[str, int], **more: Any) -> Standing:
        options = self._send_options
        return Standing(info=run.info, counts=counts, ledger=options.ledger, out=options.out, **more)

    def _exit_code(self, summary: Summary, stopped_by: GotSurgeError | None, results_failed: bool) -> Exit:
        """The code of the worst event: an interrupt, then doubt, then an error that a person must mend, then refusals;
        missing result files only if everything was sent."""
        if self._interrupts.code is not None:
            return self._interrupts.code
        if summary.in_doubt or (self.replaced and self.replaced.unknown):
            return Exit.IN_DOUBT
        if stopped_by is not None:
            has_code = stops_all(stopped_by) or is_unreachable(stopped_by)
            return exit_code_of(stopped_by) if has_code else Exit.STOPPED
        if summary.unprocessed or summary.left_out:
            return Exit.STOPPED
        if summary.refused or summary.cancelled:
            return Exit.REFUSED
        if summary.changed:
            return Exit.CHANGED
        return Exit.RESULTS_FAILED if results_failed else Exit.CREATED

    def say(self, text: str) -> None:
        """Print a line on stderr, above the bar if there is one."""
        self._console.print(text)

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # loaded when there is something to say

        return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def _how_it_ended(ledger: Ledger, run: Run) -> str:
    commands = " and ".join(f"gotsurge {word} {run.id} --ledger {ledger.path}" for word in ("status", "results"))
    return f"how it ended say {commands}"


async def counts_after(error: LedgerError, ledger: Ledger, run_id: str) -> Counts | None:
    """The counts of a run whose ledger failed in the middle; None if they cannot be read, or not be trusted."""
    damaged = isinstance(error, LedgerUnusable) and error.lasts
    # A run that another process has taken over is that one's, and so is what is in flight of it.
    if not damaged and not isinstance(error, RunLost):
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                return await ledger.counts(run_id)
    return None


# --- the report ------------------------------------------------------------------------------------------------------


async def try_out(folder: Path, size: int, consequence: str) -> None:
    """Check that result files of ``size`` bytes can be written."""
    try:
        await asyncio.to_thread(try_folder, folder, size)
    except ConfigError as error:
        text = f"{error}; {consequence}: name another folder with --out, or free some space in this one"
        raise ConfigError(text, "E109") from None


async def unused_drafts(ledger: Ledger, run_id: str) -> list[str]:
    """The task ids of a run's drafts that will never be broadcast, without those that were cancelled."""
    return [draft.task_id for draft in await ledger.unused_drafts(run_id) if not draft.cancelled]


def name_unused(unused: Sequence[str], info: RunInfo) -> None:
    """Print the drafts that were left, and the command that cancels one."""
    if not unused:
        return
    more = f" and {len(unused) - SHOWN:,} more" if len(unused) > SHOWN else ""
    left = number_of(len(unused), "unused draft was", "unused drafts were")
    say(f"{left} left, which no driver sees: {shown(unused[:SHOWN])}{more}")
    if how := about_task(info, "cancel", "ID", '--reason "unused draft"'):
        say(f"to cancel one, run: {how}")


def finish_run(summary: Summary, code: Exit, steps: Sequence[Step], problems: Sequence[Coded] = ()) -> Exit:
    """Print a run's outcomes, its result files, and the next commands; ``problems`` cut it short, or kept the files."""
    for text in problems:
        say(text)
        explained_too([text.explain_code])
    document = {**structs.asdict(summary), "error": "; ".join(problems) or None}
    return finish(document, code, lambda: _show(summary), steps)


def _show(summary: Summary) -> None:
    took = f" in {summary.seconds:.1f} s" if summary.seconds else ""
    files = ", result files:" if summary.files else ""
    click.echo(f"run {summary.run}, {number_of(summary.orders, 'order')}{took}{files}")
    for name, path in summary.files.items():
        count = f"  ({getattr(summary, name):,})" if name in _COUNTED else ""
        click.echo(f"  {path}{count}")
    _show_reasons(summary.reasons)
    others = counted(
        {
            "already pushed": summary.already_pushed,
            "refused": summary.refused,
            "in doubt": summary.in_doubt,
            "unprocessed": summary.unprocessed,
            "cancelled": summary.cancelled,
            "changed since": summary.changed,
        }
    )
    click.echo(", ".join(filter(None, (f"{summary.created:,} created", others))))
    if number := summary.left_out:
        where = f": {summary.left_out_file}" if summary.left_out_file else ""
        click.echo(f"{number_of(number, 'row with faults', 'rows with faults')} NOT sent{where}")


def _show_reasons(reasons: Sequence[Reason]) -> None:
    named = [reason for reason in reasons if reason.reason]
    for verdict, group in groupby(named, key=lambda reason: reason.verdict):
        mine = list(group)
        click.echo(f"why {verdict.replace('_', ' ')}:")
        for reason in mine[:SHOWN_REASONS]:
            click.echo(f"  {reason.count:,} × {shown(reason.reason)}")
        if len(mine) > SHOWN_REASONS:
            click.echo("  … and for other reasons")
