"""What all commands share that send a run: signals, progress, result files, the summary, the exit code."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from gotsurge_async.bulk import Ledger, LedgerError, Mode, Push, Run, Sent, Summary, write_results
from gotsurge_async.bulk.after.lookup import note_unused_drafts
from gotsurge_async.bulk.after.replace import Replaced
from gotsurge_async.bulk.after.results import Reason, count_results, try_folder
from gotsurge_async.bulk.ledger import RunInfo
from gotsurge_async.calls.create import stops_all
from gotsurge_async.cli.shared.exits import Exit, Failure, exit_code_of, is_unreachable, print_document
from gotsurge_async.cli.shared.interrupts import Interrupts
from gotsurge_async.cli.shared.next_steps import Standing, Step, cancelling, doubts_elsewhere, next_steps, to_do
from gotsurge_async.cli.shared.progress import PushProgress
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.errors import ConfigError, GotSurgeError

if TYPE_CHECKING:
    from rich.console import Console


ROW = 600
"""About how many bytes of the result files an order takes."""


@attrs.frozen(kw_only=True)
class SendOptions:
    """What the user said about a sending: into which books, and how to tell of it."""

    ledger: Path
    out: Path
    as_json: bool
    quiet: bool


async def try_out(folder: Path, size: int, so: str) -> None:
    """See that the result files can be written.

    Args:
        size: bytes that they may need.
        so: what follows where they cannot.

    Raises:
        ConfigError: they cannot.
    """
    try:
        await asyncio.to_thread(try_folder, folder, size)
    except ConfigError as error:
        raise ConfigError(f"{error}; {so}: name another folder by --out, or make room in this one") from None


class RunJob:
    """The sending of one run.

    Attributes:
        run_id: the run, once it is known.
        replaced: what became of the tasks that were to be changed.
    """

    def __init__(self, options: SendOptions) -> None:
        self.run_id: str | None = None
        self.replaced: Replaced = Replaced()
        self._begun: Run | None = None
        self._send_options = options
        self._clock = SystemClock()

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # loaded when there is something to say

        return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    async def run(self) -> Exit:
        """Send, and tell how it went; the exit code is returned.

        Raises:
            Failure: nothing was sent, or the ledger failed; also when it was interrupted before anything was sent.
        """
        interrupts = Interrupts(self._say)
        with interrupts.caught():
            try:
                return await self._run(interrupts)
            except asyncio.CancelledError:
                if interrupts.code is None:
                    raise
                raise self._interrupted(interrupts.code) from None

    def _interrupted(self, code: Exit) -> Failure:
        if self._begun is None:
            return Failure("interrupted: nothing was sent", code, run=self.run_id)
        steps = next_steps(attrs.evolve(self._standing(self._begun, {}), results_failed=True))
        text = "interrupted after the sending, before the result files were written; the ledger has everything"
        return self._failure(text, code, self._begun, steps)

    async def _run(self, interrupts: Interrupts) -> Exit:
        """Find or load the run, and `_deliver` it."""
        raise NotImplementedError

    async def _try_out(self, size: int) -> None:
        """See that the result files can be written, before anything is loaded or sent.

        Args:
            size: bytes that they may need.

        Raises:
            ConfigError: they cannot.
        """
        await try_out(self._send_options.out, size, "nothing was sent")

    async def _deliver(
        self, gs: GotSurge, ledger: Ledger, push: Push, run: Run, *, waiting: int, interrupts: Interrupts
    ) -> Exit:
        """Send a run that is held, close it, write its result files, and tell.

        Args:
            waiting: how many orders are to be sent.
        """
        self.run_id = run.id
        options = self._send_options
        progress = None if options.quiet else PushProgress(self._console)
        if progress is not None:
            gs.hooks.add(progress)
        if not options.quiet:
            means = "exactly once" if run.info.mode is Mode.TWO_PHASE else "at most once"
            self._say(f"{waiting:,} orders to send, in {run.info.mode} mode: {means}")
        async with run:
            interrupts.on_stop = push.stop
            self._begun = run
            started = time.monotonic()
            with progress.of(waiting) if progress is not None else nullcontext():
                sent = await self._send(push, run, interrupts)
            seconds = time.monotonic() - started if waiting else 0.0
            unused = await self._unused_drafts(gs, ledger, run, sent)
            told = await self._results(ledger, run, sent, seconds, unused)
        if sent.stopped_by is None and self.replaced.stopped_by is not None:
            sent = attrs.evolve(sent, stopped_by=self.replaced.stopped_by)
        code = _exit_code(told, sent, interrupts, self.replaced.unknown)
        tell_ending(
            attrs.evolve(told, stopped=None if sent.stopped_by is None else f"stopped: {sent.stopped_by}"),
            code,
            say=self._say,
            as_json=options.as_json,
        )
        return code

    async def _send(self, push: Push, run: Run, interrupts: Interrupts) -> Sent:
        try:
            return await push.send(run)
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            return Sent(interrupted=True)
        except LedgerError as error:
            raise self._ledger_failed(run, error) from None
        except GotSurgeError as error:  # a sign-in that ended in the middle of a chunk, for instance
            return Sent(stopped_by=error)

    def _ledger_failed(self, run: Run, error: LedgerError) -> Failure:
        """Nobody can read what became of the orders: the careful word is in doubt."""
        text = f"{error}\nwhat was in flight is in doubt, the rest was not sent (run {run.id})"
        return self._failure(text, Exit.IN_DOUBT, run, next_steps(self._standing(run, {"unprocessed": 1})))

    def _failure(self, text: str, code: Exit, run: Run, steps: Sequence[Step]) -> Failure:
        """A failure that says what to type next."""
        lines = [text, *(f"next: {step.command}" for step in steps)]
        return Failure("\n".join(lines), code, run=run.id, more={"next": [step.command for step in steps]})

    async def _unused_drafts(self, gs: GotSurge, ledger: Ledger, run: Run, sent: Sent) -> list[str]:
        """The drafts that no order will be broadcast by, as far as they are known, or the service shows them."""
        if sent.lost_drafts and not sent.interrupted:
            try:
                await note_unused_drafts(gs, run, sent.lost_drafts)
            except LedgerError as error:
                raise self._ledger_failed(run, error) from None
            except GotSurgeError as error:
                number = len(sent.lost_drafts)
                self._say(f"{number:,} orders may have left an unused draft each; the list tells nothing: {error}")
        try:
            unused = [draft.task_id for draft in await ledger.unused_drafts(run.id) if not draft.cancelled]
        except LedgerError as error:
            raise self._ledger_failed(run, error) from None
        tell_unused(unused, run.info, self._say)
        return unused

    async def _results(self, ledger: Ledger, run: Run, sent: Sent, seconds: float, unused: Sequence[str]) -> "Ending":
        """Write the result files; where that fails, count all the same."""
        stopped = str(sent.stopped_by) if sent.stopped_by else "interrupted" if sent.interrupted else ""
        failed = None
        try:
            try:
                summary = await write_results(
                    ledger, run.info, self._send_options.out, seconds=seconds, unused_drafts=unused, stopped=stopped
                )
            except ConfigError as error:
                failed = f"{error}; the ledger has everything"
                summary = await count_results(ledger, run.info, seconds=seconds, unused_drafts=unused, stopped=stopped)
            counts = await ledger.counts(run.id)
            elsewhere = await doubts_elsewhere(ledger, run.id, counts)
        except LedgerError as error:
            raise self._ledger_failed(run, error) from None
        standing = attrs.evolve(
            self._standing(run, to_do(counts), summary.files),
            sign_in=sent.stopped_by is not None and exit_code_of(sent.stopped_by) is Exit.SIGN_IN,
            results_failed=failed is not None,
            elsewhere=elsewhere,
        )
        steps = next_steps(standing)
        return Ending(summary=summary, steps=steps, failed=failed)

    def _standing(self, run: Run, counts: Mapping[str, int], files: Mapping[str, str] | None = None) -> Standing:
        options = self._send_options
        return Standing(info=run.info, counts=counts, files=files or {}, ledger=options.ledger, out=options.out)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(text)


def tell_unused(unused: Sequence[str], info: RunInfo, say: Callable[[str], None]) -> None:
    """Say which drafts were left, and how they are cancelled."""
    if not unused:
        return
    more = f" and {len(unused) - SHOWN_DRAFTS:,} more" if len(unused) > SHOWN_DRAFTS else ""
    say(f"{len(unused):,} unused drafts were left, which no driver sees: {', '.join(unused[:SHOWN_DRAFTS])}{more}")
    if how := cancelling(info):
        say(f"each is cancelled by: {how}")


SHOWN_DRAFTS = 20
_OF_FILE = {"failed": "refused", **{name: name for name in ("unprocessed", "in_doubt", "cancelled", "changed")}}
SHOWN_REASONS = 3
"""How many reasons of each kind are told to people; --json has more."""


@attrs.frozen(kw_only=True)
class Ending:
    """What is told in the end about a run.

    Attributes:
        steps: what to type next.
        stopped: why the sending ended early, if it did.
        failed: why there are no result files, if there are none.
    """

    summary: Summary
    steps: Sequence[Step] = ()
    stopped: str | None = None
    failed: str | None = None

    def document(self, code: Exit) -> dict[str, Any]:
        """All of it, for programs."""
        error = "; ".join(text for text in (self.stopped, self.failed) if text) or None
        return {
            **attrs.asdict(self.summary),
            "exit": int(code),
            "error": error,
            "next": [step.command for step in self.steps],
        }


def tell_ending(ending: Ending, code: Exit, *, say: Callable[[str], None], as_json: bool) -> None:
    """Print what became of a run's orders, why, where its result files are, and what to type next.

    Args:
        say: tells people what is no data.
    """
    for text in (ending.stopped, ending.failed):
        if text:
            say(text)
    if as_json:
        print_document(ending.document(code))
        return
    _tell_summary(ending.summary)
    for step in ending.steps:
        say(str(step))


def _tell_summary(summary: Summary) -> None:
    took = f" in {summary.seconds:.1f} s" if summary.seconds else ""
    click.echo(f"run {summary.run}, {summary.orders:,} orders{took}{', result files:' if summary.files else ''}")
    for name, path in summary.files.items():
        count = getattr(summary, _OF_FILE.get(name, ""), None)
        click.echo(f"  {path}{'' if count is None else f'  ({count:,})'}")
    _tell_reasons(summary.reasons)
    told = {
        "already pushed": summary.already_pushed,
        "refused": summary.refused,
        "in doubt": summary.in_doubt,
        "unprocessed": summary.unprocessed,
        "cancelled": summary.cancelled,
        "changed since": summary.changed,
    }
    click.echo(", ".join([f"{summary.created:,} created", *(f"{n:,} {word}" for word, n in told.items() if n)]))


def _tell_reasons(reasons: Sequence[Reason]) -> None:
    for verdict, mine in groupby(reasons, key=lambda each: each.verdict):
        told = [each for each in mine if each.reason]
        if not told:
            continue
        click.echo(f"why {verdict.replace('_', ' ')}:")
        for each in told[:SHOWN_REASONS]:
            click.echo(f"  {each.count:,} × {each.reason}")
        if len(told) > SHOWN_REASONS:
            click.echo("  … and for other reasons")


def _exit_code(ending: Ending, sent: Sent, interrupts: Interrupts, unknown: int) -> Exit:
    """The worst that happened: an interrupt, then doubt, then result files that are missing, then what a person must
    mend, then refusals."""
    summary = ending.summary
    if interrupts.code is not None:
        return interrupts.code
    if summary.in_doubt or unknown:
        return Exit.IN_DOUBT
    if ending.failed is not None:
        return Exit.RESULTS_FAILED
    if sent.stopped_by is not None:
        told = stops_all(sent.stopped_by) or is_unreachable(sent.stopped_by)
        return exit_code_of(sent.stopped_by) if told else Exit.STOPPED
    if summary.unprocessed:
        return Exit.STOPPED
    if summary.refused or summary.cancelled:
        return Exit.REFUSED
    return Exit.CHANGED if summary.changed else Exit.CREATED
