"""What all commands share that send a run: signals, progress, result files, the summary, the exit code."""

import asyncio
import json
import time
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from gotsurge_async.bulk import Ledger, LedgerError, Mode, Push, Run, Sent, Summary, write_results
from gotsurge_async.bulk.reconcile import find_orphans
from gotsurge_async.cli.exits import Exit, exit_code_of
from gotsurge_async.cli.interrupts import Interrupts
from gotsurge_async.cli.progress import PushProgress
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.creates import stops_all
from gotsurge_async.errors import GotSurgeError

if TYPE_CHECKING:
    from rich.console import Console


@attrs.frozen(kw_only=True)
class SendOptions:
    """What the user said about a sending: into which books, and how to tell of it."""

    ledger: Path
    out: Path
    as_json: bool
    quiet: bool


class RunJob:
    """The sending of one run."""

    def __init__(self, options: SendOptions) -> None:
        self._send_options = options
        self._clock = SystemClock()

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # loaded when there is something to say

        return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    async def run(self) -> Exit:
        """Send, and tell how it went; the exit code is returned."""
        interrupts = Interrupts(self._say)
        with interrupts.caught():
            try:
                return await self._run(interrupts)
            except asyncio.CancelledError:
                if interrupts.code is None:
                    raise
                self._say("interrupted: nothing was sent")
                return interrupts.code

    async def _run(self, interrupts: Interrupts) -> Exit:
        """Find or load the run, and `_deliver` it."""
        raise NotImplementedError

    async def _deliver(
        self, gs: GotSurge, ledger: Ledger, push: Push, run: Run, *, waiting: int, interrupts: Interrupts
    ) -> Exit:
        """Send a run that is held, close it, write its result files, and tell.

        Args:
            waiting: how many orders are to be sent.
        """
        options = self._send_options
        progress = None if options.quiet else PushProgress(self._console)
        if progress is not None:
            gs.hooks.add(progress)
        if not options.quiet:
            means = "exactly once" if run.info.mode is Mode.TWO_PHASE else "at most once"
            self._say(f"{waiting:,} orders to send, in {run.info.mode} mode: {means}")
        async with run:
            interrupts.on_stop = push.stop
            started = time.monotonic()
            with progress.of(waiting) if progress is not None else nullcontext():
                sent = await self._send(push, run, interrupts)
            seconds = time.monotonic() - started if waiting else 0.0
            if sent is None:
                return Exit.IN_DOUBT
            orphans = await self._orphans(gs, run, sent)
            summary = await write_results(ledger, run.info, options.out, seconds=seconds, orphan_drafts=orphans)
        self._tell(summary, sent)
        return _exit_code(summary, sent, interrupts)

    async def _send(self, push: Push, run: Run, interrupts: Interrupts) -> Sent | None:
        try:
            return await push.send(run)
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            return Sent(interrupted=True)
        except LedgerError as error:
            self._say(f"{error}\nstopped at once: what was in flight is in doubt, the rest was not sent (run {run.id})")
            return None

    async def _orphans(self, gs: GotSurge, run: Run, sent: Sent) -> list[str]:
        """The drafts whose answers were lost, as far as the service shows them."""
        if not sent.lost_drafts or sent.interrupted:
            return []
        try:
            orphans = [orphan.task_id for orphan in await find_orphans(gs, run, sent.lost_drafts)]
        except GotSurgeError as error:
            self._say(
                f"{len(sent.lost_drafts):,} orders may have left an unused draft each; the list tells nothing: {error}"
            )
            return []
        if orphans:
            self._say(f"{len(orphans):,} unused drafts were left, which no driver sees: {', '.join(orphans[:20])}")
        return orphans

    # --- telling ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(text)

    def _tell(self, summary: Summary, sent: Sent) -> None:
        if sent.stopped_by is not None:
            self._say(f"stopped: {sent.stopped_by}")
        tell_summary(summary, as_json=self._send_options.as_json)


_COUNTED = {"failed": "refused", "unprocessed": "unprocessed", "in_doubt": "in_doubt"}


def tell_summary(summary: Summary, *, as_json: bool) -> None:
    """Print what became of a run's orders, and where its result files are."""
    if as_json:
        click.echo(json.dumps(attrs.asdict(summary), indent=2))
        return
    took = f" in {summary.seconds:.1f} s" if summary.seconds else ""
    click.echo(f"run {summary.run}, {summary.orders:,} orders{took}, result files:")
    for name, path in summary.files.items():
        count = getattr(summary, _COUNTED.get(name, ""), None)
        click.echo(f"  {path}{'' if count is None else f'  ({count:,})'}")
    told = {
        "already pushed": summary.already_pushed,
        "refused": summary.refused,
        "in doubt": summary.in_doubt,
        "unprocessed": summary.unprocessed,
    }
    click.echo(", ".join([f"{summary.created:,} created", *(f"{n:,} {word}" for word, n in told.items() if n)]))


def _exit_code(summary: Summary, sent: Sent, interrupts: Interrupts) -> Exit:
    """The worst that happened: an interrupt, then doubt, then what a person must mend, then refusals."""
    if interrupts.code is not None:
        return interrupts.code
    if summary.in_doubt:
        return Exit.IN_DOUBT
    if sent.stopped_by is not None:
        return exit_code_of(sent.stopped_by) if stops_all(sent.stopped_by) else Exit.STOPPED
    if summary.unprocessed:
        return Exit.STOPPED
    return Exit.REFUSED if summary.refused else Exit.CREATED
