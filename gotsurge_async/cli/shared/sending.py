"""The sending of a run, as push, resume and retry do it: signals, progress, result files, the end that is told."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from gotsurge_async.bulk import Brakes, Ledger, LedgerError, Mode, Push, Run, RunHeld, Sent, write_results
from gotsurge_async.bulk.after.lookup import note_unused_drafts
from gotsurge_async.bulk.after.replace import Replaced
from gotsurge_async.bulk.after.results import count_results
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import DOUBTFUL, LedgerUnusable, RunLost
from gotsurge_async.bulk.send.load import LEFT_OUT
from gotsurge_async.calls.create import stops_all
from gotsurge_async.cli.shared.exits import Exit, Failure, exit_code_of, is_unreachable
from gotsurge_async.cli.shared.next_steps import Standing, next_steps, tell_steps
from gotsurge_async.cli.shared.output import print_json
from gotsurge_async.cli.shared.progress import PushProgress
from gotsurge_async.cli.shared.report import Ending, tell_ending, tell_unused, unused_drafts
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.errors import ConfigError, GotSurgeError
from gotsurge_async.system.loops import ending_signals, heeded

READ_SECONDS = 10.0
"""The longest that a ledger that failed is read, to say what was in flight."""

if TYPE_CHECKING:
    from rich.console import Console


@attrs.frozen(kw_only=True)
class SendOptions:
    """What the user said about a sending: which ledger, and how to tell of it."""

    ledger: Place
    out: Path
    as_json: bool
    quiet: bool


class Interrupts:
    """Turns the first Ctrl-C or SIGTERM into a request to stop, and the second one into a cancellation of the task.

    Attributes:
        code: the exit code of the first signal, None while there was none.
        on_stop: called at the first signal; without one the task is cancelled at once.
        words: what is said then, by the code.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.code: Exit | None = None
        self.on_stop: Callable[[], None] | None = None
        self.words: Mapping[Exit, str] = {}
        self._say = say
        self._task = asyncio.current_task()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside the block."""
        codes = {signal.SIGINT: Exit.INTERRUPTED} | dict.fromkeys(ending_signals(), Exit.TERMINATED)
        with heeded({number: partial(self._received, code) for number, code in codes.items()}):
            yield

    def _received(self, code: Exit) -> None:
        first = self.code is None
        self.code = self.code or code
        if first and self.on_stop is not None:
            usual = "stopping: what is in flight is waited for; once more to abort and mark it as in doubt"
            self._say(self.words.get(code, usual))
            self.on_stop()
        elif self._task is not None:
            self._task.cancel()


class Sending:
    """The sending of one run; what finds or loads the run is a subclass's own.

    Attributes:
        run_id: the run, once it is known.
        replaced: what became of the tasks that were to be changed.
    """

    def __init__(self, options: SendOptions) -> None:
        self.run_id: str | None = None
        self.replaced: Replaced = Replaced()
        self._begun: Run | None = None
        self._send_options = options

    async def run(self) -> Exit:
        """Send, and tell how it went; the exit code is returned.

        Raises:
            Failure: nothing was sent, or the ledger failed; also when it was interrupted before anything was sent.
        """
        interrupts = Interrupts(self.say)
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
        text = "interrupted after the sending, before the result files were written; the ledger has everything"
        return self._failure(text, code, self._standing(self._begun, {}, results_failed=True))

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
        self.run_id = run.id
        progress = None
        if not self._send_options.quiet:
            progress = PushProgress(self._console)
            gs.hooks.add(progress)
            means = "exactly once" if run.info.mode is Mode.TWO_PHASE else "at most once"
            self.say(f"{number_of(waiting, 'order')} to send, in {run.info.mode} mode: {means}")
        async with run:
            interrupts.on_stop = push.stop
            self._begun = run
            started = time.monotonic()
            with progress.of(waiting) if progress is not None else nullcontext():
                sent = await self._send(ledger, push, run, interrupts)
            seconds = time.monotonic() - started if waiting else 0.0
            return await self._end(gs, ledger, run, sent, seconds, interrupts)

    async def _end(
        self, gs: GotSurge, ledger: Ledger, run: Run, sent: Sent, seconds: float, interrupts: Interrupts
    ) -> Exit:
        """Write the result files of a run that is held, close it, and tell."""
        async with run:
            try:
                unused = await self._unused_drafts(gs, ledger, run, sent)
                ending = await self._results(ledger, run, sent, seconds, unused)
            except LedgerError as error:
                raise await self._ledger_failed(ledger, run, error) from None
        if sent.stopped_by is None:
            sent = attrs.evolve(sent, stopped_by=self.replaced.stopped_by)
        code = _exit_code(ending, sent, interrupts, self.replaced.unknown)
        if sent.stopped_by is not None:
            ending = attrs.evolve(ending, stopped=f"stopped: {sent.stopped_by}")
        tell_ending(ending, code, as_json=self._send_options.as_json)
        return code

    async def _distribute(
        self,
        gs: GotSurge,
        ledger: Ledger,
        push: Push,
        run: Run,
        *,
        brakes: Brakes,
        waiting: int,
        wait: bool,
        interrupts: Interrupts,
    ) -> Exit:
        """Put a run that is held up for workers, wait until they have sent it, write its result files, and tell.

        Args:
            wait: else it is only put up.
        """
        from gotsurge_async.cli.fleet.distributed import Watch, put_up

        self.run_id = run.id
        self._begun = run
        interrupts.on_stop = push.stop
        async with run:
            sent = await put_up(ledger, push, run, brakes)
            if sent is not None:
                return await self._end(gs, ledger, run, sent, 0.0, interrupts)
        if not wait:
            return self._tell_put_up(run, waiting)
        self.say(f"run {run.id}: {_put_up(waiting)} for workers")
        progress = None if self._send_options.quiet else PushProgress(self._console)
        watch = Watch(ledger.place, run.id, progress, self.say, interrupts)
        started = time.monotonic()
        try:
            with progress.of(waiting) if progress is not None else nullcontext():
                sent = await watch.to_the_end()
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            if interrupts.code is Exit.INTERRUPTED:
                await watch.stop_workers()
            raise Failure(
                f"left: the workers end what they began of run {run.id}; {_how_it_ended(ledger, run)}", interrupts.code
            ) from None
        if sent is None:
            self.say(f"run {run.id} goes on: gotsurge status {run.id} --ledger {ledger.path}")
            return Exit.TERMINATED
        seconds = time.monotonic() - started if waiting else 0.0
        async with await Ledger.open(ledger.place, clock=SystemClock().now) as opened:  # its connection may be lost
            try:
                run = await opened.hold(run.id)
            except RunHeld as error:  # by somebody who goes on with it: what is on its way there is not in doubt
                raise Failure(f"{error}; {_how_it_ended(opened, run)}", interrupts.code or Exit.HELD) from None
            sent = attrs.evolve(sent, lost_drafts=frozenset(await run.lost_drafts()))
            return await self._end(gs, opened, run, sent, seconds, interrupts)

    def _tell_put_up(self, run: Run, waiting: int) -> Exit:
        left = run.info.options.get(LEFT_OUT)
        code = Exit.STOPPED if left else Exit.CREATED
        steps = next_steps(self._standing(run, {}))
        if self._send_options.as_json:
            more = {"left_out": left["rows"], "left_out_file": left["file"]} if left else {}
            document = {"run": run.id, "put_up": waiting, **more, "exit": int(code)}
            print_json(document | ({"next": [step.command for step in steps]} if steps else {}))
        else:
            click.echo(f"run {run.id}: {_put_up(waiting)} for workers")
            tell_steps(steps)
        return code

    async def _send(self, ledger: Ledger, push: Push, run: Run, interrupts: Interrupts) -> Sent:
        try:
            return await push.send(run)
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            return Sent(interrupted=True)
        except LedgerError as error:
            raise await self._ledger_failed(ledger, run, error) from None
        except GotSurgeError as error:  # a sign-in that ended in the middle of a chunk, for instance
            return Sent(stopped_by=error)

    async def _ledger_failed(self, ledger: Ledger, run: Run, error: LedgerError) -> Failure:
        """What the ledger still says of what was in flight. If it cannot be believed, the careful word is in doubt."""
        counts = None
        damaged = isinstance(error, LedgerUnusable) and error.lasts
        # A run that another process has taken over is that one's, and so is what is in flight of it.
        if not damaged and not isinstance(error, RunLost):
            with suppress(LedgerError, TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    counts = await ledger.counts(run.id)
        code, what = Exit.IN_DOUBT, "what was in flight is in doubt"
        if counts is not None:
            in_doubt = counts.of(DOUBTFUL)
            code = Exit.IN_DOUBT if in_doubt else Exit.STOPPED
            what = f"{in_doubt:,} in doubt" if in_doubt else "nothing is in doubt"
            if counts.drafting:
                what = f"{counts.drafting:,} to be drafted anew, of which no driver knows; {what}"
        text = f"{error}\n{what}; the rest was not sent (run {run.id})"
        return self._failure(text, code, self._standing(run, {"unprocessed": 1}))

    def _failure(self, text: str, code: Exit, standing: Standing) -> Failure:
        """A failure that says what to type next."""
        commands = [step.command for step in next_steps(standing)]
        return Failure(text, code, run=standing.info.id, more={"next": commands})

    async def _unused_drafts(self, gs: GotSurge, ledger: Ledger, run: Run, sent: Sent) -> list[str]:
        """The drafts that no order will be broadcast by, as far as they are known, or the service shows them."""
        if sent.lost_drafts and not sent.interrupted:
            try:
                await note_unused_drafts(gs, run, sent.lost_drafts)
            except LedgerError:
                raise
            except GotSurgeError as error:
                number = len(sent.lost_drafts)
                self.say(
                    f"{number_of(number, 'order')} may have left an unused draft each; the list tells nothing: {error}"
                )
        unused = await unused_drafts(ledger, run.id)
        tell_unused(unused, run.info)
        return unused

    async def _results(self, ledger: Ledger, run: Run, sent: Sent, seconds: float, unused: Sequence[str]) -> Ending:
        """Write the result files; where that fails, count all the same."""
        stopped = str(sent.stopped_by) if sent.stopped_by else "interrupted" if sent.interrupted else ""
        failed = None
        try:
            summary = await write_results(
                ledger, run.info, self._send_options.out, seconds=seconds, unused_drafts=unused, stopped=stopped
            )
        except ConfigError as error:
            failed = f"{error}; the ledger has everything"
            summary = await count_results(ledger, run.info, seconds=seconds, unused_drafts=unused, stopped=stopped)
        standing = await Standing.of(
            ledger,
            run.info,
            files=summary.files,
            out=self._send_options.out,
            sign_in=sent.stopped_by is not None and exit_code_of(sent.stopped_by) is Exit.SIGN_IN,
            results_failed=failed is not None,
        )
        return Ending(summary=summary, steps=next_steps(standing), failed=failed)

    def _standing(self, run: Run, counts: Mapping[str, int], **more: Any) -> Standing:
        options = self._send_options
        return Standing(info=run.info, counts=counts, ledger=options.ledger, out=options.out, **more)

    def say(self, text: str) -> None:
        """Tell people, above the bar if there is one."""
        self._console.print(text)

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # loaded when there is something to say

        return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def _put_up(waiting: int) -> str:
    return f"{number_of(waiting, 'order is', 'orders are')} put up"


def _how_it_ended(ledger: Ledger, run: Run) -> str:
    told = " and ".join(f"gotsurge {word} {run.id} --ledger {ledger.path}" for word in ("status", "results"))
    return f"how it ended say {told}"


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
    if summary.unprocessed or summary.left_out:
        return Exit.STOPPED
    if summary.refused or summary.cancelled:
        return Exit.REFUSED
    return Exit.CHANGED if summary.changed else Exit.CREATED
